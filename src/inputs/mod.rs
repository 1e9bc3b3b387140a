//! Images that jobs work on: what callers give (`source.rs`), what it is (`kind.rs`, `mask.rs`), fetched where it is an address
//! (`fetch.rs`), kept as blobs before a job is taken in (`desk.rs`), and brought to a backend before its prompt (`shelf.rs`).
//!
//! Only images are taken now. Sounds and videos would be more kinds in `kind.rs`, and more types of parameters.

mod desk;
mod fetch;
mod kind;
mod mask;
mod shelf;
mod source;

pub use desk::{Inputs, Limits, Refused, Taken, UploadError};
pub use kind::{Kind, Measured, NoImage, measure};
pub use mask::NoMask;
pub use shelf::{Placed, Shelf, Unplaced};
pub use source::{Given, GivenImages, Source, take_images};
