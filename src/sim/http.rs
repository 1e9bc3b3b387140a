//! As much of HTTP/1.1 as a ComfyUI stand-in needs: reads requests and writes answers, whole bodies only.
//!
//! It is hand-made so that a test can end a connection anywhere and so that it shares nothing with the gateway's stack.

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::json::Json;

const LONGEST_HEAD: usize = 64 * 1024;
/// ComfyUI's `--max-upload-size` by default.
pub(super) const LARGEST_BODY: usize = 104_857_600;

/// A request.
#[derive(Clone, Debug, Default)]
pub(super) struct Request {
    pub(super) method: String,
    /// The path as sent, still percent-encoded.
    pub(super) path: String,
    pub(super) query: Vec<(String, String)>,
    headers: Vec<(String, String)>,
    pub(super) body: Bytes,
    /// The body was larger than the server takes.
    pub(super) too_large: bool,
}

/// An answer.
#[derive(Clone, Debug)]
pub(super) struct Response {
    pub(super) status: u16,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Bytes,
}

impl Request {
    /// Returns a header; `name` is in small letters.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Returns a query parameter.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Returns whether the client asks for a WebSocket.
    pub(super) fn is_upgrade(&self) -> bool {
        self.header("upgrade").is_some_and(|value| value.eq_ignore_ascii_case("websocket"))
    }

    /// Returns whether the connection ends after the answer.
    pub(super) fn closes(&self) -> bool {
        self.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }
}

impl Response {
    /// An answer without a body.
    pub(super) fn empty(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Bytes::new() }
    }

    /// An answer with a body.
    pub(super) fn new(status: u16, content_type: &str, body: impl Into<Bytes>) -> Self {
        Self { status, headers: vec![("Content-Type", content_type.to_owned())], body: body.into() }
    }

    /// An answer in JSON.
    pub(super) fn json(value: &Json) -> Self {
        Self::json_text(value.to_string())
    }

    /// An answer in JSON that is already written.
    pub(super) fn json_text(text: String) -> Self {
        Self::new(200, "application/json; charset=utf-8", text)
    }

    /// What Python's aiohttp answers when a handler raises.
    pub(super) fn crash() -> Self {
        let text = "500 Internal Server Error\n\nServer got itself in trouble";
        Self::new(500, "text/plain; charset=utf-8", text)
    }
}

/// Reads one request, or nothing if the client has gone; `buffer` keeps what came after it.
pub(super) async fn read<S>(stream: &mut S, buffer: &mut BytesMut) -> io::Result<Option<Request>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let head = loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = buffer.split_to(end);
            buffer.advance(4);
            break head;
        }
        if buffer.len() > LONGEST_HEAD || stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    };
    let Some(mut request) = parse_head(&String::from_utf8_lossy(&head)) else { return Ok(None) };
    if request.header("expect").is_some_and(|value| value.eq_ignore_ascii_case("100-continue")) {
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
    }
    let is_chunked = request.header("transfer-encoding").is_some_and(|value| value.contains("chunked"));
    let length = request.header("content-length").and_then(|value| value.parse().ok()).unwrap_or(0);
    if length > LARGEST_BODY {
        request.too_large = true;
    } else if is_chunked {
        request.body = read_chunks(stream, buffer).await?;
    } else {
        fill(stream, buffer, length).await?;
        request.body = buffer.split_to(length).freeze();
    }
    Ok(Some(request))
}

/// Writes an answer; the body is left out after a `HEAD`.
pub(super) async fn write<S>(stream: &mut S, response: &Response, with_body: bool) -> io::Result<()>
where
    S: AsyncWrite + Unpin,
{
    let mut out = format!("HTTP/1.1 {} {}\r\n", response.status, reason(response.status));
    let mut headers = response.headers.clone();
    let is_measured = headers.iter().any(|(name, _)| *name == "Content-Length");
    if !matches!(response.status, 101 | 304) && !is_measured {
        headers.push(("Content-Length", response.body.len().to_string()));
    }
    for (name, value) in &headers {
        for part in [name, ": ", value, "\r\n"] {
            out.push_str(part);
        }
    }
    out.push_str("Server: comfygate-sim\r\n\r\n");
    let mut out = out.into_bytes();
    if with_body && response.status != 304 {
        out.extend(&response.body);
    }
    stream.write_all(&out).await?;
    stream.flush().await
}

