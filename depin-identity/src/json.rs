//! JSON that means one thing: a strict reader and the canonical writer of RFC 8785 (JCS).
//!
//! Signatures over JSON hold only if both sides read the same values and write the same bytes. So [`parse`]
//! refuses what readers disagree about (a name twice, half a surrogate pair, integers that a double cannot
//! keep, a second text after the first), bounds size and depth, and shares no switches with the JSON of the
//! rest of a program. Writing a [`Value`] always gives its canonical text.

mod parse;
mod write;

use alloc::{collections::BTreeMap, string::String, vec::Vec};
use core::fmt;

pub use parse::{JsonError, MAX_DEPTH, MAX_LEN, parse, parse_within};

/// A JSON value.
///
/// ```
/// use depin_identity::json::{self, Value};
///
/// let value = json::parse(br#"{"b": [1.50, true], "a": "\u20ac"}"#)?;
/// assert_eq!(value.to_string(), r#"{"a":"€","b":[1.5,true]}"#);
/// assert_eq!(value.as_object().and_then(|object| object.text("a")), Some("€"));
/// assert!(json::parse(br#"{"a": 1, "a": 2}"#).is_err());
/// # Ok::<(), json::JsonError>(())
/// ```
// Closed: RFC 8259 knows no seventh kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number.
    Number(Number),
    /// A string.
    Text(String),
    /// An array.
    List(Vec<Self>),
    /// An object.
    Object(Object),
}

impl Value {
    /// The text, if it is one.
    pub fn as_text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// The number, if it is one.
    pub const fn as_number(&self) -> Option<Number> {
        if let Self::Number(number) = self { Some(*number) } else { None }
    }

    /// The truth value, if it is one.
    pub const fn as_bool(&self) -> Option<bool> {
        if let Self::Bool(truth) = self { Some(*truth) } else { None }
    }

    /// The items, if it is an array.
    pub fn as_list(&self) -> Option<&[Self]> {
        if let Self::List(items) = self { Some(items) } else { None }
    }

    /// The items of an array, or the value itself as the only one: how JSON-LD writes one or more.
    pub fn one_or_more(&self) -> &[Self] {
        if let Self::List(items) = self { items } else { core::slice::from_ref(self) }
    }

    /// The members, if it is an object.
    pub const fn as_object(&self) -> Option<&Object> {
        if let Self::Object(object) = self { Some(object) } else { None }
    }

    /// The canonical text of RFC 8785, which [`Display`](fmt::Display) writes too.
    pub fn canonical(&self) -> String {
        write::canonical(|out| write::value(out, self))
    }
}

/// A JSON object: names with their values, each name once.
///
/// ```
/// use depin_identity::json::{Object, object};
///
/// let mut header: Object = object([("typ", "JWT"), ("alg", "EdDSA")]);
/// assert_eq!(header.insert("kid", "did:example:1#key"), None);
/// assert_eq!(header.to_string(), r#"{"alg":"EdDSA","kid":"did:example:1#key","typ":"JWT"}"#);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Object(BTreeMap<String, Value>);

/// The object with these members. Of a name given twice the last value stays.
pub fn object<N: Into<String>, V: Into<Value>>(
    members: impl IntoIterator<Item = (N, V)>,
) -> Object {
    members.into_iter().collect()
}

impl Object {
    /// No members.
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Sets a member and returns what it was before.
    pub fn insert(&mut self, name: impl Into<String>, value: impl Into<Value>) -> Option<Value> {
        self.0.insert(name.into(), value.into())
    }

    /// Takes a member out.
    pub fn remove(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name)
    }

    /// The value of a member.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// The value of a member, to be changed.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut Value> {
        self.0.get_mut(name)
    }

    /// The value of a member that is a text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(Value::as_text)
    }

    /// Whether there is a member of that name.
    pub fn contains(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// The members, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// How many members there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The canonical text of RFC 8785, which [`Display`](fmt::Display) writes too.
    pub fn canonical(&self) -> String {
        write::canonical(|out| write::object(out, self))
    }
}

impl<N: Into<String>, V: Into<Value>> FromIterator<(N, V)> for Object {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(members: I) -> Self {
        Self(members.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

impl IntoIterator for Object {
    type Item = (String, Value);
    type IntoIter = alloc::collections::btree_map::IntoIter<String, Value>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// A finite double, which is all that JSON numbers can be where readers must agree (RFC 7493).
///
/// ```
/// use depin_identity::json::Number;
///
/// assert_eq!(Number::try_from(1_700_000_000_u64).ok().and_then(Number::as_u64), Some(1_700_000_000));
/// assert!(Number::try_from(u64::MAX).is_err());
/// assert_eq!(Number::new(f64::NAN), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Number(f64);

// Not a number is no `Number`, so every one equals itself.
impl Eq for Number {}

impl Number {
    /// A double, unless it is infinite or not a number. Zero loses its sign, as RFC 8785 writes it.
    pub fn new(number: f64) -> Option<Self> {
        number.is_finite().then_some(Self(number + 0.0))
    }

    /// The double.
    pub const fn as_f64(self) -> f64 {
        self.0
    }

    /// The whole number, if it is one that is not negative and below 2^53.
    pub fn as_u64(self) -> Option<u64> {
        // In this range the conversion is exact, or it drops a fraction and the comparison says so.
        let whole = (0.0..Self::WHOLE).contains(&self.0).then_some(self.0 as u64)?;
        (whole as f64 == self.0).then_some(whole)
    }

    /// 2^53: below it a double keeps every whole number.
    const WHOLE: f64 = 9_007_199_254_740_992.0;
}

/// The whole number is one that a JSON reader may round: 2^53 or more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not below 2^53, so json readers may round it; write it as a text")]
pub struct TooLarge(pub u64);

impl TryFrom<u64> for Number {
    type Error = TooLarge;

    fn try_from(whole: u64) -> Result<Self, TooLarge> {
        if whole < 1 << 53 { Ok(Self(whole as f64)) } else { Err(TooLarge(whole)) }
    }
}

impl From<u32> for Number {
    fn from(whole: u32) -> Self {
        Self(whole.into())
    }
}

impl From<i32> for Number {
    fn from(whole: i32) -> Self {
        Self(whole.into())
    }
}

macro_rules! value_from {
    ($($from:ty => $variant:ident),+ $(,)?) => {$(
        impl From<$from> for Value {
            fn from(value: $from) -> Self {
                Self::$variant(value.into())
            }
        }
    )+};
}

value_from!(bool => Bool, Number => Number, u32 => Number, i32 => Number, &str => Text, String => Text, Object => Object);

impl<V: Into<Self>> From<Vec<V>> for Value {
    fn from(items: Vec<V>) -> Self {
        Self::List(items.into_iter().map(Into::into).collect())
    }
}

macro_rules! canonical_display {
    ($($name:ident by $write:path),+) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                $write(f, self)
            }
        }
    )+};
}

canonical_display!(Value by write::value, Object by write::object, Number by write::number);
