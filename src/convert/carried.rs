//! Takes the text of a workflow out of a picture that ComfyUI has saved. No more of it is unfolded than the caller allows; what the
//! text means is left to others.

use super::source::SourceError;
use crate::lenient;
use serde::de::IgnoredAny;
use std::io::Cursor;

/// How often the decoder may count the longest text: twice while a chunk comes in, once when it is read, and once for a second one.
const COUNTED: usize = 4;

/// What the decoder takes besides.
const BESIDES: usize = 1 << 20;

/// Takes the text out of a picture, of at most `most` bytes. Nothing but what stands before its pixels is read.
pub(super) fn carried(bytes: &[u8], most: usize) -> Result<String, SourceError> {
    if let Some(prompt) = find(opened(bytes, most, false)?.info(), "prompt", most)? {
        return Ok(mended(prompt));
    }
    // Perhaps there is one, passed over since its checksum is wrong: nothing stands in for that.
    let strict = opened(bytes, most, true)?;
    find(strict.info(), "workflow", most)?.ok_or(SourceError::CarriesNothing)
}

/// Reads what stands before the pixels. What a picture does not need may be broken, unless `is_strict`.
fn opened(bytes: &[u8], most: usize, is_strict: bool) -> Result<png::Reader<Cursor<&[u8]>>, SourceError> {
    let mut options = png::DecodeOptions::default();
    options.set_skip_ancillary_crc_failures(!is_strict);
    let mut decoder = png::Decoder::new_with_options(Cursor::new(bytes), options);
    decoder.set_limits(png::Limits { bytes: most.saturating_mul(COUNTED).saturating_add(BESIDES) });
    decoder.read_info().map_err(|error| match error {
        png::DecodingError::LimitsExceeded => SourceError::CarriesTooMuch(most),
        png::DecodingError::IoError(_) | png::DecodingError::Format(_) | png::DecodingError::Parameter(_) => {
            SourceError::BrokenPicture(error.to_string())
        }
    })
}

/// Finds a text by its name, however it is written.
fn find(info: &png::Info<'_>, name: &'static str, most: usize) -> Result<Option<String>, SourceError> {
    let folded = |_| SourceError::NotUnfolded { name, most };
    let text = if let Some(plain) = info.uncompressed_latin1_text.iter().find(|chunk| chunk.keyword == name) {
        plain.text.clone()
    } else if let Some(packed) = info.compressed_latin1_text.iter().find(|chunk| chunk.keyword == name) {
        let mut packed = packed.clone();
        packed.decompress_text_with_limit(most).map_err(folded)?;
        packed.get_text().map_err(folded)?
    } else if let Some(utf8) = info.utf8_text.iter().find(|chunk| chunk.keyword == name) {
        let mut utf8 = utf8.clone();
        utf8.decompress_text_with_limit(most).map_err(folded)?;
        utf8.get_text().map_err(folded)?
    } else {
        return Ok(None);
    };
    if text.len() > most { Err(SourceError::CarriesTooMuch(most)) } else { Ok(Some(text)) }
}

/// Python writes `NaN` where ComfyUI noted in `is_changed` that a node is always changed: that is no input, and `null` is as good.
/// Everything else stays as it was, to be told where the text is read.
fn mended(prompt: String) -> String {
    if serde_json::from_str::<IgnoredAny>(&prompt).is_ok() {
        return prompt;
    }
    let (mut mended, mut rest, mut depth) = (String::with_capacity(prompt.len()), prompt.as_str(), 0_usize);
    while let Some((token, after)) = next(rest) {
        mended.push_str(token);
        rest = after;
        depth = depth_after(token, depth);
        // The text, its nodes: in them it is no input.
        if depth != 2 || token != "\"is_changed\"" {
            continue;
        }
        if let Some(noted) = rest.trim_start().strip_prefix(':') {
            let (noted, after) = value(noted);
            // What is no JSON there either is not looked through again and again.
            let Ok(noted) = lenient::parse(noted) else { return prompt };
            mended.extend([":", &noted.to_string()]);
            rest = after;
        }
    }
    mended
}

/// Splits off a text in quotes, or one other letter.
fn next(text: &str) -> Option<(&str, &str)> {
    let first = text.chars().next()?;
    if first != '"' {
        return text.split_at_checked(first.len_utf8());
    }
    let mut is_escaped = false;
    let closes = |(_, letter): &(usize, char)| {
        let closes = *letter == '"' && !is_escaped;
        is_escaped = *letter == '\\' && !is_escaped;
        closes
    };
    let end = text.char_indices().skip(1).find(closes).map_or(text.len(), |(place, _)| place + 1);
    text.split_at_checked(end)
}

