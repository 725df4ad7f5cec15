//! What a server's certificate says of itself, for both ends: the one that shows it and the one that is to believe it.

use std::net::IpAddr;

use x509_cert::certificate::Version;
use x509_cert::der::Decode;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{BasicConstraints, SubjectAltName};
use x509_cert::time::Time;

/// What decides whether clients take a certificate as a server's, beside who has signed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFacts {
    /// It is older than X.509 v3, which brought names and purposes: no client takes it.
    pub is_old: bool,
    /// It is marked as an authority's (`CA:TRUE`): many clients do not take it as a server's.
    pub is_authority: bool,
    /// The names and addresses that it is for (`subjectAltName`), as text. Without any it is for none.
    pub names: Vec<String>,
    /// From when on it is valid, in seconds since 1970.
    pub valid_from: i64,
    /// Until when, in seconds since 1970.
    pub valid_until: i64,
}

/// What should be a certificate is none: the reason, for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadCertificate(String);

impl CertificateFacts {
    /// Of one certificate in DER. What signed it is not looked at.
    ///
    /// # Errors
    /// [`BadCertificate`]: it cannot be read.
    pub fn read(der: &[u8]) -> Result<Self, BadCertificate> {
        let parsed =
            x509_cert::Certificate::from_der(der).map_err(|error| BadCertificate(error.to_string()))?;
        let certificate = parsed.tbs_certificate();
        let validity = certificate.validity();
        // What cannot be read of these two no client can read either.
        let constraints = certificate.get_extension::<BasicConstraints>().ok().flatten();
        let names = certificate.get_extension::<SubjectAltName>().ok().flatten();
        Ok(Self {
            is_old: certificate.version() != Version::V3,
            is_authority: constraints.is_some_and(|(_, constraints)| constraints.ca),
            names: names.iter().flat_map(|(_, names)| names.0.iter()).filter_map(name).collect(),
            valid_from: seconds(validity.not_before),
            valid_until: seconds(validity.not_after),
        })
    }
}

fn name(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::DnsName(name) => Some(name.as_str().to_owned()),
        GeneralName::IpAddress(bytes) => match *bytes.as_bytes() {
            [a, b, c, d] => Some(IpAddr::from([a, b, c, d]).to_string()),
            ref sixteen => <[u8; 16]>::try_from(sixteen).ok().map(|bytes| IpAddr::from(bytes).to_string()),
        },
        _ => None,
    }
}

fn seconds(time: Time) -> i64 {
    i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX)
}

/// The command that makes a certificate which signs itself and which clients take for `name`, a host's name or address; `None`,
/// or what is neither: for the machine that it is typed on.
#[must_use]
pub fn self_signed_command(name: Option<&str>) -> String {
    let may = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':' | b'*');
    let plain = name.filter(|name| !name.is_empty() && name.bytes().all(may));
    let (kind, name) = match plain {
        Some(name) if name.parse::<IpAddr>().is_ok() => ("IP", name),
        Some(name) => ("DNS", name),
        None => ("DNS", "$(hostname -f)"),
    };
    format!(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 365 -subj /CN=lockgate -addext \
         \"subjectAltName={kind}:{name}\" -addext basicConstraints=critical,CA:FALSE -keyout key.pem -out cert.pem"
    )
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    /// What the command leaves in `cert.pem`, in DER.
    fn made(command: &str) -> Vec<u8> {
        let folder = tempfile::tempdir().unwrap();
        let output = Command::new("sh").args(["-c", command]).current_dir(&folder).output().unwrap();
        assert!(output.status.success(), "{command}: {output:?}");
        let pem = std::fs::read_to_string(folder.path().join("cert.pem")).unwrap();
        let lines: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
        STANDARD.decode(lines).unwrap()
    }

    #[test]
    fn what_is_made_by_the_command_is_what_clients_take() {
        for (name, wanted) in
            [("deploy.shop.example", "deploy.shop.example"), ("10.0.0.7", "10.0.0.7"), ("::1", "::1")]
        {
            let facts = CertificateFacts::read(&made(&self_signed_command(Some(name)))).unwrap();
            assert_eq!(facts.names, [wanted]);
            assert!(!facts.is_authority && !facts.is_old, "{facts:?}");
            assert_eq!(facts.valid_until - facts.valid_from, 365 * 24 * 3600);
        }
    }

    #[test]
    fn what_openssl_makes_by_itself_is_an_authority_s_and_for_no_name() {
        let keys = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=x -keyout key.pem";
        let by_itself =
            CertificateFacts::read(&made(&format!("openssl req -x509 {keys} -out cert.pem"))).unwrap();
        assert!(by_itself.is_authority && by_itself.names.is_empty() && !by_itself.is_old, "{by_itself:?}");
        let old = format!(
            "openssl req -new {keys} -out request && openssl x509 -req -in request -signkey key.pem -out cert.pem"
        );
        let old = CertificateFacts::read(&made(&old)).unwrap();
        assert!(old.is_old && !old.is_authority && old.names.is_empty(), "{old:?}");
        assert!(CertificateFacts::read(b"no certificate").is_err());
    }

    #[test]
    fn a_name_that_a_shell_would_understand_is_left_out() {
        for name in [None, Some(""), Some("a b"), Some("$(id)"), Some("a;b"), Some("a\"b"), Some("`id`")] {
            let command = self_signed_command(name);
            assert!(command.contains("\"subjectAltName=DNS:$(hostname -f)\""), "{command}");
        }
    }
}
