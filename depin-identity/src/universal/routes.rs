//! What each path answers.

use core::time::Duration;

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use depin_core::{
    Did, ErrorKind,
    resolution::{DidResolver, Freshness, Resolution},
};
use tokio::time::timeout;

use crate::{
    Resolver, document,
    json::{Object, Value, object},
    percent,
    resolution::{self, Code},
    resolver::version_in,
};

#[derive(Clone)]
struct Desk {
    resolver: Resolver,
    patience: Duration,
}

const IDENTIFIERS: &str = "/1.0/identifiers/";

pub(super) fn router(resolver: Resolver, patience: Duration) -> Router {
    Router::new()
        .route("/1.0/identifiers/{*did}", get(identifiers))
        .route("/1.0/methods", get(methods))
        .route("/1.0/properties", get(properties))
        .fallback(async || StatusCode::NOT_FOUND)
        .method_not_allowed_fallback(async || StatusCode::METHOD_NOT_ALLOWED)
        .with_state(Desk { resolver, patience })
}

async fn methods(State(desk): State<Desk>) -> Response {
    let names: Vec<Value> = desk.resolver.methods().map(Value::from).collect();
    json(StatusCode::OK, "application/json", Value::from(names).canonical())
}

async fn properties(State(desk): State<Desk>) -> Response {
    let names = object(desk.resolver.methods().map(|name| (name, Object::new())));
    json(StatusCode::OK, "application/json", names.canonical())
}

async fn identifiers(State(desk): State<Desk>, request: Request) -> Response {
    let form = Form::asked(request.headers());
    // Taken as it came: which escapes belong to the DID is decided below.
    let path = request.uri().path().strip_prefix(IDENTIFIERS).unwrap_or_default();
    match (form, desk.find(path, request.uri().query().unwrap_or_default()).await) {
        (None, _) => problem(Code::RepresentationNotSupported, "ask for a did-resolution or did"),
        (Some(form), Ok(found)) => answer(form, &found),
        (Some(_), Err((code, detail))) => problem(code, &detail),
    }
}

impl Desk {
    async fn find(&self, path: &str, query: &str) -> Result<Resolution, (Code, String)> {
        let did = did_in(path).ok_or_else(|| (Code::InvalidDid, "the path is no did".into()))?;
        let version = version_in(query).map_err(|error| match error.kind() {
            ErrorKind::Unsupported => (Code::FeatureNotSupported, error.to_string()),
            _ => (Code::InvalidOptions, error.to_string()),
        })?;
        let Ok(found) = timeout(self.patience, self.resolver.resolve_version(&did, &version)).await
        else {
            return Err((Code::InternalError, "the did method takes too long".into()));
        };
        found.map_err(|error| {
            let spoken = self.resolver.methods().any(|method| method == did.method());
            let code = match Code::of(&error) {
                Code::MethodNotSupported if spoken => Code::FeatureNotSupported,
                code => code,
            };
            (code, error.message().into())
        })
    }
}

/// The DID in a path, escaped once more or not.
///
/// Clients should escape it all (`did%3Aweb%3Alocalhost%253A80`). Many leave colons as they are, and some of
/// them the escapes inside the DID too (`did:web:localhost%3A80`).
fn did_in(path: &str) -> Option<Did> {
    let as_it_is = path.starts_with("did:") && !path.contains("%25");
    let text = if as_it_is { path.into() } else { percent::decode(path)? };
    Did::parse(&text).ok()
}

/// What is answered: a result, or only the document.
#[derive(Clone, Copy)]
enum Form {
    Result(&'static str),
    Document(&'static str),
}

/// What the media types of requests stand for, the best first.
const FORMS: [(&str, Form); 7] = [
    (resolution::MEDIA_TYPE, USUAL),
    ("application/did-resolution+json", Form::Result("application/did-resolution+json")),
    ("application/did", Form::Document("application/did")),
    ("application/did+ld+json", Form::Document("application/did+ld+json")),
    ("application/did+json", Form::Document("application/did+json")),
    ("application/json", Form::Result("application/json")),
    ("application/ld+json", Form::Result(LD_RESULT)),
];

const USUAL: Form = Form::Result(resolution::MEDIA_TYPE);
const LD_RESULT: &str = r#"application/ld+json;profile="https://w3id.org/did-resolution""#;

impl Form {
    /// The form that the client likes best (RFC 9110 section 12.5.1), nothing if it likes none.
    fn asked(headers: &HeaderMap) -> Option<Self> {
        let mut lines = headers.get_all(header::ACCEPT).iter().peekable();
        if lines.peek().is_none() {
            return Some(USUAL);
        }
        let ranges = lines.filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(','));
        let mut best: Option<(u16, Self)> = None;
        for range in ranges {
            let mut parts = range.split(';').map(str::trim);
            let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
            let weight = parts.find_map(|part| part.strip_prefix("q=")).map_or(Some(1000), weight);
            let form = match kind.as_str() {
                "*/*" | "application/*" => Some(USUAL),
                kind => FORMS.iter().find(|form| form.0 == kind).map(|form| form.1),
            };
            if let (Some(form), Some(weight @ 1..)) = (form, weight)
                && best.is_none_or(|(other, _)| weight > other)
            {
                best = Some((weight, form));
            }
        }
        best.map(|(_, form)| form)
    }
}

/// Thousandths.
fn weight(text: &str) -> Option<u16> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 3 || !fraction.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    match whole {
        "1" => Some(1000),
        "0" => format!("{fraction:0<3}").parse().ok(),
        _ => None,
    }
}

fn answer(form: Form, found: &Resolution) -> Response {
    let gone = found.metadata.deactivated;
    let status = if gone { StatusCode::GONE } else { StatusCode::OK };
    let mut response = match form {
        // A document that is none says nothing, so the result is given instead.
        Form::Document(kind) if !gone => json(status, kind, document::to_json(&found.document)),
        Form::Document(_) => json(status, resolution::MEDIA_TYPE, resolution::to_json(found)),
        Form::Result(kind) => json(status, kind, resolution::to_json(found)),
    };
    let control = match found.freshness {
        Freshness::Forever => "public, max-age=31536000, immutable".into(),
        Freshness::For(time) => format!("public, max-age={}", time.as_secs()),
        _ => "no-store".into(),
    };
    if let Ok(control) = HeaderValue::from_str(&control) {
        response.headers_mut().insert(header::CACHE_CONTROL, control);
    }
    response
}

fn problem(code: Code, detail: &str) -> Response {
    let status = StatusCode::from_u16(code.http_status());
    let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    json(status, resolution::MEDIA_TYPE, resolution::error_to_json(code, detail))
}

fn json(status: StatusCode, kind: &'static str, body: String) -> Response {
    (status, [(header::CONTENT_TYPE, kind), (header::VARY, "accept")], body).into_response()
}
