//! One request for all that a host needs.

use lockgate_model::{FailureKind, Millis, SetupItem, SetupState, quoted};
use lockgate_ports::{Command, Host, PortError};

use crate::judge;
use crate::login;
use crate::seen::{self, Seen};
use crate::wanted::Wanted;

/// Bound for one look. Hashing what was uploaded takes the longest.
const LOOK_SECONDS_MAX: u64 = 60;
const SHOWN_CHARS_MAX: usize = 200;
const LOOK: &str = include_str!("sh/look.sh");

/// How it stands on one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPlan {
    /// In the order of [`Wanted`]: the file that is waited for, folders, files, variables, logins.
    pub items: Vec<SetupItem>,
    /// Names of those of them in whose place nothing is at all, in the same order.
    pub absent: Vec<String>,
}

impl HostPlan {
    /// Something is waited for.
    #[must_use]
    pub fn waits(&self) -> bool {
        self.has(SetupState::Waits)
    }

    /// There is nothing to do.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.items.iter().all(|item| item.state == SetupState::There)
    }

    fn has(&self, state: SetupState) -> bool {
        self.items.iter().any(|item| item.state == state)
    }

    /// Refuses a host on which one thing cannot be made.
    ///
    /// # Errors
    /// `Refused`, with all that cannot be, each with its hint.
    pub fn require(&self) -> Result<(), PortError> {
        let refused = || self.items.iter().filter(|item| item.state == SetupState::Refused);
        let messages: Vec<String> = refused()
            .map(|item| {
                let note = item.note.as_deref().unwrap_or("it cannot be made");
                format!("{} {}: {note}", item.kind.as_str(), item.name)
            })
            .collect();
        if messages.is_empty() {
            return Ok(());
        }
        let error = PortError::new(FailureKind::Refused, messages.join("; "));
        Err(refused().filter_map(|item| item.hint.clone()).fold(error, PortError::hint))
    }
}

/// Looks at all of it in one request, and in two more at what logins there are, where some are wanted. Changes nothing.
///
/// # Errors
/// The host's, and `Other` where it has not the programs that are needed.
pub async fn look(host: &dyn Host, wanted: &Wanted) -> Result<HostPlan, PortError> {
    let mut asked: Vec<(&str, &str)> = Vec::new();
    asked.extend(wanted.wait_for.as_deref().map(|path| ("wait", path)));
    asked.extend(wanted.folders.iter().map(|folder| ("folder", folder.path.as_str())));
    for file in &wanted.files {
        asked.push(("file", &file.path));
        asked.extend(file.rivals.iter().map(|path| ("rival", path.as_str())));
    }
    asked.extend(wanted.variables.iter().map(|variables| ("env", variables.path.as_str())));
    // One environment's folders have one marker.
    let marker = wanted.variables.first().map_or("-", |variables| variables.content.marker());
    let arguments = asked.iter().flat_map(|(kind, path)| [*kind, *path]);
    let argv = ["sh", "-c", LOOK, "sh", marker].into_iter().chain(arguments);
    let output = host.exec(&Command::new(argv).timeout(Millis::from_secs(LOOK_SECONDS_MAX))).await;
    let output = output.map_err(PortError::without_effect)?;
    let said = output.stdout_text();
    let parsed = if output.ok() { seen::parse(&said, asked.len()) } else { None };
    let Some((me, seen, power)) = parsed else {
        let last = output.stderr_text();
        let last = last
            .lines()
            .rev()
            .find(|line| !line.trim().is_empty())
            .unwrap_or("it said nothing that is understood");
        let message = format!("{} cannot be looked at: {}", host.id(), quoted(last, SHOWN_CHARS_MAX));
        return Err(PortError::other(message)
            .without_effect()
            .hint("the host needs coreutils with `id`, `stat` and `sha256sum`, or busybox"));
    };
    let mut all = seen.iter();
    let mut items = Vec::new();
    let mut next = || all.next().unwrap_or(&Seen::Other);
    items.extend(wanted.wait_for.as_deref().map(|path| judge::ready(path, next())));
    items.extend(wanted.folders.iter().map(|folder| judge::folder(folder, next(), me, power)));
    for file in &wanted.files {
        let seen = next();
        let rivals: Vec<&str> =
            file.rivals.iter().filter(|_| *next() == Seen::There).map(String::as_str).collect();
        items.push(judge::file(file, seen, &rivals, me));
    }
    items.extend(wanted.variables.iter().filter_map(|variables| judge::variables(variables, next(), me)));
    let is_missing = |path: &str| {
        let at = asked.iter().position(|(kind, one)| *one == path && *kind != "rival");
        at.is_some_and(|at| matches!(seen[at], Seen::Missing { .. }))
    };
    let mut absent: Vec<String> =
        items.iter().map(|item| &item.name).filter(|name| is_missing(name)).cloned().collect();
    for login in login::look(host, wanted).await? {
        if login.state == SetupState::Make && login.note.is_none() {
            absent.push(login.name.clone());
        }
        items.push(login);
    }
    Ok(HostPlan { items, absent })
}
