//! Whose certificate is believed: one that an authority of this machine or of `--cacert` vouches for; and one that is itself in
//! `--cacert`, byte for byte, for its name and as long as it is valid, also where it is marked as an authority's, as those are
//! that `openssl req -x509` makes by itself.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use lockgate_model::{Failure, FailureKind, TOLD_CHARS_MAX, quoted};
use lockgate_signature::{CertificateFacts, self_signed_command};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, SignatureScheme};
use rustls_platform_verifier::Verifier;

/// Certificates, PEM, at least one.
///
/// # Errors
/// What is no such text.
pub(crate) fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    read.ok().filter(|all| !all.is_empty()).ok_or_else(no_certificate)
}

fn no_certificate() -> Failure {
    Failure::new(FailureKind::Refused, "what --cacert names holds no certificate in PEM")
        .hint("it begins with -----BEGIN CERTIFICATE-----")
}

/// TLS as all calls speak it. `given`: what is believed beside the authorities of this machine.
///
/// # Errors
/// One of those given is no certificate, or there is nothing at all to believe.
pub(crate) fn tls(given: Vec<CertificateDer<'static>>) -> Result<ClientConfig, Failure> {
    let provider = provider()?;
    let authorities = Verifier::new_with_extra_roots(given.iter().cloned(), provider.clone());
    let authorities = authorities.map_err(|error| match error {
        Error::InvalidCertificate(_) => no_certificate(),
        other => Failure::new(FailureKind::Other, format!("no certificate can be checked: {other}"))
            .hint("install this machine's authorities, such as Debian's `ca-certificates`, or give one with --cacert FILE"),
    })?;
    config(provider, Arc::new(Trust { authorities, given }))
}

/// TLS with whoever shows this very certificate, under whatever name; `None`: with nobody.
pub(crate) fn tls_with(certificate: Option<CertificateDer<'static>>) -> Result<ClientConfig, Failure> {
    let provider = provider()?;
    config(provider.clone(), Arc::new(Only { certificate, provider }))
}

fn provider() -> Result<Arc<CryptoProvider>, Failure> {
    let found = CryptoProvider::get_default().cloned();
    found.ok_or_else(|| Failure::new(FailureKind::Other, "this program was made without cryptography"))
}

