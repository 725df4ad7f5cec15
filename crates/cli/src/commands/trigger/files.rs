//! What `trigger` reads: the secret, and certificates of an authority.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use lockgate_model::SIGNING_SECRET_BYTES_MIN;
use lockgate_signature::SigningSecret;

use crate::error::CliError;

/// Where the secret is looked for; the first that is set counts.
const VARIABLES: [&str; 2] = ["LOCKGATE_WEBHOOK_SECRET", "WEBHOOK_SECRET"];
const SECRET_BYTES_MAX: u64 = 4 * 1024;
/// A system's own bundle is a fifth of it.
const ROOTS_BYTES_MAX: u64 = 1024 * 1024;

/// Out of the file, if one is named, else out of the environment. No error shows any of it.
pub fn secret(file: Option<&Path>, env: &dyn Fn(&str) -> Option<String>) -> Result<SigningSecret, CliError> {
    let (place, text) = match file {
        Some(file) => {
            let bytes = read(file, SECRET_BYTES_MAX)?;
            let text = String::from_utf8(bytes)
                .map_err(|_| CliError::usage(format!("{} is no text", file.display()), KEPT_AS_TEXT))?;
            (file.display().to_string(), text.trim_end_matches(['\r', '\n']).to_owned())
        }
        None => {
            let found = VARIABLES.iter().find_map(|name| Some(((*name).to_owned(), env(name)?)));
            found.ok_or_else(|| {
                CliError::usage(
                    "there is no secret to sign the call with",
                    "set LOCKGATE_WEBHOOK_SECRET, or name a file with --secret-file",
                )
            })?
        }
    };
    if text.is_empty() {
        return Err(CliError::usage(
            format!("the secret in {place} is empty"),
            "a CI system gives an empty value where the secret does not exist, or to a pull request from elsewhere",
        ));
    }
    if text.len() < SIGNING_SECRET_BYTES_MIN {
        return Err(CliError::usage(
            format!(
                "the secret in {place} has fewer than {SIGNING_SECRET_BYTES_MIN} bytes, which no daemon takes"
            ),
            "make one with `openssl rand -hex 32`, and set it at both ends",
        ));
    }
    SigningSecret::new(&text).map_err(|error| CliError::usage(format!("{place}: {error}"), KEPT_AS_TEXT))
}

const KEPT_AS_TEXT: &str = "it is the very text that `secrets:` of the endpoint has";

/// Certificates as PEM; whether they are some is seen when they are used.
pub fn roots(file: &Path) -> Result<Vec<u8>, CliError> {
    read(file, ROOTS_BYTES_MAX)
}

/// A pipe is read as well, as of `--secret-file <(pass show deploy)`.
fn read(file: &Path, bytes_max: u64) -> Result<Vec<u8>, CliError> {
    let shown = file.display();
    let unread = |error: std::io::Error| {
        CliError::usage(format!("{shown} cannot be read: {error}"), "check its path and its mode")
    };
    let mut bytes = Vec::new();
    File::open(file).map_err(unread)?.take(bytes_max + 1).read_to_end(&mut bytes).map_err(unread)?;
    match bytes.len() as u64 > bytes_max {
        true => {
            Err(CliError::usage(format!("{shown} has more than {bytes_max} bytes"), "is it the right file?"))
        }
        false => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> Result<SigningSecret, CliError> {
        let env = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        secret(None, &env)
    }

    fn said(secret: Result<SigningSecret, CliError>) -> String {
        format!("{:?}", secret.unwrap_err())
    }

    #[test]
    fn the_secret_comes_from_the_environment_and_is_never_told() {
        let (one, other) = ("hunter2hunter2hunter2", "sw0rdfish-sw0rdfish");
        let both = of(&[("WEBHOOK_SECRET", other), ("LOCKGATE_WEBHOOK_SECRET", one)]).unwrap();
        assert_eq!(both.sign_github(b"x"), SigningSecret::new(one).unwrap().sign_github(b"x"));
        assert!(of(&[("WEBHOOK_SECRET", other)]).is_ok());
        assert!(said(of(&[])).contains("there is no secret to sign the call with"));
        assert!(said(of(&[("WEBHOOK_SECRET", "")])).contains("the secret in WEBHOOK_SECRET is empty"));
        let short = said(of(&[("WEBHOOK_SECRET", "hunter2")]));
        assert!(short.contains("fewer than 16 bytes") && !short.contains("hunter2"), "{short}");
        let bad = said(of(&[("WEBHOOK_SECRET", "whsec_hunter2 hunter2")]));
        assert!(bad.contains("is not base64") && !bad.contains("hunter2"), "{bad}");
    }

    #[test]
    fn a_file_s_last_line_end_is_no_part_of_its_secret() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        let none = |_: &str| None;
        std::fs::write(&file, "hunter2hunter2hunter2\r\n").unwrap();
        let read = secret(Some(&file), &none).unwrap();
        let wanted = SigningSecret::new("hunter2hunter2hunter2").unwrap();
        assert_eq!(read.sign_github(b"x"), wanted.sign_github(b"x"));
        std::fs::write(&file, "x".repeat(5_000)).unwrap();
        assert!(said(secret(Some(&file), &none)).contains("has more than 4096 bytes"));
        std::fs::write(&file, [0xff; 20]).unwrap();
        assert!(said(secret(Some(&file), &none)).contains("is no text"));
        assert!(said(secret(Some(&folder.path().join("none")), &none)).contains("cannot be read"));
    }
}
