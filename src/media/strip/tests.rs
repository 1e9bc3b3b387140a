//! What each format loses and keeps, with files that ComfyUI's own nodes have written; and that no file, however it is built, does
//! harm.

use super::*;
use image_webp::{ColorType, WebPDecoder, WebPEncoder};
use jpeg_encoder::Encoder;
use proptest::prelude::*;
use std::io::Cursor;

/// Files of ComfyUI; each holds the graph of its prompt.
const FILES: [(&str, &[u8]); 7] = [
    ("image.png", include_bytes!("../../../tests/fixtures/media/image.png")),
    ("animation.png", include_bytes!("../../../tests/fixtures/media/animation.png")),
    ("animation.webp", include_bytes!("../../../tests/fixtures/media/animation.webp")),
    ("video.mp4", include_bytes!("../../../tests/fixtures/media/video.mp4")),
    ("video.webm", include_bytes!("../../../tests/fixtures/media/video.webm")),
    ("audio.flac", include_bytes!("../../../tests/fixtures/media/audio.flac")),
    ("audio.mp3", include_bytes!("../../../tests/fixtures/media/audio.mp3")),
];

/// Every graph has it.
const GRAPH: &[u8] = b"class_type";

#[test]
fn every_file_of_comfyui_loses_the_graph_and_stays_clean_the_second_time() {
    for (name, file) in FILES {
        assert!(holds(file, GRAPH), "{name} has no graph to begin with");
        let clean = clean(file);
        assert!(!holds(&clean, GRAPH) && !holds(&clean, b"EmptyImage") && !holds(&clean, b"EmptyAudio"), "{name}");
        assert!(clean.len() <= file.len(), "{name}");
        assert_eq!(self::clean(&clean), clean, "{name}");
    }
}

#[test]
fn a_png_keeps_its_pixels_and_every_chunk_of_its_content() {
    for name in ["image.png", "animation.png"] {
        let (file, clean) = (file(name), clean(file(name)));
        assert_eq!(pixels(&clean), pixels(file), "{name}");
        let kept: Vec<_> = chunks(file).into_iter().filter(|(kind, _)| !matches!(kind, b"tEXt" | b"comf")).collect();
        assert_eq!(chunks(&clean), kept, "{name}");
    }
}

#[test]
fn what_a_png_says_besides_goes_whatever_it_is_called_and_what_stands_behind_its_end_too() {
    let (head, rest) = file("image.png").split_at(33);
    let secrets = [b"tEXt", b"zTXt", b"iTXt", b"tIME", b"prIv", b"caBX", b"eXIf"].map(|kind| chunk(kind, b"a\0secret"));
    let colours = [b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"cICP"].map(|kind| chunk(kind, b"kept"));
    let content = [head, &colours.concat(), &clean(file("image.png"))[33..]].concat();
    let file = [head, &secrets.concat(), &colours.concat(), rest, b"a secret"].concat();
    assert_eq!(clean(&file), content);
}

#[test]
fn a_picture_that_is_to_be_turned_still_is() {
    let exif = |turned| exif_with_secret(turned);
    let (head, rest) = file("image.png").split_at(33);
    for turned in [1, 6] {
        let png = [head, &chunk(b"eXIf", &exif(turned)), rest].concat();
        let expected = (turned == 6).then(|| (*b"eXIf", exif::only(6).to_vec()));
        let found = chunks(&clean(&png)).into_iter().find(|(kind, _)| kind == b"eXIf");
        assert_eq!(found, expected);

        let jpeg =
            jpeg(|encoder| encoder.add_app_segment(1, [b"Exif\0\0".as_slice(), &exif(turned)].concat()).unwrap());
        let cleaned = clean(&jpeg);
        assert_eq!(holds(&cleaned, &exif::only(6)), turned == 6);
        assert!(!holds(&cleaned, b"secret"));

        let mut webp = Vec::new();
        let mut encoder = WebPEncoder::new(&mut webp);
        encoder.set_exif_metadata(exif(turned));
        encoder.encode(&[5; 48], 4, 4, ColorType::Rgb8).unwrap();
        let expected = (turned == 6).then(|| exif::only(6).to_vec());
        let cleaned = clean(&webp);
        assert_eq!(WebPDecoder::new(Cursor::new(&cleaned)).unwrap().exif_metadata().unwrap(), expected);
    }
}

