//! A certificate and its key, read from files and checked before anybody is shown them.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lockgate_model::{Timestamp, TlsFiles};
use lockgate_own::{Foreign, OwnError};
use lockgate_signature::{CertificateFacts, self_signed_command};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

/// A chain of certificates is a few KiB.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// Permission bits of users who are neither the owner nor in its group.
const OTHERS_READ: u32 = 0o004;

/// A certificate that fits its key.
pub struct Certificate {
    pub(crate) key: Arc<CertifiedKey>,
    /// From when on clients take it.
    pub valid_from: Timestamp,
    /// Until when.
    pub valid_until: Timestamp,
    facts: CertificateFacts,
}

/// Why a certificate cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    #[error("{path} cannot be read: {reason}")]
    Unreadable { path: PathBuf, reason: String },
    #[error("{path} holds no {what}: {reason}")]
    Content { path: PathBuf, what: &'static str, reason: String },
    /// Others could use it in our place.
    #[error("every user of this machine can read the key {path}")]
    Readable { path: PathBuf },
    #[error("{message}")]
    NotOurs { message: String, hint: String },
    #[error("the key {key} is not the one of the certificate {cert}")]
    Mismatch { cert: PathBuf, key: PathBuf },
    #[error("{path} is a certificate of X.509 v1, which no client takes: it has no names (subjectAltName)")]
    Old { path: PathBuf },
    /// It is left out for one that is valid now.
    #[error("{path} has expired, at {}", rfc3339(*at))]
    Expired { path: PathBuf, at: Timestamp },
    /// As `Expired`.
    #[error("{path} is not valid before {}", rfc3339(*at))]
    Early { path: PathBuf, at: Timestamp },
}

impl CertificateError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Unreadable { path, .. } => {
                format!("see `ls -l {}`, and `serve.tls` in lockgate.yaml", path.display())
            }
            Self::Content { what: "certificate", .. } => {
                "`cert` is a PEM file: the server's certificate first, then those that lead to its authority"
                    .to_owned()
            }
            Self::Content { .. } => {
                "`key` is a PEM file with one private key, without a passphrase".to_owned()
            }
            Self::Readable { path } => format!("`chmod o-rwx {}`", path.display()),
            Self::NotOurs { hint, .. } => hint.clone(),
            Self::Mismatch { .. } => "put both files of the same certificate in place".to_owned(),
            Self::Old { .. } => anew(),
            Self::Expired { .. } => "put a renewed one in place: it is taken while serving".to_owned(),
            Self::Early { .. } => {
                "it is taken once it is valid; see whether this machine's clock is right: `date -u`"
                    .to_owned()
            }
        }
    }
}

impl Certificate {
    /// Reads and checks both files. One that has expired is loaded all the same.
    ///
    /// # Errors
    /// [`CertificateError`].
    pub fn load(files: &TlsFiles) -> Result<Self, CertificateError> {
        let pem = read(&files.cert, false)?;
        let content = |path: &Path, what, reason: String| CertificateError::Content {
            path: path.to_owned(),
            what,
            reason,
        };
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&pem)
            .collect::<Result<_, _>>()
            .map_err(|error| content(&files.cert, "certificate", error.to_string()))?;
        let Some(first) = chain.first() else {
            return Err(content(&files.cert, "certificate", "no such block is in it".to_owned()));
        };
        let facts = CertificateFacts::read(first)
            .map_err(|error| content(&files.cert, "certificate", error.to_string()))?;
        if facts.is_old {
            return Err(CertificateError::Old { path: files.cert.clone() });
        }
        let pem = read(&files.key, true)?;
        let key = PrivateKeyDer::from_pem_slice(&pem)
            .map_err(|error| content(&files.key, "private key", error.to_string()))?;
        let key = CertifiedKey::from_der(chain, key, &provider()).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                CertificateError::Mismatch { cert: files.cert.clone(), key: files.key.clone() }
            }
            rustls::Error::InvalidCertificate(why) => content(&files.cert, "certificate", why.to_string()),
            other => content(&files.key, "private key", other.to_string()),
        })?;
        let (valid_from, valid_until) = (time(facts.valid_from), time(facts.valid_until));
        Ok(Self { key: Arc::new(key), valid_from, valid_until, facts })
    }

    /// Whether clients take it at that time, as far as its dates go.
    #[must_use]
    pub fn is_valid_at(&self, now: Timestamp) -> bool {
        (self.valid_from..=self.valid_until).contains(&now)
    }

    /// The server's own, in DER.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        self.key.cert.first().map(AsRef::as_ref).unwrap_or_default()
    }

    /// Why clients may not take it, though it can be shown: each one sentence without a full stop, and what to do about it.
    #[must_use]
    pub fn doubts(&self) -> Vec<(String, String)> {
        let mut doubts = Vec::new();
        if self.facts.names.is_empty() {
            let doubt = "it is for no name at all: it has no subjectAltName, and clients take it for none";
            doubts.push((doubt.to_owned(), anew()));
        }
        if self.facts.is_authority {
            let doubt =
                "it is marked as an authority's own (CA:TRUE), which many clients do not take as a server's";
            let hint =
                "`lockgate trigger --cacert` takes it where it is given that very file; for all clients";
            doubts.push((doubt.to_owned(), format!("{hint} {}", anew())));
        }
        doubts
    }
}

fn anew() -> String {
    format!("make one that clients take: `{}`", self_signed_command(None))
}

fn time(seconds: i64) -> Timestamp {
    Timestamp(seconds.saturating_mul(1_000))
}

pub(crate) fn rfc3339(at: Timestamp) -> String {
    jiff::Timestamp::from_millisecond(at.0).map_or_else(|_| "?".to_owned(), |at| at.to_string())
}

/// The cryptography that all connections are made with.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn read(path: &Path, is_secret: bool) -> Result<Vec<u8>, CertificateError> {
    let unreadable = |reason: String| CertificateError::Unreadable { path: path.to_owned(), reason };
    let failed = |error: OwnError| match error {
        OwnError::Foreign(Foreign { message, hint }) => CertificateError::NotOurs { message, hint },
        OwnError::Io(error) => unreadable(error.to_string()),
    };
    let file: File = lockgate_own::open(path).map_err(failed)?;
    if is_secret {
        // Who can write it can put another one in its place.
        lockgate_own::own_open(&file, path).map_err(failed)?;
        let seen = file.metadata().map_err(|error| unreadable(error.to_string()))?;
        if seen.mode() & OTHERS_READ != 0 {
            return Err(CertificateError::Readable { path: path.to_owned() });
        }
    }
    let mut bytes = Vec::new();
    let read = file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes);
    read.map_err(|error| unreadable(error.to_string()))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(unreadable("it is larger than 1 MiB".to_owned()));
    }
    Ok(bytes)
}
