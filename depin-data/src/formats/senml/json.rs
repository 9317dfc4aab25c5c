//! A reader for one shape of JSON: an array of flat objects.
//!
//! Numbers keep their text, duplicate names show, and what is not understood is skipped without
//! recursion. The text is checked to be UTF-8 once.

use base64ct::{Base64UrlUnpadded, Encoding};

use super::{Field, Label, MAX_RECORDS, Raw, SenmlError};
use crate::formats::number;

/// Deepest nesting inside a value that is skipped.
const MAX_DEPTH: usize = 32;

/// The records of the document, one by one.
pub(super) fn records(bytes: &[u8]) -> Result<Records<'_>, SenmlError> {
    let text = std::str::from_utf8(bytes)
        .map_err(|error| SenmlError::Syntax { at: error.valid_up_to() })?;
    let mut reader = Reader { text, at: 0 };
    reader.expect(b'[')?;
    Ok(Records { reader, count: 0, done: false })
}

pub(super) struct Records<'a> {
    reader: Reader<'a>,
    count: usize,
    done: bool,
}

impl Records<'_> {
    fn record(&mut self) -> Result<Option<Vec<Field>>, SenmlError> {
        if self.reader.end_of_list(b']', self.count == 0)? {
            return if self.reader.peek().is_none() { Ok(None) } else { Err(self.reader.syntax()) };
        }
        self.count += 1;
        if self.count > MAX_RECORDS {
            return Err(SenmlError::Limit);
        }
        self.reader.expect(b'{')?;
        let mut fields = Vec::new();
        while !self.reader.end_of_list(b'}', fields.is_empty())? {
            let name = self.reader.string()?;
            self.reader.expect(b':')?;
            let label = Label::of_text(&name).ok_or(name);
            let value = match (&label, self.reader.value()?) {
                (Ok(Label::Bytes), Raw::Text(text)) => Base64UrlUnpadded::decode_vec(&text)
                    .map(Raw::Bytes)
                    .map_err(|_| self.reader.syntax())?,
                (_, value) => value,
            };
            fields.push(Field { label, value });
        }
        Ok(Some(fields))
    }
}

