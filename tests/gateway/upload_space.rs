//! What uploads may take while they come: space that is looked at before the first byte and while they stream, and places of
//! which no tenant gets all.

use crate::input_images::{form, png};
use crate::keys::{make, with_keys};
use crate::support::{PATIENCE, Setup, TestGateway, eventually};
use crate::uploads::upload_as;
use std::path::Path;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const SPACE: u64 = 100_000;

/// A gateway on which a tenant may have little.
async fn small() -> (TestGateway, std::path::PathBuf) {
    let mut setup = Setup::new();
    setup.settings.inputs.upload_space = SPACE;
    let blobs = setup.settings.storage.folder.join("blobs");
    (setup.start().await, blobs)
}

/// Begins a form; what is behind the head is sent by the caller.
async fn begin(gateway: &TestGateway, headers: &str) -> TcpStream {
    let mut stream = TcpStream::connect(gateway.address()).await.unwrap();
    let address = gateway.address();
    let head = format!(
        "POST /uploads HTTP/1.1\r\nhost: {address}\r\ncontent-type: multipart/form-data; boundary=edge\r\n{headers}\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

/// Reads an answer as far as it has come.
async fn answer(stream: &mut TcpStream) -> String {
    let mut bytes = vec![0; 4096];
    let count = tokio::time::timeout(PATIENCE, stream.read(&mut bytes)).await.unwrap().unwrap();
    String::from_utf8_lossy(&bytes[..count]).into_owned()
}

fn drafts(blobs: &Path) -> usize {
    std::fs::read_dir(blobs.join("tmp")).unwrap().count()
}

#[actix_web::test]
async fn a_form_that_is_said_to_be_larger_than_the_space_is_refused_before_its_first_byte() {
    let (gateway, _) = small().await;
    let mut stream = begin(&gateway, "content-length: 5000000\r\n").await;
    let told = answer(&mut stream).await;
    assert!(told.starts_with("HTTP/1.1 429") && told.contains("uploads_full"), "{told}");
    assert!(told.contains("100000"), "{told}");
    gateway.close().await;
}

#[actix_web::test]
async fn an_upload_is_stopped_as_soon_as_it_passes_the_space() {
    let (gateway, blobs) = small().await;
    let mut stream = begin(&gateway, "transfer-encoding: chunked\r\n").await;
    let head = "--edge\r\ncontent-disposition: form-data; name=\"a\"\r\n\r\n";
    stream.write_all(format!("{:x}\r\n{head}\r\n", head.len()).as_bytes()).await.unwrap();
    let piece = [format!("{:x}\r\n", 60_000).into_bytes(), vec![7; 60_000], b"\r\n".to_vec()].concat();
    stream.write_all(&piece).await.unwrap();
    eventually("it is on its way to the disk", async || (drafts(&blobs) == 1).then_some(())).await;
    // The second piece is more than there is room for, and the form goes on.
    stream.write_all(&piece).await.unwrap();
    let told = answer(&mut stream).await;
    assert!(told.starts_with("HTTP/1.1 429") && told.contains("uploads_full"), "{told}");
    eventually("nothing is left", async || (drafts(&blobs) == 0).then_some(())).await;
    gateway.close().await;
}

/// A gateway that takes files that are a little larger than there is room for.
async fn little_room() -> TestGateway {
    let mut setup = Setup::new();
    setup.settings.inputs.upload_space = SPACE;
    setup.settings.inputs.max_upload = SPACE + 1;
    setup.start().await
}

/// Sends a file, with these lines in its head, in one chunk of a form that goes on.
async fn told_of(gateway: &TestGateway, lines: &str, bytes: usize) -> String {
    let mut stream = begin(gateway, "transfer-encoding: chunked\r\n").await;
    let head = format!("--edge\r\ncontent-disposition: form-data; name=\"a\"\r\n{lines}\r\n");
    let chunk = [head.into_bytes(), vec![7; bytes]].concat();
    let chunk = [format!("{:x}\r\n", chunk.len()).into_bytes(), chunk, b"\r\n".to_vec()].concat();
    // Where the answer is there before the last byte, the rest may find the connection closed.
    let _ = stream.write_all(&chunk).await;
    answer(&mut stream).await
}

#[actix_web::test]
async fn a_file_that_is_said_to_be_larger_than_any_may_be_is_refused_before_its_first_byte() {
    let gateway = little_room().await;
    let told = told_of(&gateway, "content-length: 200000\r\n", 0).await;
    assert!(told.starts_with("HTTP/1.1 413") && told.contains("image_too_large"), "{told}");
    gateway.close().await;
}

#[actix_web::test]
async fn a_file_that_passes_what_any_may_have_is_told_so_though_it_passes_the_room_too() {
    let gateway = little_room().await;
    let told = told_of(&gateway, "", 200_000).await;
    assert!(told.starts_with("HTTP/1.1 413") && told.contains("image_too_large"), "{told}");
    gateway.close().await;
}

#[actix_web::test]
async fn the_same_bytes_may_come_again_though_there_is_no_space() {
    let bytes = png(64, 64, 3);
    let mut setup = Setup::new();
    setup.settings.inputs.upload_space = bytes.len() as u64;
    let gateway = setup.start().await;
    let first = gateway.post_form("/uploads", &form(&[("a", &bytes)])).await.json();
    let again = gateway.post_form("/uploads", &form(&[("a", &bytes), ("b", &bytes)])).await.json();
    assert_eq!(
        (&again["uploads"][0]["id"], &again["uploads"][1]["id"]),
        (&first["uploads"][0]["id"], &first["uploads"][0]["id"])
    );
    let other = gateway.post_form("/uploads", &form(&[("a", &png(64, 64, 4))])).await;
    assert_eq!((other.status, other.code().as_str()), (429, "uploads_full"), "{}", other.json());
    gateway.close().await;
}

#[actix_web::test]
async fn one_tenant_never_has_all_places_for_uploads() {
    let gateway = with_keys().start().await;
    let (_, greedy) = make(&gateway, "greedy", &["submit"]).await;
    let (_, modest) = make(&gateway, "modest", &["submit"]).await;
    let blobs = gateway.settings.storage.folder.join("blobs");
    let mut under_way = Vec::new();
    for _ in 0..64 {
        let mut stream = begin(&gateway, &format!("authorization: Bearer {greedy}\r\ncontent-length: 500\r\n")).await;
        let part = "--edge\r\ncontent-disposition: form-data; name=\"a\"\r\n\r\nthe first bytes of a file";
        stream.write_all(part.as_bytes()).await.unwrap();
        under_way.push(stream);
    }
    eventually("each has a place or an answer", async || {
        let answered = under_way.iter().filter(|stream| has_answer(stream)).count();
        (answered + drafts(&blobs) == 64).then_some(())
    })
    .await;
    assert_eq!(drafts(&blobs), 51, "four fifths");
    upload_as(&gateway, &modest, &png(8, 8, 1)).await;
    for mut refused in under_way.into_iter().filter(has_answer) {
        let told = answer(&mut refused).await;
        assert!(told.starts_with("HTTP/1.1 503") && told.contains("uploads_busy"), "{told}");
    }
    eventually("whoever goes away leaves nothing", async || (drafts(&blobs) == 0).then_some(())).await;
    upload_as(&gateway, &greedy, &png(8, 8, 2)).await;
    gateway.close().await;
}

/// Says whether something can be read.
fn has_answer(stream: &TcpStream) -> bool {
    let mut first = [0; 1];
    let peeked = std::pin::pin!(stream.peek(&mut first));
    futures_util::FutureExt::now_or_never(peeked).is_some()
}
