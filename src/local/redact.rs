//! Takes secrets out of a line that ComfyUI or one of its nodes wrote, before it is shown or logged: what stands behind the `?` of an
//! address, names and passwords in one, values of names such as `token`, and what looks like a key of a known kind.

/// What a name ends with whose value is nobody's to see; `-` counts as `_`.
const NAMES: [&str; 11] = [
    "token",
    "secret",
    "password",
    "passwd",
    "api_key",
    "apikey",
    "access_key",
    "private_key",
    "authorization",
    "cookie",
    "credentials",
];

/// Which of these names have a value with spaces, commas and semicolons in it: all that follows.
const HEADERS: [&str; 2] = ["authorization", "cookie"];

/// What keys of well-known services begin with.
const KEYS: [&str; 7] = ["hf_", "sk-", "ghp_", "github_pat_", "glpat-", "AKIA", "r8_"];

/// The shortest text that is taken for a key.
const KEY_LENGTH: usize = 20;

/// What is shown instead.
const STARS: &str = "***";

/// Returns the line without what is nobody's to see.
pub fn redact(line: &str) -> String {
    let mut shown = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(letter) = rest.chars().next() {
        let (word, after) = split(rest, is_of_word);
        if word.is_empty() {
            let (one, after) = rest.split_at(letter.len_utf8());
            shown.push_str(one);
            rest = after;
        } else if let Some(after_mark) = after.strip_prefix("://") {
            let (address, after) = split(after_mark, |letter| !ends_address(letter));
            shown.extend([word, "://"]);
            shown.push_str(&without_query(address));
            rest = after;
        } else if let Some((between, after)) = value_of(&shown, word, after) {
            shown.extend([word, between, STARS]);
            rest = after;
        } else {
            shown.push_str(if is_key(word) { STARS } else { word });
            rest = after;
        }
    }
    shown
}

/// Splits off the letters at the beginning that belong.
fn split(text: &str, belongs: impl Fn(char) -> bool) -> (&str, &str) {
    let end = text.find(|letter| !belongs(letter)).unwrap_or(text.len());
    text.split_at(end)
}

fn is_of_word(letter: char) -> bool {
    letter.is_alphanumeric() || matches!(letter, '_' | '-')
}

fn ends_address(letter: char) -> bool {
    letter.is_whitespace() || matches!(letter, '"' | '\'' | '`' | '<' | '>' | ')' | ']' | '}')
}

fn ends_value(letter: char) -> bool {
    ends_address(letter) || matches!(letter, ',' | ';' | '&')
}

/// Finds the value of a name that is secret: what stands between them, and what comes after the value. `before` is what stands
/// before the name.
fn value_of<'a>(before: &str, word: &str, after: &'a str) -> Option<(&'a str, &'a str)> {
    let name = word.to_lowercase().replace('-', "_");
    let is_scheme = name == "bearer";
    if !is_scheme && !NAMES.iter().any(|known| name.ends_with(known)) {
        return None;
    }
    let is_header = HEADERS.iter().any(|known| name.ends_with(known));
    // Python writes a header as a pair too.
    let is_between =
        |letter: char| matches!(letter, ' ' | '=' | ':' | '\\') || is_quote(letter) || is_header && letter == ',';
    let (between, value) = split(after, is_between);
    // Python writes bytes as `b'..'`.
    let (of_bytes, _) = split(value.strip_prefix('b').unwrap_or_default(), |letter| is_quote(letter) || letter == '\\');
    let skipped = between.len() + if of_bytes.is_empty() { 0 } else { 1 + of_bytes.len() };
    let (between, value) = after.split_at_checked(skipped)?;
    let opening = Opening::at_end(between);
    let is_pair = is_header && opening.is_some() && between.contains(',');
    let is_told = is_scheme || is_pair || word.starts_with("--") || between.contains(['=', ':']);
    // The name of a way to show a key belongs to what stands before it.
    let way = ["Bearer ", "bearer ", "Basic ", "basic "].iter().find(|way| value.starts_with(**way));
    let (between, value) = after.split_at_checked(skipped + way.map_or(0, |way| way.len()))?;
    let around = || Opening::at_end(before).filter(|_| is_header && !between.contains(is_quote));
    let (value, after) = match opening.or_else(around) {
        Some(opening) => opening.split(value),
        None if is_header => (value, ""),
        None => plain_value(value),
    };
    (is_told && !between.is_empty() && !value.is_empty()).then_some((between, after))
}

/// Splits off a value that stands in no quotes.
fn plain_value(text: &str) -> (&str, &str) {
    let (value, after) = split(text, |letter| !ends_value(letter));
    // What escapes a quote belongs to it.
    let value = if after.starts_with(is_quote) { value.trim_end_matches('\\') } else { value };
    text.split_at(value.len())
}

fn is_quote(letter: char) -> bool {
    matches!(letter, '"' | '\'')
}

/// A quote that opens, which may be escaped itself, as in JSON within JSON.
struct Opening {
    quote: char,
    escapes: usize,
}

impl Opening {
    fn at_end(text: &str) -> Option<Self> {
        let quote = text.chars().next_back().filter(|letter| is_quote(*letter))?;
        let before = text.strip_suffix(quote)?;
        Some(Self { quote, escapes: before.len() - before.trim_end_matches('\\').len() })
    }

