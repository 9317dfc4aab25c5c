//! Parameters of a request, decoded and bounded.

use axum::{extract::Request, http::StatusCode};
use reqwest::Url;

use super::problem::Problem;

/// Most parameters that are looked at.
const MOST: usize = 16;

/// The part of a URL after `?`.
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn of(request: &Request) -> Self {
        let url = Url::parse(&format!("http://_/?{}", request.uri().query().unwrap_or_default()));
        let pairs = url.iter().flat_map(|url| url.query_pairs().into_owned()).take(MOST).collect();
        Self(pairs)
    }

    fn text(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, value)| known == name && !value.is_empty());
        found.map(|(_, value)| value.as_str())
    }

    /// A parameter that may be missing, and must make sense if it is there.
    pub(super) fn optional<T>(
        &self,
        name: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, Problem> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let value = parse(text).ok_or_else(|| {
            Problem::new(StatusCode::BAD_REQUEST, format!("\"{name}\" does not make sense"))
        })?;
        Ok(Some(value))
    }

    pub(super) fn required<T>(
        &self,
        name: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, Problem> {
        let missing =
            || Problem::new(StatusCode::BAD_REQUEST, format!("the query needs \"{name}\""));
        self.optional(name, parse)?.ok_or_else(missing)
    }

    pub(super) fn number(&self, name: &str) -> Result<Option<u64>, Problem> {
        self.optional(name, |text| text.parse().ok())
    }
}