fn depth_after(token: &str, depth: usize) -> usize {
    match token {
        "{" | "[" => depth + 1,
        "}" | "]" => depth.saturating_sub(1),
        _ => depth,
    }
}

/// Splits off the value that a member has.
fn value(text: &str) -> (&str, &str) {
    let (mut rest, mut depth) = (text, 0_usize);
    while let Some((token, after)) = next(rest) {
        if depth == 0 && matches!(token, "," | "}" | "]") {
            break;
        }
        depth = depth_after(token, depth);
        rest = after;
    }
    text.split_at(text.len() - rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convert::Source;

    const GRAPH: &str = r#"{"9":{"class_type":"B","inputs":{}},"1":{"class_type":"A","inputs":{}}}"#;

    fn png(write: impl FnOnce(&mut png::Encoder<'_, &mut Vec<u8>>)) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, 1, 1);
        encoder.set_color(png::ColorType::Rgb);
        write(&mut encoder);
        encoder.write_header().unwrap().write_image_data(&[1, 2, 3]).unwrap();
        bytes
    }

    fn plain(name: &str, text: &str) -> Vec<u8> {
        png(|encoder| encoder.add_text_chunk(name.to_owned(), text.to_owned()).unwrap())
    }

    const MOST_CARRIED: usize = 32 << 20;

    fn read(bytes: Vec<u8>) -> Result<String, SourceError> {
        Source::read(bytes).map(|source| source.text)
    }

    #[test]
    fn a_picture_gives_the_graph_that_made_it_however_it_is_written() {
        let both = png(|encoder| {
            encoder.add_text_chunk("workflow".to_owned(), "{\"nodes\": []}".to_owned()).unwrap();
            encoder.add_text_chunk("prompt".to_owned(), GRAPH.to_owned()).unwrap();
        });
        let packed = png(|encoder| encoder.add_ztxt_chunk("prompt".to_owned(), GRAPH.to_owned()).unwrap());
        let utf8 = png(|encoder| encoder.add_itxt_chunk("prompt".to_owned(), GRAPH.to_owned()).unwrap());
        for bytes in [plain("prompt", GRAPH), both, packed, utf8] {
            assert_eq!(Source::read(bytes), Ok(Source { text: GRAPH.to_owned(), is_carried: true }));
        }
        assert_eq!(read(plain("workflow", "{\"nodes\": []}")).unwrap(), "{\"nodes\": []}");
        let changed = r#"{"1":{"class_type":"A","inputs":{},"is_changed":[NaN]}}"#;
        assert_eq!(read(plain("prompt", changed)).unwrap(), changed.replace("NaN", "null"));
    }

    #[test]
    fn a_picture_that_carries_nothing_is_broken_or_unfolds_without_end_is_refused() {
        assert_eq!(read(png(|_| ())), Err(SourceError::CarriesNothing));
        assert_eq!(read(plain("parameters", "a cat")), Err(SourceError::CarriesNothing));
        for length in 8..45 {
            let cut = plain("prompt", GRAPH).into_iter().take(length).collect();
            assert!(matches!(read(cut), Err(SourceError::BrokenPicture(_))), "{length}");
        }
        let many = "0".repeat(MOST_CARRIED + 1);
        let packed = png(|encoder| encoder.add_ztxt_chunk("prompt".to_owned(), many).unwrap());
        assert!(packed.len() < 1 << 20, "{}", packed.len());
        let told = read(packed).unwrap_err().to_string();
        assert!(told.contains("more than 33554432 bytes"), "{told}");
        let mut huge = plain("prompt", GRAPH);
        huge[16..24].copy_from_slice(&[0x7f; 8]);
        assert!(matches!(read(huge), Err(SourceError::BrokenPicture(_))), "a picture of 4 exabytes costs nothing");
    }

    #[test]
    fn text_is_read_up_to_the_limit_however_it_is_written_and_nothing_stands_in_for_it() {
        const MOST: usize = 8 << 20;
        let of = |length: usize, kind: u8| {
            png(|encoder| {
                let (name, text) = ("prompt".to_owned(), format!("\"{}\"", "0".repeat(length - 2)));
                match kind {
                    0 => encoder.add_text_chunk(name, text),
                    1 => encoder.add_ztxt_chunk(name, text),
                    _ => encoder.add_itxt_chunk(name, text),
                }
                .unwrap();
                encoder.add_text_chunk("workflow".to_owned(), "0".repeat(length.min(MOST))).unwrap();
            })
        };
        for kind in 0..3 {
            let read = |length| Source::read_within(of(length, kind), MOST).map(|source| source.text.len());
            assert_eq!(read(MOST), Ok(MOST), "{kind}");
            let told = read(MOST + 1).unwrap_err().to_string();
            assert!(told.contains("more than 8388608 bytes"), "{kind}: {told}");
        }
    }

    #[test]
    fn text_that_is_damaged_is_told_and_the_drawing_does_not_stand_in_for_it() {
        let with = |name: &str, packed: bool, from: &[u8], to: &[u8]| {
            let mut bytes = png(|encoder| {
                if packed {
                    encoder.add_ztxt_chunk(name.to_owned(), GRAPH.to_owned()).unwrap();
                } else {
                    encoder.add_text_chunk(name.to_owned(), GRAPH.to_owned()).unwrap();
                }
                encoder.add_text_chunk("workflow".to_owned(), "{}".to_owned()).unwrap();
            });
            let at = bytes.windows(from.len()).position(|window| window == from).unwrap();
            bytes[at..at + to.len()].copy_from_slice(to);
            bytes
        };
        // The text is inflated only after its checksum was found good: so the chunk's own length is cut, and its sum made anew.
        let mut bytes = with("prompt", true, b"zTXt", b"zTXt");
        let at = bytes.windows(4).position(|window| window == b"zTXt").unwrap();
        let length = u32::from_be_bytes(bytes[at - 4..at].try_into().unwrap()) as usize;
        bytes[at + 4 + 10] ^= 0xff;
        let sum = checksum(&bytes[at..at + 4 + length]);
        bytes[at + 4 + length..at + 8 + length].copy_from_slice(&sum.to_be_bytes());
        let told = read(bytes).unwrap_err().to_string();
        assert!(told.contains("`prompt`") && told.contains("damaged"), "{told}");
        let told = read(with("prompt", false, b"class_type", b"klass_type")).unwrap_err().to_string();
        assert!(told.contains("cannot be read") && told.contains("CRC"), "{told}");
        let mut harmless = png(|encoder| {
            encoder.add_text_chunk("parameters".to_owned(), "a cat".to_owned()).unwrap();
            encoder.add_text_chunk("prompt".to_owned(), GRAPH.to_owned()).unwrap();
        });
        let at = harmless.windows(5).position(|window| window == b"a cat").unwrap();
        harmless[at] = b'b';
        assert_eq!(read(harmless).unwrap(), GRAPH, "what is not needed may be broken");
    }

    fn checksum(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(u32::MAX, |sum, byte| {
            (0..8).fold(sum ^ u32::from(*byte), |sum, _| (sum >> 1) ^ (0xedb8_8320 & (sum & 1).wrapping_neg()))
        })
    }

    #[test]
    fn a_text_that_is_no_json_is_looked_through_once() {
        let many = format!("{{\"1\":{{{}NaN", "\"is_changed\":".repeat(300_000));
        assert_eq!(read(plain("prompt", &many)).unwrap(), many);
    }

    #[test]
    fn only_what_comfyui_noted_of_changes_may_be_no_number() {
        let inputs = r#"{"1":{"class_type":"A","inputs":{"is_changed":[NaN],"x":NaN}}}"#;
        assert_eq!(read(plain("prompt", inputs)).unwrap(), inputs, "it is told where the text is read");
        let both = r#"{"1": {"inputs": {"x": "is_changed", "y": NaN}, "is_changed" : {"a": [-Infinity, "}"]}, "class_type": "A"}}"#;
        let kept =
            r#"{"1": {"inputs": {"x": "is_changed", "y": NaN}, "is_changed":{"a":[null,"}"]}, "class_type": "A"}}"#;
        assert_eq!(read(plain("prompt", both)).unwrap(), kept);
        let twice = r#"{"1":{"class_type":"A","inputs":{"x":1,"x":2}}}"#;
        assert_eq!(read(plain("prompt", twice)).unwrap(), twice, "it is told where the text is read");
    }
}
