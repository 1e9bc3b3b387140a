//! A listener that does not read is cut off, and nobody waits for it.

use super::{Reader, connect};
use crate::support::{Inbox, Setup, TestGateway, eventually, starter};
use socket2::{Domain, Socket, Type};
use std::io::Write;
use std::net::TcpStream;

/// How many jobs it takes until a listener that reads nothing has missed too much: what the kernel takes in between counts.
const JOBS: usize = 1000;

#[actix_web::test]
async fn a_frozen_listener_is_cut_off_and_jobs_and_others_go_on() {
    let mut setup = Setup::new();
    setup.sim.step = std::time::Duration::ZERO;
    let gateway = setup.start().await;
    let inbox = Inbox::open();
    // It asks, and never reads the answer.
    let frozen = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    frozen.set_recv_buffer_size(4096).unwrap();
    frozen.connect(&gateway.address().into()).unwrap();
    let mut frozen = TcpStream::from(frozen);
    let address = gateway.address();
    write!(frozen, "GET /events?events=status,node,progress,preview,output HTTP/1.1\r\nhost: {address}\r\n\r\n")
        .unwrap();
    let mut other = Reader::open(&gateway, "/events?events=status", None).await;
    eventually("both listen", async || (listeners(&gateway).await == 2).then_some(())).await;
    let mut request = starter(&inbox.url());
    request["steps"] = 150.into();
    let mut cut = 0;
    for _ in 0..JOBS {
        let id = gateway.generate(&request).await;
        other.until("status", |data| data["prompt_id"] == id.as_str() && data["status"] == "succeeded").await;
        cut = gauge(&gateway, "comfygate_listeners_cut_off_total").await;
        if cut > 0 {
            break;
        }
    }
    assert_eq!(cut, 1, "one is cut off, and it is not the one that reads");
    drop(frozen);
    eventually("its place is free", async || (listeners(&gateway).await == 1).then_some(())).await;
    gateway.close().await;
}

#[actix_web::test]
async fn no_more_listen_than_there_are_places_and_a_place_is_free_again_when_one_goes() {
    let mut setup = Setup::new();
    setup.settings.server.max_listeners = 2;
    let gateway = setup.start().await;
    let mut first = Reader::open(&gateway, "/events", None).await;
    assert!(first.next().await.is_some());
    let second = connect(&gateway, "/ws").await;
    let refused = gateway.get("/events").await;
    assert_eq!((refused.status, refused.code().as_str()), (429, "too_many_streams"));
    assert_eq!(refused.header("retry-after"), "10");
    assert!(refused.json()["error"].as_str().unwrap().contains("COMFYGATE_MAX_LISTENERS"));
    drop(second);
    eventually("a place is free", async || (listeners(&gateway).await == 1).then_some(())).await;
    assert!(Reader::open(&gateway, "/events", None).await.next().await.is_some());
    gateway.close().await;
}

async fn listeners(gateway: &TestGateway) -> u64 {
    gauge(gateway, "comfygate_listeners").await
}

async fn gauge(gateway: &TestGateway, name: &str) -> u64 {
    let text = String::from_utf8(gateway.get("/metrics").await.bytes).unwrap();
    let row = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    // Some are written with a point and a zero behind it.
    let whole = row.and_then(|row| row.split('.').next()).unwrap_or_else(|| panic!("no {name} in {text}"));
    whole.parse().unwrap()
}
