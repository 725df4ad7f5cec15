//! How it stands with Lockgate's own program on a host, and what would be put there. Pure.

use std::sync::Arc;

use lockgate_model::{Digest, SetupItem, SetupKind, SetupState};

use crate::elf::{self, Unfit};
use crate::items::{item, noted, refused};
use crate::seen::{Me, Power, SeenKind, SeenProgram};

/// What it is called on a host.
pub(crate) const NAME: &str = "lockgate";
/// Where it is expected, for people.
const USUAL: &str = "/usr/local/bin/lockgate";
const BUILD_STATIC: &str = "`scripts/release` in Lockgate's repository builds a static one; name it: `setup: { lockgate: target/x86_64-unknown-linux-musl/dist/lockgate }`";

/// Lockgate's own program, which is the built-in proxy on a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedProgram {
    /// Of which the first that is fit for the host is taken. Not empty.
    pub files: Vec<ProgramFile>,
    /// Somebody named the files: one that is fit goes there whatever is there, and where none is fit that is an error.
    /// Otherwise what is there may stay, and a newer one does.
    pub is_named: bool,
}

/// A program of this machine, looked at.
#[derive(Clone, PartialEq, Eq)]
pub struct ProgramFile {
    from: String,
    version: Option<String>,
    /// The machine that it is for, and its bytes; they are shared by all hosts.
    fit: Result<(&'static str, Arc<Fit>), Unfit>,
}

#[derive(PartialEq, Eq)]
pub(crate) struct Fit {
    pub content: Vec<u8>,
    pub digest: Digest,
}

impl ProgramFile {
    /// `from`: where it comes from, for people; `version`: what it says of itself, `None` where it is not asked, as one for
    /// another machine.
    #[must_use]
    pub fn new(from: impl Into<String>, version: Option<String>, content: Vec<u8>) -> Self {
        let fit = elf::machine(&content).map(|machine| {
            let digest = Digest::of(&content);
            (machine, Arc::new(Fit { content, digest }))
        });
        Self { from: from.into(), version, fit }
    }

    /// Why it goes to no host; `None` where it may.
    #[must_use]
    pub fn unfit(&self) -> Option<Unfit> {
        self.fit.as_ref().err().copied()
    }

    fn is_for(&self, machine: &str) -> bool {
        self.fit.as_ref().is_ok_and(|(own, _)| *own == machine)
    }

    pub(crate) fn fit(&self) -> Option<&Fit> {
        self.fit.as_ref().ok().map(|(_, fit)| fit.as_ref())
    }
}

/// Without its content.
impl std::fmt::Debug for ProgramFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let machine = self.fit.as_ref().map(|(machine, _)| machine);
        f.debug_struct("ProgramFile")
            .field("from", &self.from)
            .field("machine", &machine)
            .finish_non_exhaustive()
    }
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Errand {
    /// Which of [`WantedProgram::files`].
    pub file: usize,
    /// Absolute.
    pub path: String,
    /// By sudo: this user may not write there.
    pub is_by_sudo: bool,
}

