//! The issuer's side: claims go, digests stay.

use alloc::{
    collections::BTreeSet,
    string::{String, ToString},
    vec::Vec,
};

use rand_core::CryptoRngCore;

use super::{
    SdJwtError,
    disclosure::{Disclosure, decoy},
    fixed,
};
use crate::json::{self, Object, Value};

/// Names that mean something to whoever reads the token.
const RESERVED: [&str; 3] = ["_sd", "_sd_alg", "..."];

/// Takes the claims at `pointers` (RFC 6901) out, inner ones first, and gives their disclosures.
pub(super) fn conceal(
    claims: &mut Object,
    pointers: &[String],
    decoys: usize,
    rng: &mut impl CryptoRngCore,
) -> Result<Vec<Disclosure>, SdJwtError> {
    check(claims)?;
    let mut paths = pointers.iter().map(|text| path(text)).collect::<Result<Vec<_>, _>>()?;
    paths.sort_by_key(|path| core::cmp::Reverse(path.len()));
    let different: BTreeSet<_> = paths.iter().collect();
    if different.len() != paths.len() {
        return Err(SdJwtError::Pointer("named twice".into()));
    }
    let mut disclosures = Vec::with_capacity(paths.len());
    for path in &paths {
        disclosures.push(hide(claims, path, rng)?);
    }
    for _ in 0..decoys {
        embed(claims, decoy(rng));
    }
    Ok(disclosures)
}

/// Refuses claims that use the reserved names.
fn check(claims: &Object) -> Result<(), SdJwtError> {
    for (name, value) in claims.iter() {
        if RESERVED.contains(&name) {
            return Err(SdJwtError::Reserved(name.into()));
        }
        check_value(value)?;
    }
    Ok(())
}

fn check_value(value: &Value) -> Result<(), SdJwtError> {
    match value {
        Value::Object(object) => check(object),
        Value::List(items) => items.iter().try_for_each(check_value),
        _ => Ok(()),
    }
}

/// The names of a pointer, the first of which may be hidden.
fn path(pointer: &str) -> Result<Vec<String>, SdJwtError> {
    let unknown = || SdJwtError::Pointer(pointer.into());
    let names = pointer.strip_prefix('/').ok_or_else(unknown)?;
    let names: Vec<_> =
        names.split('/').map(|name| name.replace("~1", "/").replace("~0", "~")).collect();
    match names.first() {
        Some(first) if fixed(first) => Err(SdJwtError::Fixed(first.clone())),
        _ => Ok(names),
    }
}

fn hide(
    claims: &mut Object,
    path: &[String],
    rng: &mut impl CryptoRngCore,
) -> Result<Disclosure, SdJwtError> {
    let unknown = || SdJwtError::Pointer(path.join("/"));
    let (name, parents) = path.split_last().ok_or_else(unknown)?;
    let Some((first, parents)) = parents.split_first() else {
        return hide_member(claims, name, rng).ok_or_else(unknown);
    };
    let mut parent = claims.get_mut(first).ok_or_else(unknown)?;
    for name in parents {
        parent = match parent {
            Value::Object(object) => object.get_mut(name),
            Value::List(items) => item(items, name),
            _ => None,
        }
        .ok_or_else(unknown)?;
    }
    match parent {
        Value::Object(object) => hide_member(object, name, rng),
        Value::List(items) => item(items, name).map(|item| hide_item(item, rng)),
        _ => None,
    }
    .ok_or_else(unknown)
}

fn hide_member(
    object: &mut Object,
    name: &str,
    rng: &mut impl CryptoRngCore,
) -> Option<Disclosure> {
    // A pointer that walks into `_sd` would hide digests.
    let value = if RESERVED.contains(&name) { None } else { object.remove(name) }?;
    let disclosure = Disclosure::make(Some(name), value, rng);
    embed(object, disclosure.digest());
    Some(disclosure)
}

fn hide_item(item: &mut Value, rng: &mut impl CryptoRngCore) -> Disclosure {
    let disclosure = Disclosure::make(None, item.clone(), rng);
    *item = json::object([("...", disclosure.digest())]).into();
    disclosure
}

fn item<'a>(items: &'a mut [Value], index: &str) -> Option<&'a mut Value> {
    let at = index.parse::<usize>().ok().filter(|at| at.to_string() == index)?;
    items.get_mut(at)
}

/// Adds a digest to `_sd`, which stays sorted so that it does not tell the order of the claims.
fn embed(object: &mut Object, digest: String) {
    let mut digests: Vec<String> = match object.remove("_sd") {
        Some(Value::List(held)) => held.iter().filter_map(Value::as_text).map(Into::into).collect(),
        _ => Vec::new(),
    };
    digests.push(digest);
    digests.sort();
    object.insert("_sd", digests);
}