#[test]
fn a_jpeg_without_what_was_added_is_the_very_file_that_it_was_before() {
    let plain = jpeg(|encoder| encoder.add_icc_profile(&[9; 500]).unwrap());
    let secret = jpeg(|encoder| {
        encoder.add_app_segment(1, b"Exif\0\0II*\0secret".to_vec()).unwrap();
        encoder.add_app_segment(1, b"http://ns.adobe.com/xap/1.0/\0secret".to_vec()).unwrap();
        encoder.add_app_segment(2, b"MPF\0secret".to_vec()).unwrap();
        encoder.add_app_segment(13, b"Photoshop 3.0\0secret".to_vec()).unwrap();
        encoder.add_icc_profile(&[9; 500]).unwrap();
    });
    let (start, rest) = secret.split_at(2);
    let file = [start, b"\xff\xfe\0\x08secret\xff\xff\xef\0\x08secret", rest, b"behind its end"].concat();
    assert!(holds(&plain, &[9; 500]));
    assert_eq!(clean(&file), plain);
    let progressive = |encoder: &mut Encoder<&mut Vec<u8>>| {
        encoder.set_progressive(true);
        encoder.set_restart_interval(2);
    };
    assert_eq!(clean(&jpeg(progressive)), jpeg(progressive), "all its scans stay");
}

#[test]
fn a_webp_keeps_its_pixels_and_its_colour_profile() {
    let mut file = Vec::new();
    let mut encoder = WebPEncoder::new(&mut file);
    encoder.set_icc_profile(vec![9; 333]);
    encoder.set_exif_metadata(b"MM\0*secret".to_vec());
    encoder.set_xmp_metadata(b"<x>secret</x>".to_vec());
    let pixels: Vec<u8> = (0..4 * 7 * 5).collect();
    encoder.encode(&pixels, 7, 5, ColorType::Rgba8).unwrap();
    let cleaned = clean(&[file.as_slice(), b"behind its end"].concat());
    assert!(!holds(&cleaned, b"secret") && !holds(&cleaned, b"behind"));
    let mut webp = WebPDecoder::new(Cursor::new(&cleaned)).unwrap();
    let mut found = vec![0; webp.output_buffer_size().unwrap()];
    webp.read_image(&mut found).unwrap();
    assert_eq!((found, webp.icc_profile().unwrap()), (pixels, Some(vec![9; 333])));
    assert_eq!((webp.exif_metadata().unwrap(), webp.xmp_metadata().unwrap()), (None, None));
    assert!(WebPDecoder::new(Cursor::new(clean(self::file("animation.webp")))).is_ok());
}

#[test]
fn a_sound_keeps_its_frames() {
    let (flac, cleaned) = (file("audio.flac"), clean(file("audio.flac")));
    assert_eq!(&cleaned[..4], b"fLaC");
    assert_eq!(&cleaned[4..8], [0x80, 0, 0, 34], "one block, the last one");
    assert_eq!(cleaned[8..42], flac[8..42]);
    assert!(flac.ends_with(&cleaned[42..]) && cleaned[42..44] == [0xff, 0xf8], "the frames, from the first one on");
    assert_eq!(clean(&[b"ID3\x04\0\0\0\0\0\x06secret".as_slice(), flac].concat()), cleaned);

    let (mp3, cleaned) = (file("audio.mp3"), clean(file("audio.mp3")));
    assert!(mp3.ends_with(&cleaned) && is_frame(&cleaned));
    let v1 = [b"TAG".as_slice(), &[b's'; 125]].concat();
    let ape_foot = |size: u32| {
        [b"APETAGEX\xd0\x07\0\0".as_slice(), &size.to_le_bytes(), &[1, 0, 0, 0, 0, 0, 0, 0x80], &[0; 8]].concat()
    };
    let ape = [&ape_foot(38), b"secret".as_slice(), &ape_foot(38)].concat();
    let with_foot = b"ID3\x04\0\x10\0\0\0\x06secret3DI\x04\0\x10\0\0\0\x06".as_slice();
    assert_eq!(clean(&[with_foot, mp3, with_foot, &ape, &v1].concat()), cleaned);
    assert_eq!(clean(&[mp3, ape.as_slice(), &v1].concat()), cleaned);
    assert_eq!(clean(&[cleaned.as_slice(), &v1].concat()), cleaned, "without a tag before it, too");
}

