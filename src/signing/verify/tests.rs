//! What is believed, what is not, and what is said of it.

use super::*;

const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
const OTHER: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const BODY: &[u8] = br#"{"email":"test@example.com","username":"test_user"}"#;
const SIGNED: Shown<'_> = Shown {
    id: "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk",
    timestamp: "1649367553",
    signature: "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=",
};
const TOLERANCE: Duration = Duration::from_mins(5);

fn hmac(secret: &str) -> Verifier {
    Verifier::Hmac(secret.parse().unwrap())
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(seconds * 1000)
}

fn check(keys: &[Verifier], shown: Shown<'_>, body: &[u8]) -> Result<(), VerifyError> {
    verify(keys, shown, body, at(1_649_367_553), TOLERANCE)
}

#[test]
fn the_published_example_is_believed_alone_and_among_others() {
    let among = format!("v1,AAAA {} v2,x v1a,y", SIGNED.signature);
    for signature in [SIGNED.signature, &among] {
        for keys in [vec![hmac(SECRET)], vec![hmac(OTHER), hmac(SECRET)]] {
            assert_eq!(check(&keys, Shown { signature, ..SIGNED }, BODY), Ok(()));
        }
    }
}

#[test]
fn what_was_changed_is_not_believed() {
    let wrong_signature = SIGNED.signature.replace("tZ1", "tZ2");
    for (shown, body, key) in [
        (SIGNED, BODY.to_ascii_uppercase(), SECRET),
        (SIGNED, [BODY, b" "].concat(), SECRET),
        (SIGNED, Vec::new(), SECRET),
        (Shown { id: "msg_27UH4WbU6Z5A5EzD8u03UvzRbpl", ..SIGNED }, BODY.to_vec(), SECRET),
        (Shown { timestamp: "1649367554", ..SIGNED }, BODY.to_vec(), SECRET),
        (Shown { timestamp: "01649367553", ..SIGNED }, BODY.to_vec(), SECRET),
        (Shown { signature: &wrong_signature, ..SIGNED }, BODY.to_vec(), SECRET),
        (Shown { signature: "v1,", ..SIGNED }, BODY.to_vec(), SECRET),
        (Shown { signature: "v1", ..SIGNED }, BODY.to_vec(), SECRET),
        (Shown { signature: SIGNED.signature.split_at(30).0, ..SIGNED }, BODY.to_vec(), SECRET),
        (SIGNED, BODY.to_vec(), OTHER),
    ] {
        assert_eq!(check(&[hmac(key)], shown, &body), Err(VerifyError::NoMatch { tried: 1 }), "{shown:?}");
    }
}

#[test]
fn a_time_is_believed_for_as_long_as_told() {
    for (now, is_good) in [(-301, false), (-300, true), (0, true), (300, true), (301, false)] {
        let verdict = verify(&[hmac(SECRET)], SIGNED, BODY, at(1_649_367_553 + now), TOLERANCE);
        assert_eq!(verdict.is_ok(), is_good, "{now}");
    }
    let late = verify(&[hmac(SECRET)], SIGNED, BODY, at(1_649_367_553 + 3600), TOLERANCE).unwrap_err();
    assert!(late.to_string().contains("is 1h old, more than the 5m"), "{late}");
    let early = verify(&[hmac(SECRET)], SIGNED, BODY, at(1_649_367_553 - 3600), TOLERANCE).unwrap_err();
    assert!(early.to_string().contains("is 1h in the future"), "{early}");
    for timestamp in ["", "x", "-1", "+1649367553", "1649367553.0", "99999999999999999999999", " 1649367553"] {
        let verdict = check(&[hmac(SECRET)], Shown { timestamp, ..SIGNED }, BODY);
        assert!(matches!(verdict, Err(VerifyError::Timestamp(_))), "{timestamp}");
    }
    assert_eq!(check(&[hmac(SECRET)], Shown { id: "", ..SIGNED }, BODY), Err(VerifyError::NoId));
}

#[test]
fn a_signature_of_a_version_that_the_key_does_not_check_is_told_apart() {
    for (signature, says) in [("", "none at all"), ("v2,AAAA", "`v2`"), ("v1a,AAAA v9,x", "`v1a`, `v9`"), ("x", "`x`")]
    {
        let error = check(&[hmac(SECRET)], Shown { signature, ..SIGNED }, BODY).unwrap_err().to_string();
        assert!(error.contains("checks (v1)") && error.contains(says), "{error}");
    }
}

#[test]
fn a_signature_of_ed25519_is_checked_with_the_public_key() {
    use super::super::secret::PrivateKey;
    use ed25519_dalek::Signer;
    let pair: PrivateKey = format!("whsk_{}", STANDARD.encode([5; 32])).parse().unwrap();
    let message = [SIGNED.id.as_bytes(), b".", SIGNED.timestamp.as_bytes(), b".", BODY].concat();
    let signature = format!("v1a,{}", STANDARD.encode(pair.key().sign(&message).to_bytes()));
    let shown = Shown { signature: &signature, ..SIGNED };
    let set = serde_json::json!({ "keys": [
        { "kty": "RSA", "n": "x" },
        { "kty": "OKP", "crv": "Ed25519", "kid": "a", "x": pair.public().to_jwk_x() },
    ] });
    let keys: Vec<_> = public_keys_of_jwks(&set).unwrap().into_iter().map(Verifier::Ed25519).collect();
    assert_eq!(keys.len(), 1);
    assert_eq!(check(&keys, shown, BODY), Ok(()));
    assert_eq!(check(&keys, shown, b"{}"), Err(VerifyError::NoMatch { tried: 1 }));
    assert!(matches!(check(&keys, SIGNED, BODY), Err(VerifyError::Version { .. })));
    assert!(public_keys_of_jwks(&serde_json::json!({})).is_err());
    assert!(public_keys_of_jwks(&serde_json::json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519" }] })).is_err());
}
