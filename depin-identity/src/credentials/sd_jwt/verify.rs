//! The decision over a token: whose it is, what it shows, and who shows it.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

use depin_core::{
    Did, DidUrl, PublicKey, Timestamp, Unverified, Verified, Verifier, document::Relationships,
};

use super::{
    BINDING_TYP, SdJwt, SdJwtError, TYP, disclosure::digest, issue::read_payload, reveal::reveal,
};
use crate::{
    credentials::{
        Challenge, CredentialError, CredentialVerifier,
        credential::{objects, texts},
        key::resolve_key,
    },
    json::{Number, Object},
    jwk,
    jws::Jws,
};

/// What a verified token says, with the claims that its holder showed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SdJwtClaims {
    /// Who says it (`iss`).
    pub issuer: String,
    /// What it is (`vct`).
    pub kind: String,
    /// All claims, those that were shown in their places.
    pub claims: Object,
    /// The key of the holder, who signed in answer to the challenge; nothing when none was asked.
    pub holder: Option<PublicKey>,
}

impl CredentialVerifier<'_> {
    /// Verifies a token (SD-JWT VC) and what its holder shows of it.
    ///
    /// With a challenge, the holder must have signed in answer to it, with the key that the issuer put
    /// into the token. Without, a signed answer is refused: it was meant for somebody else.
    ///
    /// # Errors
    /// Any [`CredentialError`].
    pub async fn verify_sd_jwt(
        &self,
        text: &str,
        challenge: Option<&Challenge>,
    ) -> Result<Verified<SdJwtClaims>, CredentialError> {
        let sd_jwt = SdJwt::parse(text)?;
        let jws = Jws::parse(&sd_jwt.token).map_err(SdJwtError::from)?;
        check_typ(&jws, TYP)?;
        // What needs no network comes first: nobody makes us resolve the DIDs of strangers. All claims
        // that decide stand in the token itself, so disclosures are not looked at before the signature.
        let payload = read_payload(&jws)?;
        self.check_claims(&payload, challenge)?;
        let issuer = text_claim(&payload, "iss")?;
        let key = match self.issuer_keys.get(issuer) {
            Some(key) => key.clone(),
            None => self.issuer_key(issuer, jws.key_id()).await?,
        };
        let judge = Judge { key, payload: &payload, challenge, verifier: self };
        Unverified::new(&sd_jwt).verify(&judge)
    }

    fn check_claims(
        &self,
        claims: &Object,
        challenge: Option<&Challenge>,
    ) -> Result<(), CredentialError> {
        let issuer = text_claim(claims, "iss")?;
        let did = Did::parse(issuer).ok();
        if !self.issuer_keys.contains_key(issuer) {
            self.check_issuer(did.as_ref().ok_or(SdJwtError::Claim("iss"))?)?;
        }
        let mut kinds = Vec::from([text_claim(claims, "vct")?]);
        if claims.contains("aka_vcts") {
            kinds.extend(texts(claims, "aka_vcts")?);
        }
        self.check_types(&kinds)?;
        self.check_dates(date_claim(claims, "nbf")?, date_claim(claims, "exp")?)?;
        if claims.contains("aud") {
            let asked = challenge.ok_or(CredentialError::Audience)?.audience();
            if !texts(claims, "aud")?.contains(&asked) {
                return Err(CredentialError::Audience);
            }
        }
        if claims.contains("status") && !self.leaves_unchecked("status") {
            return Err(CredentialError::NotUnderstood("status".into()));
        }
        self.check_status(&objects(claims, "credentialStatus")?, did.as_ref())
    }

    /// The key that the token names, if the issuer may assert with it.
    async fn issuer_key(
        &self,
        issuer: &str,
        key_id: Option<&str>,
    ) -> Result<PublicKey, CredentialError> {
        let key_id = key_id.ok_or(SdJwtError::Claim("kid"))?;
        let absolute =
            if key_id.starts_with('#') { format!("{issuer}{key_id}") } else { key_id.to_string() };
        let method = DidUrl::parse(&absolute).map_err(|_| SdJwtError::Claim("kid"))?;
        if method.did().as_str() != issuer {
            return Err(CredentialError::Key(method));
        }
        resolve_key(self.resolver, &method, Relationships::ASSERTION).await
    }
}

/// Checks the signatures and what was disclosed, once the key is known.
struct Judge<'a> {
    key: PublicKey,
    payload: &'a Object,
    challenge: Option<&'a Challenge>,
    verifier: &'a CredentialVerifier<'a>,
}

impl Verifier<&SdJwt> for Judge<'_> {
    type Output = SdJwtClaims;
    type Error = CredentialError;

    fn check(&self, sd_jwt: &&SdJwt) -> Result<SdJwtClaims, CredentialError> {
        let jws = Jws::parse(&sd_jwt.token).map_err(SdJwtError::from)?;
        jws.check(&self.key).map_err(SdJwtError::from)?;
        let claims = reveal(self.payload.clone(), &sd_jwt.disclosures)?.claims;
        let holder = match (self.challenge, &sd_jwt.binding) {
            (None, None) => None,
            (Some(challenge), Some(binding)) => {
                Some(self.check_binding(sd_jwt, binding, challenge)?)
            }
            _ => return Err(SdJwtError::Binding.into()),
        };
        Ok(SdJwtClaims {
            issuer: text_claim(&claims, "iss")?.into(),
            kind: text_claim(&claims, "vct")?.into(),
            claims,
            holder,
        })
    }
}

impl Judge<'_> {
    /// RFC 9901 section 7.3, step 5.
    fn check_binding(
        &self,
        sd_jwt: &SdJwt,
        binding: &str,
        challenge: &Challenge,
    ) -> Result<PublicKey, CredentialError> {
        let confirmation = self.payload.get("cnf").and_then(|cnf| cnf.as_object()?.get("jwk"));
        let key = confirmation.and_then(|jwk| jwk::from_object(jwk.as_object()?).ok());
        let key = key.ok_or(SdJwtError::Claim("cnf"))?;
        let jws = Jws::parse(binding).map_err(SdJwtError::from)?;
        check_typ(&jws, BINDING_TYP)?;
        jws.check(&key).map_err(SdJwtError::from)?;
        let answer = read_payload(&jws)?;
        challenge.check(answer.text("nonce"), answer.text("aud"))?;
        if answer.text("sd_hash") != Some(&digest(&sd_jwt.shown())) {
            return Err(SdJwtError::Hashed.into());
        }
        let signed = date_claim(&answer, "iat")?.ok_or(SdJwtError::Claim("iat"))?;
        self.verifier.check_dates(Some(signed), Some(challenge.until(signed)))?;
        self.verifier.check_dates(date_claim(&answer, "nbf")?, date_claim(&answer, "exp")?)?;
        Ok(key)
    }
}

fn check_typ(jws: &Jws<'_>, typ: &'static str) -> Result<(), SdJwtError> {
    if jws.header().text("typ") == Some(typ) { Ok(()) } else { Err(SdJwtError::Typ(typ)) }
}

fn text_claim<'a>(claims: &'a Object, name: &'static str) -> Result<&'a str, SdJwtError> {
    claims.text(name).filter(|text| !text.is_empty()).ok_or(SdJwtError::Claim(name))
}

/// Whole seconds since 1970.
fn date_claim(claims: &Object, name: &'static str) -> Result<Option<Timestamp>, SdJwtError> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    let seconds = value.as_number().and_then(Number::as_u64).ok_or(SdJwtError::Claim(name))?;
    Ok(Some(Timestamp::from_secs(seconds)))
}
