//! TLS with one's own certificate, which may change at any time: new connections get the new one, open ones keep theirs.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use lockgate_model::{Timestamp, TlsFiles};
use rustls::ServerConfig;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio_rustls::TlsAcceptor;

use crate::certificate::{Certificate, CertificateError, provider};

/// A certificate in use. Cheap to clone.
#[derive(Clone)]
pub struct Tls {
    files: Arc<TlsFiles>,
    current: Arc<Current>,
    acceptor: TlsAcceptor,
}

struct Current {
    certificate: ArcSwap<Certificate>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The files that were looked at last, whatever came of it.
    seen: Option<Stamp>,
    /// Why the files as they are now are not used.
    wrong: Option<CertificateError>,
    reloads: u64,
}

/// What tells one state of both files from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp([(u64, u64, u64, i64, i64); 2]);

/// How the certificate is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateState {
    /// Until when clients take it.
    pub valid_until: Timestamp,
    /// Why what lies there now is not used; the one before is.
    pub wrong: Option<CertificateError>,
    /// How often a new one was taken.
    pub reloads: u64,
}

impl std::fmt::Debug for Current {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Current")
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.certificate.load().key.clone())
    }
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// [`CertificateError`].
    pub fn open(files: &TlsFiles) -> Result<Self, CertificateError> {
        // Looked at before they are read, so that what changes meanwhile is read again.
        let seen = stamp(files);
        let certificate = Certificate::load(files)?;
        let state = Mutex::new(State { seen, ..State::default() });
        let current = Arc::new(Current { certificate: ArcSwap::from_pointee(certificate), state });
        let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
        let mut config = builder
            .map_err(|error| CertificateError::Content {
                path: files.cert.clone(),
                what: "certificate",
                reason: error.to_string(),
            })?
            .with_no_client_auth()
            .with_cert_resolver(current.clone());
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { files: Arc::new(files.clone()), current, acceptor: TlsAcceptor::from(Arc::new(config)) })
    }

    pub(crate) fn acceptor(&self) -> &TlsAcceptor {
        &self.acceptor
    }

    /// How it is now.
    #[must_use]
    pub fn state(&self) -> CertificateState {
        let state = self.current.state.lock().unwrap_or_else(PoisonError::into_inner);
        CertificateState {
            valid_until: self.current.certificate.load().valid_until,
            wrong: state.wrong.clone(),
            reloads: state.reloads,
        }
    }

    /// Looks at the files again and again, and takes what is there once it has stayed the same for one look: of two files the
    /// second is not written yet when the first is. Ends with the runtime.
    pub(crate) async fn watch(self, every: Duration) {
        let mut ticks = tokio::time::interval(every);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut last = None;
        loop {
            ticks.tick().await;
            let tls = self.clone();
            // A file may be on another machine's disk.
            let look = tokio::task::spawn_blocking(move || tls.look(last)).await;
            match look {
                Ok(seen) => last = seen,
                Err(error) => tracing::error!(%error, "the certificate cannot be looked at"),
            }
        }
    }

    fn look(&self, last: Option<Stamp>) -> Option<Stamp> {
        let now = stamp(&self.files);
        let known = self.current.state.lock().unwrap_or_else(PoisonError::into_inner).seen;
        if now != known && now == last {
            self.reload(now);
        }
        now
    }

    fn reload(&self, seen: Option<Stamp>) {
        let loaded = Certificate::load(&self.files);
        let mut state = self.current.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.seen = seen;
        match loaded {
            Ok(certificate) => {
                tracing::info!(
                    valid_until = rfc3339(certificate.valid_until),
                    "the certificate has changed, new connections get the new one"
                );
                self.current.certificate.store(Arc::new(certificate));
                state.wrong = None;
                state.reloads += 1;
            }
            Err(error) => {
                tracing::error!(%error, hint = error.hint(), "the new certificate is not used, the one before is");
                state.wrong = Some(error);
            }
        }
    }
}

fn rfc3339(at: Timestamp) -> String {
    jiff::Timestamp::from_millisecond(at.0).map_or_else(|_| "?".to_owned(), |at| at.to_string())
}

/// `None` while one of them is not there.
fn stamp(files: &TlsFiles) -> Option<Stamp> {
    let of = |path: &Path| {
        let seen = std::fs::metadata(path).ok()?;
        Some((seen.dev(), seen.ino(), seen.size(), seen.mtime(), seen.mtime_nsec()))
    };
    Some(Stamp([of(&files.cert)?, of(&files.key)?]))
}
