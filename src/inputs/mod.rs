//! Images that jobs work on: what callers give (`source.rs`), what it is (`kind.rs` with `size.rs`, `jpeg.rs`, `frames.rs` and `mpo.rs`, `mask.rs`), fetched where it is an address
//! (`fetch.rs`), kept as blobs before a job is taken in (`desk.rs`) or for jobs to come (`uploads.rs`), only looked at (`look.rs`, `scale.rs`), never
//! too many at once (`places.rs`), and brought to a backend before its prompt (`shelf.rs`).
//!
//! Only images are taken now. Sounds and videos would be more kinds in `kind.rs`, and more types of parameters.

mod desk;
mod fetch;
mod frames;
mod jpeg;
mod kind;
mod look;
mod mask;
mod mpo;
mod places;
mod scale;
mod shelf;
mod size;
mod source;
mod uploads;

pub use desk::{Inputs, Limits, Refused, Taken};
pub use kind::{Kind, Measured, NoImage, measure};
pub use look::Looked;
pub use mask::NoMask;
pub use places::{Place, Places};
pub use shelf::{Placed, Shelf, Unplaced};
pub use source::{Given, GivenImages, Picked, Source, pick_images, take_images};
pub use uploads::UploadError;
