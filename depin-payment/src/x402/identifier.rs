//! The extension `payment-identifier`: a name that a client gives its request, so that it can ask again.
//!
//! A payment's signature is public once it is sent to the chain, so it alone must not open the answer that it
//! bought. The identifier is known to client and server only, and with it the answer is given again for a while.
//! A payment without one gets its answer once, and whoever repeats it is told that it is spent. If its settlement
//! took so long that the client was told to ask again, whoever asks first gets the answer: use identifiers.

use depin_core::{B256, Error, ErrorKind, Result, keccak256};
use serde_json::{Map, Value, json};

use super::message::PaymentPayload;

const NAME: &str = "payment-identifier";

/// What a server says to clients that could use identifiers.
pub(super) fn offered() -> Map<String, Value> {
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {
            "required": { "type": "boolean" },
            "id": { "type": "string", "minLength": SHORTEST, "maxLength": LONGEST },
        },
        "required": ["required"],
    });
    Map::from_iter([(NAME.to_owned(), json!({ "info": { "required": false }, "schema": schema }))])
}

/// Adds an identifier to the extensions that a client sends back, if the server knows what it is. Answers what
/// [`of`] makes of it.
pub(super) fn add(extensions: &mut Map<String, Value>, secret: &[u8; 16]) -> Option<B256> {
    let info = extensions.get_mut(NAME)?.get_mut("info")?.as_object_mut()?;
    let id = format!("pay_{}", alloy_primitives::hex::encode(secret));
    let hash = hash(&id);
    info.insert("id".to_owned(), Value::String(id));
    Some(hash)
}

impl PaymentPayload {
    /// Names the payment, where the server offers that, so that the client can ask again and is answered what it
    /// paid for. Draw the name at random and keep it: with it anybody gets the answer.
    #[must_use]
    pub fn identified(mut self, secret: &[u8; 16]) -> Self {
        if let Some(extensions) = &mut self.extensions {
            add(extensions, secret);
        }
        self
    }

    /// The name that the client gave the payment, hashed, if it did.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`] when it is no identifier: 16 to 128 letters, digits, hyphens and underscores.
    pub fn identifier(&self) -> Result<Option<B256>> {
        of(self)
    }
}

/// The identifier that a client sent, hashed.
///
/// # Errors
/// [`ErrorKind::Malformed`] when it is none.
pub(super) fn of(payload: &PaymentPayload) -> Result<Option<B256>> {
    let extension = payload.extensions.as_ref().and_then(|all| all.get(NAME));
    let Some(id) = extension.and_then(|extension| extension.get("info")?.get("id")) else {
        return Ok(None);
    };
    let id = id.as_str().filter(|id| {
        let fits = (SHORTEST..=LONGEST).contains(&id.len());
        fits && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    });
    let id = id.ok_or_else(|| {
        let text = "a payment identifier is 16 to 128 letters, digits, hyphens and underscores";
        Error::new(ErrorKind::Malformed, text)
    })?;
    Ok(Some(hash(id)))
}

fn hash(id: &str) -> B256 {
    keccak256([NAME.as_bytes(), b"/", id.as_bytes()].concat())
}

const SHORTEST: usize = 16;
const LONGEST: usize = 128;
