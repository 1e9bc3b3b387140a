//! Signatures over real sockets: that receivers with published libraries believe what the gateway sends and nothing else.

use crate::events::announce;
use crate::support::{Received, Receiver, Reply, Rig, soon, url_of};
use crate::verifiers::{Case, judge, judge_pairs};
use comfygate::clock::{Clock, SystemClock};
use comfygate::job::{DeliveryMode, News, Tenant};
use comfygate::secret::Secret;
use comfygate::signing::{Change, Office, PublicKey, USUAL_KEEP};
use comfygate::store::{DeliveryState, SecretKind, SigningSecret, SigningStore};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::TcpSocket;

const OK: Reply = Reply::Status(200, "");
const HOUR: Duration = Duration::from_hours(1);

/// A rig whose clock says what this machine's does, since published libraries ask that one.
fn rig() -> Rig {
    Rig::at(SystemClock::start().wall())
}

fn office(rig: &Rig) -> Office {
    Office::new(Arc::clone(&rig.store) as _, Arc::clone(&rig.clock) as _, |bytes| rand::fill(bytes))
}

async fn secret(rig: &Rig) -> String {
    current(rig, SecretKind::Hmac).await.secret.expose().to_owned()
}

async fn current(rig: &Rig, kind: SecretKind) -> SigningSecret {
    office(rig).current(&Tenant::default(), None, kind).await.unwrap()
}

async fn rotate(rig: &Rig) -> String {
    let change =
        Change { tenant: Tenant::default(), host: None, kind: SecretKind::Hmac, secret: None, keep: USUAL_KEEP };
    office(rig).rotate(change).await.unwrap().secret.expose().to_owned()
}

/// Bytes that look like nothing.
fn noise(bytes: usize, seed: u32) -> Vec<u8> {
    let mut state = seed;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    std::iter::repeat_with(next).take(bytes).collect()
}

/// The same with one thing changed, each time another, which nobody may believe.
fn tampered(good: &Case) -> Vec<Case> {
    let bad = Case { is_good: false, ..good.clone() };
    let changed = |place: usize| {
        let mut body = bad.body.clone();
        body[place] ^= 1;
        Case { body, ..bad.clone() }
    };
    let length = bad.body.len();
    let (version, signature) = bad.signature.split_once(',').unwrap();
    let other: String = signature.chars().rev().collect();
    let later = (bad.timestamp.parse::<i64>().unwrap() + 1).to_string();
    vec![
        changed(2),
        changed(length / 2),
        changed(length - 3),
        Case { body: [bad.body.as_slice(), b" "].concat(), ..bad.clone() },
        Case { body: bad.body[..length - 1].to_vec(), ..bad.clone() },
        Case { id: format!("{}0", bad.id), ..bad.clone() },
        Case { timestamp: later, ..bad.clone() },
        Case { signature: format!("{version},{}", other.replace('=', "A")), ..bad.clone() },
        Case { signature: format!("v2,{signature}"), ..bad.clone() },
        Case { secret: "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD".into(), ..bad },
    ]
}

#[tokio::test]
async fn published_libraries_of_three_languages_believe_what_is_sent_and_nothing_that_was_changed() {
    let mut rig = rig();
    rig.metadata = Some(json!({ "note": "Grüße \"von\" \\ 東京 🎨\u{1}\u{2028}</script>", "order": [1, 2.5, null] }));
    rig.start();
    let mut receiver = Receiver::start([OK]).await;
    let secret = secret(&rig).await;
    let mut cases = Vec::new();

    let large = [noise(3 << 20, 1), noise((2 << 20) + 1, 2)];
    let both = [large[0].as_slice(), large[1].as_slice()];
    for (mode, images) in [
        (DeliveryMode::Inline, &both[..]),
        (DeliveryMode::Inline, &[b"x"]),
        (DeliveryMode::Inline, &[]),
        (DeliveryMode::Links, &both),
        (DeliveryMode::Both, &[b"x"]),
    ] {
        rig.delivery = mode;
        let number = u8::try_from(cases.len()).unwrap();
        let (job, expected) = rig.ended_job(number, &receiver.url, images).await;
        let got = receiver.next().await;
        rig.until(job, |delivery, _| delivery.state == DeliveryState::Delivered).await;
        assert_eq!(got.body, expected);
        assert_eq!(got.header("webhook-signature").unwrap().split(' ').count(), 1);
        cases.push(Case::of(&got, &secret, true));
    }
    // What is told before the end is signed too.
    announce(&rig, 100, &receiver.url, News::Started);
    let event = receiver.next().await;
    assert!(event.header("webhook-id").unwrap().ends_with("_started_1"));
    cases.push(Case::of(&event, &secret, true));
    let events = tampered(&cases[5]);
    assert!(String::from_utf8(cases[0].body.clone()).unwrap().contains("東京 🎨"));
    // In the large one what can only go wrong there: a byte in the middle of an image.
    let in_an_image = tampered(&cases[0]).swap_remove(1);
    let bad = [vec![in_an_image], tampered(&cases[1]), tampered(&cases[3]), events].concat();
    judge(&[cases, bad].concat());
}

