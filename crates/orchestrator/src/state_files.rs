//! System A's state files: what became of each service, in a folder on the machine that runs Lockgate.
//!
//! A file is written when a session has ended, as [`Exit`] tells it, and never by what only looks. Whatever becomes of the
//! file, the session's end stays what it is: a failure to write is told as a warning.
//!
//! Absent: an end of a session that its process did not live to see, and commands that somebody else kept from beginning,
//! whose own end is the one that counts. Reading: the file is for others, and the hosts say what is live.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lockgate_model::{
    Abandoned, EnvironmentName, Exit, Failure, FailureKind, Intent, Leftover, Mask, Millis, Outcome, Project,
    Refusal, Report, Resumed, ServiceName, ServiceStatus, StateFile, StateWord, Tag, Template, Timestamp,
    Vars,
};
use lockgate_ports::{Check, Command, Host, STATE_FREE_MIB_MIN};

use crate::session::Session;

/// Longest look at what is live after a session, for its file.
const LOOK_SECONDS_MAX: u64 = 2;
/// Longest time to write one: a folder may be on a network's file system.
const WRITE_SECONDS_MAX: u64 = 5;
/// Who may look at the folder may read what was deployed.
const MODE: u32 = 0o644;
const MAY_KEEP: &str = include_str!("sh/may-keep.sh");
/// For `doctor`.
const WHAT: &str = "state file";

/// Where they are, and how they say when something was.
#[derive(Clone)]
pub struct StateFiles {
    host: Arc<dyn Host>,
    dir: Template,
    root: PathBuf,
    time: fn(Timestamp) -> String,
}

impl StateFiles {
    /// Those that the project asks for. `here` is this machine, `time` writes a point in time as RFC 3339 with offset.
    #[must_use]
    pub fn of(project: &Project, here: Arc<dyn Host>, time: fn(Timestamp) -> String) -> Option<Self> {
        let dir = project.state_dir.clone()?;
        Some(Self { host: here, dir, root: project.root.clone(), time })
    }

    fn path(&self, service: &ServiceName, environment: &EnvironmentName) -> Result<String, Failure> {
        let vars = Vars { service: Some(service), environment: Some(environment), ..Vars::default() };
        let dir = self
            .dir
            .fill(&vars)
            .map_err(|error| Failure::new(FailureKind::Refused, format!("`state_dir`: {error}")))?;
        let dir = dir.strip_prefix("./").unwrap_or(&dir);
        Ok(self.root.join(dir).join(format!("{service}.json")).to_string_lossy().into_owned())
    }

    /// Whether the file of a service can be written. Looks only.
    pub(crate) async fn check(&self, service: &ServiceName, environment: &EnvironmentName) -> Check {
        let path = match self.path(service, environment) {
            Ok(path) => path,
            Err(failure) => return Check::bad(WHAT, failure.to_string(), "change it in lockgate.yaml"),
        };
        let mend = format!(
            "let this user write there: `sudo mkdir -p {0} && sudo chown \"$USER\" {0}`, or change `state_dir`",
            shell_words::quote(&folder_of(&path))
        );
        let asked =
            Command::new(["sh", "-c", MAY_KEEP, "sh", &path]).timeout(Millis::from_secs(WRITE_SECONDS_MAX));
        let (may_keep, free) = tokio::join!(self.host.exec(&asked), self.host.disk_free_mib(&path));
        match (may_keep, free) {
            (Ok(output), _) if !output.ok() => {
                Check::bad(WHAT, format!("{path}: {}", output.stdout_text().trim()), mend)
            }
            (Ok(_), Ok(free)) if free < STATE_FREE_MIB_MIN => {
                let seen = format!("{path}: no space left on the disk");
                Check::bad(WHAT, seen, "free space there: `df -h` shows how much there is")
            }
            (Ok(_), Ok(_)) => Check::ok(WHAT, format!("{path} can be written")),
            (Err(error), _) | (_, Err(error)) => Check::bad(WHAT, format!("{path}: {error}"), mend),
        }
    }

