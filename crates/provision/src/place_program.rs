//! Lockgate's own program is put on a host's PATH. Where it replaces one, whatever runs goes on with the old bytes.

use std::io::Cursor;

use lockgate_model::{FailureKind, Millis, quoted};
use lockgate_ports::{Command, Host, PortError, Upload};

use crate::program::{Errand, Fit, NAME, WantedProgram};
use crate::said::FORBIDDEN;

const MODE: u32 = 0o755;
const PLACE_SECONDS_MAX: u64 = 60;
const SHOWN_CHARS_MAX: usize = 200;
const PLACE: &str = include_str!("sh/place_program.sh");

/// # Errors
/// The host's. What was there stays whole.
pub(crate) async fn make(host: &dyn Host, wanted: &WantedProgram, errand: &Errand) -> Result<(), PortError> {
    let Some(fit) = wanted.files.get(errand.file).and_then(|file| file.fit()) else {
        return Err(PortError::other("the plan names a program that is not there"));
    };
    if !errand.is_by_sudo {
        return upload(host, &errand.path, fit).await;
    }
    let folder = own_folder(host).await?;
    upload(host, &format!("{folder}/{NAME}"), fit).await?;
    let argv = ["sh", "-c", PLACE, "sh", &folder, NAME, &errand.path];
    let output = host.exec(&Command::new(argv).timeout(Millis::from_secs(PLACE_SECONDS_MAX))).await?;
    if output.ok() {
        return Ok(());
    }
    let said = output.stderr_text();
    let last = said.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("no word of why");
    let message =
        format!("{} cannot be put on {}: {}", errand.path, host.id(), quoted(last, SHOWN_CHARS_MAX));
    let is_forbidden = FORBIDDEN.iter().any(|words| said.contains(words));
    Err(match is_forbidden {
        true => PortError::new(FailureKind::Unauthorized, message)
            .hint("log in as root, or let this user use sudo for all commands without a password"),
        false => PortError::other(message),
    })
}

async fn upload(host: &dyn Host, path: &str, fit: &Fit) -> Result<(), PortError> {
    let mut content = Cursor::new(fit.content.as_slice());
    let upload =
        Upload::new(path, MODE, &mut content).size(fit.content.len() as u64).digest(fit.digest.clone());
    host.upload(upload).await.map(drop)
}

/// A new folder that nobody else may write to.
async fn own_folder(host: &dyn Host) -> Result<String, PortError> {
    let output = host.exec(&Command::new(["mktemp", "-d"])).await?;
    let said = output.stdout_text();
    let folder = said.trim_end();
    if !output.ok() || !folder.starts_with('/') || folder.contains(char::is_control) {
        let said = quoted(output.stderr_text().trim(), SHOWN_CHARS_MAX);
        return Err(PortError::other(format!("{} makes no folder for an upload: {said}", host.id()))
            .hint("see on the host: `mktemp -d`, `df -h /tmp`"));
    }
    Ok(folder.to_owned())
}
