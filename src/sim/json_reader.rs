//! Reads JSON text as Python's `json.loads` does; what it reads into is `json`'s.

use super::json::{Json, SURROGATE_SHELF};

/// Nesting deeper than this is refused, as Python's recursion limit does.
const DEEPEST: usize = 900;

/// Reads one value and nothing after it.
pub(super) fn read(text: &str) -> Option<Json> {
    let mut reader = Reader { rest: text.chars().peekable(), depth: 0 };
    let value = reader.value()?;
    reader.blanks();
    reader.rest.next().is_none().then_some(value)
}

struct Reader<'a> {
    rest: std::iter::Peekable<std::str::Chars<'a>>,
    depth: usize,
}

impl Reader<'_> {
    fn blanks(&mut self) {
        while self.rest.next_if(|letter| matches!(letter, ' ' | '\t' | '\n' | '\r')).is_some() {}
    }

    fn value(&mut self) -> Option<Json> {
        self.blanks();
        match self.rest.peek()? {
            '{' => self.nested(Self::object),
            '[' => self.nested(Self::list),
            '"' => self.string().map(Json::Text),
            _ => self.word(),
        }
    }

    fn nested(&mut self, read: fn(&mut Self) -> Option<Json>) -> Option<Json> {
        self.rest.next();
        self.depth += 1;
        let value = if self.depth > DEEPEST { None } else { read(self) };
        self.depth -= 1;
        value
    }

    fn object(&mut self) -> Option<Json> {
        let mut object = Json::Object(Vec::new());
        self.blanks();
        if self.rest.next_if_eq(&'}').is_some() {
            return Some(object);
        }
        loop {
            self.blanks();
            let key = self.string()?;
            self.blanks();
            self.rest.next_if_eq(&':')?;
            let value = self.value()?;
            object.set(&key, value);
            self.blanks();
            match self.rest.next()? {
                ',' => {}
                '}' => return Some(object),
                _ => return None,
            }
        }
    }

    fn list(&mut self) -> Option<Json> {
        let mut items = Vec::new();
        self.blanks();
        if self.rest.next_if_eq(&']').is_some() {
            return Some(Json::List(items));
        }
        loop {
            items.push(self.value()?);
            self.blanks();
            match self.rest.next()? {
                ',' => {}
                ']' => return Some(Json::List(items)),
                _ => return None,
            }
        }
    }

    fn word(&mut self) -> Option<Json> {
        let mut word = String::new();
        while let Some(letter) = self.rest.next_if(|letter| letter.is_ascii_alphanumeric() || "+-.".contains(*letter)) {
            word.push(letter);
        }
        match word.as_str() {
            "null" => Some(Json::Null),
            "true" => Some(Json::Bool(true)),
            "false" => Some(Json::Bool(false)),
            "NaN" | "Infinity" | "-Infinity" => Some(Json::Number(word)),
            _ => number(&word),
        }
    }

    fn string(&mut self) -> Option<String> {
        self.rest.next_if_eq(&'"')?;
        let mut out = String::new();
        loop {
            match self.rest.next()? {
                '"' => return Some(out),
                '\\' => self.escape(&mut out)?,
                letter if letter < ' ' => return None,
                letter => out.push(letter),
            }
        }
    }

    fn escape(&mut self, out: &mut String) -> Option<()> {
        let letter = match self.rest.next()? {
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'b' => '\u{8}',
            'f' => '\u{c}',
            letter @ ('"' | '\\' | '/') => letter,
            'u' => {
                let unit = self.hex()?;
                return self.utf16(unit, out);
            }
            _ => return None,
        };
        out.push(letter);
        Some(())
    }

    fn utf16(&mut self, unit: u32, out: &mut String) -> Option<()> {
        if !(0xd800..0xdc00).contains(&unit) {
            out.push(char::from_u32(unit).or_else(|| char::from_u32(unit + SURROGATE_SHELF))?);
            return Some(());
        }
        let mut ahead = self.rest.clone();
        if ahead.next() == Some('\\') && ahead.next() == Some('u') {
            let mut fork = Reader { rest: ahead, depth: 0 };
            if let Some(low @ 0xdc00..0xe000) = fork.hex() {
                self.rest = fork.rest;
                out.push(char::from_u32(0x1_0000 + ((unit - 0xd800) << 10) + (low - 0xdc00))?);
                return Some(());
            }
        }
        out.push(char::from_u32(unit + SURROGATE_SHELF)?);
        Some(())
    }

    fn hex(&mut self) -> Option<u32> {
        (0..4).try_fold(0, |sum, _| Some(sum * 16 + self.rest.next()?.to_digit(16)?))
    }
}

fn number(word: &str) -> Option<Json> {
    let digits = word.strip_prefix('-').unwrap_or(word);
    let has_start = digits.starts_with(|letter: char| letter.is_ascii_digit());
    let has_idle_zero =
        digits.len() > 1 && digits.starts_with('0') && !digits.starts_with("0.") && !digits.starts_with("0e");
    if !has_start || has_idle_zero || digits.ends_with('.') {
        return None;
    }
    if digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return Some(Json::Number(if digits == "0" { digits } else { word }.to_owned()));
    }
    let is_float = digits.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    is_float.then(|| word.parse().ok().map(Json::float)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_python_refuses_is_refused() {
        for input in ["", "{", "{\"a\":}", "[1,]", "01", "1.", "nul", "\"\n\"", "{} x", "--1"] {
            assert_eq!(read(input), None, "{input}");
        }
        assert_eq!(read(&"[".repeat(100_000)), None);
    }
}
