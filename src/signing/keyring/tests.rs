//! Which secrets sign for whom and for how long, over a real store and a clock moved by hand.

use super::super::{Change, Destination, Office, OfficeError, USUAL_KEEP};
use super::*;
use crate::clock::ManualClock;
use crate::secret::Secret;
use crate::store::SqliteStore;
use std::sync::atomic::{AtomicUsize, Ordering};
use tempfile::TempDir;

const HOUR: Duration = Duration::from_hours(1);

struct Rig {
    store: Arc<SqliteStore>,
    clock: Arc<ManualClock>,
    keyring: Keyring,
    office: Office,
    _folder: TempDir,
}

fn fill(bytes: &mut [u8]) {
    rand::fill(bytes);
}

fn rig(ed25519: bool) -> Rig {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path()).unwrap();
    let clock = ManualClock::at(Timestamp::from_millis(1_795_000_000_000));
    let (for_keyring, for_office) = (Arc::<SqliteStore>::clone(&store), Arc::<SqliteStore>::clone(&store));
    let keyring = Keyring::new(for_keyring, Arc::<ManualClock>::clone(&clock), fill, Options { ed25519 });
    let office = Office::new(for_office, Arc::<ManualClock>::clone(&clock), fill);
    Rig { store, clock, keyring, office, _folder: folder }
}

impl Rig {
    /// Returns the secrets that sign what goes to a URL, as text.
    async fn secrets(&self, tenant: &str, url: &str) -> Vec<String> {
        let keys = self.keyring.keys(&tenant.parse().unwrap(), &url.parse().unwrap()).await.unwrap();
        keys.hmac.iter().map(|key| key.to_secret().expose().to_owned()).collect()
    }

    async fn rotate(&self, host: Option<&str>, keep: Duration) -> String {
        let host = host.map(|host| host.parse().unwrap());
        let change = Change { tenant: Tenant::default(), host, kind: SecretKind::Hmac, secret: None, keep };
        self.office.rotate(change).await.unwrap().secret.expose().to_owned()
    }

    /// Lets what was read be forgotten.
    fn pass(&self) {
        self.clock.advance(BELIEVED);
    }
}

fn given(byte: u8) -> Secret {
    HmacKey::generate(if byte == 1 { |bytes| bytes.fill(1) } else { |bytes| bytes.fill(2) }).to_secret()
}

const URL: &str = "http://example.com/hook";

#[tokio::test]
async fn a_secret_is_made_at_the_first_need_and_stays() {
    let rig = rig(false);
    let first = rig.secrets("default", URL).await;
    assert_eq!(first.len(), 1);
    rig.pass();
    assert_eq!(rig.secrets("default", "https://other.example/").await, first);
    let other = rig.secrets("shop", URL).await;
    assert_ne!(other, first);
    let current = rig.office.current(&Tenant::default(), None, SecretKind::Hmac).await.unwrap();
    assert_eq!(current.secret.expose(), first[0]);
}

#[tokio::test]
async fn two_who_need_the_first_secret_at_once_get_the_same() {
    let rig = rig(true);
    let tenant = Tenant::default();
    let url: Url = URL.parse().unwrap();
    let both = tokio::join!(rig.keyring.keys(&tenant, &url), rig.keyring.keys(&tenant, &url));
    let texts = |keys: Keys| keys.hmac[0].to_secret().expose().to_owned();
    assert_eq!(texts(both.0.unwrap()), texts(both.1.unwrap()));
    assert_eq!(rig.store.signing_secrets(None).await.unwrap().len(), 2);
}

#[tokio::test]
async fn after_a_rotation_both_sign_for_a_day_the_newest_first_and_then_one() {
    let rig = rig(false);
    let old = rig.secrets("default", URL).await.remove(0);
    let new = rig.rotate(None, USUAL_KEEP).await;
    rig.pass();
    assert_eq!(rig.secrets("default", URL).await, [new.clone(), old.clone()]);
    rig.clock.advance((24 * HOUR).saturating_sub(BELIEVED + Duration::from_millis(1)));
    assert_eq!(rig.secrets("default", URL).await, [new.clone(), old]);
    rig.clock.advance(Duration::from_millis(1));
    assert_eq!(rig.secrets("default", URL).await, [new]);
}

#[tokio::test]
async fn a_rotation_without_grace_ends_the_old_one_at_once() {
    let rig = rig(false);
    rig.secrets("default", URL).await;
    let new = rig.rotate(None, Duration::ZERO).await;
    rig.pass();
    assert_eq!(rig.secrets("default", URL).await, [new]);
}

#[tokio::test]
async fn at_most_ten_old_secrets_sign() {
    let rig = rig(false);
    let mut all = rig.secrets("default", URL).await;
    for _ in 0..14 {
        all.push(rig.rotate(None, USUAL_KEEP).await);
    }
    rig.pass();
    all.reverse();
    assert_eq!(rig.secrets("default", URL).await, all[..11]);
}

