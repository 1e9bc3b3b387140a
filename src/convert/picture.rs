//! Takes the bytes of a file that shall hold a workflow: of a PNG what stands before its pixels, however many these are, of
//! everything else all. What the bytes are is told by `source.rs`.

use super::source::PNG;
use super::{Format, Source, read};
use std::io::{self, Read};

/// The bytes before what a chunk holds, its length and its type, and the bytes after it.
const CHUNK_HEAD: u64 = 8;
const CHUNK_SUM: u64 = 4;

/// Reads a file. Where it is too large, one byte more than `most` is returned.
pub fn take(from: &mut dyn Read, most: u64) -> io::Result<Vec<u8>> {
    let mut from = from.take(most.saturating_add(1));
    let mut bytes = Vec::new();
    (&mut from).take(PNG.len() as u64).read_to_end(&mut bytes)?;
    if bytes != PNG {
        from.read_to_end(&mut bytes)?;
        return Ok(bytes);
    }
    loop {
        let mut head = Vec::new();
        (&mut from).take(CHUNK_HEAD).read_to_end(&mut head)?;
        bytes.extend_from_slice(&head);
        let [a, b, c, d, kind @ ..] = head.as_slice() else { return Ok(bytes) };
        if kind.len() < 4 || kind == b"IDAT" || kind == b"IEND" {
            return Ok(bytes);
        }
        let length = u64::from(u32::from_be_bytes([*a, *b, *c, *d]));
        (&mut from).take(length + CHUNK_SUM).read_to_end(&mut bytes)?;
    }
}

/// Says what was taken of a picture; none where the file is the workflow itself.
pub fn taken(source: &Source) -> Option<&'static str> {
    let is_drawn = || matches!(read(&source.text), Ok(Format::Saved(_)));
    source.is_carried.then(|| {
        if is_drawn() {
            "the workflow that the picture carries"
        } else {
            "the graph that made the picture, which it carries"
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    /// A picture of many pixels, its graph before them.
    fn picture(graph: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, 400, 400);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_compression(png::Compression::NoCompression);
        encoder.add_text_chunk("prompt".to_owned(), graph.to_owned()).unwrap();
        encoder.write_header().unwrap().write_image_data(&vec![7; 400 * 400 * 3]).unwrap();
        bytes
    }

    #[test]
    fn of_a_picture_nothing_is_read_but_what_stands_before_its_pixels() {
        let graph = r#"{"1":{"class_type":"A","inputs":{}}}"#;
        let whole = picture(graph);
        let mut from = Cursor::new(&whole);
        let head = take(&mut from, 4096).unwrap();
        assert!(whole.len() > 400_000 && head.len() < 1000 && from.position() == head.len() as u64);
        let source = Source::read(head).unwrap();
        assert_eq!((source.text.as_str(), source.is_carried), (graph, true));
        assert_eq!(taken(&source), Some("the graph that made the picture, which it carries"));
        let drawn = Source::read(take(&mut Cursor::new(picture(r#"{"nodes": [], "links": []}"#)), 4096).unwrap());
        assert_eq!(taken(&drawn.unwrap()), Some("the workflow that the picture carries"));
    }

    #[test]
    fn what_is_too_large_or_cut_off_ends() {
        let whole = picture(&"x".repeat(5000));
        assert_eq!(take(&mut Cursor::new(&whole), 4096).unwrap().len(), 4097);
        for length in 0..60 {
            assert_eq!(take(&mut Cursor::new(&whole[..length]), 4096).unwrap(), whole[..length]);
        }
        let mut long = whole;
        long[8..12].copy_from_slice(&[0xff; 4]);
        assert_eq!(take(&mut Cursor::new(&long), 4096).unwrap().len(), 4097);
        assert_eq!(take(&mut io::repeat(b'{'), 4096).unwrap().len(), 4097);
        let text = take(&mut Cursor::new(b"{}"), 4096).unwrap();
        assert_eq!((text.as_slice(), taken(&Source::read(text.clone()).unwrap())), (&b"{}"[..], None));
    }
}
