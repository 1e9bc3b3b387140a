//! The header `webhook-signature`: every key that signs goes once over id, time and body, which comes in pieces.

use super::secret::{HmacKey, PrivateKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use ed25519_dalek::hazmat::{ExpandedSecretKey, raw_sign_byupdate};
use ed25519_dalek::{Digest, Sha512, SignatureError};
use futures_util::TryStreamExt;
use futures_util::stream::BoxStream;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::io;
use std::sync::{Mutex, PoisonError};
use tokio::runtime::Handle;

/// The pieces of a body.
pub type Pieces = BoxStream<'static, io::Result<Bytes>>;

/// The keys that sign a message, the newest first.
#[derive(Clone, Default, Debug)]
pub struct Keys {
    /// For the signatures `v1`.
    pub hmac: Vec<HmacKey>,
    /// For the signatures `v1a`.
    pub ed25519: Vec<PrivateKey>,
}

/// Returns the value of `webhook-signature`. `open` gives the body's pieces, the same each time it is called: once for all
/// secrets together, and twice for each private key. The body is never whole in memory.
pub async fn sign(keys: &Keys, id: &str, timestamp: i64, open: impl Fn() -> Pieces) -> io::Result<String> {
    let head = head(id, timestamp);
    let mut signatures = Vec::with_capacity(keys.hmac.len() + keys.ed25519.len());
    if !keys.hmac.is_empty() {
        let mut macs: Vec<_> = keys.hmac.iter().map(|key| begin(key, &head)).collect();
        let mut pieces = open();
        while let Some(piece) = pieces.try_next().await? {
            for mac in &mut macs {
                mac.update(&piece);
            }
        }
        signatures.extend(macs.into_iter().map(|mac| format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))));
    }
    for key in &keys.ed25519 {
        let signature = sign_ed25519(key.clone(), head.clone(), [open(), open()]).await?;
        signatures.push(format!("v1a,{}", STANDARD.encode(signature)));
    }
    Ok(signatures.join(" "))
}

/// Returns what is signed before the body.
pub(super) fn head(id: &str, timestamp: impl std::fmt::Display) -> String {
    format!("{id}.{timestamp}.")
}

/// Begins an HMAC over what stands before the body.
pub(super) fn begin(key: &HmacKey, head: &str) -> Hmac<Sha256> {
    let mac = Hmac::<Sha256>::new_from_slice(key.bytes()).expect("HMAC takes keys of any length");
    mac.chain_update(head)
}

/// Ed25519 hashes a message twice, one after the other, and the library asks for it with a plain function: so a thread
/// that may block waits there for the pieces.
async fn sign_ed25519(key: PrivateKey, head: String, passes: [Pieces; 2]) -> io::Result<[u8; 64]> {
    let runtime = Handle::current();
    let signing = tokio::task::spawn_blocking(move || {
        let passes = Mutex::new(Vec::from(passes));
        let failure = Mutex::new(None);
        let hash = |digest: &mut Sha512| {
            digest.update(&head);
            let pass = passes.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let hashed = runtime.block_on(async {
                let mut pieces = pass.ok_or_else(|| io::Error::other("a third pass over the body"))?;
                while let Some(piece) = pieces.try_next().await? {
                    digest.update(&piece);
                }
                Ok(())
            });
            hashed.map_err(|error: io::Error| {
                *failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                SignatureError::new()
            })
        };
        let expanded = ExpandedSecretKey::from(key.key().as_bytes());
        let signature = raw_sign_byupdate::<Sha512, _>(&expanded, hash, &key.key().verifying_key());
        signature.map(|signature| signature.to_bytes()).map_err(|error| {
            let failure = failure.into_inner().unwrap_or_else(PoisonError::into_inner);
            failure.unwrap_or_else(|| io::Error::other(error.to_string()))
        })
    });
    signing.await.unwrap_or_else(|error| Err(io::Error::other(error)))
}

#[cfg(test)]
mod tests;
