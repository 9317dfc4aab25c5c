//! Making tokens, choosing what to show, and binding the choice to a question.

use alloc::{
    string::{String, ToString},
    vec::Vec,
};

use depin_core::{DidUrl, Error, ErrorKind, PublicKey, Signer, Timestamp};
use rand_core::CryptoRngCore;

use super::{
    BINDING_TYP, SdJwt, SdJwtError, TYP, conceal::conceal, disclosure::digest, reveal::reveal,
};
use crate::{
    credentials::{Challenge, status::StatusEntry},
    json::{self, Number, Object, Value},
    jwk,
    jws::{self, Jws},
};

impl SdJwt {
    /// Starts a credential of a type (`vct`).
    ///
    /// ```
    /// use depin_core::{Algorithm, Signer, SoftwareKey, Timestamp};
    /// use depin_identity::{credentials::sd_jwt::SdJwt, methods::key};
    ///
    /// let now = Timestamp::from_secs(1_700_000_000);
    /// let maker = SoftwareKey::from_seed(Algorithm::EdDsa, [1; 32]);
    /// let station = SoftwareKey::from_seed(Algorithm::Es256, [2; 32]);
    /// let did = key::did_key(maker.public_key());
    /// let method = format!("{did}#{}", did.id()).parse()?;
    ///
    /// let token = SdJwt::builder("https://maker.example/station")
    ///     .holder(station.public_key())
    ///     .claim("model", "Pebble 2")
    ///     .claim("serial", "0042")
    ///     .hide("/serial")
    ///     .issue(&maker, &method, now, &mut rand::thread_rng())?;
    /// assert_eq!(token.disclosures().len(), 1);
    /// assert!(token.select([])?.disclosures().is_empty());
    /// # Ok::<(), depin_core::Error>(())
    /// ```
    pub fn builder(vct: impl Into<String>) -> SdJwtBuilder {
        let claims = json::object([("vct", vct.into())]);
        SdJwtBuilder { claims, hidden: Vec::new(), decoys: 0 }
    }

    /// The same token with the disclosures of the claims at these JSON Pointers (RFC 6901) and of those
    /// around them, and nothing else. A key binding falls away.
    ///
    /// # Errors
    /// [`SdJwtError::Pointer`] when nothing hidden is at a pointer; what is wrong with the token.
    pub fn select<'p>(
        &self,
        pointers: impl IntoIterator<Item = &'p str>,
    ) -> Result<Self, SdJwtError> {
        let places = reveal(self.payload()?, &self.disclosures)?.places;
        let wanted: Vec<_> = pointers.into_iter().collect();
        let hidden = |wanted: &&&str| places.values().any(|place| place == **wanted);
        if let Some(unknown) = wanted.iter().find(|wanted| !hidden(wanted)) {
            return Err(SdJwtError::Pointer(unknown.to_string()));
        }
        let shown = |place: &String| {
            wanted.iter().any(|wanted| {
                wanted
                    .strip_prefix(place)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            })
        };
        let disclosures = self.disclosures.iter();
        let disclosures =
            disclosures.filter(|disclosure| places.get(&disclosure.digest()).is_some_and(shown));
        Ok(Self {
            token: self.token.clone(),
            disclosures: disclosures.cloned().collect(),
            binding: None,
        })
    }

    /// Signs this choice of disclosures as the holder, in answer to a challenge.
    ///
    /// # Errors
    /// Whatever the signer objects to.
    pub fn bind(
        mut self,
        signer: &dyn Signer,
        challenge: &Challenge,
        now: Timestamp,
    ) -> Result<Self, Error> {
        let mut payload = json::object([
            ("nonce", challenge.nonce()),
            ("aud", challenge.audience()),
            ("sd_hash", &digest(&self.shown())),
        ]);
        payload.insert("iat", date(now)?);
        let header = json::object([("typ", BINDING_TYP)]);
        self.binding = Some(jws::sign(signer, header, payload.canonical().as_bytes())?);
        Ok(self)
    }

    /// The claims of the token as they stand there, before any check.
    pub(super) fn payload(&self) -> Result<Object, SdJwtError> {
        read_payload(&Jws::parse(&self.token)?)
    }
}

/// The payload of a JWT, before its signature was checked.
pub(super) fn read_payload(jws: &Jws<'_>) -> Result<Object, SdJwtError> {
    match json::parse_within(&jws.unverified_payload()?, super::MAX_LEN) {
        Ok(Value::Object(payload)) => Ok(payload),
        _ => Err(SdJwtError::Claim("payload")),
    }
}

/// Puts the token of a credential together.
#[derive(Clone, Debug)]
#[must_use]
pub struct SdJwtBuilder {
    claims: Object,
    hidden: Vec<String>,
    decoys: usize,
}

impl SdJwtBuilder {
    /// Adds a claim.
    pub fn claim(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.claims.insert(name, value);
        self
    }

    /// Hides the claim at a JSON Pointer (RFC 6901), for example `/address/street` or `/nationalities/0`:
    /// its holder decides whether to show it.
    pub fn hide(mut self, pointer: impl Into<String>) -> Self {
        self.hidden.push(pointer.into());
        self
    }

    /// Adds digests that hide nothing, so that their number does not tell how many claims there are.
    pub const fn decoys(mut self, count: usize) -> Self {
        self.decoys = count;
        self
    }

    /// Binds it to the key of its holder, who must sign when it is presented (`cnf`).
    pub fn holder(self, key: &PublicKey) -> Self {
        let jwk = Value::from(jwk::to_object(key));
        self.claim("cnf", json::object([("jwk", jwk)]))
    }

    /// Says where its status is published.
    pub fn status(self, entry: &StatusEntry) -> Self {
        self.claim("credentialStatus", entry.to_object())
    }

    /// Signs it as the subject of `method`, one of its keys for assertions.
    ///
    /// The claims `iss` and `iat` are added. Dates (`nbf`, `exp`) are claims in seconds.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when nothing is where something is to be hidden; [`ErrorKind::Rejected`]
    /// when a claim cannot be hidden or uses a reserved name; whatever the signer objects to.
    pub fn issue(
        self,
        signer: &dyn Signer,
        method: &DidUrl,
        now: Timestamp,
        rng: &mut impl CryptoRngCore,
    ) -> Result<SdJwt, Error> {
        let mut claims = self.claims;
        claims.insert("iss", method.did().as_str());
        claims.insert("iat", date(now)?);
        let disclosures = conceal(&mut claims, &self.hidden, self.decoys, rng)?;
        if !disclosures.is_empty() || self.decoys > 0 {
            claims.insert("_sd_alg", "sha-256");
        }
        let header = json::object([("typ", TYP.to_string()), ("kid", method.to_string())]);
        let token = jws::sign(signer, header, claims.canonical().as_bytes())?;
        let sd_jwt = SdJwt { token, disclosures, binding: None };
        // What we would not read we do not write.
        Ok(SdJwt::parse(&sd_jwt.to_string())?)
    }
}

fn date(at: Timestamp) -> Result<Number, Error> {
    let too_late = |_| Error::new(ErrorKind::Overflow, "the moment is too late for a token");
    Number::try_from(at.secs()).map_err(too_late)
}
