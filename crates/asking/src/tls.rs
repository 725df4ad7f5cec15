//! TLS to a router's own listener, as a host whose streams are encrypted.

use std::sync::Arc;

use async_trait::async_trait;
use lockgate_model::{FailureKind, HostId, Millis};
use lockgate_ports::{Command, Endpoint, Host, HostFile, HostStream, Output, PortError, Swapped};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};

use crate::entrance::Entrance;

/// A host like `inner`, except that [`Host::connect`] speaks TLS to the server `name`.
///
/// The certificate is not checked against anybody: the question goes to the router's own listener as seen from its
/// host, carries no secret, and its answer only says which release serves. Whether users get a good certificate is
/// for the gates to ask, from outside.
pub(crate) struct TlsHost<'a> {
    inner: &'a dyn Host,
    name: ServerName<'static>,
    connector: TlsConnector,
    entrance: Entrance,
}

impl<'a> TlsHost<'a> {
    pub(crate) fn new(inner: &'a dyn Host, name: &str, entrance: &Entrance) -> Result<Self, PortError> {
        let name = ServerName::try_from(name.to_owned()).map_err(|error| {
            PortError::new(FailureKind::Refused, format!("{name:?} cannot be a TLS server's name: {error}"))
                .hint(format!("set `{}` to a URL with the site's name", entrance.key))
        })?;
        let provider = Arc::new(ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| PortError::other(format!("TLS cannot be set up: {error}")))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { inner, name, connector: TlsConnector::from(Arc::new(config)), entrance: *entrance })
    }
}

#[async_trait]
impl Host for TlsHost<'_> {
    fn id(&self) -> &HostId {
        self.inner.id()
    }

    async fn exec(&self, command: &Command) -> Result<Output, PortError> {
        self.inner.exec(command).await
    }

    async fn read(&self, path: &str) -> Result<HostFile, PortError> {
        self.inner.read(path).await
    }

    async fn write(&self, path: &str, content: &[u8], mode: u32) -> Result<(), PortError> {
        self.inner.write(path, content, mode).await
    }

    async fn read_own(&self, path: &str) -> Result<HostFile, PortError> {
        self.inner.read_own(path).await
    }

    async fn write_own(&self, path: &str, content: &[u8], mode: u32) -> Result<(), PortError> {
        self.inner.write_own(path, content, mode).await
    }

    async fn exec_lines(
        &self,
        command: &lockgate_ports::Command,
        sink: &mut dyn lockgate_ports::LineSink,
    ) -> Result<lockgate_ports::Ended, PortError> {
        self.inner.exec_lines(command, sink).await
    }

    async fn upload(
        &self,
        upload: lockgate_ports::Upload<'_>,
    ) -> Result<lockgate_ports::Uploaded, PortError> {
        self.inner.upload(upload).await
    }

    async fn names(&self, folder: &str, prefix: &str) -> Result<Vec<String>, PortError> {
        self.inner.names(folder, prefix).await
    }

    async fn remove(&self, path: &str) -> Result<(), PortError> {
        self.inner.remove(path).await
    }

    async fn swap(&self, path: &str, expected: Option<&[u8]>, content: &[u8]) -> Result<Swapped, PortError> {
        self.inner.swap(path, expected, content).await
    }

    async fn connect(&self, endpoint: &Endpoint, timeout: Millis) -> Result<Box<dyn HostStream>, PortError> {
        let stream = self.inner.connect(endpoint, timeout).await?;
        match tokio::time::timeout(timeout.duration(), self.connector.connect(self.name.clone(), stream))
            .await
        {
            Ok(Ok(stream)) => Ok(Box::new(stream)),
            Ok(Err(error)) => {
                let Entrance { router, key, log } = self.entrance;
                Err(PortError::unreachable(format!("no TLS with {endpoint}: {error}"))
                    .hint(format!("does this {router} serve that name over HTTPS? `{log}`; or set `{key}`")))
            }
            Err(_) => Err(PortError::timed_out(format!("no TLS with {endpoint} within {timeout}"))),
        }
    }

    async fn disk_free_mib(&self, path: &str) -> Result<u64, PortError> {
        self.inner.disk_free_mib(path).await
    }
}

/// Takes any certificate, and checks that the server holds its key.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
