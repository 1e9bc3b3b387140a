//! Looks at images without taking them in: bytes are measured (`scale.rs`), an upload is looked up, the URL of one is judged and not called.
//! Nothing is written, and no upload lives longer for it.

use super::desk::{Found, Inputs, Refused, Why, may_mask, of_mask};
use super::shelf::Placed;
use super::source::{Given, GivenImages, Source, fault};
use super::uploads::unknown;
use crate::job::{InputImage, InputImages, InputMask, Tenant};
use crate::workflow::ParamError;
use std::collections::BTreeSet;

/// What is known of images that were looked at.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Looked {
    /// Those whose bytes are known.
    pub images: InputImages,
    /// Those that would have to be fetched, or whose mask would.
    pub unknown: BTreeSet<String>,
    /// What is wrong, at most once for each.
    pub faults: Vec<ParamError>,
}

impl Inputs {
    /// Looks at the images of a tenant's request.
    pub async fn look(&self, tenant: &Tenant, given: GivenImages) -> Result<Looked, Refused> {
        let mut looked = Looked::default();
        for (name, given) in given {
            let written = given.written.clone();
            match self.look_at(tenant, given).await {
                Ok(Some(image)) => {
                    looked.images.insert(name, image);
                }
                Ok(None) => {
                    looked.unknown.insert(name);
                }
                Err(Why::Fault(why)) => {
                    looked.unknown.insert(name);
                    looked.faults.push(fault(&written, why));
                }
                Err(Why::Refused(why)) => return Err(why),
            }
        }
        Ok(looked)
    }

    async fn look_at(&self, tenant: &Tenant, given: Given) -> Result<Option<InputImage>, Why> {
        let image = self.known(tenant, given.image).await?;
        let mask = match given.mask {
            None => None,
            Some(mask) => {
                let mask = self.known(tenant, mask).await.map_err(of_mask)?;
                let Some(mask) = mask else { return Ok(None) };
                may_mask(&mask, image.as_ref()).map_err(|why| of_mask(Why::Fault(why)))?;
                Some(InputMask { sha256: mask.blob, bytes: mask.bytes, alpha: None })
            }
        };
        Ok(image.map(|Found { blob: sha256, bytes, content_type, width, height }| InputImage {
            sha256,
            bytes,
            content_type,
            width,
            height,
            mask,
        }))
    }

    /// Returns what bytes are; none where they would have to be fetched.
    async fn known(&self, tenant: &Tenant, source: Source) -> Result<Option<Found>, Why> {
        match source {
            Source::Bytes(bytes) => self.scale.measured(bytes, self.limits).await.map(Some),
            Source::Url(url) => self.fetcher.check(&url).map(|_| None).map_err(Why::Fault),
            Source::Upload(id) => {
                let found = self.find(Some(tenant.clone()), id.clone()).await;
                let upload = found.map_err(|error| Why::Refused(error.into()))?;
                upload.map(|upload| Some(upload.into())).ok_or_else(|| Why::Fault(unknown(&id)))
            }
        }
    }
}

impl Looked {
    /// Returns what the images would be called on a backend. One that is not known, and one with a mask, which is known only
    /// once the two are joined, stands there under a name that none has.
    pub fn placed(&self) -> Placed {
        let with_mask = self.images.iter().filter(|(_, image)| image.mask.is_some()).map(|(name, _)| name);
        let unknown: Vec<String> = self.unknown.iter().chain(with_mask).cloned().collect();
        Placed::expected(&self.images).without(&unknown)
    }
}
