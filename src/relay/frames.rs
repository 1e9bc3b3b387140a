//! Frames as backends send them, for listeners that speak ComfyUI's own language.

use crate::job::{JobId, RawFrame, Tenant};
use bytes::{BufMut, Bytes, BytesMut};

/// What the first four bytes of a binary frame say: an image, and one with metadata before it.
const IMAGE: u32 = 1;
const IMAGE_WITH_METADATA: u32 = 4;

/// What follows them in a plain image frame.
const JPEG: u32 = 1;
const PNG: u32 = 2;

/// A frame, and whose it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Framed {
    /// The job that it is about; none where it is about none, such as the length of a backend's queue.
    pub job: Option<JobId>,
    /// Whose that is.
    pub tenant: Option<Tenant>,
    /// The frame.
    pub frame: RawFrame,
}

impl Framed {
    /// Says whether it is an image, of which the next is as good.
    pub(super) fn is_image(&self) -> bool {
        match &self.frame {
            RawFrame::Text(_) => false,
            RawFrame::Binary(bytes) => matches!(head(bytes), Some((IMAGE | IMAGE_WITH_METADATA, _))),
        }
    }
}

/// Returns an image frame as those know it who have not asked for metadata: two big-endian numbers of four bytes, 1 for an image and
/// its format (1 JPEG, 2 PNG), and the image. Any other frame is returned as it is.
pub fn legacy_preview(frame: &Bytes) -> Bytes {
    let Some((IMAGE_WITH_METADATA, rest)) = head(frame) else { return frame.clone() };
    let image = head(rest).and_then(|(length, rest)| rest.get(usize::try_from(length).ok()?..));
    image.map_or_else(|| frame.clone(), |image| plain(is_png(image), image))
}

/// Makes an image frame, with metadata where there is some.
pub fn image_frame(content_type: &str, image: &[u8], metadata: Option<&str>) -> Bytes {
    let Some(metadata) = metadata else { return plain(content_type == "image/png", image) };
    let mut frame = BytesMut::with_capacity(8 + metadata.len() + image.len());
    frame.put_u32(IMAGE_WITH_METADATA);
    frame.put_u32(u32::try_from(metadata.len()).unwrap_or(u32::MAX));
    frame.put_slice(metadata.as_bytes());
    frame.put_slice(image);
    frame.freeze()
}

fn plain(is_png: bool, image: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(8 + image.len());
    frame.put_u32(IMAGE);
    frame.put_u32(if is_png { PNG } else { JPEG });
    frame.put_slice(image);
    frame.freeze()
}

fn head(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<4>()?;
    Some((u32::from_be_bytes(*head), rest))
}

fn is_png(image: &[u8]) -> bool {
    image.starts_with(b"\x89PNG")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_with_metadata_becomes_a_plain_one_and_everything_else_stays() {
        let metadata = r#"{"node_id": "3", "image_type": "image/jpeg"}"#;
        let jpeg = b"\xff\xd8\xff\xe0 and so on";
        let with = image_frame("image/jpeg", jpeg, Some(metadata));
        assert_eq!(&with[..8], [0, 0, 0, 4, 0, 0, 0, u8::try_from(metadata.len()).unwrap()]);
        let legacy = legacy_preview(&with);
        assert_eq!(&legacy[..8], [0, 0, 0, 1, 0, 0, 0, 1]);
        assert_eq!(&legacy[8..], jpeg);
        let png = image_frame("image/png", b"\x89PNG..", Some("{}"));
        assert_eq!(&legacy_preview(&png)[..], b"\0\0\0\x01\0\0\0\x02\x89PNG..");
        assert_eq!(image_frame("image/png", b"\x89PNG..", None), legacy_preview(&png));
        for other in
            [&b""[..], b"\0\0\0\x01\0\0\0\x02x", b"\0\0\0\x03\0\0\0\x01xy", b"\0\0\0\x04\xff\xff\xff\xffx", b"\0\0"]
        {
            let frame = Bytes::copy_from_slice(other);
            assert_eq!(legacy_preview(&frame), frame);
        }
    }

    #[test]
    fn only_images_may_be_left_out() {
        let framed = |frame| Framed { job: None, tenant: None, frame };
        let binary = |bytes: &'static [u8]| framed(RawFrame::Binary(Bytes::from_static(bytes)));
        assert!(binary(b"\0\0\0\x01\0\0\0\x02x").is_image());
        assert!(binary(b"\0\0\0\x04\0\0\0\x02{}x").is_image());
        assert!(!binary(b"\0\0\0\x03\0\0\0\x01xy").is_image());
        assert!(!framed(RawFrame::Text(Bytes::from_static(b"{}"))).is_image());
    }
}
