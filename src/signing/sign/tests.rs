//! The published examples, several keys at once, and how much of a body lives at a time.

use super::*;
use futures_util::StreamExt;
use futures_util::stream;

/// The examples of the published libraries: secret, id, time, body, signature.
const PUBLISHED: [[&str; 5]; 2] = [
    [
        "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
        "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk",
        "1649367553",
        r#"{"email":"test@example.com","username":"test_user"}"#,
        "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=",
    ],
    [
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "1614265330",
        r#"{"test": 2432232314}"#,
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    ],
];

fn pieces(body: &str, size: usize) -> Pieces {
    let all: Vec<_> = body.as_bytes().chunks(size).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    stream::iter(all).boxed()
}

fn pair(byte: u8) -> PrivateKey {
    format!("whsk_{}", STANDARD.encode([byte; 32])).parse().unwrap()
}

#[tokio::test]
async fn the_published_examples_have_their_signatures_however_the_body_is_cut() {
    for [secret, id, timestamp, body, signature] in PUBLISHED {
        let keys = Keys { hmac: vec![secret.parse().unwrap()], ed25519: Vec::new() };
        for size in [1, 7, body.len()] {
            let signed = sign(&keys, id, timestamp.parse().unwrap(), || pieces(body, size)).await.unwrap();
            assert_eq!(signed, signature);
        }
    }
}

#[tokio::test]
async fn every_key_signs_in_its_order_and_the_body_is_opened_once_for_all_secrets() {
    let keys =
        Keys { hmac: PUBLISHED.map(|[secret, ..]| secret.parse().unwrap()).into(), ed25519: vec![pair(1), pair(2)] };
    let opened = Mutex::new(0);
    let body = r#"{"test": 2432232314}"#;
    let open = || {
        *opened.lock().unwrap() += 1;
        pieces(body, 3)
    };
    let signed = sign(&keys, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, open).await.unwrap();
    let signatures: Vec<&str> = signed.split(' ').collect();
    assert_eq!(signatures.len(), 4);
    assert_eq!(signatures[1], PUBLISHED[1][4]);
    let message = format!("msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330.{body}");
    for (key, signature) in keys.ed25519.iter().zip(&signatures[2..]) {
        use ed25519_dalek::Signer;
        let whole = key.key().sign(message.as_bytes()).to_bytes();
        assert_eq!(*signature, format!("v1a,{}", STANDARD.encode(whole)));
    }
    assert_eq!(*opened.lock().unwrap(), 5);
}

#[tokio::test]
async fn an_unreadable_body_is_not_signed() {
    let broken = || stream::iter([Ok(Bytes::from_static(b"{")), Err(io::Error::other("gone"))]).boxed();
    for keys in [
        Keys { hmac: vec![PUBLISHED[0][0].parse().unwrap()], ed25519: Vec::new() },
        Keys { hmac: Vec::new(), ed25519: vec![pair(1)] },
    ] {
        assert_eq!(sign(&keys, "id", 1, broken).await.unwrap_err().to_string(), "gone");
    }
}

/// A piece that says how many of its kind live.
struct Counted {
    bytes: Vec<u8>,
    living: std::sync::Arc<Mutex<(usize, usize)>>,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.living.lock().unwrap().0 -= 1;
    }
}

#[tokio::test]
async fn a_body_is_never_whole_in_memory() {
    let living = std::sync::Arc::new(Mutex::new((0, 0)));
    let keys = Keys { hmac: vec![PUBLISHED[0][0].parse().unwrap()], ed25519: vec![pair(1), pair(2)] };
    let open = || {
        let living = std::sync::Arc::clone(&living);
        let piece = move |_| {
            let mut now = living.lock().unwrap();
            now.0 += 1;
            now.1 = now.1.max(now.0);
            let living = std::sync::Arc::clone(&living);
            Ok(Bytes::from_owner(Counted { bytes: vec![7; 64 * 1024], living }))
        };
        stream::iter(0..40).map(piece).boxed()
    };
    sign(&keys, "id", 1, open).await.unwrap();
    let (left, most) = *living.lock().unwrap();
    assert!(left == 0 && most <= 2, "{left} pieces are left, and {most} of 40 lived at once");
}
