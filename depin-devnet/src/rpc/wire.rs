//! JSON-RPC 2.0 over bytes: one call or a batch in, bytes out.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::answer;
use crate::{Devnet, transport::payload};

/// A call as it comes over the wire.
#[derive(Deserialize)]
struct Call<'a> {
    #[serde(borrow)]
    jsonrpc: Cow<'a, str>,
    #[serde(borrow)]
    method: Cow<'a, str>,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
}

#[derive(Serialize)]
struct Reply<'a> {
    jsonrpc: &'static str,
    id: Option<&'a RawValue>,
    #[serde(flatten)]
    outcome: Outcome,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    Result(Box<RawValue>),
    Error(Failure),
}

#[derive(Serialize)]
struct Failure {
    code: i64,
    message: Cow<'static, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Box<RawValue>>,
}

/// Answers a body; `None` when it holds notifications only.
pub(crate) fn reply(devnet: &Devnet, body: &[u8]) -> Option<Vec<u8>> {
    let Ok(value) = serde_json::from_slice::<&RawValue>(body) else {
        return bytes(&refuse(None, -32700, "parse error"));
    };
    if !value.get().trim_start().starts_with('[') {
        return one(devnet, value).and_then(|reply| bytes(&reply));
    }
    let calls: Vec<&RawValue> = serde_json::from_str(value.get()).unwrap_or_default();
    if calls.is_empty() || calls.len() > MAX_BATCH {
        return bytes(&refuse(None, -32600, "a batch holds 1 to 1000 calls"));
    }
    let replies: Vec<Reply<'_>> = calls.into_iter().filter_map(|call| one(devnet, call)).collect();
    if replies.is_empty() { None } else { bytes(&replies) }
}

fn one<'a>(devnet: &Devnet, raw: &'a RawValue) -> Option<Reply<'a>> {
    let Ok(call) = serde_json::from_str::<Call<'a>>(raw.get()) else {
        return Some(refuse(None, -32600, "invalid request"));
    };
    if call.jsonrpc != "2.0" || call.id.is_some_and(|id| id.get().starts_with(['[', '{'])) {
        return Some(refuse(None, -32600, "invalid request"));
    }
    let outcome = match answer(devnet, &call.method, call.params) {
        Ok(result) => Outcome::Result(result),
        Err(error) => {
            let error = payload(&error);
            Outcome::Error(Failure { code: error.code, message: error.message, data: error.data })
        }
    };
    // A call without id is a notification: done, but not answered.
    call.id.map(|id| Reply { jsonrpc: "2.0", id: Some(id), outcome })
}

fn refuse<'a>(id: Option<&'a RawValue>, code: i64, message: &'static str) -> Reply<'a> {
    let failure = Failure { code, message: Cow::Borrowed(message), data: None };
    Reply { jsonrpc: "2.0", id, outcome: Outcome::Error(failure) }
}

fn bytes(reply: &impl Serialize) -> Option<Vec<u8>> {
    serde_json::to_vec(reply).ok()
}

const MAX_BATCH: usize = 1_000;