#[tokio::test]
async fn every_attempt_has_the_same_id_and_body_and_a_signature_of_its_own_time() {
    let rig = rig();
    rig.start();
    let mut receiver = Receiver::start([Reply::Status(500, ""), Reply::Status(500, ""), OK]).await;
    let secret = secret(&rig).await;
    let (job, _) = rig.ended_job(1, &receiver.url, &[b"image"]).await;
    let mut all = vec![receiver.next().await];
    for (count, wait) in [(1, 5), (2, 300)] {
        rig.after_attempts(job, count).await;
        rig.clock.advance(Duration::from_secs(wait));
        all.push(receiver.next().await);
    }
    let of = |name: &str| -> Vec<&str> { all.iter().map(|one| one.header(name).unwrap()).collect() };
    assert!(all.iter().all(|one| one.body == all[0].body));
    assert_eq!(of("webhook-id"), vec![job.webhook_id().as_str(); 3]);
    let (times, signatures) = (of("webhook-timestamp"), of("webhook-signature"));
    assert!(times[0] < times[1] && times[1] < times[2], "{times:?}");
    assert!(signatures[0] != signatures[1] && signatures[1] != signatures[2], "{signatures:?}");
    let mut cases: Vec<Case> = all.iter().map(|one| Case::of(one, &secret, true)).collect();
    // The signature of one attempt does not fit the time of another.
    cases.push(Case { signature: cases[0].signature.clone(), is_good: false, ..cases[1].clone() });
    judge(&cases);
}

#[tokio::test]
async fn after_a_rotation_receivers_with_either_secret_believe_for_a_day_and_then_with_the_new_one() {
    let rig = rig();
    rig.start();
    let mut receiver = Receiver::start([OK]).await;
    let old = secret(&rig).await;
    let mut number = 0;
    let mut deliver = async || {
        number += 1;
        rig.ended_job(number, &receiver.url, &[b"image"]).await;
        receiver.next().await
    };
    let count = |got: &Received| got.header("webhook-signature").unwrap().split(' ').count();

    let before = deliver().await;
    assert_eq!(count(&before), 1);
    let new = rotate(&rig).await;
    rig.clock.advance(HOUR);
    let soon_after = deliver().await;
    rig.clock.advance(Duration::from_hours(23).saturating_sub(Duration::from_secs(1)));
    let last = deliver().await;
    rig.clock.advance(Duration::from_secs(5));
    let later = deliver().await;
    assert_eq!([count(&soon_after), count(&last), count(&later)], [2, 2, 1]);
    let newest = Case::of(&last, &new, true);
    let first = newest.signature.split(' ').next().unwrap().to_owned();
    judge(&[
        Case::of(&before, &old, true),
        Case::of(&before, &new, false),
        Case::of(&soon_after, &old, true),
        Case::of(&soon_after, &new, true),
        Case::of(&last, &old, true),
        // The newest is the first.
        Case { signature: first, ..newest.clone() },
        newest,
        Case::of(&later, &old, false),
        Case::of(&later, &new, true),
    ]);
}

#[tokio::test]
async fn secrets_survive_a_restart() {
    let rig = rig();
    rig.start();
    let mut receiver = Receiver::start([OK]).await;
    rig.ended_job(1, &receiver.url, &[]).await;
    let before = receiver.next().await;
    let old = secret(&rig).await;
    let new = rotate(&rig).await;
    let rig = rig.restart().await;
    rig.ended_job(2, &receiver.url, &[]).await;
    let after = receiver.next().await;
    judge(&[Case::of(&before, &old, true), Case::of(&after, &old, true), Case::of(&after, &new, true)]);
}

