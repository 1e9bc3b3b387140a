//! `POST /upload/image` and `/upload/mask`: takes a multipart body apart and keeps its file.

use bytes::Bytes;

use super::files::{Files, Place, Refusal};
use super::http::{Request, Response};
use super::json::Json;
use super::mask;
use crate::clock::Timestamp;

/// One part of a form.
#[derive(Debug, Default)]
struct Part {
    name: String,
    filename: Option<String>,
    body: Bytes,
}

/// Answers an upload; a mask is kept only if the picture that it belongs to is there.
pub(super) fn answer(files: &mut Files, request: &Request, now: Timestamp, is_mask: bool) -> Response {
    let Some(parts) = parts(request) else { return Response::empty(400) };
    let text = |name: &str| {
        let part = parts.iter().find(|part| part.name == name && part.filename.is_none());
        part.map(|part| String::from_utf8_lossy(&part.body).into_owned())
    };
    let Some(image) = parts.iter().find(|part| part.name == "image") else { return Response::empty(400) };
    let Some(filename) = &image.filename else { return Response::crash() };
    let place = Place {
        folder: text("type").unwrap_or_else(|| "input".to_owned()),
        subfolder: text("subfolder").unwrap_or_default(),
        name: filename.clone(),
    };
    let overwrite = text("overwrite").is_some_and(|flag| flag == "true" || flag == "1");
    let joined = if is_mask {
        let Some(original) = text("original_ref").and_then(|text| Json::parse(text.as_bytes())) else {
            return Response::crash();
        };
        let part = |key: &str| original.get(key).and_then(Json::text);
        let folder = part("type").or(Some("output"));
        let Ok((_, original)) = files.view(part("filename"), folder, part("subfolder").unwrap_or_default()) else {
            return stored(&place);
        };
        let Some(joined) = mask::joined(&original.bytes, &image.body) else { return Response::crash() };
        Some(joined.into())
    } else {
        None
    };
    match files.upload(place, overwrite, &image.body, joined, now) {
        Ok(place) => stored(&place),
        Err(Refusal(500)) => Response::crash(),
        Err(Refusal(status)) => Response::empty(status),
    }
}

fn stored(place: &Place) -> Response {
    Response::json(&Json::object([
        ("name", place.name.as_str().into()),
        ("subfolder", place.subfolder.as_str().into()),
        ("type", place.folder.as_str().into()),
    ]))
}

fn parts(request: &Request) -> Option<Vec<Part>> {
    let kind = request.header("content-type")?;
    let boundary = kind.strip_prefix("multipart/form-data")?.split_once("boundary=")?.1;
    let boundary = boundary.split(';').next()?.trim().trim_matches('"');
    let delimiter = format!("\r\n--{boundary}");
    // The first delimiter has no line break before it, so one is put there.
    let body = [b"\r\n", request.body.as_ref()].concat();
    let mut starts = Vec::new();
    let mut from = 0;
    while let Some(at) = body.get(from..).and_then(|rest| find(rest, delimiter.as_bytes())) {
        starts.push(from + at);
        from += at + delimiter.len();
    }
    let pairs = starts.iter().zip(starts.iter().skip(1));
    Some(pairs.filter_map(|(start, end)| part(body.get(start + delimiter.len()..*end)?)).collect())
}

fn part(bytes: &[u8]) -> Option<Part> {
    let split = find(bytes, b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(bytes.get(..split)?).into_owned();
    let mut part = Part { body: Bytes::copy_from_slice(bytes.get(split + 4..)?), ..Part::default() };
    let disposition = head.split("\r\n").find(|line| line.to_ascii_lowercase().starts_with("content-disposition:"))?;
    part.name = quoted(disposition, " name=\"")?;
    part.filename = quoted(disposition, " filename=\"");
    Some(part)
}

fn quoted(line: &str, key: &str) -> Option<String> {
    let rest = line.split_once(key)?.1;
    rest.split_once('"').map(|(value, _)| value.to_owned())
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}
