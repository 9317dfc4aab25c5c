//! The reader's side: disclosures go back to where their digests stand (RFC 9901 section 7.1).

use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::String,
    vec::Vec,
};

use super::{MAX_NAME_LEN, SdJwtError, disclosure::Disclosure, fixed};
use crate::json::{self, Object, Value};

/// The claims with all disclosures in place, and where each of them went.
pub(super) struct Revealed {
    pub(super) claims: Object,
    /// JSON Pointer of each disclosed claim, by digest.
    pub(super) places: BTreeMap<String, String>,
}

/// Puts every disclosure back, each of which must be called for once.
pub(super) fn reveal(
    mut payload: Object,
    disclosures: &[Disclosure],
) -> Result<Revealed, SdJwtError> {
    match payload.remove("_sd_alg") {
        None => {}
        Some(Value::Text(name)) if name == "sha-256" => {}
        Some(_) => return Err(SdJwtError::Hash),
    }
    let mut open = BTreeMap::new();
    for disclosure in disclosures {
        if open.insert(disclosure.digest(), disclosure).is_some() {
            return Err(SdJwtError::Twice);
        }
    }
    let mut reader = Reader { open, seen: BTreeSet::new(), places: BTreeMap::new() };
    let claims = reader.object(payload, &Place::TOP)?;
    if reader.open.is_empty() {
        Ok(Revealed { claims, places: reader.places })
    } else {
        Err(SdJwtError::Unreferenced)
    }
}

/// Where in the claims the reader is. It knows the way up, so that a pointer is built only where one is
/// needed: there are far more claims in a token than disclosures.
struct Place<'p> {
    parent: Option<&'p Self>,
    step: Step<'p>,
    depth: usize,
    /// Under a claim that decides over validity, in which nothing may be hidden.
    fixed: bool,
}

/// The last step of the way to a place.
enum Step<'p> {
    Top,
    Member(&'p str),
    Item(usize),
}

impl Place<'_> {
    const TOP: Place<'static> = Place { parent: None, step: Step::Top, depth: 0, fixed: false };

    fn member<'p>(&'p self, name: &'p str) -> Place<'p> {
        let fixed = self.fixed || (self.depth == 0 && fixed(name));
        Place { parent: Some(self), step: Step::Member(name), depth: self.depth + 1, fixed }
    }

    fn item(&self, at: usize) -> Place<'_> {
        let fixed = self.fixed;
        Place { parent: Some(self), step: Step::Item(at), depth: self.depth + 1, fixed }
    }

    /// The JSON Pointer of this place (RFC 6901).
    fn pointer(&self) -> String {
        let mut pointer = self.parent.map(Place::pointer).unwrap_or_default();
        match self.step {
            Step::Top => {}
            Step::Member(name) => {
                pointer.push('/');
                pointer.push_str(&name.replace('~', "~0").replace('/', "~1"));
            }
            Step::Item(at) => pointer.push_str(&format!("/{at}")),
        }
        pointer
    }
}

struct Reader<'a> {
    open: BTreeMap<String, &'a Disclosure>,
    seen: BTreeSet<String>,
    places: BTreeMap<String, String>,
}

impl<'a> Reader<'a> {
    fn value(&mut self, value: Value, place: &Place<'_>) -> Result<Value, SdJwtError> {
        // Disclosures inside of disclosures can be deeper than any text that was parsed.
        if place.depth > json::MAX_DEPTH {
            return Err(SdJwtError::Depth);
        }
        match value {
            Value::Object(object) => self.object(object, place).map(Value::Object),
            Value::List(items) => self.list(items, place).map(Value::List),
            plain => Ok(plain),
        }
    }

    fn object(&mut self, mut object: Object, place: &Place<'_>) -> Result<Object, SdJwtError> {
        let digests = match object.remove("_sd") {
            None => Vec::new(),
            Some(Value::List(digests)) => digests,
            Some(_) => return Err(SdJwtError::Reserved("_sd".into())),
        };
        let mut revealed = Object::new();
        for (name, value) in object {
            if matches!(name.as_str(), "..." | "_sd_alg") {
                return Err(SdJwtError::Reserved(name));
            }
            check_len(&name)?;
            let value = self.value(value, &place.member(&name))?;
            revealed.insert(name, value);
        }
        for digest in digests {
            let Value::Text(digest) = digest else {
                return Err(SdJwtError::Reserved("_sd".into()));
            };
            let Some(disclosure) = self.take(&digest, place)? else { continue };
            let name = disclosure.name().ok_or(SdJwtError::Disclosure)?;
            if matches!(name, "_sd" | "..." | "_sd_alg") {
                return Err(SdJwtError::Reserved(name.into()));
            }
            check_len(name)?;
            if revealed.contains(name) {
                return Err(SdJwtError::NameTaken(name.into()));
            }
            let member = place.member(name);
            if member.fixed {
                return Err(SdJwtError::Fixed(name.into()));
            }
            self.places.insert(digest, member.pointer());
            let value = self.value(disclosure.value().clone(), &member)?;
            revealed.insert(name, value);
        }
        Ok(revealed)
    }

    fn list(&mut self, items: Vec<Value>, place: &Place<'_>) -> Result<Vec<Value>, SdJwtError> {
        let mut revealed = Vec::with_capacity(items.len());
        for item in items {
            let at = place.item(revealed.len());
            let hidden = item.as_object().filter(|object| object.contains("..."));
            let Some(hidden) = hidden else {
                revealed.push(self.value(item, &at)?);
                continue;
            };
            let digest = hidden.text("...").filter(|_| hidden.len() == 1);
            let digest = digest.ok_or_else(|| SdJwtError::Reserved("...".into()))?;
            let Some(disclosure) = self.take(digest, place)? else { continue };
            if disclosure.name().is_some() {
                return Err(SdJwtError::Disclosure);
            }
            self.places.insert(digest.into(), at.pointer());
            revealed.push(self.value(disclosure.value().clone(), &at)?);
        }
        Ok(revealed)
    }

    /// The disclosure of a digest, if its holder shows it. No digest may stand in two places.
    fn take(
        &mut self,
        digest: &str,
        place: &Place<'_>,
    ) -> Result<Option<&'a Disclosure>, SdJwtError> {
        if place.fixed {
            return Err(SdJwtError::Fixed(place.pointer()));
        }
        if !self.seen.insert(digest.into()) {
            return Err(SdJwtError::Twice);
        }
        Ok(self.open.remove(digest))
    }
}

/// Names are part of the pointers to everything below them, which are built once per disclosure.
const fn check_len(name: &str) -> Result<(), SdJwtError> {
    if name.len() > MAX_NAME_LEN { Err(SdJwtError::TooLong) } else { Ok(()) }
}