#[tokio::test]
async fn rotations_at_once_lose_no_secret() {
    let rig = rig(false);
    let first = rig.secrets("default", URL).await.remove(0);
    let rotated = futures_util::future::join_all((0..8).map(|_| rig.rotate(None, USUAL_KEEP))).await;
    rig.pass();
    let signing = rig.secrets("default", URL).await;
    assert_eq!(signing.len(), 9);
    assert!(rotated.iter().chain([&first]).all(|secret| signing.contains(secret)));
    let current = rig.office.list().await.unwrap().into_iter().filter(|row| row.expires_at.is_none()).count();
    assert_eq!(current, 1);
}

#[tokio::test]
async fn a_rotation_back_in_time_still_comes_first() {
    let rig = rig(false);
    let first = rig.secrets("default", URL).await.remove(0);
    // A second process, whose clock is an hour behind.
    let behind = ManualClock::at(Timestamp::from_millis(1_795_000_000_000 - 3_600_000));
    let office = Office::new(Arc::<SqliteStore>::clone(&rig.store), behind, fill);
    let change =
        Change { tenant: Tenant::default(), host: None, kind: SecretKind::Hmac, secret: None, keep: USUAL_KEEP };
    let second = office.rotate(change.clone()).await.unwrap().secret.expose().to_owned();
    let third = office.rotate(change).await.unwrap().secret.expose().to_owned();
    rig.pass();
    assert_eq!(rig.secrets("default", URL).await, [third, second, first]);
}

#[tokio::test]
async fn a_host_of_its_own_secret_is_signed_with_that_alone() {
    let rig = rig(false);
    let tenants = rig.secrets("default", URL).await;
    let tenant = Tenant::default();
    let host: Destination = "Example.com".parse().unwrap();
    let port: Destination = "example.com:8443".parse().unwrap();
    let hosts = rig.office.set(&tenant, &host, None).await.unwrap().secret.expose().to_owned();
    let ports = rig.office.set(&tenant, &port, Some(&given(1))).await.unwrap().secret.expose().to_owned();
    rig.pass();
    for (url, signs) in [
        ("http://example.com/hook", &hosts),
        ("https://EXAMPLE.com./", &hosts),
        ("https://example.com:8443/", &ports),
        ("https://www.example.com/", &tenants[0]),
        ("https://example.com.evil.example/", &tenants[0]),
    ] {
        assert_eq!(rig.secrets("default", url).await, std::slice::from_ref(signs), "{url}");
    }
    assert_ne!(rig.secrets("shop", URL).await, std::slice::from_ref(&hosts));

    let again = rig.office.set(&tenant, &host, None).await.unwrap_err();
    assert!(matches!(again, OfficeError::HasSecret(_)), "{again}");
    let next = rig.rotate(Some("example.com"), HOUR).await;
    rig.pass();
    assert_eq!(rig.secrets("default", URL).await, [next, hosts]);
    rig.office.remove(&tenant, &host).await.unwrap();
    rig.pass();
    assert_eq!(rig.secrets("default", URL).await, tenants);
    assert!(matches!(rig.office.remove(&tenant, &host).await.unwrap_err(), OfficeError::NoSecretOfItsOwn(_)));
}

#[tokio::test]
async fn a_secret_that_is_given_must_be_good_and_new() {
    let rig = rig(false);
    let change = |secret| Change {
        tenant: Tenant::default(),
        host: None,
        kind: SecretKind::Hmac,
        secret: Some(Secret::new(secret)),
        keep: HOUR,
    };
    for bad in ["", "whsec_", "whsec_AAAA", "geheim"] {
        let error = rig.office.rotate(change(bad.to_owned())).await.unwrap_err();
        assert!(matches!(error, OfficeError::Secret(_)), "{bad}: {error}");
        assert!(!error.to_string().contains("geheim"));
    }
    let (one, two) = (given(1).expose().to_owned(), given(2).expose().to_owned());
    rig.office.rotate(change(one.clone())).await.unwrap();
    assert!(matches!(rig.office.rotate(change(one.clone())).await.unwrap_err(), OfficeError::SameSecret));
    rig.office.rotate(change(two.clone())).await.unwrap();
    // The old one comes back, and signs once.
    rig.office.rotate(change(one.clone())).await.unwrap();
    assert_eq!(rig.secrets("default", URL).await, [one, two]);
    let nowhere = Change { host: Some("example.com".parse().unwrap()), ..change(given(1).expose().to_owned()) };
    assert!(matches!(rig.office.rotate(nowhere.clone()).await.unwrap_err(), OfficeError::NoSecretOfItsOwn(_)));
    let pair = Change { kind: SecretKind::Ed25519, ..nowhere };
    assert!(matches!(rig.office.rotate(pair).await.unwrap_err(), OfficeError::PairForHost));
}

