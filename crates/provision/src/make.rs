//! What is missing on a host is made.

use std::io::Cursor;

use lockgate_model::{FailureKind, Millis, SetupHeadway, SetupItem, SetupKind, SetupState, quoted};
use lockgate_ports::{Command, Host, Output, PortError, Upload};

use crate::install_docker;
use crate::judge::VARIABLES_MODE;
use crate::login;
use crate::look::{HostPlan, look};
use crate::place_program;
use crate::said::{FORBIDDEN, NO_SPACE};
use crate::wait::Told;
use crate::wanted::{Wanted, WantedFile, WantedFolder};

const FOLDERS_SECONDS_MAX: u64 = 60;
const SHOWN_CHARS_MAX: usize = 200;
const MAKE: &str = include_str!("sh/make.sh");

/// Makes what the plan says, which is a look at this host, and looks again. How many things were made.
///
/// # Errors
/// `Refused` before anything was made where one thing cannot be, or something is still waited for; the host's. What was made
/// before stays, and the next time goes on from there.
pub async fn make(
    host: &dyn Host,
    wanted: &Wanted,
    plan: &HostPlan,
    told: &dyn Told,
) -> Result<usize, PortError> {
    plan.require()?;
    if plan.waits() {
        return Err(PortError::new(FailureKind::Refused, format!("{} is not ready yet", host.id())));
    }
    let is_wanted = |kind, name: &str| {
        plan.items
            .iter()
            .find(|item| item.kind == kind && item.name == name && item.state == SetupState::Make)
    };
    let made = |item: &SetupItem| {
        let (host, kind, name) = (host.id().clone(), item.kind, item.name.clone());
        told.headway(&SetupHeadway::Made { host, kind, name });
    };
    let mut count = first(host, wanted, plan, told).await?;
    let some: Vec<(&WantedFolder, &SetupItem)> = wanted
        .folders
        .iter()
        .filter_map(|folder| Some((folder, is_wanted(SetupKind::Folder, &folder.path)?)))
        .collect();
    if !some.is_empty() {
        folders(host, some.iter().map(|(folder, _)| *folder)).await?;
        some.iter().for_each(|(_, item)| made(item));
        count += some.len();
    }
    for file in &wanted.files {
        if let Some(item) = is_wanted(SetupKind::File, &file.path) {
            upload(host, file).await?;
            made(item);
            count += 1;
        }
    }
    for variables in &wanted.variables {
        if let Some(item) = is_wanted(SetupKind::Variables, &variables.path) {
            let content = variables.content.reveal().as_bytes();
            host.write_own(&variables.path, content, VARIABLES_MODE).await?;
            made(item);
            count += 1;
        }
    }
    for (registry, wanted) in &wanted.logins {
        if let Some(item) = is_wanted(SetupKind::Login, registry.as_str()) {
            login::make(host, registry, wanted).await?;
            made(item);
            count += 1;
        }
    }
    if count > 0 {
        seen_again(host, wanted).await?;
    }
    Ok(count)
}

/// What others need: Docker, and Lockgate's own program.
async fn first(
    host: &dyn Host,
    wanted: &Wanted,
    plan: &HostPlan,
    told: &dyn Told,
) -> Result<usize, PortError> {
    let mut count = 0;
    let mut made = |kind| {
        if let Some(item) = plan.items.iter().find(|item| item.kind == kind) {
            let (host, name) = (host.id().clone(), item.name.clone());
            told.headway(&SetupHeadway::Made { host, kind, name });
            count += 1;
        }
    };
    if let Some(errand) = &plan.docker {
        install_docker::make(host, errand, told).await?;
        made(SetupKind::Docker);
    }
    if let (Some(errand), Some(wanted)) = (&plan.program, &wanted.program) {
        place_program::make(host, wanted, errand).await?;
        made(SetupKind::Program);
    }
    Ok(count)
}

/// What was said to be made is looked at: not what a program said of itself counts.
async fn seen_again(host: &dyn Host, wanted: &Wanted) -> Result<(), PortError> {
    let plan = look(host, wanted).await?;
    let Some(item) = plan.items.iter().find(|item| item.state != SetupState::There) else { return Ok(()) };
    let note = item.note.as_deref().unwrap_or("it is not there");
    let message =
        format!("{} {} was made, and is not as it should be: {note}", item.kind.as_str(), item.name);
    Err(PortError::new(FailureKind::Conflict, message)
        .with_unknown_effect()
        .hint("does something else on the host change it? `lockgate setup --dry-run` shows what it is now"))
}

async fn folders(host: &dyn Host, folders: impl Iterator<Item = &WantedFolder>) -> Result<(), PortError> {
    let mut argv: Vec<String> = ["sh", "-c", MAKE, "sh"].map(str::to_owned).into();
    for folder in folders {
        argv.push(folder.path.clone());
        argv.push(folder.owner.clone().unwrap_or_else(|| "-".to_owned()));
        argv.push(folder.mode.map_or_else(|| "-".to_owned(), |mode| format!("{mode:o}")));
    }
    let output = host.exec(&Command::new(argv).timeout(Millis::from_secs(FOLDERS_SECONDS_MAX))).await?;
    if output.ok() { Ok(()) } else { Err(failed(host, &output)) }
}

fn failed(host: &dyn Host, output: &Output) -> PortError {
    let said = output.stderr_text();
    let last = said.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or("no word of why");
    let message = format!("a folder cannot be made on {}: {}", host.id(), quoted(last, SHOWN_CHARS_MAX));
    if NO_SPACE.iter().any(|words| said.contains(words)) {
        return PortError::new(FailureKind::DiskFull, message).hint("make room on the host: `df -h`");
    }
    if FORBIDDEN.iter().any(|words| said.contains(words)) {
        return PortError::new(FailureKind::Unauthorized, message).hint(
            "log in as root (`hosts: [\"root@…\"]`), or let this user use sudo without a password; or make it once by hand",
        );
    }
    if said.contains("invalid user") || said.contains("invalid group") || said.contains("unknown user") {
        return PortError::new(FailureKind::NotFound, message)
            .hint("write numbers (`owner: \"1000:1000\"`) where the host has no such name");
    }
    PortError::other(message)
}

async fn upload(host: &dyn Host, file: &WantedFile) -> Result<(), PortError> {
    let mut content = Cursor::new(file.content.as_slice());
    let upload = Upload::new(&file.path, file.mode, &mut content)
        .size(file.content.len() as u64)
        .digest(file.digest.clone());
    host.upload(upload).await.map(drop)
}
