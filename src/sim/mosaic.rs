//! Previews as samplers show them: a JPEG file of coarse squares that clears up step by step.
//!
//! Each square of eight pixels is one number per colour channel (only the first coefficient of the transform), so the
//! whole of JPEG shrinks to one fixed code for differences and one for "nothing follows".

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a preview has at most 64 by 64 squares, its tables a few bytes, and its differences nine bits"
)]

use super::picture::{self, Scene};

const SQUARE: u32 = 8;
/// ComfyUI's previews are at most this large.
const LARGEST: u32 = 512;

/// Returns the preview of a scene after a step.
pub(super) fn jpeg(scene: &Scene, step: u32, steps: u32) -> Vec<u8> {
    let longest = scene.width.max(scene.height);
    let cells = |size: u32| {
        (u64::from(size) * u64::from(LARGEST.min(longest)) / u64::from(longest.max(1))).div_ceil(u64::from(SQUARE))
    };
    let (columns, rows) = (cells(scene.width).max(1) as u32, cells(scene.height).max(1) as u32);
    let small = Scene { caption: scene.caption.clone(), width: columns, height: rows, ..scene.clone() };
    let mut pixels = picture::pixels(&small);
    add_noise(&mut pixels, scene.seed ^ u64::from(step), step, steps);
    encode(&pixels, columns, rows)
}

/// Hides the picture under noise that gives way with every step.
fn add_noise(pixels: &mut [u8], seed: u64, step: u32, steps: u32) {
    let share = u64::from(steps.saturating_sub(step)) * 200 / u64::from(steps.max(1));
    let mut state = seed | 1;
    for value in pixels {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let mixed = (u64::from(*value) * (256 - share) + (state >> 56) * share) >> 8;
        *value = mixed as u8;
    }
}

fn encode(pixels: &[u8], columns: u32, rows: u32) -> Vec<u8> {
    let mut out = vec![0xff, 0xd8];
    segment(&mut out, 0xe0, b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0");
    // One table for all channels; the first coefficient is eight times the mean, so a step of 8 keeps it whole.
    let mut quantisation = [1; 65];
    quantisation[0] = 0;
    quantisation[1] = 8;
    segment(&mut out, 0xdb, &quantisation);
    let [high_rows, low_rows] = ((rows * SQUARE) as u16).to_be_bytes();
    let [high_columns, low_columns] = ((columns * SQUARE) as u16).to_be_bytes();
    let frame = [8, high_rows, low_rows, high_columns, low_columns, 3, 1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0];
    segment(&mut out, 0xc0, &frame);
    segment(&mut out, 0xc4, &code_table(0x00, 4, &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]));
    segment(&mut out, 0xc4, &code_table(0x10, 1, &[0]));
    segment(&mut out, 0xda, &[3, 1, 0, 2, 0, 3, 0, 0, 63, 0]);
    let mut bits = Bits { out, pending: 0, count: 0 };
    let mut before = [0_i32; 3];
    for pixel in pixels.chunks_exact(3) {
        for (channel, value) in luminance(pixel).into_iter().enumerate() {
            let value = value - if channel == 0 { 128 } else { 0 };
            bits.difference(value - before[channel]);
            before[channel] = value;
            // No further coefficients.
            bits.put(0, 1);
        }
    }
    bits.end()
}

/// Returns brightness and the two colour differences.
fn luminance(pixel: &[u8]) -> [i32; 3] {
    let [red, green, blue] = [0, 1, 2].map(|at| i32::from(pixel.get(at).copied().unwrap_or(0)));
    let brightness = (299 * red + 587 * green + 114 * blue) / 1000;
    [brightness, (blue - brightness) * 564 / 1000, (red - brightness) * 713 / 1000]
}

/// A table in which all codes have the same length.
fn code_table(class: u8, length: usize, symbols: &[u8]) -> Vec<u8> {
    let mut table = vec![0; 17];
    table[0] = class;
    table[length] = symbols.len() as u8;
    table.extend(symbols);
    table
}

fn segment(out: &mut Vec<u8>, marker: u8, body: &[u8]) {
    out.extend([0xff, marker]);
    out.extend((body.len() as u16 + 2).to_be_bytes());
    out.extend(body);
}

/// The stream of bits behind the headers.
struct Bits {
    out: Vec<u8>,
    pending: u32,
    count: u32,
}

impl Bits {
    /// Writes a difference: the number of its bits as a code of four, then the bits.
    fn difference(&mut self, value: i32) {
        let size = 32 - value.unsigned_abs().leading_zeros();
        self.put(size, 4);
        let bits = if value < 0 { value - 1 } else { value };
        self.put(bits as u32 & ((1 << size) - 1), size);
    }

    fn put(&mut self, bits: u32, count: u32) {
        self.pending = (self.pending << count) | bits;
        self.count += count;
        while self.count >= 8 {
            self.count -= 8;
            let byte = (self.pending >> self.count) as u8;
            self.out.push(byte);
            if byte == 0xff {
                self.out.push(0);
            }
        }
        self.pending &= (1 << self.count) - 1;
    }

    fn end(mut self) -> Vec<u8> {
        if self.count > 0 {
            let fill = 8 - self.count;
            self.put((1 << fill) - 1, fill);
        }
        self.out.extend([0xff, 0xd9]);
        self.out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn preview(width: u32, height: u32, step: u32) -> Vec<u8> {
        let scene = Scene { caption: "hills".to_owned(), seed: 3, width, height, ..Scene::default() };
        jpeg(&scene, step, 20)
    }

    /// Returns height and width as the frame header has them.
    fn size(file: &[u8]) -> (u16, u16) {
        let at = file.windows(2).position(|window| window == [0xff, 0xc0]).unwrap();
        let word = |at: usize| u16::from_be_bytes([file[at], file[at + 1]]);
        (word(at + 5), word(at + 7))
    }

    #[test]
    fn a_preview_is_a_jpeg_of_at_most_512_pixels() {
        for (width, height, expected) in [(1024, 512, (256, 512)), (64, 96, (96, 64)), (1, 1, (8, 8))] {
            let file = preview(width, height, 20);
            assert!(file.starts_with(&[0xff, 0xd8, 0xff, 0xe0]) && file.ends_with(&[0xff, 0xd9]));
            assert_eq!(size(&file), expected);
        }
    }

    #[test]
    fn the_scan_holds_no_marker() {
        let file = preview(512, 512, 4);
        let at = file.windows(2).position(|window| window == [0xff, 0xda]).unwrap();
        let scan = &file[at + 2..file.len() - 2];
        assert!(scan.windows(2).all(|window| window[0] != 0xff || window[1] == 0));
    }

    #[test]
    fn previews_clear_up() {
        assert_ne!(preview(64, 64, 1), preview(64, 64, 2));
        assert_eq!(preview(64, 64, 2), preview(64, 64, 2));
    }
}