#[tokio::test]
async fn pairs_are_made_and_shown_only_where_they_are_asked_for() {
    let tenant = Tenant::default();
    let off = rig(false);
    off.keyring.prepare(&tenant).await.unwrap();
    assert_eq!(off.keyring.public_keys().await.unwrap().len(), 0);
    let on = rig(true);
    on.keyring.prepare(&tenant).await.unwrap();
    let shown = on.keyring.public_keys().await.unwrap();
    let keys = on.keyring.keys(&tenant, &URL.parse().unwrap()).await.unwrap();
    assert_eq!((keys.hmac.len(), keys.ed25519.len(), shown.len()), (1, 1, 1));
    assert_eq!(shown[0].1, keys.ed25519[0].public());

    let change =
        Change { tenant: tenant.clone(), host: None, kind: SecretKind::Ed25519, secret: None, keep: USUAL_KEEP };
    on.office.rotate(change).await.unwrap();
    on.pass();
    assert_eq!(on.keyring.public_keys().await.unwrap().len(), 2);
    let keys = on.keyring.keys(&tenant, &URL.parse().unwrap()).await.unwrap();
    assert_eq!((keys.hmac.len(), keys.ed25519.len()), (1, 2));
    assert_eq!(keys.ed25519[1].public(), shown[0].1);
    on.clock.advance(USUAL_KEEP);
    assert_eq!(on.keyring.public_keys().await.unwrap().len(), 1);
}

/// Counts how often the secrets are read.
#[derive(Debug)]
struct Counting {
    store: Arc<SqliteStore>,
    reads: AtomicUsize,
}

#[async_trait::async_trait]
impl SigningStore for Counting {
    async fn signing_secrets(&self, tenant: Option<Tenant>) -> Result<Vec<SigningSecret>, StoreError> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        self.store.signing_secrets(tenant).await
    }
    async fn add_signing_secret(&self, new: SigningSecret) -> Result<bool, StoreError> {
        self.store.add_signing_secret(new).await
    }
    async fn rotate_signing_secret(
        &self,
        new: SigningSecret,
        until: Timestamp,
        most: u32,
        now: Timestamp,
    ) -> Result<crate::store::Rotation, StoreError> {
        self.store.rotate_signing_secret(new, until, most, now).await
    }
    async fn remove_signing_secrets(&self, tenant: Tenant, host: &str) -> Result<u64, StoreError> {
        self.store.remove_signing_secrets(tenant, host).await
    }
    async fn clear_signing_secrets(&self, now: Timestamp) -> Result<u64, StoreError> {
        self.store.clear_signing_secrets(now).await
    }
}

#[tokio::test]
async fn secrets_are_read_once_in_five_seconds_and_the_memory_of_them_is_bounded() {
    let rig = rig(false);
    let counting = Arc::new(Counting { store: Arc::clone(&rig.store), reads: AtomicUsize::new(0) });
    let store = Arc::<Counting>::clone(&counting);
    let keyring = Keyring::new(store, Arc::<ManualClock>::clone(&rig.clock), fill, Options { ed25519: false });
    let url: Url = URL.parse().unwrap();
    keyring.prepare(&Tenant::default()).await.unwrap();
    let reads = || counting.reads.swap(0, Ordering::SeqCst);
    reads();
    keyring.forget();
    for _ in 0..100 {
        keyring.keys(&Tenant::default(), &url).await.unwrap();
    }
    rig.clock.advance(BELIEVED.saturating_sub(Duration::from_millis(1)));
    keyring.keys(&Tenant::default(), &url).await.unwrap();
    assert_eq!(reads(), 1);
    rig.clock.advance(Duration::from_millis(1));
    keyring.keys(&Tenant::default(), &url).await.unwrap();
    assert_eq!(reads(), 1);

    for number in 0..MOST_TENANTS + 5 {
        keyring.read(&format!("t{number}").parse().unwrap()).await.unwrap();
        assert!(keyring.rings.lock().unwrap().len() <= MOST_TENANTS);
    }
}

#[tokio::test]
async fn a_damaged_secret_is_named_and_never_shown() {
    let rig = rig(false);
    let mut row = new_secret(&Tenant::default(), None, SecretKind::Hmac, rig.clock.now(), fill);
    row.secret = Secret::new("geheim");
    rig.store.add_signing_secret(row.clone()).await.unwrap();
    let error = rig.keyring.keys(&Tenant::default(), &URL.parse().unwrap()).await.unwrap_err();
    assert!(error.to_string().contains(&row.id) && !error.to_string().contains("geheim"), "{error}");
    assert!(!format!("{:?} {row:?}", rig.keyring).contains("geheim"));
}
