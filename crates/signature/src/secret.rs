//! A secret that both ends know, and the few that are valid at once.

use std::fmt;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use hmac::{Hmac, KeyInit};
use sha2::Sha256;

/// What a secret of Standard Webhooks begins with; base64 follows.
pub const WHSEC_PREFIX: &str = "whsec_";
/// Secrets that are valid at once: each costs two sums over every body.
pub const SECRETS_MAX: usize = 4;

/// Standard Webhooks' own libraries differ in whether they pad a secret.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A shared secret, as keys of the two ways to sign. `Debug` hides it.
#[derive(Clone)]
pub struct SigningSecret {
    github: Hmac<Sha256>,
    standard: Hmac<Sha256>,
}

/// Why a text is no secret. It never holds the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadSecret {
    /// Everybody knows the empty secret.
    #[error("a secret is empty")]
    Empty,
    /// It begins as one of Standard Webhooks and goes on otherwise.
    #[error("a secret begins with `whsec_` and what follows is not base64")]
    NotBase64,
    /// Without a secret everybody could sign.
    #[error("there is no secret")]
    None,
    /// More than [`SECRETS_MAX`].
    #[error("there are more than {SECRETS_MAX} secrets")]
    TooMany,
}

impl SigningSecret {
    /// Of the text's bytes. One that begins with `whsec_` is base64 behind that for Standard Webhooks, and its text's bytes for
    /// GitHub, which knows no other.
    ///
    /// # Errors
    /// [`BadSecret::Empty`], also for one that is nothing behind `whsec_`; [`BadSecret::NotBase64`].
    pub fn new(text: &str) -> Result<Self, BadSecret> {
        let standard = match text.strip_prefix(WHSEC_PREFIX) {
            Some(encoded) => BASE64.decode(encoded).map_err(|_| BadSecret::NotBase64)?,
            None => text.as_bytes().to_owned(),
        };
        match standard.is_empty() {
            true => Err(BadSecret::Empty),
            false => Ok(Self { github: keyed(text.as_bytes()), standard: keyed(&standard) }),
        }
    }

    /// With GitHub's key, over nothing so far.
    pub(crate) fn github(&self) -> Hmac<Sha256> {
        self.github.clone()
    }

    /// With Standard Webhooks' key, over nothing so far.
    pub(crate) fn standard(&self) -> Hmac<Sha256> {
        self.standard.clone()
    }
}

impl fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningSecret(…)")
    }
}

/// The secrets that are valid at once: the one in use, and during a rotation the one before it or after it.
#[derive(Debug, Clone)]
pub struct SigningSecrets(Vec<SigningSecret>);

impl SigningSecrets {
    /// # Errors
    /// See [`SigningSecret::new`]; [`BadSecret::None`] for no text at all, [`BadSecret::TooMany`] for more than
    /// [`SECRETS_MAX`].
    pub fn new<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, BadSecret> {
        let secrets = texts.into_iter().map(SigningSecret::new).collect::<Result<Vec<_>, _>>()?;
        match secrets.len() {
            0 => Err(BadSecret::None),
            1..=SECRETS_MAX => Ok(Self(secrets)),
            _ => Err(BadSecret::TooMany),
        }
    }

    /// In the order in which they were given.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &SigningSecret> {
        self.0.iter()
    }
}

fn keyed(bytes: &[u8]) -> Hmac<Sha256> {
    // HMAC takes a key of any length: a long one is hashed first.
    Hmac::new_from_slice(bytes).expect("HMAC takes any key")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_that_protects_nothing_is_refused() {
        for (text, error) in [
            ("", BadSecret::Empty),
            ("whsec_", BadSecret::Empty),
            ("whsec_not base64", BadSecret::NotBase64),
            ("whsec_a-b_", BadSecret::NotBase64),
        ] {
            assert_eq!(SigningSecret::new(text).unwrap_err(), error, "{text:?}");
        }
        assert_eq!(SigningSecrets::new([]).unwrap_err(), BadSecret::None);
        assert_eq!(SigningSecrets::new(["a", ""]).unwrap_err(), BadSecret::Empty);
        assert_eq!(SigningSecrets::new(["a"; 5]).unwrap_err(), BadSecret::TooMany);
        assert!(SigningSecrets::new(["a"; 4]).is_ok());
    }

    #[test]
    fn a_secret_is_not_shown() {
        let secrets = SigningSecrets::new(["hunter2hunter2"]).unwrap();
        assert_eq!(format!("{secrets:?}"), "SigningSecrets([SigningSecret(…)])");
        assert!(!BadSecret::NotBase64.to_string().contains("hunter2"));
    }
}