#[test]
fn nothing_moves_in_a_video() {
    for (name, word) in [("video.mp4", b"udta".as_slice()), ("video.webm", b"ENCODER")] {
        let (file, clean) = (file(name), clean(file(name)));
        assert_eq!(clean.len(), file.len(), "{name}");
        let changed: Vec<usize> = (0..file.len()).filter(|place| file[*place] != clean[*place]).collect();
        let metadata = file.windows(word.len()).position(|part| part == word).unwrap();
        let (first, last) = (changed[0], changed[changed.len() - 1]);
        assert!(first <= metadata && metadata < last, "{name}: {first} to {last}, metadata at {metadata}");
        assert!(!holds(&clean, word), "{name}");
    }
    // The frames are where the tables say.
    let (file, clean) = (file("video.mp4"), clean(file("video.mp4")));
    assert_eq!(clean[..1518], file[..1518]);
    assert_eq!(&clean[1518..1526], [&485_u32.to_be_bytes()[..], b"free"].concat());
    assert!(clean[1526..].iter().all(|byte| *byte == 0));
}

#[test]
fn a_video_in_fragments_and_one_with_long_sizes_lose_their_metadata_too() {
    let mp4 = [
        mp4_box(b"ftyp", b"isom\0\0\0\0"),
        mp4_box(b"moov", &[mp4_box(b"trak", &mp4_box(b"udta", b"secret")), mp4_box(b"meta", b"secret")].concat()),
        mp4_box(b"moof", &mp4_box(b"traf", &mp4_box(b"uuid", b"secret"))),
        [b"\0\0\0\x01free\0\0\0\0\0\0\0\x16secret".as_slice()].concat(),
        [b"\0\0\0\x01mdat\0\0\0\0\0\0\0\x15frame".as_slice()].concat(),
        b"\0\0\0\0uuidsecret".to_vec(),
    ]
    .concat();
    let cleaned = clean(&mp4);
    assert_eq!(cleaned.len(), mp4.len());
    assert!(!holds(&cleaned, b"secret") && holds(&cleaned, b"frame"));
    let live = b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67\x01\xff\xff\xff\xff\xff\xff\xff\
        \x15\x49\xa9\x66\x8e\xbf\x84sums\x7b\xa9\x85title\
        \x1f\x43\xb6\x75\x01\xff\xff\xff\xff\xff\xff\xff\xa3\x85frame\x12\x54\xc3\x67\x86secret\xec\x84left";
    let cleaned = clean(live);
    assert_eq!(cleaned.len(), live.len());
    for word in [b"sums".as_slice(), b"title", b"secret", b"left"] {
        assert!(!holds(&cleaned, word), "{cleaned:x?}");
    }
    assert!(holds(&cleaned, b"frame"));
}

#[test]
fn pictures_that_begin_like_a_video_are_not_taken_for_one() {
    for brand in [b"avif\0\0\0\0", b"heic\0\0\0\0"] {
        let file = [mp4_box(b"ftyp", brand), mp4_box(b"meta", b"what it is made of"), mp4_box(b"moov", b"")].concat();
        assert_eq!(stripped(&file).0, Stripped::Unknown);
    }
}

#[test]
fn comments_of_opus_and_vorbis_say_nothing_any_more_and_every_checksum_is_right() {
    for (head, tags, rest) in [
        (b"OpusHead\x01\x02".as_slice(), b"OpusTags".as_slice(), b"".as_slice()),
        (b"\x01vorbis\0\0", b"\x03vorbis", b"\x05vorbis setup"),
    ] {
        // Comments over three pages, as large graphs need them, with the next packet behind them on the last one.
        let comments = [tags, &b"prompt={\"1\": {\"class_type\": \"secret\"}}".repeat(4_000)].concat();
        let file = ogg(&[&[head], &[&comments, rest], &[b"sound"]]);
        assert!(file.len() > 140_000 && holds(&file, b"secret"));
        let cleaned = clean(&file);
        assert_eq!(cleaned.len(), file.len());
        assert!(
            !holds(&cleaned, b"secret") && holds(&cleaned, head) && holds(&cleaned, b"sound") && holds(&cleaned, rest)
        );
        assert!(pages(&cleaned).iter().all(|page| has_right_checksum(page)));
        assert!(pages(&file).iter().all(|page| has_right_checksum(page)));
        let at = cleaned.windows(tags.len()).position(|part| part == tags).unwrap() + tags.len();
        assert_eq!(cleaned[at..at + 8], [0; 8], "no vendor and no comments");
    }
}