fn config(
    provider: Arc<CryptoProvider>,
    verifier: Arc<dyn ServerCertVerifier>,
) -> Result<ClientConfig, Failure> {
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder
        .map_err(|error| Failure::new(FailureKind::Other, format!("no TLS can be spoken: {error}")))?;
    let mut config = builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

#[derive(Debug)]
struct Trust {
    authorities: Verifier,
    given: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for Trust {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let is_given = self.given.iter().any(|given| given.as_ref() == end_entity.as_ref());
        let verified = match is_given {
            true => itself(end_entity, name, now),
            false => self.authorities.verify_server_cert(end_entity, intermediates, name, ocsp, now),
        };
        verified.map_err(|error| match error {
            Error::InvalidCertificate(why) => {
                let facts = CertificateFacts::read(end_entity).ok();
                let expected = Expected {
                    name: name.to_str().into_owned(),
                    has_given: !self.given.is_empty(),
                    is_given,
                };
                let distrust = Distrust::of(&why, facts.as_ref(), &expected);
                CertificateError::Other(OtherError(Arc::new(distrust))).into()
            }
            other => other,
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.authorities.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.authorities.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.authorities.supported_verify_schemes()
    }
}

/// A certificate that was given byte for byte: nobody has to vouch for it, and what it may sign is of no matter. That the other
/// side has its key is what the handshake's signature proves.
fn itself(
    certificate: &CertificateDer<'_>,
    name: &ServerName<'_>,
    now: UnixTime,
) -> Result<ServerCertVerified, Error> {
    verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
    let facts = CertificateFacts::read(certificate)
        .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    match now {
        now if now < facts.valid_from => Err(CertificateError::NotValidYet.into()),
        now if now > facts.valid_until => Err(CertificateError::Expired.into()),
        _ => Ok(ServerCertVerified::assertion()),
    }
}

#[derive(Debug)]
struct Only {
    certificate: Option<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Only {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self.certificate.as_ref().is_some_and(|only| only.as_ref() == end_entity.as_ref()) {
            true => Ok(ServerCertVerified::assertion()),
            false => Err(CertificateError::ApplicationVerificationFailure.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let schemes = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, schemes)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let schemes = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, schemes)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Why a certificate is not believed, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Distrust {
    /// A part of a sentence about the other side's certificate.
    why: String,
    pub hints: Vec<String>,
}

impl fmt::Display for Distrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl StdError for Distrust {}

/// What was asked of a certificate.
struct Expected {
    /// The name or address in the URL.
    name: String,
    /// Certificates were given.
    has_given: bool,
    /// It is one of them.
    is_given: bool,
}

impl Distrust {
    /// What is behind an error of TLS. `None`: it is about something else.
    pub(crate) fn behind(error: &Error) -> Option<&Self> {
        match error {
            Error::InvalidCertificate(CertificateError::Other(OtherError(inner))) => inner.downcast_ref(),
            _ => None,
        }
    }

    fn of(why: &CertificateError, facts: Option<&CertificateFacts>, expected: &Expected) -> Self {
        let anew = || format!("make one that clients take: `{}`", self_signed_command(Some(&expected.name)));
        let names = facts.map(|facts| facts.names.as_slice()).unwrap_or_default();
        let at = |seconds: fn(&CertificateFacts) -> i64| {
            facts.map(|facts| format!(" {}", date(seconds(facts)))).unwrap_or_default()
        };
        let renew = "renew it: the daemon takes a new one by itself; and see `date -u` here and there";
        use CertificateError as Why;
        let (why, hints) = match why {
            _ if facts.is_some_and(|facts| facts.is_old) => (
                "its certificate is one of X.509 v1, which has no names (subjectAltName)".to_owned(),
                vec![anew()],
            ),
            Why::Expired | Why::ExpiredContext { .. } => (
                format!("its certificate has expired{}", at(|facts| facts.valid_until)),
                vec![renew.to_owned()],
            ),
            Why::NotValidYet | Why::NotValidYetContext { .. } => {
                let why = format!("its certificate is not valid before{}", at(|facts| facts.valid_from));
                (why, vec![renew.to_owned()])
            }
            _ if facts.is_some_and(|facts| facts.names.is_empty()) => {
                ("its certificate is for no name at all: it has no subjectAltName".to_owned(), vec![anew()])
            }
            Why::NotValidForName | Why::NotValidForNameContext { .. } => {
                let why = format!(
                    "its certificate is for {} and not for {}",
                    quoted(&names.join(", "), TOLD_CHARS_MAX),
                    expected.name
                );
                (why, vec![format!("call it by a name that it has; or {}", anew())])
            }
            _ if !expected.is_given && facts.is_some_and(|facts| facts.is_authority) => (
                "its certificate is marked as an authority's own (CA:TRUE) and used as a server's".to_owned(),
                vec![
                    "where it is yours, give that very file: --cacert FILE".to_owned(),
                    format!("or {}", anew()),
                ],
            ),
            Why::UnknownIssuer | Why::BadSignature => {
                let why = "its certificate is signed by nobody who is trusted here".to_owned();
                let hint = "this machine does not trust its certificate: that of an authority of your own, or the server's own \
                            where it signs itself, is given with --cacert FILE";
                let given = "what --cacert names has not signed it, and is another one than what it shows";
                let hints = expected.has_given.then_some(given).into_iter().chain([hint]);
                (why, hints.map(str::to_owned).collect())
            }
            other => {
                let why = format!(
                    "its certificate is not believed: {}",
                    quoted(&other.to_string(), TOLD_CHARS_MAX)
                );
                (why, vec![anew()])
            }
        };
        Self { why, hints }
    }
}

/// In UTC.
fn date(seconds: i64) -> String {
    let time = jiff::Timestamp::from_second(seconds);
    time.map_or_else(|_| "at no time".to_owned(), |time| time.to_string())
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::Duration;

    use super::*;

    /// What openssl leaves in `cert.pem`.
    fn made(words: &str) -> CertificateDer<'static> {
        let folder = tempfile::tempdir().unwrap();
        let keys = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=x -keyout key.pem";
        let command = words.replace("KEYS", keys);
        let output = Command::new("sh").args(["-c", &command]).current_dir(folder.path()).output().unwrap();
        assert!(output.status.success(), "{command}: {output:?}");
        certificates(&std::fs::read(folder.path().join("cert.pem")).unwrap()).unwrap().remove(0)
    }

    fn authority(names: &str) -> CertificateDer<'static> {
        made(&format!("openssl req -x509 KEYS -days 30 {names} -out cert.pem"))
    }

    fn trust(given: &[&CertificateDer<'static>]) -> Trust {
        let given: Vec<_> = given.iter().map(|one| (*one).clone()).collect();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        Trust { authorities: Verifier::new_with_extra_roots(given.iter().cloned(), provider).unwrap(), given }
    }

    /// `days` from now.
    fn shown(trust: &Trust, certificate: &CertificateDer<'_>, days: i64) -> Result<(), Distrust> {
        let now = i64::try_from(UnixTime::now().as_secs()).unwrap() + days * 24 * 3600;
        let now = UnixTime::since_unix_epoch(Duration::from_secs(now.unsigned_abs()));
        let name = ServerName::try_from("deploy.shop.example").unwrap();
        let verified = trust.verify_server_cert(certificate, &[], &name, &[], now);
        verified.map(drop).map_err(|error| Distrust::behind(&error).expect("it says why").clone())
    }

    const NAMED: &str = "-addext subjectAltName=DNS:deploy.shop.example";
    const PLAIN: &str = "-addext basicConstraints=critical,CA:FALSE";

    #[test]
    fn the_very_certificate_that_was_given_is_believed_for_its_name_and_its_time() {
        let (own, other) = (authority(NAMED), authority(NAMED));
        assert_eq!(shown(&trust(&[&other, &own]), &own, 0), Ok(()));
        let plain = authority(&format!("{NAMED} {PLAIN}"));
        assert_eq!(shown(&trust(&[&plain]), &plain, 0), Ok(()));

        let why = |given: &CertificateDer<'static>, shown_one: &CertificateDer<'_>, days| {
            shown(&trust(&[given]), shown_one, days).unwrap_err().to_string()
        };
        assert!(why(&own, &own, 31).starts_with("its certificate has expired 20"));
        assert!(why(&own, &own, -1).starts_with("its certificate is not valid before 20"));
        let elsewhere = authority("-addext subjectAltName=DNS:other.example,IP:10.0.0.7");
        assert_eq!(
            why(&elsewhere, &elsewhere, 0),
            "its certificate is for other.example, 10.0.0.7 and not for deploy.shop.example"
        );
        // The same name and the same key owner's word, in other bytes: nobody vouches for it.
        assert_eq!(
            why(&own, &other, 0),
            "its certificate is marked as an authority's own (CA:TRUE) and used as a server's"
        );
    }

    #[test]
    fn what_is_wrong_with_a_certificate_is_said_with_the_command_that_makes_a_right_one() {
        let own = authority(NAMED);
        let command = format!("`{}`", self_signed_command(Some("deploy.shop.example")));
        let without_names = authority("");
        let old =
            made("openssl req -new KEYS -out r && openssl x509 -req -in r -signkey key.pem -out cert.pem");
        let self_signed = authority(&format!("{NAMED} {PLAIN}"));
        for (one, given, why, hint) in [
            (&own, false, "marked as an authority's own (CA:TRUE)", "give that very file: --cacert FILE"),
            (&own, false, "used as a server's", &*command),
            (&without_names, true, "it has no subjectAltName", &*command),
            (&without_names, false, "it has no subjectAltName", &*command),
            (&old, true, "one of X.509 v1, which has no names", &*command),
            (&self_signed, false, "signed by nobody who is trusted here", "is given with --cacert FILE"),
            (&self_signed, false, "signed by nobody", "what --cacert names has not signed it"),
        ] {
            let other = authority(NAMED);
            let distrust = shown(&trust(&[if given { one } else { &other }]), one, 0).unwrap_err();
            assert!(distrust.to_string().contains(why), "{distrust}");
            assert!(distrust.hints.iter().any(|one| one.contains(hint)), "{hint}: {distrust:?}");
        }
    }

    #[test]
    fn a_place_that_is_asked_with_one_certificate_shows_that_one() {
        let (own, other) = (authority(""), authority(""));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let name = ServerName::try_from("127.0.0.1").unwrap();
        for (only, is_taken) in [(Some(&own), true), (Some(&other), false), (None, false)] {
            let only = Only { certificate: only.cloned(), provider: provider.clone() };
            let taken = only.verify_server_cert(&own, &[], &name, &[], UnixTime::now());
            assert_eq!(taken.is_ok(), is_taken);
        }
    }
}
