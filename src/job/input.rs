//! The images that a job works on: which bytes, of what kind and size. Where they came from is not kept.

use super::BlobId;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// The input images of a job by the canonical name of their parameter.
pub type InputImages = BTreeMap<String, InputImage>;

/// An image whose bytes are safely in the blob folder.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct InputImage {
    /// The SHA-256 of the bytes, by which they are stored.
    pub sha256: BlobId,
    /// The size in bytes.
    pub bytes: u64,
    /// The media type, told by the content.
    pub content_type: String,
    /// How many pixels it is wide, as its header says.
    pub width: u32,
    /// How many pixels it is high.
    pub height: u32,
    /// Which part of it is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mask: Option<InputMask>,
}

/// A mask as it was given, and as ComfyUI takes it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct InputMask {
    /// The SHA-256 of the bytes that were given.
    pub sha256: BlobId,
    /// Their number.
    pub bytes: u64,
    /// A PNG whose alpha channel is the mask, transparent where something is masked; none where what was given is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alpha: Option<(BlobId, u64)>,
}

impl InputImage {
    /// Returns the blobs that the image needs, and how many bytes each has.
    pub fn blobs(&self) -> impl Iterator<Item = (&BlobId, u64)> {
        let mask = self.mask.iter().flat_map(|mask| {
            let alpha = mask.alpha.iter().map(|(blob, bytes)| (blob, *bytes));
            std::iter::once((&mask.sha256, mask.bytes)).chain(alpha)
        });
        std::iter::once((&self.sha256, self.bytes)).chain(mask)
    }

    /// Returns what a name of the image ends with, after the dot.
    pub fn ending(&self) -> &'static str {
        match self.content_type.as_str() {
            "image/jpeg" => "jpg",
            "image/webp" => "webp",
            "image/gif" => "gif",
            _ => "png",
        }
    }
}

impl InputMask {
    /// Returns the PNG whose alpha channel is the mask.
    pub fn for_comfyui(&self) -> &BlobId {
        self.alpha.as_ref().map_or(&self.sha256, |(blob, _)| blob)
    }
}

/// Describes input images as the job object, the webhook and the dry run have them.
pub fn described(images: &InputImages) -> Value {
    let described = images.iter().map(|(parameter, image)| {
        let mut entry = json!({
            "parameter": parameter,
            "sha256": image.sha256,
            "bytes": image.bytes,
            "content_type": image.content_type,
            "width": image.width,
            "height": image.height,
        });
        if let Some(mask) = &image.mask {
            entry["mask"] = json!({ "sha256": mask.sha256, "bytes": mask.bytes });
        }
        entry
    });
    described.collect()
}

/// The name of an upload: `up_` and 32 hex digits of chance. It tells nothing of the content.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct UploadId(String);

/// A text is not the id of an upload.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("it is not the id of an upload: `up_` and 32 hex digits, as POST /uploads answers")]
pub struct UploadIdError;

impl UploadId {
    /// Makes an id of chance.
    pub fn new(random: [u8; 16]) -> Self {
        Self(format!("up_{:032x}", u128::from_be_bytes(random)))
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for UploadId {
    type Err = UploadIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.strip_prefix("up_").unwrap_or_default();
        let is_id = digits.len() == 32 && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if is_id { Ok(Self(text.to_owned())) } else { Err(UploadIdError) }
    }
}

impl fmt::Display for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_back_and_nothing_else_is_one() {
        let id = UploadId::new([7; 16]);
        assert_eq!(id.as_str().parse(), Ok(id.clone()));
        assert_eq!(id.as_str().len(), 35);
        for bad in ["", "up_", "up_0", "../up_", &id.as_str().to_uppercase(), &format!("{id}0"), &format!("{id}\n")] {
            assert_eq!(bad.parse::<UploadId>(), Err(UploadIdError), "{bad}");
        }
    }

    #[test]
    fn an_image_needs_its_bytes_its_mask_and_what_comfyui_takes_for_it() {
        let blob = |letter: &str| BlobId(letter.repeat(64));
        let mask = InputMask { sha256: blob("b"), bytes: 2, alpha: Some((blob("c"), 3)) };
        let image = InputImage {
            sha256: blob("a"),
            bytes: 1,
            content_type: "image/jpeg".into(),
            width: 8,
            height: 9,
            mask: Some(mask),
        };
        let needed: Vec<_> = image.blobs().map(|(blob, bytes)| (blob.clone(), bytes)).collect();
        assert_eq!(needed, [(blob("a"), 1), (blob("b"), 2), (blob("c"), 3)]);
        assert_eq!(image.mask.as_ref().unwrap().for_comfyui(), &blob("c"));
        let text = serde_json::to_string(&image).unwrap();
        assert_eq!(serde_json::from_str::<InputImage>(&text).unwrap(), image);
        let told = described(&InputImages::from([("photo".into(), image)]));
        assert_eq!(told[0]["mask"], json!({ "sha256": "b".repeat(64), "bytes": 2 }));
        assert_eq!(told[0]["parameter"], "photo");
    }
}
