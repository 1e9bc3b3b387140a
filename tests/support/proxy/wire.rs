//! As much of HTTP and of the `WebSocket` as the proxy must understand: where a request begins and ends, and where a message
//! of the server begins. Pure. Everything comes out as it went in, byte for byte.

use bytes::{Bytes, BytesMut};

/// Longer heads are not understood; what follows them passes as it is.
const LONGEST_HEAD: usize = 64 * 1024;
/// So much of a message is waited for, to see its type.
const LONGEST_GLANCE: usize = 64;

/// The head of a request.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// Path and query.
    pub(crate) target: String,
    pub(crate) is_websocket: bool,
    /// None: until the connection ends, as far as this proxy can tell.
    body: Option<usize>,
}

impl Request {
    /// Method and target, as in `GET /queue`.
    pub(crate) fn call(&self) -> String {
        format!("{} {}", self.method, self.target)
    }

    /// The value of a parameter in the query.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        let query = self.target.split_once('?')?.1;
        query.split('&').find_map(|pair| pair.split_once('=').filter(|(key, _)| *key == name)).map(|(_, value)| value)
    }

    fn parse(head: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(head).ok()?;
        let mut lines = text.split("\r\n");
        let mut words = lines.next()?.split(' ');
        let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
        let headers: Vec<(String, &str)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim()))
            .collect();
        let header = |name: &str| headers.iter().find(|(known, _)| known == name).map(|(_, value)| *value);
        let is_websocket = header("upgrade").is_some_and(|value| value.eq_ignore_ascii_case("websocket"));
        let is_open_ended = is_websocket || header("transfer-encoding").is_some();
        let length = header("content-length").map_or(Some(0), |value| value.parse().ok());
        Some(Self { method, target, is_websocket, body: if is_open_ended { None } else { length } })
    }
}

/// A piece of what a client sends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Piece {
    Head(Request, Bytes),
    Rest(Bytes),
}

/// Cuts what a client sends into heads and the rest.
#[derive(Debug, Default)]
pub(super) struct Requests {
    buffer: BytesMut,
    state: Within,
}

#[derive(Debug, Default)]
enum Within {
    #[default]
    Head,
    /// So many bytes of the body are to come.
    Body(usize),
    /// Nothing is understood any more.
    Blind,
}

impl Requests {
    pub(super) fn add(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Returns the next piece; none until more has come.
    pub(super) fn next(&mut self) -> Option<Piece> {
        if self.buffer.is_empty() {
            return None;
        }
        match self.state {
            Within::Head => {
                let Some(end) = end_of_head(&self.buffer) else {
                    if self.buffer.len() > LONGEST_HEAD {
                        self.state = Within::Blind;
                        return self.next();
                    }
                    return None;
                };
                let head = self.buffer.split_to(end).freeze();
                let Some(request) = Request::parse(&head) else {
                    self.state = Within::Blind;
                    return Some(Piece::Rest(head));
                };
                self.state = match request.body {
                    Some(0) => Within::Head,
                    Some(length) => Within::Body(length),
                    None => Within::Blind,
                };
                Some(Piece::Head(request, head))
            }
            Within::Body(left) => {
                let part = self.buffer.split_to(left.min(self.buffer.len())).freeze();
                let left = left - part.len();
                self.state = if left == 0 { Within::Head } else { Within::Body(left) };
                Some(Piece::Rest(part))
            }
            Within::Blind => Some(Piece::Rest(self.buffer.split().freeze())),
        }
    }

    /// Returns what was held back, when nothing more comes.
    pub(super) fn rest(&mut self) -> Bytes {
        self.buffer.split().freeze()
    }
}

/// A piece of what a server sends over a WebSocket.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Said {
    /// A message begins with these bytes.
    Message { is_status: bool, bytes: Bytes },
    /// The answer to the upgrade, the rest of a message, or a frame about the connection.
    Other(Bytes),
}

/// Cuts what a server sends after an upgrade into messages.
#[derive(Debug, Default)]
pub(super) struct Messages {
    buffer: BytesMut,
    is_past_head: bool,
    /// So many bytes of a frame are to come.
    left: u64,
}

impl Messages {
    pub(super) fn add(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Returns the next piece; none until more has come.
    pub(super) fn next(&mut self) -> Option<Said> {
        if self.buffer.is_empty() {
            return None;
        }
        if !self.is_past_head {
            let end = end_of_head(&self.buffer)?;
            self.is_past_head = true;
            return Some(Said::Other(self.buffer.split_to(end).freeze()));
        }
        if self.left > 0 {
            return Some(Said::Other(self.part()));
        }
        let (opcode, head, length) = frame(&self.buffer)?;
        let glance = head + usize::try_from(length).unwrap_or(usize::MAX).min(LONGEST_GLANCE);
        if self.buffer.len() < glance {
            return None;
        }
        let is_status = opcode == 1 && is_status(self.buffer.get(head..glance).unwrap_or_default());
        self.left = length + head as u64;
        let bytes = self.part();
        // 1 is text, 2 binary; 0 goes on with a message, and the rest is about the connection.
        Some(if matches!(opcode, 1 | 2) { Said::Message { is_status, bytes } } else { Said::Other(bytes) })
    }

    /// Returns what was held back, when nothing more comes.
    pub(super) fn rest(&mut self) -> Bytes {
        self.buffer.split().freeze()
    }

    fn part(&mut self) -> Bytes {
        let size = usize::try_from(self.left).unwrap_or(usize::MAX).min(self.buffer.len());
        self.left -= size as u64;
        self.buffer.split_to(size).freeze()
    }
}

fn end_of_head(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|start| start + 4)
}

/// Reads the head of an unmasked frame: its opcode, the head's length, the payload's.
fn frame(bytes: &[u8]) -> Option<(u8, usize, u64)> {
    let (first, second) = (*bytes.first()?, *bytes.get(1)?);
    let whole = |from: usize, to: usize| {
        Some(bytes.get(from..to)?.iter().fold(0_u64, |sum, byte| (sum << 8) | u64::from(*byte)))
    };
    let (head, length) = match second & 0x7f {
        126 => (4, whole(2, 4)?),
        127 => (10, whole(2, 10)?),
        short => (2, u64::from(short)),
    };
    Some((first & 0x0f, head, length))
}

/// Says whether a text begins as ComfyUI's report on its queue does, with or without spaces.
fn is_status(payload: &[u8]) -> bool {
    let dense: Vec<u8> = payload.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    dense.starts_with(br#"{"type":"status""#)
}
