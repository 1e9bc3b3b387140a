//! The picture files that a simulated server hands out: the same bytes for the same prompt, seed and size.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::dice::Dice;
use super::landscape::Landscape;
use super::palette::{bytes, rgb};

/// What is to be drawn.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Scene {
    /// The text at the foot.
    pub(super) caption: String,
    pub(super) seed: u64,
    /// One colour and nothing else.
    pub(super) plain: Option<u64>,
    /// Negative colours.
    pub(super) inverted: bool,
    pub(super) width: u32,
    pub(super) height: u32,
}

/// What a PNG file holds besides its pixels.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Extras {
    /// Keywords and texts.
    pub(super) texts: Vec<(String, String)>,
    /// The file is filled up to at least this many bytes.
    pub(super) noise: usize,
}

/// How many bytes of noise are rolled.
const FRESH_NOISE: usize = 16 << 20;

/// Returns the scene as a PNG file.
pub(super) fn png(scene: &Scene, extras: &Extras) -> Vec<u8> {
    let mut file = Vec::new();
    // Writing to memory fails only for sizes of zero, which no scene has.
    if let Err(error) = encode(scene, extras, &mut file) {
        tracing::error!(%error, "the simulator cannot draw");
    }
    file
}

/// Returns the scene's pixels, three bytes each, row by row.
pub(super) fn pixels(scene: &Scene) -> Vec<u8> {
    let mut pixels = Vec::new();
    rows(scene, |row| {
        pixels.extend_from_slice(row);
        Ok::<(), ()>(())
    })
    .unwrap_or_default();
    pixels
}

/// Returns a number that is the same for the same text.
pub(super) fn hash_of(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

fn encode(scene: &Scene, extras: &Extras, file: &mut Vec<u8>) -> Result<(), png::EncodingError> {
    let mut encoder = png::Encoder::new(&mut *file, scene.width, scene.height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    // Of the fast ways the one whose work is done in an optimised crate even in debug builds.
    encoder.set_deflate_compression(png::DeflateCompression::Level(1));
    encoder.set_filter(png::Filter::Up);
    for (key, text) in &extras.texts {
        encoder.add_text_chunk(key.clone(), text.clone())?;
    }
    let mut writer = encoder.write_header()?;
    if extras.noise > 0 {
        // A private chunk that every reader skips.
        writer.write_chunk(png::chunk::ChunkType(*b"noIs"), &noise(scene.seed, extras.noise))?;
    }
    let mut image = writer.stream_writer()?;
    rows(scene, |row| std::io::Write::write_all(&mut image, row))?;
    image.finish()
}

fn rows<E>(scene: &Scene, mut take: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
    let (width, height) = (size(scene.width), size(scene.height));
    let mut row = vec![0; width * 3];
    if let Some(plain) = scene.plain {
        let color = bytes(rgb(u32::try_from(plain & 0xff_ff_ff).unwrap_or(0)));
        row.chunks_exact_mut(3).for_each(|pixel| pixel.copy_from_slice(&color));
        invert(&mut row, scene.inverted);
        return (0..height).try_for_each(|_| take(&row));
    }
    let landscape = Landscape::new(&scene.caption, scene.seed ^ hash_of(&scene.caption), width, height);
    (0..height).try_for_each(|y| {
        landscape.paint(y, &mut row);
        invert(&mut row, scene.inverted);
        take(&row)
    })
}

fn invert(row: &mut [u8], wanted: bool) {
    if wanted {
        for value in row {
            *value = 255 - *value;
        }
    }
}

/// Beyond its first [`FRESH_NOISE`] bytes it repeats itself: so much takes long to roll.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut dice = Dice::new(seed);
    let mut noise = Vec::with_capacity(length + 8);
    while noise.len() < length.min(FRESH_NOISE) {
        noise.extend_from_slice(&dice.roll().to_le_bytes());
    }
    while noise.len() < length {
        noise.extend_from_within(..FRESH_NOISE.min(length - noise.len()));
    }
    noise.truncate(length);
    noise
}

fn size(pixels: u32) -> usize {
    usize::try_from(pixels).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scene(caption: &str, seed: u64) -> Scene {
        Scene { caption: caption.to_owned(), seed, width: 96, height: 64, ..Scene::default() }
    }

    fn decoded(file: &[u8]) -> (u32, u32, Vec<u8>) {
        let mut reader = png::Decoder::new(std::io::Cursor::new(file)).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        (info.width, info.height, pixels)
    }

    #[test]
    fn the_same_prompt_and_seed_give_the_same_bytes_and_others_give_others() {
        let draw = |caption, seed| png(&scene(caption, seed), &Extras::default());
        assert_eq!(draw("a lake", 1), draw("a lake", 1));
        assert_ne!(draw("a lake", 1), draw("a lake", 2));
        assert_ne!(draw("a lake", 1), draw("a hill", 1));
    }

    #[test]
    fn a_file_holds_the_pixels_the_texts_and_the_noise() {
        let scene = scene("by the sea", 3);
        let extras = Extras { texts: vec![("prompt".to_owned(), "{}".to_owned())], noise: 5_000 };
        let file = png(&scene, &extras);
        assert!(file.len() > 5_000);
        assert!(file.windows(9).any(|window| window == b"prompt\0{}"));
        assert_eq!(decoded(&file), (96, 64, pixels(&scene)));
    }

    #[test]
    fn a_plain_picture_has_its_colour_and_its_negative_the_opposite() {
        let plain = Scene { plain: Some(0x10_20_30), width: 2, height: 1, ..Scene::default() };
        assert_eq!(pixels(&plain), [0x10, 0x20, 0x30, 0x10, 0x20, 0x30]);
        let negative = Scene { inverted: true, ..plain };
        assert_eq!(pixels(&negative), [0xef, 0xdf, 0xcf, 0xef, 0xdf, 0xcf]);
    }

    #[test]
    fn every_size_can_be_drawn() {
        for (width, height) in [(1, 1), (7, 3), (8, 8), (9, 200), (450, 450)] {
            let scene = Scene { width, height, ..scene("an odd size at night by the sea", 5) };
            let file = png(&scene, &Extras::default());
            assert_eq!((decoded(&file).0, decoded(&file).1), (width, height));
        }
    }
}