    /// Splits off what stands before the same quote, escaped no more than this one; all where it does not close.
    fn split<'a>(&self, text: &'a str) -> (&'a str, &'a str) {
        let mut escapes = 0;
        for (place, letter) in text.char_indices() {
            if letter == self.quote && escapes <= self.escapes {
                return text.split_at(place - escapes);
            }
            escapes = if letter == '\\' { escapes + 1 } else { 0 };
        }
        (text, "")
    }
}

fn without_query(address: &str) -> String {
    let (plain, rest) = split(address, |letter| !matches!(letter, '?' | '#'));
    let (host, path) = split(plain, |letter| letter != '/');
    let host = host.rsplit_once('@').map_or(host.to_owned(), |(_, host)| format!("{STARS}@{host}"));
    let query = if rest.len() > 1 { format!("?{STARS}") } else { rest.to_owned() };
    host + path + &query
}

fn is_key(word: &str) -> bool {
    let is_long = word.len() >= KEY_LENGTH && word.contains(|letter: char| letter.is_ascii_digit());
    let own = word.strip_prefix("comfyui-").is_some_and(|rest| rest.len() >= KEY_LENGTH && !rest.contains('-'));
    is_long && (own || KEYS.iter().any(|begin| word.starts_with(begin)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_nobodys_to_see_is_taken_out() {
        let cases = [
            ("GET https://a.example/x.bin?token=abc&n=1 failed", "GET https://a.example/x.bin?*** failed"),
            ("(see https://me:hunter2@git.example/x#frag)", "(see https://***@git.example/x?***)"),
            ("token=abc, n=3", "token=***, n=3"),
            ("HF_TOKEN: abc", "HF_TOKEN: ***"),
            ("{'api_key': 'abc', 'n': 3}", "{'api_key': '***', 'n': 3}"),
            (r#"{"accessToken":"abc"}"#, r#"{"accessToken":"***"}"#),
            ("main.py --api-key abc --cpu", "main.py --api-key *** --cpu"),
            ("Authorization: Bearer abc.def-123", "Authorization: Bearer ***"),
            ("authorization: Basic dXNlcjpw", "authorization: Basic ***"),
            ("sent Bearer abc", "sent Bearer ***"),
            ("DB_PASSWORD='a b'", "DB_PASSWORD='***'"),
            (r#"password="a\"b", n=3"#, r#"password="***", n=3"#),
            ("password='never closed, n=3", "password='***"),
            ("{'token': b'abc', 'n': 3}", "{'token': b'***', 'n': 3}"),
            (r#"{"body": "{\"token\": \"abc\", \"n\": 3}"}"#, r#"{"body": "{\"token\": \"***\", \"n\": 3}"}"#),
            (r#"{\"password\": \"a\\\"b\", \"n\": 3}"#, r#"{\"password\": \"***\", \"n\": 3}"#),
            (r#"'{"text": "token=abc\"'"#, r#"'{"text": "token=***\"'"#),
            ("Cookie: a=1; session=abc", "Cookie: ***"),
            ("Set-Cookie: session=abc; Path=/, other=def", "Set-Cookie: ***"),
            ("{'Cookie': 'a=1; session=abc', 'n': 3}", "{'Cookie': '***', 'n': 3}"),
            ("[(b'cookie', b'a=1; session=abc'), (b'n', b'3')]", "[(b'cookie', b'***'), (b'n', b'3')]"),
            ("Authorization: Token abc", "Authorization: ***"),
            ("Proxy-Authorization: ApiKey abc, def", "Proxy-Authorization: ***"),
            (r#"{'Authorization': 'Digest username="me", response="abc"'}"#, "{'Authorization': '***'}"),
            (
                "curl -H \"Authorization: Token abc\" http://a.example",
                "curl -H \"Authorization: ***\" http://a.example",
            ),
            (r#"{\"Authorization\": \"Token abc\", \"n\": 3}"#, r#"{\"Authorization\": \"***\", \"n\": 3}"#),
            ("key hf_abcdefghij0123456789 is bad", "key *** is bad"),
            ("sk-proj-abcdefghij0123456789.", "***."),
            ("comfyui-0123456789abcdef0123456789abcdef", "***"),
        ];
        for (line, shown) in cases {
            assert_eq!(redact(line), shown);
        }
    }

    #[test]
    fn what_comfyui_usually_writes_stays() {
        for line in [
            "Token indices sequence length is longer than the specified maximum (128 > 77)",
            "To see the GUI go to: http://127.0.0.1:8188",
            "Checkpoint files will always be loaded safely.",
            "  File \"/srv/ComfyUI/main.py\", line 132, in <module>",
            "ModuleNotFoundError: No module named 'torch'",
            "comfyui-frontend-package not found in requirements.txt 1.27.10",
            "got prompt",
            "tokens: 77, secret sauce, the token is used",
            "allowed headers: authorization, cookie, content-type",
            r"loading C:\models\token\x.safetensors",
            "100%|██████████| 20/20 [00:05<00:00,  3.6it/s]",
        ] {
            assert_eq!(redact(line), line);
        }
    }

    proptest! {
        #[test]
        fn no_line_is_a_panic(line in r#"([a-zé]{0,3}(token|Bearer|https?://|--secret)?[=:?#@'" é&]{0,3}){0,8}"#) {
            prop_assert!(redact(&line).len() <= line.len() * 4 + 8);
        }
    }
}