    /// Warns early, while somebody who asked for the file can still do something about it. Nobody is kept from deploying,
    /// least of all from rolling back.
    pub(crate) async fn warn_early(&self, session: &Session<'_>) {
        let check = self.check(&session.site.service.name, &session.site.environment.name).await;
        if let Some(mend) = check.mend {
            tracing::warn!("the state file will not be written: {}; {mend}", check.seen);
        }
    }

    async fn write(&self, environment: &EnvironmentName, file: &StateFile) -> Result<(), Failure> {
        let path = self.path(&file.service, environment)?;
        let mut content = serde_json::to_vec_pretty(file)
            .map_err(|error| Failure::new(FailureKind::Other, error.to_string()))?;
        content.push(b'\n');
        let bound = Duration::from_secs(WRITE_SECONDS_MAX);
        let Ok(written) = tokio::time::timeout(bound, self.host.write(&path, &content, MODE)).await else {
            let late = format!("{path} could not be written within {WRITE_SECONDS_MAX} s");
            return Err(Failure::new(FailureKind::TimedOut, late));
        };
        written.map_err(|error| Failure::from(error.context(path)))
    }
}

fn folder_of(path: &str) -> String {
    path.rsplit_once('/').map_or(path, |(folder, _)| folder).to_owned()
}

/// What a session came to, as far as its file tells it.
pub(crate) struct Concluded<'a> {
    exit: Exit,
    /// What was asked for is a rollback.
    goes_back: bool,
    /// What is live when the session says so itself.
    live: Option<&'a Tag>,
    notes: Vec<String>,
    /// What was seen at the end, where the session has looked.
    seen: Option<&'a ServiceStatus>,
}

/// The end of a session.
pub(crate) trait Conclude {
    /// `None` where nothing was run, so that there is nothing to write.
    fn concluded(&self) -> Option<Concluded<'_>>;
}

impl Conclude for Report {
    fn concluded(&self) -> Option<Concluded<'_>> {
        let Report { run, plan, outcome, recovered, .. } = self;
        let mut notes = Vec::new();
        if let Some((run, outcome)) = recovered {
            let ended = outcome.as_str();
            notes.push(format!("first, run {run}, which had been cut off, was brought to its end: {ended}"));
        }
        let goes_back = matches!(plan.intent, Intent::Rollback { .. });
        match run {
            None => notes.push("nothing to do: it was live already".to_owned()),
            Some(_) if goes_back => notes.push("a rollback was asked for".to_owned()),
            Some(_) => {}
        }
        notes.extend(outcome_notes(&plan.release.to_string(), outcome));
        let live = matches!(outcome, Outcome::Succeeded { .. }).then_some(&plan.release.tag);
        Some(Concluded { exit: self.exit(), goes_back, live, notes, seen: None })
    }
}

impl Conclude for Resumed {
    /// Stopping what ran beside the live release says nothing of how a deployment went.
    fn concluded(&self) -> Option<Concluded<'_>> {
        let is_about = |what| match what {
            Leftover::CutOff | Leftover::Died | Leftover::Torn => true,
            Leftover::Beside => false,
        };
        if !self.ended.iter().any(|end| is_about(end.what)) && self.refusal.is_none() {
            return None;
        }
        let mut notes = Vec::new();
        for end in &self.ended {
            let what = match end.what {
                Leftover::CutOff => "which had been cut off, was brought to its end",
                Leftover::Died => "which starts what had died again",
                Leftover::Torn => "which has the whole router send to what is live",
                Leftover::Beside => "which stops what ran beside the live release",
            };
            notes.push(format!("run {}, {what}: {}", end.run, end.outcome.as_str()));
            notes.extend(outcome_notes("", &end.outcome));
        }
        let refused = self.refusal.as_deref();
        notes.extend(refused.map(ToString::to_string));
        let exit = refused.map_or(self.exit(), |refusal| self.exit().or_worse(refusal.exit()));
        Some(Concluded { exit, goes_back: false, live: None, notes, seen: Some(&self.status) })
    }
}