impl Iterator for Records<'_> {
    type Item = Result<Vec<Field>, SenmlError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let record = self.record().transpose();
        self.done = !matches!(record, Some(Ok(_)));
        record
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    const fn syntax(&self) -> SenmlError {
        SenmlError::Syntax { at: self.at }
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// The next byte that is no white space; the reader stands on it.
    fn peek(&mut self) -> Option<u8> {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start_matches([' ', '\t', '\n', '\r']).len();
        self.rest().bytes().next()
    }

    fn expect(&mut self, byte: u8) -> Result<(), SenmlError> {
        if self.peek() != Some(byte) {
            return Err(self.syntax());
        }
        self.at += 1;
        Ok(())
    }

    /// Whether a list ends here; otherwise the reader stands on its next element.
    fn end_of_list(&mut self, close: u8, first: bool) -> Result<bool, SenmlError> {
        if self.peek() == Some(close) {
            self.at += 1;
            return Ok(true);
        }
        if !first {
            self.expect(b',')?;
        }
        Ok(false)
    }

    fn value(&mut self) -> Result<Raw, SenmlError> {
        match self.peek() {
            Some(b'"') => self.string().map(Raw::Text),
            Some(b'-' | b'0'..=b'9') => {
                let text = self.number()?;
                Ok(Raw::Number(number::parse(text).map_err(|reason| (reason, text.into()))))
            }
            Some(b'{' | b'[') => self.skip().map(|()| Raw::Other),
            _ => self.word(),
        }
    }

    fn word(&mut self) -> Result<Raw, SenmlError> {
        let words =
            [("true", Raw::Boolean(true)), ("false", Raw::Boolean(false)), ("null", Raw::Other)];
        for (word, value) in words {
            if self.rest().starts_with(word) {
                self.at += word.len();
                return Ok(value);
            }
        }
        Err(self.syntax())
    }

    /// RFC 8259 section 6: no leading zeros, no plus sign, digits on both sides of the point.
    fn number(&mut self) -> Result<&'a str, SenmlError> {
        let rest = self.rest();
        let inside = |c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.' | 'e' | 'E');
        let (text, _) = rest.split_at(rest.find(|c| !inside(c)).unwrap_or(rest.len()));
        let unsigned = text.strip_prefix('-').unwrap_or(text);
        let (mantissa, exponent) =
            unsigned.split_once(['e', 'E']).map_or((unsigned, None), |(m, e)| (m, Some(e)));
        let (whole, fraction) =
            mantissa.split_once('.').map_or((mantissa, None), |(w, f)| (w, Some(f)));
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        let exponent = exponent.map(|part| part.strip_prefix(['-', '+']).unwrap_or(part));
        let good = digits(whole)
            && (whole == "0" || !whole.starts_with('0'))
            && fraction.is_none_or(digits)
            && exponent.is_none_or(digits);
        if !good {
            return Err(self.syntax());
        }
        self.at += text.len();
        Ok(text)
    }

    fn string(&mut self) -> Result<String, SenmlError> {
        self.expect(b'"')?;
        let mut text = String::new();
        loop {
            let rest = self.rest();
            let plain = rest.find(|c| c < ' ' || matches!(c, '"' | '\\'));
            let (before, after) = rest.split_at(plain.ok_or_else(|| self.syntax())?);
            text.push_str(before);
            self.at += before.len();
            match after.bytes().next() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(text);
                }
                Some(b'\\') => text.push(self.escape()?),
                _ => return Err(self.syntax()),
            }
        }
    }

    fn escape(&mut self) -> Result<char, SenmlError> {
        let code = self.rest().as_bytes().get(1).copied();
        let simple = match code {
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(plain @ (b'"' | b'\\' | b'/')) => char::from(plain),
            Some(b'u') => return self.unicode(),
            _ => return Err(self.syntax()),
        };
        self.at += 2;
        Ok(simple)
    }

    fn unicode(&mut self) -> Result<char, SenmlError> {
        let first = self.unit()?;
        if !(0xd800..0xdc00).contains(&first) {
            return char::from_u32(first).ok_or_else(|| self.syntax());
        }
        let second = self.unit()?;
        let low = second.checked_sub(0xdc00).filter(|low| *low < 0x400);
        let code = low.map(|low| 0x10000 + ((first - 0xd800) << 10) + low);
        code.and_then(char::from_u32).ok_or_else(|| self.syntax())
    }

    /// One UTF-16 code unit as `\uXXXX`.
    fn unit(&mut self) -> Result<u32, SenmlError> {
        let digits = self.rest().strip_prefix("\\u").and_then(|rest| rest.get(..4));
        let digits = digits.filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
        let unit = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        let unit = unit.ok_or_else(|| self.syntax())?;
        self.at += 6;
        Ok(unit)
    }

    /// Walks over an array or object, which no field has, without recursion.
    fn skip(&mut self) -> Result<(), SenmlError> {
        let (mut open, mut first) = (vec![self.open()], true);
        while let Some(&close) = open.last() {
            if self.end_of_list(close, first)? {
                open.pop();
                first = false;
                continue;
            }
            if close == b'}' {
                self.string()?;
                self.expect(b':')?;
            }
            first = matches!(self.peek(), Some(b'{' | b'['));
            if !first {
                self.value()?;
            } else if open.len() < MAX_DEPTH {
                open.push(self.open());
            } else {
                return Err(SenmlError::Limit);
            }
        }
        Ok(())
    }

    /// Steps into the array or object that begins here; returns what closes it.
    fn open(&mut self) -> u8 {
        let close = if self.peek() == Some(b'{') { b'}' } else { b']' };
        self.at += 1;
        close
    }
}
