//! Keys held to their word, with a real store and a clock that is moved by hand.

use super::*;
use crate::clock::ManualClock;
use crate::job::Scope;
use crate::store::SqliteStore;
use async_trait::async_trait;
use std::sync::atomic::AtomicU8;

#[tokio::test]
async fn a_key_is_good_as_it_was_given_and_in_no_other_form() {
    let (_folder, keys, store, _clock) = keys();
    let (secret, key) = keys.create(new_key("shop")).await.unwrap();
    let text = secret.expose();
    let grant = keys.check(text).await.unwrap().unwrap();
    assert_eq!((&grant.key, grant.tenant.name(), grant.scopes), (&key.id, "shop", key.scopes));
    let last = text.chars().last().unwrap();
    let other = if last == 'a' { 'b' } else { 'a' };
    let wrong = format!("{}{other}", text.strip_suffix(last).unwrap());
    let unknown = text.replace(key.id.as_str(), "aaaaaaaaaaaa");
    for shown in ["", " ", "cg_", key.id.as_str(), &wrong, &unknown, &format!(" {text}"), &format!("{text}{text}")] {
        assert_eq!(keys.check(shown).await.unwrap(), None, "{shown}");
    }
    assert_eq!(keys.check(&"x".repeat(100_000)).await.unwrap(), None);
    assert!(keys.check(text).await.unwrap().is_some());
    store.sqlite.close().await;
}

#[tokio::test]
async fn an_unknown_key_and_a_wrong_one_cost_the_same_reads() {
    let (_folder, keys, store, _clock) = keys();
    let (secret, key) = keys.create(new_key("shop")).await.unwrap();
    let text = secret.expose();
    assert!(keys.check(text).await.unwrap().is_some());
    let before = store.reads();
    assert!(keys.check(text).await.unwrap().is_some());
    assert_eq!(store.reads(), before, "a good key is remembered");
    let wrong = text.replace(key.id.as_str(), "").len();
    let wrong = format!("cg_{}_{}", key.id, "a".repeat(wrong - 4));
    for shown in [wrong.as_str(), &wrong.replace(key.id.as_str(), "aaaaaaaaaaaa"), "nothing like a key"] {
        let before = store.reads();
        assert_eq!(keys.check(shown).await.unwrap(), None);
        assert_eq!(store.reads(), before + 1, "{shown}");
    }
}

#[tokio::test]
async fn a_session_that_never_rests_ends_with_a_key_that_somebody_else_took_back() {
    let (_folder, keys, store, clock) = keys();
    let keys = keys.with_sessions(SessionKey::new([7; 32]));
    let (_, key) = keys.create(new_key("shop")).await.unwrap();
    let token = keys.open_session(&key.id).unwrap();
    let grant = keys.session(token.expose()).await.unwrap().unwrap();
    assert_eq!((&grant.key, grant.tenant.name(), grant.scopes), (&key.id, "shop", key.scopes));
    let before = store.reads();
    assert!(keys.session(token.expose()).await.unwrap().is_some());
    assert_eq!(store.reads(), before, "a good key is remembered");
    for bad in ["", "x", "abcdefghijkl.1.x", &token.expose().replace(key.id.as_str(), "aaaaaaaaaaaa")] {
        assert_eq!(keys.session(bad).await.unwrap(), None, "{bad}");
        assert_eq!(store.reads(), before, "nothing is read for {bad}");
    }
    store.sqlite.revoke_key(&key.id, clock.now()).await.unwrap();
    for _ in 0..20 {
        clock.advance(Duration::from_millis(100));
        keys.session(token.expose()).await.unwrap();
    }
    assert_eq!(keys.session(token.expose()).await.unwrap(), None);
}

#[tokio::test]
async fn what_is_not_good_is_not_remembered() {
    let (_folder, keys, _store, _clock) = keys();
    for number in 0..1000 {
        assert_eq!(keys.check(&format!("cg_aaaaaaaaaaaa_{number:043}")).await.unwrap(), None);
    }
    assert_eq!((lock(&keys.remembered).len(), lock(&keys.used).len()), (0, 0));
}

#[tokio::test]
async fn a_revoked_key_and_one_that_is_over_are_refused() {
    let (_folder, keys, store, clock) = keys();
    let (short, _) = keys.create(NewKey { life: Some(Duration::from_secs(1)), ..new_key("shop") }).await.unwrap();
    assert!(keys.check(short.expose()).await.unwrap().is_some());
    clock.advance(Duration::from_millis(999));
    assert!(keys.check(short.expose()).await.unwrap().is_some());
    clock.advance(Duration::from_millis(1));
    assert!(keys.check(short.expose()).await.unwrap().is_none(), "it was still remembered");

    let (here, key) = keys.create(new_key("shop")).await.unwrap();
    assert!(keys.check(here.expose()).await.unwrap().is_some());
    let revoked = keys.revoke(&key.id).await.unwrap().unwrap();
    assert_eq!(revoked.revoked_at, Some(clock.now()));
    assert!(keys.check(here.expose()).await.unwrap().is_none());
    clock.advance(Duration::from_secs(9));
    assert_eq!(keys.revoke(&key.id).await.unwrap().unwrap().revoked_at, revoked.revoked_at, "the first time stays");

    // By somebody else, as on the command line.
    let (there, key) = keys.create(new_key("shop")).await.unwrap();
    assert!(keys.check(there.expose()).await.unwrap().is_some());
    store.sqlite.revoke_key(&key.id, clock.now()).await.unwrap();
    clock.advance(Duration::from_secs(5));
    assert!(keys.check(there.expose()).await.unwrap().is_none());
    assert!(keys.revoke(&"aaaaaaaaaaaa".parse().unwrap()).await.unwrap().is_none());
}

