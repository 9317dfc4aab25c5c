//! Reading: RFC 8259 with the promises of RFC 7493 (I-JSON), in bounded time, memory and depth.
//!
//! Written here because it decides what a signature covers: a parser shared with the rest of a program
//! rounds numbers or passes them on as texts when any crate asks it to.

use alloc::{collections::BTreeMap, string::String, vec::Vec};

use depin_core::{Error, ErrorKind};

use super::{Number, Object, Value};

/// Longest text that [`parse`] reads, in bytes.
pub const MAX_LEN: usize = 1024 * 1024;

/// Most arrays and objects within one another.
pub const MAX_DEPTH: usize = 32;

/// Why a text is no strict JSON. Places are byte offsets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JsonError {
    /// Longer than the limit, in bytes.
    #[error("the json text is longer than {0} bytes")]
    TooLong(usize),
    /// More than [`MAX_DEPTH`] arrays and objects within one another.
    #[error("the json text is nested more than {MAX_DEPTH} deep at byte {0}")]
    TooDeep(usize),
    /// Not UTF-8, or an escape that is half of a surrogate pair.
    #[error("the json text has no unicode text at byte {0}")]
    Unicode(usize),
    /// Not JSON.
    #[error("the json text breaks the grammar at byte {0}")]
    Syntax(usize),
    /// More text after the value.
    #[error("the json text goes on after its value at byte {0}")]
    Trailing(usize),
    /// A number beyond the doubles, or an integer that a double cannot keep.
    #[error("no double keeps the number at byte {0} of the json text; write it as a text")]
    Number(usize),
    /// A name appears twice in one object.
    #[error("the json text has a member twice in one object at byte {0}")]
    Twice(usize),
}

impl From<JsonError> for Error {
    fn from(error: JsonError) -> Self {
        let kind = match error {
            JsonError::TooLong(_) | JsonError::TooDeep(_) => ErrorKind::Limit,
            _ => ErrorKind::Malformed,
        };
        Self::new(kind, alloc::format!("{error}")).source(error)
    }
}

/// Reads a JSON text of at most [`MAX_LEN`] bytes.
///
/// # Errors
/// Says what is wrong with the text, and where.
pub fn parse(text: &[u8]) -> Result<Value, JsonError> {
    parse_within(text, MAX_LEN)
}