pub(crate) fn judge(
    wanted: &WantedProgram,
    seen: &SeenProgram,
    me: Me,
    power: Power,
) -> (SetupItem, Option<Errand>) {
    let path = seen.path.as_deref().unwrap_or(USUAL);
    let new = |state| item(SetupKind::Program, path, state);
    // Somebody else brought one, which has to do.
    let stays = |why: &str| {
        let version = seen.version.as_deref().unwrap_or("one of an unknown version");
        noted(new(SetupState::There), format!("{version}; it stays: {why}"))
    };
    let may_stay = !wanted.is_named && seen.kind != SeenKind::None && seen.version.is_some();
    let cannot = |note: String, hint: String| match may_stay {
        true => (stays(&note), None),
        false => (refused(new(SetupState::Refused), note, hint), None),
    };
    let machine = elf::canonical(&seen.machine);
    let fit = wanted.files.iter().position(|file| seen.system == "Linux" && file.is_for(machine));
    let Some((number, file, bytes)) = fit.and_then(|number| {
        let file = &wanted.files[number];
        Some((number, file, file.fit()?))
    }) else {
        let (note, hint) = unfit(wanted, &seen.system, machine);
        return cannot(note, hint);
    };
    let is_same = seen.size == Some(bytes.content.len() as u64)
        && seen.sum.as_ref().is_some_and(|sum| bytes.digest.as_str() == format!("sha256:{sum}"));
    if is_same && matches!(seen.kind, SeenKind::File | SeenKind::Link) {
        let item = new(SetupState::There);
        return (seen.version.as_deref().map_or(item.clone(), |version| noted(item, version)), None);
    }
    match seen.kind {
        SeenKind::None | SeenKind::File => {}
        SeenKind::Link => {
            let hint = format!(
                "remove it on the host, `rm {path}`, or leave it to whoever made it: `setup: {{ lockgate: false }}`"
            );
            return cannot("it is a link, which is not followed".to_owned(), hint);
        }
        SeenKind::Other => {
            let hint = format!("see what it is, on the host: `ls -ld {path}`");
            return cannot("something is there that is no file".to_owned(), hint);
        }
    }
    if let Some(uid) = seen.uid.filter(|uid| *uid != 0 && *uid != me.uid) {
        let note = format!("it belongs to the user with the number {uid}");
        return cannot(note, format!("log in as that user, or `chown {} {path}` on the host", me.uid));
    }
    if !wanted.is_named && is_newer(seen.version.as_deref(), file.version.as_deref()) {
        return (stays(&format!("it is newer than {}", file.version.as_deref().unwrap_or("ours"))), None);
    }
    let Some(path) = seen.path.clone() else {
        let note = "no folder on its PATH can be written to, not even by sudo".to_owned();
        return cannot(note, format!("log in as root, or put {USUAL} there by hand"));
    };
    let is_by_sudo = !seen.is_writable;
    if is_by_sudo && power != Power::Sudo {
        let note = "it cannot be put there without root, and there is no sudo without a password".to_owned();
        return cannot(note, "log in as root, or let this user use sudo without a password".to_owned());
    }
    let note = change(seen, file, is_by_sudo);
    (noted(new(SetupState::Make), note), Some(Errand { file: number, path, is_by_sudo }))
}

/// From which version to which.
fn change(seen: &SeenProgram, file: &ProgramFile, is_by_sudo: bool) -> String {
    let new = file.version.as_deref();
    let what = match (seen.kind == SeenKind::None, seen.version.as_deref(), new) {
        (true, _, Some(new)) => format!("{new}, from {}", file.from),
        (true, _, None) => format!("from {}", file.from),
        (false, Some(old), Some(new)) if old == new => format!("another build of {new}, from {}", file.from),
        (false, old, new) => {
            let old = old.unwrap_or("one that says no version");
            let new = new.map(|new| format!("{new}, from ")).unwrap_or_default();
            format!("{old} is there, and is replaced by {new}{}", file.from)
        }
    };
    if is_by_sudo { format!("{what}; by sudo") } else { what }
}

/// Why none of the files goes there, and what to do.
fn unfit(wanted: &WantedProgram, system: &str, machine: &str) -> (String, String) {
    if system != "Linux" {
        let note = format!("the host runs {system}, and Lockgate's program is for Linux");
        return (note, "take another host".to_owned());
    }
    let each = wanted.files.iter().map(|file| match &file.fit {
        Err(unfit) => format!("{} {unfit}", file.from),
        Ok((own, _)) => format!("{} is for {own}", file.from),
    });
    let note = format!("the host is {machine}: {}", each.collect::<Vec<_>>().join(", "));
    let is_dynamic = wanted.files.iter().all(|file| file.fit.is_err());
    let hint = match is_dynamic {
        true => BUILD_STATIC.to_owned(),
        false => format!(
            "build a static one for {machine} and name it: `setup: {{ lockgate: [lockgate-x86_64, lockgate-{machine}] }}`"
        ),
    };
    (note, hint)
}

/// By the rules of semantic versions; what is none is not newer than anything.
fn is_newer(there: Option<&str>, ours: Option<&str>) -> bool {
    let parse = |text: Option<&str>| text.and_then(|text| semver::Version::parse(text).ok());
    parse(there).zip(parse(ours)).is_some_and(|(there, ours)| there > ours)
}

#[cfg(test)]
#[path = "program_tests.rs"]
mod tests;
