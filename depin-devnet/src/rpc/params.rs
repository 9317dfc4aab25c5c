//! Positional parameters, read one after another.

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::error::Error;

/// Parameters not read yet.
pub(crate) struct Params<'a> {
    rest: std::vec::IntoIter<&'a RawValue>,
}

impl<'a> Params<'a> {
    pub(crate) fn parse(raw: Option<&'a RawValue>) -> Result<Self, Error> {
        let list: Option<Vec<&RawValue>> = match raw {
            None => None,
            Some(raw) => serde_json::from_str(raw.get())
                .map_err(|_| Error::invalid("params must be an array"))?,
        };
        Ok(Self { rest: list.unwrap_or_default().into_iter() })
    }

    /// The next parameter, which must be there.
    pub(crate) fn need<T: DeserializeOwned>(&mut self, name: &str) -> Result<T, Error> {
        let raw = self.rest.next();
        let raw =
            raw.ok_or_else(|| Error::invalid(format!("missing value for argument `{name}`")))?;
        decode(raw, name)
    }

    /// The next parameter, which may be absent or null.
    pub(crate) fn may<T: DeserializeOwned>(&mut self, name: &str) -> Result<Option<T>, Error> {
        self.rest.next().map_or(Ok(None), |raw| decode(raw, name))
    }

    /// Checks that nothing is left.
    pub(crate) fn end(mut self) -> Result<(), Error> {
        match self.rest.find(|raw| raw.get() != "null") {
            None => Ok(()),
            Some(_) => Err(Error::invalid("too many arguments or one that is not supported here")),
        }
    }
}

fn decode<T: DeserializeOwned>(raw: &RawValue, name: &str) -> Result<T, Error> {
    serde_json::from_str(raw.get())
        .map_err(|reason| Error::invalid(format!("invalid argument `{name}`: {reason}")))
}