/// Reads a JSON text of at most `limit` bytes. The value takes up to some 30 times as much memory.
///
/// # Errors
/// As [`parse`].
pub fn parse_within(text: &[u8], limit: usize) -> Result<Value, JsonError> {
    if text.len() > limit {
        return Err(JsonError::TooLong(limit));
    }
    let text =
        core::str::from_utf8(text).map_err(|error| JsonError::Unicode(error.valid_up_to()))?;
    let mut reader = Reader { text, at: 0, depth: 0 };
    let value = reader.value()?;
    reader.skip_blanks();
    if reader.at == text.len() { Ok(value) } else { Err(JsonError::Trailing(reader.at)) }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl<'a> Reader<'a> {
    fn value(&mut self) -> Result<Value, JsonError> {
        self.skip_blanks();
        match self.peek() {
            Some(b'{') => self.nested(Self::object),
            Some(b'[') => self.nested(Self::list),
            Some(b'"') => self.string().map(Value::Text),
            Some(b'-' | b'0'..=b'9') => self.number().map(Value::Number),
            Some(b't') => self.literal("true", Value::Bool(true)),
            Some(b'f') => self.literal("false", Value::Bool(false)),
            Some(b'n') => self.literal("null", Value::Null),
            _ => Err(self.syntax()),
        }
    }

    /// Reads what the bracket at hand opens.
    fn nested(
        &mut self,
        read: fn(&mut Self) -> Result<Value, JsonError>,
    ) -> Result<Value, JsonError> {
        if self.depth == MAX_DEPTH {
            return Err(JsonError::TooDeep(self.at));
        }
        self.depth += 1;
        self.at += 1;
        let value = read(self)?;
        self.depth -= 1;
        Ok(value)
    }

    fn list(&mut self) -> Result<Value, JsonError> {
        let mut items = Vec::new();
        if self.takes(b']') {
            return Ok(Value::List(items));
        }
        loop {
            items.push(self.value()?);
            if self.takes(b']') {
                return Ok(Value::List(items));
            }
            self.expect(b',')?;
        }
    }

    fn object(&mut self) -> Result<Value, JsonError> {
        let mut members = BTreeMap::new();
        if self.takes(b'}') {
            return Ok(Value::Object(Object(members)));
        }
        loop {
            self.skip_blanks();
            let start = self.at;
            let name = self.string()?;
            self.expect(b':')?;
            let value = self.value()?;
            if members.insert(name, value).is_some() {
                return Err(JsonError::Twice(start));
            }
            if self.takes(b'}') {
                return Ok(Value::Object(Object(members)));
            }
            self.expect(b',')?;
        }
    }

    fn literal(&mut self, word: &str, value: Value) -> Result<Value, JsonError> {
        if !self.rest().starts_with(word) {
            return Err(self.syntax());
        }
        self.at += word.len();
        Ok(value)
    }

    fn number(&mut self) -> Result<Number, JsonError> {
        let start = self.at;
        self.steps_over(b'-');
        if !self.steps_over(b'0') {
            self.digits()?;
        }
        let whole = self.at;
        if self.steps_over(b'.') {
            self.digits()?;
        }
        if self.steps_over(b'e') || self.steps_over(b'E') {
            let _signed = self.steps_over(b'+') || self.steps_over(b'-');
            self.digits()?;
        }
        let token = self.text.get(start..self.at).unwrap_or_default();
        let number = token.parse().ok().and_then(Number::new).ok_or(JsonError::Number(start))?;
        // What a double rounds would be signed as another number than was written.
        let kept = self.at > whole
            || token == "-0"
            || ryu_js::Buffer::new().format_finite(number.as_f64()) == token;
        if kept { Ok(number) } else { Err(JsonError::Number(start)) }
    }

    /// Steps over one digit or more.
    fn digits(&mut self) -> Result<(), JsonError> {
        let count = self.rest().bytes().take_while(u8::is_ascii_digit).count();
        self.at += count;
        if count > 0 { Ok(()) } else { Err(self.syntax()) }
    }

    fn string(&mut self) -> Result<String, JsonError> {
        if !self.steps_over(b'"') {
            return Err(self.syntax());
        }
        let mut text = String::new();
        loop {
            let rest = self.rest();
            let end = rest.find(|c| matches!(c, '"' | '\\' | '\0'..='\u{1f}'));
            let (plain, _) = rest.split_at(end.unwrap_or(rest.len()));
            text.push_str(plain);
            self.at += plain.len();
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(text);
                }
                Some(b'\\') => text.push(self.escape()?),
                _ => return Err(self.syntax()),
            }
        }
    }

    /// The character that a backslash and what follows stand for.
    fn escape(&mut self) -> Result<char, JsonError> {
        self.at += 1;
        let c = match self.peek() {
            Some(b'u') => return self.unicode_escape(),
            Some(c @ (b'"' | b'\\' | b'/')) => char::from(c),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            _ => return Err(self.syntax()),
        };
        self.at += 1;
        Ok(c)
    }

    /// `uXXXX`, or two of them that are one surrogate pair.
    fn unicode_escape(&mut self) -> Result<char, JsonError> {
        let start = self.at;
        let first = self.code_unit()?;
        if let Some(c) = char::from_u32(first.into()) {
            return Ok(c);
        }
        let second = if self.steps_over(b'\\') { self.code_unit()? } else { 0 };
        let mut pair = char::decode_utf16([first, second]);
        pair.next().and_then(Result::ok).ok_or(JsonError::Unicode(start))
    }

    fn code_unit(&mut self) -> Result<u16, JsonError> {
        if !self.steps_over(b'u') {
            return Err(self.syntax());
        }
        let digits = self.rest().get(..4).unwrap_or_default();
        if digits.len() != 4 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(self.syntax());
        }
        self.at += 4;
        u16::from_str_radix(digits, 16).map_err(|_| self.syntax())
    }

    fn skip_blanks(&mut self) {
        let blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
        self.at += self.rest().bytes().take_while(blank).count();
    }

    /// Steps over `byte` and blanks before it, or says that something else is there.
    fn expect(&mut self, byte: u8) -> Result<(), JsonError> {
        if self.takes(byte) { Ok(()) } else { Err(self.syntax()) }
    }

    /// Steps over blanks, and over `byte` if it follows.
    fn takes(&mut self, byte: u8) -> bool {
        self.skip_blanks();
        self.steps_over(byte)
    }

    fn steps_over(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn rest(&self) -> &'a str {
        // Every step goes over whole characters, so this is always a boundary.
        self.text.get(self.at..).unwrap_or_default()
    }

    const fn syntax(&self) -> JsonError {
        JsonError::Syntax(self.at)
    }
}