#[tokio::test]
async fn the_key_of_the_settings_is_an_operators_and_reads_nothing() {
    let (_folder, _, store, clock) = keys();
    let secret = Secret::new("0123456789abcdef0123456789abcdef");
    let keys = Keys::new(Arc::<Counted>::clone(&store), clock, no_chance, Some(&secret));
    let before = store.reads();
    let grant = keys.check(secret.expose()).await.unwrap().unwrap();
    assert!(grant.scopes.allow(Scope::Admin) && grant.key == KeyId::of_settings());
    assert_eq!(store.reads(), before);
    assert!(keys.check("0123456789abcdef0123456789abcdeF").await.unwrap().is_none());
    let without = Keys::new(store, Arc::clone(&keys.clock), no_chance, None);
    assert!(without.check(secret.expose()).await.unwrap().is_none());
}

#[tokio::test]
async fn the_last_use_is_noted_once_a_minute_and_not_by_the_request() {
    let (_folder, keys, store, clock) = keys();
    let (secret, key) = keys.create(new_key("shop")).await.unwrap();
    let noted = async || store.sqlite.key(&key.id).await.unwrap().unwrap().last_used_at;
    let first = clock.now();
    keys.check(secret.expose()).await.unwrap();
    assert_eq!(noted().await, None);
    keys.note_uses(NOTED_EVERY).await;
    assert_eq!(noted().await, Some(first));
    for _ in 0..59 {
        clock.advance(Duration::from_secs(1));
        keys.check(secret.expose()).await.unwrap();
        keys.note_uses(NOTED_EVERY).await;
        assert_eq!(noted().await, Some(first));
    }
    clock.advance(Duration::from_secs(1));
    keys.check(secret.expose()).await.unwrap();
    keys.note_uses(NOTED_EVERY).await;
    assert_eq!(noted().await, Some(clock.now()));
}

#[tokio::test]
async fn no_more_keys_are_remembered_than_there_is_room_for() {
    let (_folder, keys, _store, clock) = keys();
    let (secret, key) = keys.create(new_key("shop")).await.unwrap();
    for number in 0..MOST_REMEMBERED {
        let id: String = format!("{number:012}").bytes().map(|digit| char::from(digit - b'0' + b'a')).collect();
        keys.remember(ApiKey { id: id.parse().unwrap(), ..key.clone() }, clock.now());
    }
    assert!(keys.check(secret.expose()).await.unwrap().is_some());
    assert_eq!(lock(&keys.remembered).len(), MOST_REMEMBERED);
    clock.advance(REMEMBERED);
    assert!(keys.check(secret.expose()).await.unwrap().is_some());
    assert_eq!(lock(&keys.remembered).len(), 1);
}

/// The real store, which counts how often it is asked for a key.
#[derive(Clone, Debug)]
struct Counted {
    sqlite: Arc<SqliteStore>,
    reads: Arc<AtomicU64>,
}

impl Counted {
    fn reads(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl KeyStore for Counted {
    async fn add_key(&self, key: ApiKey) -> Result<(), StoreError> {
        self.sqlite.add_key(key).await
    }

    async fn key(&self, id: &KeyId) -> Result<Option<ApiKey>, StoreError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.sqlite.key(id).await
    }

    async fn keys(&self) -> Result<Vec<ApiKey>, StoreError> {
        self.sqlite.keys().await
    }

    async fn revoke_key(&self, id: &KeyId, at: Timestamp) -> Result<Option<ApiKey>, StoreError> {
        self.sqlite.revoke_key(id, at).await
    }

    async fn note_used(&self, used: Vec<(KeyId, Timestamp)>) -> Result<(), StoreError> {
        self.sqlite.note_used(used).await
    }
}

/// The folder comes first, since it is dropped last: an open database makes files in a folder that is being removed.
fn keys() -> (tempfile::TempDir, Keys, Arc<Counted>, Arc<ManualClock>) {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(Counted { sqlite: SqliteStore::open(folder.path()).unwrap(), reads: Arc::default() });
    let clock = ManualClock::at(Timestamp::from_millis(1_800_000_000_000));
    let keys = Keys::new(Arc::<Counted>::clone(&store), Arc::<ManualClock>::clone(&clock), no_chance, None);
    (folder, keys, store, clock)
}

/// Not chance, but never the same twice.
fn no_chance(bytes: &mut [u8]) {
    static DRAWN: AtomicU8 = AtomicU8::new(1);
    bytes.fill(DRAWN.fetch_add(1, Ordering::Relaxed));
}

fn new_key(tenant: &str) -> NewKey {
    NewKey {
        name: "the shop's backend".into(),
        tenant: tenant.parse().unwrap(),
        scopes: "submit,read".parse().unwrap(),
        limits: KeyLimits::default(),
        life: None,
    }
}
