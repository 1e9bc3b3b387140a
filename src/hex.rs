//! Bytes as text: two small hexadecimal digits for each.

/// Returns the bytes in hexadecimal digits.
pub fn of(bytes: impl AsRef<[u8]>) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |half: u8| char::from(DIGITS[usize::from(half & 0xf)]);
    bytes.as_ref().iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_byte_has_two_digits() {
        assert_eq!(super::of([0x00, 0x0f, 0xa0, 0xff]), "000fa0ff");
        assert_eq!(super::of([]), "");
        assert!((0..=u8::MAX).all(|byte| super::of([byte]) == format!("{byte:02x}")));
    }
}
