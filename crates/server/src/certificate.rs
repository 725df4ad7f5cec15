//! A certificate and its key, read from files and checked before anybody is shown them.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lockgate_model::{Timestamp, TlsFiles};
use lockgate_own::{Foreign, OwnError};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_cert::der::Decode;

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
        let (valid_from, valid_until) =
            validity(first).map_err(|reason| content(&files.cert, "certificate", reason))?;
        let pem = read(&files.key, true)?;
        let key = PrivateKeyDer::from_pem_slice(&pem)
            .map_err(|error| content(&files.key, "private key", error.to_string()))?;
        let key = CertifiedKey::from_der(chain, key, &provider()).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                CertificateError::Mismatch { cert: files.cert.clone(), key: files.key.clone() }
            }
            other => content(&files.key, "private key", other.to_string()),
        })?;
        Ok(Self { key: Arc::new(key), valid_from, valid_until })
    }
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

fn validity(certificate: &CertificateDer<'_>) -> Result<(Timestamp, Timestamp), String> {
    let parsed = x509_cert::Certificate::from_der(certificate).map_err(|error| error.to_string())?;
    let validity = parsed.tbs_certificate().validity();
    let time = |time: x509_cert::time::Time| {
        Timestamp(i64::try_from(time.to_unix_duration().as_millis()).unwrap_or(i64::MAX))
    };
    Ok((time(validity.not_before), time(validity.not_after)))
}