#[test]
fn a_file_of_another_kind_is_told_apart() {
    for file in [
        b"".as_slice(),
        b"x",
        b"GIF89a and more",
        b"%PDF-1.7",
        b"RIFF\x04\0\0\0WAVE",
        b"{\"a\": 1}        ",
        b"OggS\0\x02\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\x01\x06Speex ",
        b"ID3\x04\0\0\0\0\0\0nothing known",
        &[0; 100],
    ] {
        assert_eq!(stripped(file).0, Stripped::Unknown, "{file:?}");
    }
}

#[test]
fn a_file_that_was_cut_is_not_called_clean() {
    // Of a sound nobody can tell: its frames may end anywhere.
    for (name, file) in FILES.iter().filter(|(name, _)| !name.starts_with("audio")) {
        for end in 12..file.len() {
            let (said, _) = stripped(&file[..end]);
            assert!(matches!(said, Stripped::Malformed(_)), "{name} up to {end}: {said:?}");
        }
    }
    let whole = jpeg(|_| {});
    for end in 3..whole.len() {
        assert!(matches!(stripped(&whole[..end]).0, Stripped::Malformed(_)), "JPEG up to {end}");
    }
}

#[test]
fn lengths_beyond_all_bounds_are_held_against_what_is_left() {
    let deep =
        (0..2_000).fold(Vec::new(), |inner, _| if inner.len() < 60_000 { mp4_box(b"trak", &inner) } else { inner });
    for (what, file) in [
        ("PNG", [file("image.png")[..33].to_vec(), b"\xff\xff\xff\xfftEXt".to_vec()].concat()),
        ("PNG", [file("image.png")[..33].to_vec(), b"\x7f\xff\xff\xfftEXt".to_vec()].concat()),
        ("PNG", [file("image.png")[..33].to_vec(), b"\x00\x00\xff\xffeXIf".to_vec()].concat()),
        ("JPEG", b"\xff\xd8\xff\xe1\0\0".to_vec()),
        ("JPEG", b"\xff\xd8\xff\xe1\0\x01".to_vec()),
        ("JPEG", b"\xff\xd8\xff\xe1\xff\xffExif".to_vec()),
        ("JPEG", [b"\xff\xd8".to_vec(), vec![0xff; 10_000]].concat()),
        ("WebP", b"RIFF\xff\xff\xff\xffWEBPVP8L\0\0\0\0".to_vec()),
        ("WebP", b"RIFF\x0c\0\0\0WEBPEXIF\xff\xff\xff\xff".to_vec()),
        ("WebP", b"RIFF\x00\0\0\0WEBPEXIF".to_vec()),
        ("WebP", b"RIFF\x04\0\0\0WEBP".to_vec()),
        ("FLAC", b"fLaC\x00\xff\xff\xff".to_vec()),
        ("FLAC", b"fLaC\x04\0\0\0".to_vec()),
        ("ID3", b"ID3\x04\0\0\x7f\x7f\x7f\x7f".to_vec()),
        ("ID3", b"ID3\x04\0\0\xff\xff\xff\xff".to_vec()),
        ("MP4", b"\0\0\0\x0cftypisom\0\0\0\x01moov\xff\xff\xff\xff\xff\xff\xff\xff".to_vec()),
        ("MP4", b"\0\0\0\x0cftypisom\0\0\0\x01moov\0\0\0\0\0\0\0\x01".to_vec()),
        ("MP4", b"\0\0\0\x0cftypisom\0\0\0\x04moov".to_vec()),
        ("MP4", b"\0\0\0\x0cftypisom\0\0\0\x09moov\0".to_vec()),
        ("MP4", [mp4_box(b"ftyp", b"isom"), mp4_box(b"moov", &deep)].concat()),
        ("Matroska", b"\x1a\x45\xdf\xa3\x01\xff\xff\xff\xff\xff\xff\xfe".to_vec()),
        ("Matroska", b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67\xff\x12\x54\xc3\x67\xff".to_vec()),
        ("Matroska", b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67\xff\x00\x00".to_vec()),
        ("Matroska", b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67\xff\xec\x00".to_vec()),
        ("Ogg", ogg(&[&[b"OpusHead"], &[b"OpusTags"]])),
        ("Ogg", ogg(&[&[b"OpusHead"], &[b"something else entirely"]])),
        ("Ogg", ogg(&[&[b"OpusHead"]])),
        ("Ogg", ogg(&[&[b"OpusHead"]])[..30].to_vec()),
        ("Ogg", (0..20).flat_map(|serial| ogg_page(serial, 2, &[8], b"OpusHead")).collect()),
    ] {
        let (said, written) = stripped(&file);
        assert!(matches!(said, Stripped::Malformed(_)), "{what}: {said:?} {file:x?}");
        assert!(written.len() <= file.len(), "{what}");
    }
}

#[test]
fn many_small_parts_are_walked_one_after_the_other() {
    let empty_blocks = b"\x01\0\0\0".repeat(500_000);
    let flac = [b"fLaC\0\0\0\x22".as_slice(), &[0; 34], &empty_blocks, b"\x81\0\0\0frames"].concat();
    assert_eq!(clean(&flac), [b"fLaC\x80\0\0\x22".as_slice(), &[0; 34], b"frames"].concat());
    let free = mp4_box(b"free", b"").repeat(200_000);
    let mp4 = [mp4_box(b"ftyp", b"isom"), free, mp4_box(b"moov", b"")].concat();
    assert_eq!(clean(&mp4), mp4);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_damage_does_harm(
        which in 0..9_usize,
        hits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in prop::option::of(any::<prop::sample::Index>()),
        behind in prop::collection::vec(any::<u8>(), 0..20),
    ) {
        let mut file = match which {
            7 => jpeg(|encoder| encoder.add_exif_metadata(&exif_with_secret(6)).unwrap()),
            8 => ogg(&[&[b"OpusHead"], &[&[b"OpusTags".as_slice(), &[9; 600]].concat()], &[b"sound"]]),
            which => FILES[which].1.to_vec(),
        };
        for (place, byte) in hits {
            // The heads of files are where the lengths are.
            let span = if byte % 2 == 0 { file.len() } else { file.len().min(64) };
            file[place.index(span)] = byte;
        }
        if let Some(cut) = cut {
            file.truncate(cut.index(file.len()));
        }
        file.extend(behind);
        let (said, written) = stripped(&file);
        prop_assert!(written.len() <= file.len() + 64, "{} of {}", written.len(), file.len());
        if said == Stripped::Clean {
            prop_assert!(written.len() <= file.len());
            let (again, twice) = stripped(&written);
            prop_assert_eq!((again, twice == written), (Stripped::Clean, true));
        }
    }

    #[test]
    fn no_bytes_do_harm(kind in 0..9_usize, rest in prop::collection::vec(any::<u8>(), 0..300)) {
        let starts: [&[u8]; 9] = [
            png::SIGNATURE, b"\xff\xd8\xff", b"RIFF\x80\0\0\0WEBP", b"fLaC", b"\0\0\0\x08ftyp", b"\x1a\x45\xdf\xa3", b"OggS\0\x02",
            b"ID3", b"\xff\xfb\x90",
        ];
        let file = [starts[kind], &rest].concat();
        let (said, written) = stripped(&file);
        prop_assert!(said != Stripped::Clean || written.len() <= file.len());
    }
}

fn file(name: &str) -> &'static [u8] {
    FILES.iter().find(|(known, _)| *known == name).unwrap().1
}

fn stripped(file: &[u8]) -> (Stripped, Vec<u8>) {
    let mut written = Vec::new();
    let said = strip(&mut Cursor::new(file), &mut written).unwrap();
    (said, written)
}

fn clean(file: &[u8]) -> Vec<u8> {
    let (said, written) = stripped(file);
    assert_eq!(said, Stripped::Clean);
    written
}

fn holds(file: &[u8], part: &[u8]) -> bool {
    part.is_empty() || file.windows(part.len()).any(|window| window == part)
}

fn is_frame(file: &[u8]) -> bool {
    mp3::is_frame(file)
}

fn pixels(file: &[u8]) -> Vec<u8> {
    let mut reader = ::png::Decoder::new(Cursor::new(file)).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    reader.next_frame(&mut pixels).unwrap();
    pixels
}

fn chunks(mut file: &[u8]) -> Vec<([u8; 4], Vec<u8>)> {
    let mut chunks = Vec::new();
    file = &file[8..];
    while !file.is_empty() {
        let length = u32::from_be_bytes(file[..4].try_into().unwrap()) as usize;
        chunks.push((file[4..8].try_into().unwrap(), file[8..8 + length].to_vec()));
        file = &file[12 + length..];
    }
    chunks
}

fn chunk(kind: &[u8], data: &[u8]) -> Vec<u8> {
    let length = u32::try_from(data.len()).unwrap().to_be_bytes();
    [length.as_slice(), kind, data, b"-sum"].concat()
}

/// Exif data with an orientation, and with a text that nobody needs.
fn exif_with_secret(turned: u8) -> Vec<u8> {
    let mut exif = b"MM\0*\0\0\0\x08\0\x02\x01\x0f\0\x02\0\0\0\x06\0\0\0\x26".to_vec();
    exif.extend_from_slice(b"\x01\x12\0\x03\0\0\0\x01\0\0\0\0\0\0\0\0secret");
    exif[31] = turned;
    exif
}

fn jpeg(change: impl Fn(&mut Encoder<&mut Vec<u8>>)) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = Encoder::new(&mut file, 90);
    change(&mut encoder);
    let pixels: Vec<u8> = (0..32 * 24 * 3).map(|place: u32| u8::try_from(place * 7 % 256).unwrap()).collect();
    encoder.encode(&pixels, 32, 24, jpeg_encoder::ColorType::Rgb).unwrap();
    file
}

fn mp4_box(kind: &[u8], inner: &[u8]) -> Vec<u8> {
    let size = u32::try_from(inner.len() + 8).unwrap().to_be_bytes();
    [size.as_slice(), kind, inner].concat()
}

/// Writes one stream; each group of packets begins on a page of its own.
fn ogg(groups: &[&[&[u8]]]) -> Vec<u8> {
    let mut file = Vec::new();
    for (number, packets) in groups.iter().enumerate() {
        let (mut lengths, mut body) = (Vec::new(), Vec::new());
        for packet in packets.iter().filter(|packet| !packet.is_empty()) {
            lengths.extend(std::iter::repeat_n(255, packet.len() / 255));
            lengths.push(u8::try_from(packet.len() % 255).unwrap());
            body.extend_from_slice(packet);
        }
        let mut rest = body.as_slice();
        for (place, lengths) in lengths.chunks(255).enumerate() {
            let (now, later) = rest.split_at(lengths.iter().map(|length| usize::from(*length)).sum());
            rest = later;
            let flags = if number == 0 { 2 } else { u8::from(place > 0) };
            file.extend(ogg_page(7, flags, lengths, now));
        }
    }
    file
}

fn ogg_page(serial: u32, flags: u8, lengths: &[u8], body: &[u8]) -> Vec<u8> {
    let mut page = [b"OggS\0", [flags].as_slice(), &[0; 8], &serial.to_le_bytes(), &[0; 8]].concat();
    page.push(u8::try_from(lengths.len()).unwrap());
    page.extend_from_slice(lengths);
    page.extend_from_slice(body);
    let sum = ogg::page_checksum(&page);
    page[22..26].copy_from_slice(&sum.to_le_bytes());
    page
}

fn pages(mut file: &[u8]) -> Vec<Vec<u8>> {
    let mut pages = Vec::new();
    while !file.is_empty() {
        let segments = usize::from(file[26]);
        let body: usize = file[27..27 + segments].iter().map(|length| usize::from(*length)).sum();
        let (page, rest) = file.split_at(27 + segments + body);
        pages.push(page.to_vec());
        file = rest;
    }
    pages
}

fn has_right_checksum(page: &[u8]) -> bool {
    let mut blank = page.to_vec();
    blank[22..26].fill(0);
    ogg::page_checksum(&blank).to_le_bytes() == page[22..26]
}