impl Conclude for Refusal {
    /// Somebody else who is at work writes down how that ends.
    fn concluded(&self) -> Option<Concluded<'_>> {
        let (notes, seen) = match self {
            Refusal::Usage { .. }
            | Refusal::BegunBefore { .. }
            | Refusal::Held { .. }
            | Refusal::Busy { .. } => return None,
            Refusal::Failed { .. }
            | Refusal::NoImage { .. }
            | Refusal::LeaseLost { .. }
            | Refusal::Journal { .. }
            | Refusal::Illegal { .. }
            | Refusal::Midway { .. }
            | Refusal::CutOff { .. } => (vec![self.to_string()], None),
            Refusal::Stuck { run, outcome, .. } => {
                let mut notes = vec![format!("run {run} is stuck")];
                notes.extend(outcome_notes("", outcome));
                (notes, None)
            }
            Refusal::Abandoned { abandoned } => {
                let Abandoned { run, status, .. } = &**abandoned;
                // Nothing was begun.
                let run = (*run)?;
                let commands = abandoned.commands().join(", then ");
                (vec![format!("run {run} was left in the middle: {commands}")], Some(status))
            }
        };
        Some(Concluded { exit: self.exit(), goes_back: false, live: None, notes, seen })
    }
}

/// `what`: the release, where it is known.
fn outcome_notes(what: &str, outcome: &Outcome) -> Vec<String> {
    let of = |text: String| if what.is_empty() { text } else { format!("{what}: {text}") };
    match outcome {
        Outcome::Succeeded { warnings } => warnings.iter().map(ToString::to_string).collect(),
        Outcome::Failed { failure } | Outcome::RolledBack { failure } => vec![of(failure.to_string())],
        Outcome::Stuck(stuck) => {
            let mut notes = vec![of(stuck.failure.to_string()), "the rollback failed too".to_owned()];
            notes.extend(stuck.undo_failures.iter().map(ToString::to_string));
            notes.push(format!("to be typed: {}", stuck.commands.join(", then ")));
            notes
        }
    }
}

impl Session<'_> {
    /// Writes down how it ended. `asked`: what was to be deployed, where that is known.
    pub(crate) async fn note_end<T: Conclude>(
        &self,
        files: &StateFiles,
        asked: Option<&str>,
        end: &Result<T, Refusal>,
    ) {
        let concluded = match end {
            Ok(end) => end.concluded(),
            Err(refusal) => refusal.concluded().map(|mut concluded| {
                if let (Some(asked), Some(first)) = (asked, concluded.notes.first_mut()) {
                    *first = format!("{asked}: {first}");
                }
                concluded
            }),
        };
        let Some(concluded) = concluded else { return };
        let at = self.tools.clock.now();
        let looked;
        let seen = match concluded.seen {
            Some(seen) => seen,
            None => {
                looked = self.status_within(Millis::from_secs(LOOK_SECONDS_MAX)).await;
                &looked
            }
        };
        let live = concluded.live.map(ToString::to_string);
        let mut notes = concluded.notes;
        notes.extend(seen.seen_notes());
        let file = StateFile {
            service: self.site.service.name.clone(),
            image_tag: if seen.unseen.is_empty() { seen.image_tag() } else { live },
            status: StateWord::of(concluded.exit, concluded.goes_back),
            timestamp: (files.time)(at),
            notes: String::new(),
        };
        let file = file.noting(&notes, &Mask::of(&self.site.secrets));
        if let Err(failure) = files.write(&self.site.environment.name, &file).await {
            let hint = failure.hints.joined().map(|hint| format!("; {hint}")).unwrap_or_default();
            tracing::warn!(%failure, "the state file of {} was not written{hint}", file.service);
        }
    }
}

#[cfg(test)]
mod tests {
    use lockgate_model::{Holder, HostId, Leftover as What, Place};

    use super::*;

    fn failure(message: &str) -> Failure {
        Failure::new(FailureKind::Other, message)
    }

