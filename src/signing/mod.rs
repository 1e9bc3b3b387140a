//! Signatures of webhooks as Standard Webhooks has them: which secrets sign a message for a tenant and a host
//! (`keyring.rs`), the signatures over a body that is never whole in memory (`sign.rs`), what a receiver checks
//! (`verify.rs`), and the operator's changes (`office.rs`).
//!
//! The specification is at <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>.

mod destination;
mod keyring;
mod office;
mod secret;
mod sign;
mod verify;

pub use destination::{Destination, DestinationError};
pub use keyring::{Keyring, KeyringError, Options};
pub use office::{Change, Office, OfficeError, USUAL_KEEP};
pub use secret::{HmacKey, PrivateKey, PublicKey, SecretError};
pub use sign::{Keys, Pieces, sign};
pub use verify::{Shown, Verifier, VerifyError, public_keys_of_jwks, verify};