/// Undoes percent-encoding; what is not UTF-8 afterwards is replaced.
pub(super) fn decoded(text: &str) -> String {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        let mut ahead = bytes.clone();
        let pair = (byte == b'%').then(|| Some((hex(ahead.next()?)?, hex(ahead.next()?)?))).flatten();
        out.push(pair.map_or(byte, |(high, low)| high * 16 + low));
        if pair.is_some() {
            bytes = ahead;
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

fn parse_head(head: &str) -> Option<Request> {
    let mut lines = head.split("\r\n");
    let mut words = lines.next()?.split(' ');
    let (method, target) = (words.next()?, words.next()?);
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let headers = lines.filter_map(|line| line.split_once(':'));
    Some(Request {
        method: method.to_owned(),
        path: path.to_owned(),
        query: url::form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
        headers: headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect(),
        ..Request::default()
    })
}

async fn fill<S: AsyncRead + Unpin>(stream: &mut S, buffer: &mut BytesMut, length: usize) -> io::Result<()> {
    while buffer.len() < length {
        if stream.read_buf(buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(())
}

async fn read_chunks<S: AsyncRead + Unpin>(stream: &mut S, buffer: &mut BytesMut) -> io::Result<Bytes> {
    let mut body = BytesMut::new();
    loop {
        let line = read_line(stream, buffer).await?;
        let digits = line.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(digits, 16).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
        if body.len() + size > LARGEST_BODY {
            return Err(io::ErrorKind::InvalidData.into());
        }
        fill(stream, buffer, size + 2).await?;
        body.extend_from_slice(&buffer.split_to(size));
        buffer.advance(2);
        if size == 0 {
            return Ok(body.freeze());
        }
    }
}

async fn read_line<S: AsyncRead + Unpin>(stream: &mut S, buffer: &mut BytesMut) -> io::Result<String> {
    loop {
        if let Some(end) = buffer.windows(2).position(|window| window == b"\r\n") {
            let line = String::from_utf8_lossy(&buffer.split_to(end)).into_owned();
            buffer.advance(2);
            return Ok(line);
        }
        fill(stream, buffer, buffer.len() + 1).await?;
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        101 => "Switching Protocols",
        200 => "OK",
        206 => "Partial Content",
        304 => "Not Modified",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        413 => "Request Entity Too Large",
        416 => "Requested Range Not Satisfiable",
        500 => "Internal Server Error",
        _ => "Answer",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn request(bytes: &[u8]) -> Option<Request> {
        let (mut near, mut far) = tokio::io::duplex(1 << 16);
        far.write_all(bytes).await.unwrap();
        drop(far);
        read(&mut near, &mut BytesMut::new()).await.unwrap()
    }

    #[tokio::test]
    async fn bodies_come_with_a_length_or_in_chunks() {
        let plain = request(b"POST /prompt?a=b%20c HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}rest").await.unwrap();
        assert_eq!((plain.body.as_ref(), plain.parameter("a")), (&b"{}"[..], Some("b c")));
        let chunks = b"POST /p HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n3;x\r\ncde\r\n0\r\n\r\n";
        assert_eq!(request(chunks).await.unwrap().body.as_ref(), b"abcde");
        assert!(request(b"").await.is_none());
    }

    #[test]
    fn percent_signs_that_encode_nothing_stay() {
        assert_eq!(decoded("a%2Fb%C3%A9%zz%"), "a/b\u{e9}%zz%");
    }
}
