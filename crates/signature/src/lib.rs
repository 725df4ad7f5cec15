#![doc = include_str!("../README.md")]
#![deny(missing_docs)]

mod certificate;
mod github;
mod secret;
mod standard;
mod verify;

pub use certificate::{BadCertificate, CertificateFacts, self_signed_command};
pub use github::GITHUB_HEADER;
pub use secret::{BadSecret, SECRETS_MAX, SigningSecret, SigningSecrets, WHSEC_PREFIX};
pub use standard::{BadMessage, ID_BYTES_MAX, ID_HEADER, Message, SIGNATURE_HEADER, TIMESTAMP_HEADER};
pub use verify::{Header, Headers, Signed, SignedMessage, Unsigned};
