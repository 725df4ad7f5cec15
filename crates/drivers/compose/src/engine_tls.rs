//! TLS with an engine, with the certificates that `docker` itself would take: the engine must show one that `ca.pem`
//! vouches for.

use std::sync::Arc;

use lockgate_model::{FailureKind, Millis};
use lockgate_ports::{Host, HostFile, HostStream, PortError};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::engine_address::EngineAddress;
use crate::place::join;

const FILES: [&str; 3] = ["ca.pem", "cert.pem", "key.pem"];

pub(crate) struct EngineTls {
    name: ServerName<'static>,
    connector: TlsConnector,
    folder: String,
}

impl EngineTls {
    /// # Errors
    /// `NotFound` without `ca.pem`, `Other` for what does not parse, and the host's. None holds a part of a file.
    pub(crate) async fn of(
        host: &dyn Host,
        address: &EngineAddress,
        folder: &str,
    ) -> Result<Self, PortError> {
        let paths = FILES.map(|name| join(folder, name));
        let mut read = host.read_each(&paths).await.into_iter();
        let mut next =
            || read.next().transpose().map(|file| file.and_then(|HostFile { content, .. }| content));
        let (authority, certificate, key) = (next()?, next()?, next()?);
        let [authority_path, certificate_path, key_path] = &paths;
        let broken = |path: &str| {
            PortError::other(format!("{path} on {} is not what {address} needs", host.id())).hint(format!(
                "see `openssl x509 -in {authority_path} -text`; `docker version` uses the same files"
            ))
        };
        let Some(authority) = authority else {
            return Err(PortError::not_found(format!("there is no {authority_path} on {}", host.id())).hint(
                "the certificate that vouches for the engine stands there: set DOCKER_CERT_PATH to its folder",
            ));
        };
        let mut roots = RootCertStore::empty();
        for one in certificates(&authority).ok_or_else(|| broken(authority_path))? {
            roots.add(one).map_err(|error| broken(authority_path).caused_by(error))?;
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| PortError::other(format!("TLS cannot be set up: {error}")))?
            .with_root_certificates(roots);
        let config = match (certificate, key) {
            (None, None) => builder.with_no_client_auth(),
            (Some(certificate), Some(key)) => {
                let chain = certificates(&certificate).ok_or_else(|| broken(certificate_path))?;
                let key = PrivateKeyDer::from_pem_slice(&key).map_err(|_| broken(key_path))?;
                let config = builder.with_client_auth_cert(chain, key);
                config.map_err(|error| broken(key_path).caused_by(error))?
            }
            (Some(_), None) => return Err(broken(key_path)),
            (None, Some(_)) => return Err(broken(certificate_path)),
        };
        let host_name = address.elsewhere.clone().unwrap_or_else(|| loopback(address));
        let name = ServerName::try_from(host_name)
            .map_err(|error| PortError::other(format!("{address} cannot be a TLS server: {error}")))?;
        Ok(Self { name, connector: TlsConnector::from(Arc::new(config)), folder: folder.to_owned() })
    }

    /// # Errors
    /// `Unauthorized` where the engine does not show that it is the one meant, `Unreachable`, `TimedOut`.
    pub(crate) async fn with(
        &self,
        stream: Box<dyn HostStream>,
        address: &EngineAddress,
        timeout: Millis,
    ) -> Result<Box<dyn HostStream>, PortError> {
        let shaken = self.connector.connect(self.name.clone(), stream);
        match tokio::time::timeout(timeout.duration(), shaken).await {
            Ok(Ok(stream)) => Ok(Box::new(stream)),
            Ok(Err(error)) => {
                let hint = format!("{}/ca.pem must vouch for its certificate, under that name", self.folder);
                Err(PortError::new(FailureKind::Unauthorized, format!("no TLS with {address}: {error}"))
                    .without_effect()
                    .caused_by(error)
                    .hint(hint))
            }
            Err(_) => Err(PortError::timed_out(format!("no TLS with {address} within {timeout}"))),
        }
    }
}

/// `None` where there is none, or one that does not parse.
fn certificates(pem: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().ok()?;
    (!found.is_empty()).then_some(found)
}

/// The name in the address, without port and brackets.
fn loopback(address: &EngineAddress) -> String {
    let text = address.at.to_string();
    let name = text.rsplit_once(':').map_or(text.as_str(), |(name, _)| name);
    name.trim_matches(['[', ']']).to_owned()
}