    fn status() -> ServiceStatus {
        ServiceStatus {
            service: ServiceName::new("web").unwrap(),
            environment: EnvironmentName::new("prod").unwrap(),
            observed: lockgate_model::Observed::default(),
            leases: std::collections::BTreeMap::new(),
            wanted: std::collections::BTreeMap::new(),
            clocks: std::collections::BTreeMap::new(),
            unseen: std::collections::BTreeMap::new(),
        }
    }

    fn word(refusal: &Refusal) -> Option<(StateWord, String)> {
        let concluded = refusal.concluded()?;
        Some((StateWord::of(concluded.exit, concluded.goes_back), concluded.notes.join("; ")))
    }

    #[test]
    fn who_was_kept_out_by_somebody_else_writes_nothing_and_who_was_overtaken_says_so() {
        let holder = Holder {
            owner: "kim@desk".into(),
            boot_id: "boot".into(),
            pid: 7,
            started: 1,
            session: String::new(),
            host: None,
            since: Timestamp(1),
            renewed_at: Timestamp(2),
            ttl: Millis(15_000),
        };
        let place = Place::Host(HostId::local());
        let held =
            Refusal::Held { failure: failure("held"), place, holder: Box::new(holder), age: Millis(5) };
        assert_eq!(word(&held), None);
        assert_eq!(word(&Refusal::Busy { failure: failure("busy") }), None);
        assert_eq!(word(&Refusal::usage("no such service", "there are: web")), None);
        let failed = |text: &str| Some((StateWord::Failed, text.to_owned()));
        assert_eq!(word(&Refusal::LeaseLost { failure: failure("overtaken") }), failed("failed: overtaken"));
        assert_eq!(word(&Refusal::Midway { failure: failure("midway") }), failed("failed: midway"));
        assert_eq!(word(&Refusal::Failed { failure: failure("no such tag") }), failed("failed: no such tag"));
    }

    #[test]
    fn a_run_that_is_left_in_the_middle_is_failed_with_what_is_to_be_typed() {
        let run = lockgate_model::RunId(uuid::Uuid::from_u128(7));
        let left = |run| {
            let abandoned = Abandoned { run, release: None, status: status(), hosts: vec![HostId::local()] };
            Refusal::Abandoned { abandoned: Box::new(abandoned) }
        };
        assert_eq!(word(&left(None)), None, "nothing was begun");
        let (word, notes) = word(&left(Some(run))).unwrap();
        assert_eq!(word, StateWord::Failed);
        assert!(notes.contains("lockgate --env prod resume web"), "{notes}");
    }

    #[test]
    fn resuming_writes_only_where_a_release_was_brought_to_its_end() {
        let run = lockgate_model::RunId(uuid::Uuid::from_u128(7));
        let resumed = |what: &[What]| Resumed {
            ended: what
                .iter()
                .map(|what| lockgate_model::Ended {
                    run,
                    what: *what,
                    outcome: Outcome::Succeeded { warnings: Vec::new() },
                })
                .collect(),
            status: status(),
            refusal: None,
        };
        assert!(resumed(&[]).concluded().is_none());
        assert!(resumed(&[What::Beside]).concluded().is_none());
        let concluded = resumed(&[What::CutOff, What::Beside]);
        let concluded = concluded.concluded().unwrap();
        assert_eq!(StateWord::of(concluded.exit, concluded.goes_back), StateWord::Success);
        assert!(concluded.notes[0].contains("had been cut off"), "{:?}", concluded.notes);
        // What was done well before something else could not be is no success.
        let mut half = resumed(&[What::CutOff]);
        half.refusal = Some(Box::new(Refusal::Failed { failure: failure("the host is gone") }));
        let concluded = half.concluded().unwrap();
        assert_eq!(StateWord::of(concluded.exit, concluded.goes_back), StateWord::Failed);
        assert!(concluded.notes.contains(&"failed: the host is gone".to_owned()), "{:?}", concluded.notes);
    }
}
