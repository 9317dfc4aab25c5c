//! Writing as RFC 8785 says: members by their UTF-16 code units, numbers as ECMAScript, no blanks.

use alloc::{string::String, vec::Vec};
use core::fmt::{self, Write};

use super::{Number, Object, Value};

/// The text that `write` writes.
pub(super) fn canonical(write: impl FnOnce(&mut String) -> fmt::Result) -> String {
    let mut out = String::new();
    write(&mut out).expect("invariant: writing to a string does not fail");
    out
}

pub(super) fn value<W: Write>(out: &mut W, value: &Value) -> fmt::Result {
    match value {
        Value::Null => out.write_str("null"),
        Value::Bool(true) => out.write_str("true"),
        Value::Bool(false) => out.write_str("false"),
        Value::Number(one) => number(out, one),
        Value::Text(one) => text(out, one),
        Value::List(items) => list(out, items),
        Value::Object(members) => object(out, members),
    }
}

pub(super) fn object<W: Write>(out: &mut W, object: &Object) -> fmt::Result {
    let mut members: Vec<_> = object.iter().collect();
    // Differs from the order of UTF-8 where names go beyond U+FFFF.
    members.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
    out.write_char('{')?;
    for (i, (name, member)) in members.into_iter().enumerate() {
        if i > 0 {
            out.write_char(',')?;
        }
        text(out, name)?;
        out.write_char(':')?;
        value(out, member)?;
    }
    out.write_char('}')
}

fn list<W: Write>(out: &mut W, items: &[Value]) -> fmt::Result {
    out.write_char('[')?;
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            out.write_char(',')?;
        }
        value(out, item)?;
    }
    out.write_char(']')
}

pub(super) fn number<W: Write>(out: &mut W, number: &Number) -> fmt::Result {
    out.write_str(ryu_js::Buffer::new().format_finite(number.as_f64()))
}

fn text<W: Write>(out: &mut W, text: &str) -> fmt::Result {
    out.write_char('"')?;
    let mut rest = text;
    while let Some(at) = rest.find(|c| matches!(c, '"' | '\\' | '\0'..='\u{1f}')) {
        let (plain, special) = rest.split_at(at);
        out.write_str(plain)?;
        let mut special = special.chars();
        match special.next() {
            Some('\u{8}') => out.write_str("\\b")?,
            Some('\t') => out.write_str("\\t")?,
            Some('\n') => out.write_str("\\n")?,
            Some('\u{c}') => out.write_str("\\f")?,
            Some('\r') => out.write_str("\\r")?,
            Some(c @ ('"' | '\\')) => write!(out, "\\{c}")?,
            Some(c) => write!(out, "\\u{:04x}", u32::from(c))?,
            None => {}
        }
        rest = special.as_str();
    }
    out.write_str(rest)?;
    out.write_char('"')
}
