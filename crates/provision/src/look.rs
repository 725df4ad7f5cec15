//! One request for all that a host needs.

use lockgate_model::{FailureKind, Millis, SetupItem, SetupKind, SetupState, quoted};
use lockgate_ports::{Command, Host, PortError};

use crate::docker;
use crate::judge;
use crate::login;
use crate::program;
use crate::seen::{self, Looked, Seen, SeenKind};
use crate::wanted::Wanted;

/// Bound for one look. Hashing what was uploaded takes the longest.
const LOOK_SECONDS_MAX: u64 = 60;
const SHOWN_CHARS_MAX: usize = 200;
const LOOK: &str = include_str!("sh/look.sh");
/// What it begins with where Docker is wanted, and where Lockgate's program is.
const LOOK_DOCKER: &str = include_str!("sh/look_docker.sh");
const LOOK_PROGRAM: &str = include_str!("sh/look_program.sh");
const OS_RELEASE: &str = "/etc/os-release";

/// How it stands on one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPlan {
    /// In the order of [`Wanted`]: the file that is waited for, Docker, the program, folders, files, variables, logins.
    pub items: Vec<SetupItem>,
    /// Names of those of them in whose place nothing is at all, in the same order.
    pub absent: Vec<String>,
    /// What is to be done for Docker; `None`: nothing, or it cannot be.
    pub(crate) docker: Option<docker::Errand>,
    /// What is to be done for the program; `None`: nothing, or it cannot be.
    pub(crate) program: Option<program::Errand>,
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

    fn add(&mut self, item: SetupItem, seen: &Seen) {
        if matches!(seen, Seen::Missing { .. }) {
            self.absent.push(item.name.clone());
        }
        self.items.push(item);
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
    let Looked { me, user, docker, program, seen, power } = ask(host, wanted).await?;
    let mut all = seen.iter();
    let mut plan = HostPlan { items: Vec::new(), absent: Vec::new(), docker: None, program: None };
    let mut next = || all.next().unwrap_or(&Seen::Other);
    if let Some(path) = &wanted.wait_for {
        let seen = next();
        plan.add(judge::ready(path, seen), seen);
    }
    if wanted.docker {
        let Some(seen) = docker else { return Err(odd(host, "it says nothing of Docker")) };
        let (item, errand) = docker::judge(&seen, me, &user, power);
        if errand.as_ref().is_some_and(|errand| !errand.packages.is_empty()) {
            plan.absent.push(item.name.clone());
        }
        plan.items.push(item);
        plan.docker = errand;
    }
    if let Some(wanted) = &wanted.program {
        let Some(seen) = program else { return Err(odd(host, "it says nothing of the program")) };
        let (item, errand) = program::judge(wanted, &seen, me, power);
        if seen.kind == SeenKind::None {
            plan.absent.push(item.name.clone());
        }
        plan.items.push(item);
        plan.program = errand;
    }
    for folder in &wanted.folders {
        let seen = next();
        plan.add(judge::folder(folder, seen, me, power), seen);
    }
    for file in &wanted.files {
        let seen = next();
        let rivals: Vec<&str> =
            file.rivals.iter().filter(|_| *next() == Seen::There).map(String::as_str).collect();
        plan.add(judge::file(file, seen, &rivals, me), seen);
    }
    for variables in &wanted.variables {
        let seen = next();
        if let Some(item) = judge::variables(variables, seen, me) {
            plan.add(item, seen);
        }
    }
    for login in login::look(host, wanted).await? {
        if login.state == SetupState::Make && login.note.is_none() {
            plan.absent.push(login.name.clone());
        }
        plan.items.push(login);
    }
    if plan.waits() {
        // Whoever makes the host ready may still be at it.
        let docker = plan.items.iter_mut().find(|item| item.kind == SetupKind::Docker);
        if let Some(docker) = docker.filter(|item| item.state == SetupState::Refused) {
            (docker.state, docker.hint) = (SetupState::Waits, None);
        }
    }
    Ok(plan)
}

/// One request for all.
async fn ask(host: &dyn Host, wanted: &Wanted) -> Result<Looked, PortError> {
    let mut script = String::new();
    let mut asked: Vec<(&str, &str)> = Vec::new();
    asked.extend(wanted.wait_for.as_deref().map(|path| ("wait", path)));
    if wanted.docker {
        script.push_str(LOOK_DOCKER);
        asked.push(("docker", OS_RELEASE));
    }
    if wanted.program.is_some() {
        script.push_str(LOOK_PROGRAM);
        asked.push(("program", program::NAME));
    }
    script.push_str(LOOK);
    asked.extend(wanted.folders.iter().map(|folder| ("folder", folder.path.as_str())));
    for file in &wanted.files {
        asked.push(("file", &file.path));
        asked.extend(file.rivals.iter().map(|path| ("rival", path.as_str())));
    }
    asked.extend(wanted.variables.iter().map(|variables| ("env", variables.path.as_str())));
    // One environment's folders have one marker.
    let marker = wanted.variables.first().map_or("-", |variables| variables.content.marker());
    let arguments = asked.iter().flat_map(|(kind, path)| [*kind, *path]);
    let argv = ["sh", "-c", script.as_str(), "sh", marker].into_iter().chain(arguments);
    let output = host.exec(&Command::new(argv).timeout(Millis::from_secs(LOOK_SECONDS_MAX))).await;
    let output = output.map_err(PortError::without_effect)?;
    let parsed = if output.ok() { seen::parse(&output.stdout_text(), asked.len()) } else { None };
    parsed.ok_or_else(|| {
        let last = output.stderr_text();
        let said = last.lines().rev().find(|line| !line.trim().is_empty());
        odd(host, said.unwrap_or("it said nothing that is understood"))
    })
}

fn odd(host: &dyn Host, what: &str) -> PortError {
    let message = format!("{} cannot be looked at: {}", host.id(), quoted(what, SHOWN_CHARS_MAX));
    PortError::other(message)
        .without_effect()
        .hint("the host needs coreutils with `id`, `stat` and `sha256sum`, or busybox")
}
