//! `GET /view`: a stored file as an HTTP answer, with ranges and entity tags.

use super::files::{self, File, Files, Place, Refusal};
use super::http::{Request, Response};

/// Answers a request for a file.
pub(super) fn view(files: &Files, request: &Request) -> Response {
    let subfolder = request.parameter("subfolder").unwrap_or_default();
    match files.view(request.parameter("filename"), request.parameter("type"), subfolder) {
        Ok((place, file)) => found(&place, file, request),
        Err(Refusal(status)) => Response::empty(status),
    }
}

fn found(place: &Place, file: &File, request: &Request) -> Response {
    let content_type = files::content_type(&place.name);
    let disposition = ("Content-Disposition", format!("filename=\"{}\"", place.name));
    let wants_other_form = request.parameter("preview").is_some() || request.parameter("channel").is_some();
    if wants_other_form {
        // The picture is not encoded anew: a client can only see that there is no entity tag.
        return if content_type.starts_with("image/") {
            let mut response = Response::new(200, content_type, file.bytes.clone());
            response.headers.push(disposition);
            response
        } else {
            Response::crash()
        };
    }
    let tag = format!("\"{:x}-{:x}\"", file.modified.millis(), file.bytes.len());
    let mut response = Response::new(200, content_type, file.bytes.clone());
    response.headers.push(disposition);
    response.headers.push(("Etag", tag.clone()));
    response.headers.push(("Last-Modified", httpdate::fmt_http_date(file.modified.system_time())));
    response.headers.push(("Accept-Ranges", "bytes".to_owned()));
    if request.header("if-none-match") == Some(tag.as_str()) {
        return Response { status: 304, body: bytes::Bytes::new(), ..response };
    }
    let total = file.bytes.len();
    match request.header("range").and_then(|range| byte_range(range, total)) {
        Some((first, last)) => {
            response.headers.push(("Content-Range", format!("bytes {first}-{last}/{total}")));
            Response { status: 206, body: file.bytes.slice(first..=last), ..response }
        }
        None => response,
    }
}

/// Reads `bytes=a-b`, `bytes=a-` and `bytes=-n`; nothing else counts as a range.
fn byte_range(range: &str, total: usize) -> Option<(usize, usize)> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let end = total.checked_sub(1)?;
    let (first, last) = match (first.parse::<usize>().ok(), last.parse::<usize>().ok()) {
        (Some(first), Some(last)) => (first, last.min(end)),
        (Some(first), None) => (first, end),
        (None, Some(count)) => (total.saturating_sub(count), end),
        (None, None) => return None,
    };
    (first <= last).then_some((first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_stay_inside_the_file() {
        assert_eq!(byte_range("bytes=0-9", 77), Some((0, 9)));
        assert_eq!(byte_range("bytes=70-900", 77), Some((70, 76)));
        assert_eq!(byte_range("bytes=-7", 77), Some((70, 76)));
        assert_eq!(byte_range("bytes=80-", 77), None);
        assert_eq!(byte_range("bytes=0-0", 0), None);
    }
}