#[tokio::test]
async fn a_receiver_without_a_secret_can_check_with_the_public_key() {
    let mut rig = rig();
    rig.settings.ed25519 = true;
    rig.start();
    let mut receiver = Receiver::start([OK]).await;
    let image = noise(2 << 20, 3);
    rig.ended_job(1, &receiver.url, &[&image]).await;
    let got = receiver.next().await;
    let versions: Vec<&str> = got
        .header("webhook-signature")
        .unwrap()
        .split(' ')
        .map(|signature| signature.split_once(',').unwrap().0)
        .collect();
    assert_eq!(versions, ["v1", "v1a"]);
    // Libraries that know only v1 are not disturbed.
    judge(&[Case::of(&got, &secret(&rig).await, true)]);

    let pair = current(&rig, SecretKind::Ed25519).await.secret;
    let public: PublicKey = pair.expose().parse::<comfygate::signing::PrivateKey>().unwrap().public();
    let jwk = |key: &PublicKey| -> Value { json!({ "kty": "OKP", "crv": "Ed25519", "x": key.to_jwk_x() }) };
    let good = Case::of(&got, "", true);
    let bad = tampered(&good).into_iter().take(7);
    judge_pairs(&jwk(&public), &[vec![good.clone()], bad.collect()].concat());
    let stranger = comfygate::signing::PrivateKey::generate(|bytes| rand::fill(bytes)).public();
    judge_pairs(&jwk(&stranger), &[Case { is_good: false, ..good }]);
}

#[tokio::test]
async fn webhooks_go_out_unsigned_only_where_the_operator_says_so() {
    let mut rig = rig();
    rig.settings.signing = false;
    rig.start();
    let mut receiver = Receiver::start([OK]).await;
    rig.ended_job(1, &receiver.url, &[]).await;
    let got = receiver.next().await;
    assert_eq!(got.header("webhook-signature"), None);
    assert!(got.header("webhook-id").is_some() && got.header("webhook-timestamp").is_some());
}

#[tokio::test]
async fn a_webhook_that_cannot_be_signed_is_not_sent_and_is_tried_again() {
    let rig = rig();
    let mut damaged = current(&rig, SecretKind::Hmac).await;
    let host = "127.0.0.1".parse().unwrap();
    damaged.id = "sig_damaged".into();
    damaged.host = "127.0.0.1".into();
    damaged.secret = Secret::new("whsec_geheim");
    assert!(rig.store.add_signing_secret(damaged).await.unwrap());
    rig.start();
    let mut receiver = Receiver::start([OK]).await;
    let (job, _) = rig.ended_job(1, &receiver.url, &[]).await;
    let (delivery, attempts) = rig.after_attempts(job, 1).await;
    assert_eq!((attempts[0].status, attempts[0].code.as_deref()), (None, Some("internal")));
    assert!(attempts[0].snippet.contains("sig_damaged") && !attempts[0].snippet.contains("geheim"));
    assert_eq!((delivery.state, receiver.connections()), (DeliveryState::Pending, 0));
    office(&rig).remove(&Tenant::default(), &host).await.unwrap();
    rig.clock.advance(Duration::from_secs(5));
    assert!(receiver.next().await.header("webhook-signature").is_some());
}

#[tokio::test]
async fn an_unreadable_image_is_found_out_while_signing_and_the_receiver_sees_nothing() {
    let rig = rig();
    let receiver = Receiver::start([OK]).await;
    let (job, _) = rig.ended_job(1, &receiver.url, &[b"image"]).await;
    let (delivery, _) = rig.store_delivery(job).await;
    rig.remove_blobs(&delivery.body);
    rig.start();
    let (_, attempts) = rig.after_attempts(job, 1).await;
    assert_eq!((attempts[0].code.as_deref(), receiver.connections()), (Some("body_unreadable"), 0));
}

#[tokio::test]
async fn a_connection_that_is_tried_again_at_once_is_not_signed_again() {
    let rig = rig();
    let opened = Arc::new(AtomicUsize::new(0));
    let (counter, open) = (Arc::clone(&opened), rig.body());
    rig.start_with(move |body| {
        counter.fetch_add(1, Ordering::SeqCst);
        open(body)
    });
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = url_of(socket.local_addr().unwrap());
    let (job, _) = rig.ended_job(1, &url, &[b"image"]).await;
    let (_, attempts) = rig.after_attempts(job, 1).await;
    assert_eq!(attempts[0].code.as_deref(), Some("connect"));
    // Once for the signature, and once for each of the two connections.
    assert_eq!(opened.load(Ordering::SeqCst), 3);
    soon("the end", rig.stopping()).await;
}
