//! The one thing in Exif data that changes the picture: how it is to be turned.

/// The tag of the orientation, and the type of its value.
const ORIENTATION: u16 = 0x0112;
const SHORT: u16 = 3;

/// More is not read of Exif data: the orientation stands in its first directory.
pub(super) const MOST_READ: u64 = 64 * 1024;

/// How many bytes [`only`] returns.
pub(super) const ONLY_BYTES: u32 = 26;

/// Finds an orientation that turns or mirrors the picture, in Exif data as TIFF has it.
pub(super) fn orientation(exif: &[u8]) -> Option<u8> {
    // What is written in its place is never longer.
    if exif.len() < ONLY_BYTES as usize {
        return None;
    }
    let is_big = match exif.get(..4)? {
        b"MM\0*" => true,
        b"II*\0" => false,
        _ => return None,
    };
    let number = |at: usize| -> Option<u16> {
        let bytes = exif.get(at..at.checked_add(2)?)?.try_into().ok()?;
        Some(if is_big { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
    };
    let (high, low) = if is_big { (number(4)?, number(6)?) } else { (number(6)?, number(4)?) };
    let directory = (usize::from(high) << 16) | usize::from(low);
    for entry in 0..usize::from(number(directory)?) {
        let at = directory.checked_add(2 + entry * 12)?;
        if number(at)? == ORIENTATION && number(at + 2)? == SHORT {
            return u8::try_from(number(at + 8)?).ok().filter(|turned| (2..=8).contains(turned));
        }
    }
    None
}

/// Writes Exif data that says an orientation and nothing else.
pub(super) fn only(orientation: u8) -> [u8; ONLY_BYTES as usize] {
    let mut exif = *b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\0\0\0\0\0\0\0";
    exif[19] = orientation;
    exif
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_orientation_is_found_in_both_orders_of_bytes() {
        assert_eq!(orientation(&only(6)), Some(6));
        assert_eq!(orientation(&only(1)), None, "as it stands");
        assert_eq!(orientation(&only(9)), None);
        let little =
            b"II*\0\x08\0\0\0\x02\0\x10\x01\x02\0\x05\0\0\0\x40\0\0\0\x12\x01\x03\0\x01\0\0\0\x03\0\0\0\0\0\0\0";
        assert_eq!(orientation(little), Some(3));
    }

    #[test]
    fn exif_data_of_any_length_and_kind_is_read_without_harm() {
        let whole = only(6);
        for end in 0..whole.len() {
            let _ = orientation(&whole[..end]);
        }
        assert_eq!(orientation(b"MM\0*\xff\xff\xff\xff\xff\xff"), None);
        assert_eq!(orientation(b"MM\0*\0\0\0\x08\xff\xff\x01\x12"), None);
        assert_eq!(orientation(b"nonsense"), None);
    }
}
