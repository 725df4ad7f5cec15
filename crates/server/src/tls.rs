//! TLS with one's own certificate, which may change at any time: new connections get the new one, open ones keep theirs.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use lockgate_model::{Timestamp, TlsFiles};
use rustls::ServerConfig;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio_rustls::TlsAcceptor;

use crate::certificate::{Certificate, CertificateError, provider, rfc3339};

/// The time now.
pub type Now = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// A certificate in use. Cheap to clone.
#[derive(Clone)]
pub struct Tls {
    files: Arc<TlsFiles>,
    current: Arc<Current>,
    acceptor: TlsAcceptor,
    now: Now,
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
    /// When they are looked at again although they have not changed: what they hold is valid then.
    later: Option<Timestamp>,
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
    /// Reads the files. What clients may not take all the same is told in the log.
    ///
    /// # Errors
    /// [`CertificateError`].
    pub fn open(files: &TlsFiles, now: Now) -> Result<Self, CertificateError> {
        // Looked at before they are read, so that what changes meanwhile is read again.
        let seen = stamp(files);
        let certificate = Certificate::load(files)?;
        tell_doubts(&certificate, now());
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
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Ok(Self { files: Arc::new(files.clone()), current, acceptor, now })
    }

    pub(crate) fn acceptor(&self) -> &TlsAcceptor {
        &self.acceptor
    }

    /// How it is now.
    #[must_use]
    pub fn state(&self) -> CertificateState {
        let state = self.state_now();
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
        let (known, later) = {
            let state = self.state_now();
            (state.seen, state.later)
        };
        let is_time = later.is_some_and(|later| later <= (self.now)());
        if now == last && (now != known || is_time) {
            self.reload(now);
        }
        now
    }

    fn state_now(&self) -> MutexGuard<'_, State> {
        self.current.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reload(&self, seen: Option<Stamp>) {
        let now = (self.now)();
        let before = self.current.certificate.load_full();
        let loaded = Certificate::load(&self.files).and_then(|new| self.no_worse(&before, new, now));
        let mut state = self.state_now();
        (state.seen, state.later) = (seen, None);
        match loaded {
            Ok(certificate) => {
                tracing::info!(
                    valid_until = rfc3339(certificate.valid_until),
                    "the certificate has changed, new connections get the new one"
                );
                tell_doubts(&certificate, now);
                self.current.certificate.store(Arc::new(certificate));
                state.wrong = None;
                state.reloads += 1;
            }
            Err(error @ (CertificateError::Expired { .. } | CertificateError::Early { .. })) => {
                tracing::warn!(
                    %error,
                    hint = error.hint(),
                    valid_until = rfc3339(before.valid_until),
                    "the new certificate is not used: the one before, which is valid, is"
                );
                if let CertificateError::Early { at, .. } = error {
                    state.later = Some(at);
                }
                state.wrong = Some(error);
            }
            Err(error) => {
                tracing::error!(%error, hint = error.hint(), "the new certificate is not used, the one before is");
                state.wrong = Some(error);
            }
        }
    }

    /// The new one, unless it is not valid now while the one before is.
    fn no_worse(
        &self,
        before: &Certificate,
        new: Certificate,
        now: Timestamp,
    ) -> Result<Certificate, CertificateError> {
        let path = self.files.cert.clone();
        match new.is_valid_at(now) || !before.is_valid_at(now) {
            true => Ok(new),
            false if new.valid_until < now => Err(CertificateError::Expired { path, at: new.valid_until }),
            false => Err(CertificateError::Early { path, at: new.valid_from }),
        }
    }
}

fn tell_doubts(certificate: &Certificate, now: Timestamp) {
    if !certificate.is_valid_at(now) {
        let (from, until) = (rfc3339(certificate.valid_from), rfc3339(certificate.valid_until));
        tracing::warn!(from, until, "the certificate is not valid now: no client takes it");
    }
    for (doubt, hint) in certificate.doubts() {
        tracing::warn!(doubt, hint, "clients may not take the certificate");
    }
}

/// `None` while one of them is not there.
fn stamp(files: &TlsFiles) -> Option<Stamp> {
    let of = |path: &Path| {
        let seen = std::fs::metadata(path).ok()?;
        Some((seen.dev(), seen.ino(), seen.size(), seen.mtime(), seen.mtime_nsec()))
    };
    Some(Stamp([of(&files.cert)?, of(&files.key)?]))
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;

    struct Scene {
        _folder: tempfile::TempDir,
        tls: Tls,
        clock: Arc<AtomicI64>,
    }

    /// With a certificate that is valid for some days from now on.
    fn scene() -> Scene {
        let folder = tempfile::tempdir().unwrap();
        let command = lockgate_signature::self_signed_command(Some("localhost"));
        let made = Command::new("sh").args(["-c", &command]).current_dir(folder.path()).output().unwrap();
        assert!(made.status.success(), "{made:?}");
        let files = TlsFiles { cert: folder.path().join("cert.pem"), key: folder.path().join("key.pem") };
        let now = jiff::Timestamp::now().as_millisecond() + 60_000;
        let clock = Arc::new(AtomicI64::new(now));
        let reads = clock.clone();
        let tls = Tls::open(&files, Arc::new(move || Timestamp(reads.load(Ordering::SeqCst)))).unwrap();
        Scene { _folder: folder, tls, clock }
    }

    #[test]
    fn what_is_not_valid_takes_the_place_of_nothing_that_is() {
        let scene = scene();
        let of = |from, until| {
            let mut certificate = Certificate::load(&scene.tls.files).unwrap();
            (certificate.valid_from, certificate.valid_until) = (Timestamp(from), Timestamp(until));
            certificate
        };
        for (now, wanted) in [
            (500, Some("is not valid before")),
            (1_000, None),
            (3_000, Some("has expired")),
            // The one before is not valid either.
            (5_000, None),
            (-5_000, None),
        ] {
            let new = scene.tls.no_worse(&of(0, 4_000), of(1_000, 2_000), Timestamp(now));
            match (new, wanted) {
                (Ok(_), None) => {}
                (Err(error), Some(wanted)) => assert!(error.to_string().contains(wanted), "{now}: {error}"),
                (new, _) => panic!("{now}: {:?}", new.err()),
            }
        }
    }

    #[test]
    fn what_was_not_valid_yet_is_taken_once_it_is() {
        let scene = scene();
        let seen = stamp(&scene.tls.files);
        let reloads = || {
            scene.tls.look(seen);
            scene.tls.state().reloads
        };
        assert_eq!(reloads(), 0, "nothing has changed");
        let now = scene.clock.load(Ordering::SeqCst);
        scene.tls.state_now().later = Some(Timestamp(now + 1_000));
        assert_eq!(reloads(), 0);
        scene.clock.store(now + 1_000, Ordering::SeqCst);
        assert_eq!((reloads(), reloads()), (1, 1), "once");
    }
}
