//! A hook: a program of the user's that runs once in a run, on one host.
//!
//! Before it begins the host has a mark of it (`<home>/.lockgate/before_switch.json`), which names the run. So whoever goes on
//! with a run that was cut off sees what became of it: without the run's mark it was not begun; with one it runs, or has
//! ended, or nothing of it is to be found, and then it may have run in part and is not begun again by itself.

use std::collections::VecDeque;
use std::time::Duration;

use async_trait::async_trait;
use lockgate_model::{
    Evidence, Failure, FailureKind, Headway, Hook, HookMoment, LOG_LINE_CHARS_MAX, Mask, Millis, Release,
    RunId, Seen, Slot, Timestamp, Vars, minute_utc, shortened,
};
use lockgate_ports::{
    HostPorts, Line, LineSink, OnHeadway, OneOff, OneOffId, OneOffState, OneOffs, PortError, Swapped,
};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::conductor::Subject;

/// From SIGTERM to SIGKILL for one that is ended.
const END_GRACE_SECONDS: u64 = 10;
/// How long a host or an engine that is being restarted is waited for.
const SILENCE_SECONDS_MAX: u64 = 15;
/// Between two attempts to follow it, where what it writes cannot be told.
const FOLLOW_PAUSE_MILLIS: u64 = 500;
/// Lines that it wrote last, in the failure.
const LOG_LINES_MAX: usize = 40;

/// One hook as it is performed.
pub(crate) struct Asked<'a> {
    pub subject: &'a Subject,
    pub hook: &'a Hook,
    pub moment: HookMoment,
    pub slot: Slot,
    pub release: &'a Release,
    pub run: RunId,
}

/// What the host has of the hook that was begun last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    run: RunId,
    /// By the host's clock.
    begun_at: Timestamp,
    /// What it ended with. Absent while that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    code: Option<i32>,
}

/// A mark, and its bytes on the host.
struct Marked {
    mark: Mark,
    content: Vec<u8>,
}

fn path(ports: &HostPorts, moment: HookMoment) -> String {
    format!("{}/.lockgate/{moment}.json", ports.home)
}

/// Runs it to its end, or looks what became of it where it was begun before in this run.
///
/// # Errors
/// `HookFailed` when it ended with another code than 0 or not in time, or may have run in part.
pub(crate) async fn run(ports: &HostPorts, asked: &Asked<'_>, told: OnHeadway<'_>) -> Result<Seen, Failure> {
    let ended = asked.run(ports, told).await;
    let ended = ended.map_err(|failure| hidden(&ports.mask, failure));
    match ended {
        Err(failure) if asked.hook.only_warns && failure.kind == FailureKind::HookFailed => {
            let check = format!("{} (`on_failure: warn`)", asked.moment);
            Ok(vec![Evidence { check, wanted: "exit code 0".into(), seen: failure.message, ok: false }])
        }
        ended => ended,
    }
}

/// Ends what runs of this hook, whichever run began it: whoever holds the lease is the only one at work.
///
/// # Errors
/// The runtime's.
pub(crate) async fn end(ports: &HostPorts, moment: HookMoment) -> Result<Seen, Failure> {
    let Some(one_offs) = ports.runtime.one_offs() else { return Ok(Seen::new()) };
    for (id, _) in one_offs.seen().await?.into_iter().filter(|(id, _)| id.moment == moment) {
        one_offs.end(id, Millis::from_secs(END_GRACE_SECONDS)).await?;
    }
    Ok(Seen::new())
}

fn hidden(mask: &Mask, failure: Failure) -> Failure {
    let logs = mask.hide_all(failure.logs.clone());
    Failure { message: mask.hide(failure.message.clone()), ..failure }.logs(logs)
}

impl Asked<'_> {
    fn id(&self) -> OneOffId {
        OneOffId { run: self.run, moment: self.moment }
    }

    async fn run(&self, ports: &HostPorts, told: OnHeadway<'_>) -> Result<Seen, Failure> {
        let one_offs = ports.runtime.one_offs().ok_or_else(|| {
            let message = format!("{} runs no program by itself", ports.runtime.name());
            Failure::new(FailureKind::Refused, message)
                .hint(format!("take `{}` out of the service", self.moment))
        })?;
        let file = ports.host.read_own(&path(ports, self.moment)).await?;
        let (before, now) = (file.content, file.now);
        let mine = before.as_deref().map(|content| self.parse(ports, content)).transpose()?;
        let mine = mine.filter(|mark| mark.run == self.run);
        if let Some(code) = mine.as_ref().and_then(|mark| mark.code) {
            return self.verdict(code, VecDeque::new());
        }
        let begun = match (mine, before) {
            (None, before) => self.begin(ports, one_offs, before, now).await?,
            (Some(mark), Some(content)) => match self.look(one_offs).await? {
                Some(OneOffState::Runs | OneOffState::Ended(_)) => Marked { mark, content },
                // Its program has not begun, and once it is removed nobody can have it begin.
                Some(OneOffState::Made) => self.begin_anew(ports, one_offs, content, now).await?,
                None if self.hook.repeat => self.begin_anew(ports, one_offs, content, now).await?,
                None => return Err(self.lost(&mark)),
            },
            (Some(mark), None) => return Err(self.lost(&mark)),
        };
        let age = now.since(begun.mark.begun_at);
        let left = Millis(self.hook.timeout.0.saturating_sub(age.0));
        self.follow(ports, one_offs, begun, left, told).await
    }

    fn parse(&self, ports: &HostPorts, content: &[u8]) -> Result<Mark, Failure> {
        serde_json::from_slice(content).map_err(|error| {
            let path = path(ports, self.moment);
            let message =
                format!("{path}, which says whether {} was begun, does not parse: {error}", self.moment);
            Failure::new(FailureKind::Refused, message).hint(format!(
                "see whether it runs on that host, then `mv {path} {path}.bad`, and deploy again"
            ))
        })
    }

    /// The mark comes first: from here on it counts as begun. It is put in the place of what was read, so that of two who go
    /// on with a run, one asleep in between, only one begins it.
    async fn begin(
        &self,
        ports: &HostPorts,
        one_offs: &dyn OneOffs,
        before: Option<Vec<u8>>,
        now: Timestamp,
    ) -> Result<Marked, Failure> {
        // Their runs are over: what is left of them has no right to go on.
        for (id, _) in one_offs.seen().await?.into_iter().filter(|(id, _)| id.run != self.run) {
            one_offs.end(id, Millis::from_secs(END_GRACE_SECONDS)).await?;
        }
        let argv = self.argv()?;
        let mark = Mark { run: self.run, begun_at: now, code: None };
        let content = bytes(&mark)?;
        let path = path(ports, self.moment);
        if ports.host.swap(&path, before.as_deref(), &content).await? == Swapped::No {
            let message = format!("{path} was changed meanwhile: somebody else begins {}", self.moment);
            return Err(Failure::new(FailureKind::Conflict, message)
                .hint("look who else deploys to this host, then deploy again"));
        }
        let wanted = OneOff { id: self.id(), slot: self.slot, release: self.release, argv: &argv };
        one_offs.begin(&wanted).await.map_err(|error| {
            let failure = Failure::from(error).slot(self.slot);
            Failure { message: format!("{} was not begun: {}", self.moment, failure.message), ..failure }
        })?;
        Ok(Marked { mark, content })
    }

    /// What is left of the former attempt goes first: where it has vanished without a word a runtime may still have its files.
    async fn begin_anew(
        &self,
        ports: &HostPorts,
        one_offs: &dyn OneOffs,
        before: Vec<u8>,
        now: Timestamp,
    ) -> Result<Marked, Failure> {
        one_offs.end(self.id(), Millis::from_secs(END_GRACE_SECONDS)).await?;
        self.begin(ports, one_offs, Some(before), now).await
    }

    fn argv(&self) -> Result<Vec<String>, Failure> {
        let vars = Vars {
            service: Some(&self.subject.service),
            environment: Some(&self.subject.environment),
            slot: Some(self.slot),
            port: None,
            tag: Some(&self.release.tag),
            digest: Some(&self.release.digest),
        };
        let filled = self.hook.argv.iter().map(|part| part.fill(&vars)).collect::<Result<_, _>>();
        filled.map_err(|error| Failure::new(FailureKind::Other, format!("`{}`: {error}", self.moment)))
    }

    /// Until it has ended, at most for `left`.
    async fn follow(
        &self,
        ports: &HostPorts,
        one_offs: &dyn OneOffs,
        begun: Marked,
        left: Millis,
        told: OnHeadway<'_>,
    ) -> Result<Seen, Failure> {
        let deadline = Instant::now() + left.duration();
        let mut teller = Teller { told, mask: &ports.mask, count: 0, told_before: 0, last: VecDeque::new() };
        let mut silent_since: Option<Instant> = None;
        loop {
            let look = async {
                one_offs.follow(self.id(), &mut teller).await?;
                self.look(one_offs).await
            };
            match tokio::time::timeout_at(deadline, look).await {
                Err(_) => return Err(self.too_long(one_offs, teller.last).await),
                Ok(Ok(Some(OneOffState::Ended(code)))) => {
                    self.note(ports, one_offs, &begun, code).await;
                    return self.verdict(code, teller.last);
                }
                Ok(Ok(Some(OneOffState::Runs | OneOffState::Made))) => silent_since = None,
                Ok(Ok(None)) => return Err(self.lost(&begun.mark)),
                Ok(Err(error)) if error.is_silence() => {
                    let since = *silent_since.get_or_insert_with(Instant::now);
                    if since.elapsed() >= Duration::from_secs(SILENCE_SECONDS_MAX) {
                        return Err(error.into());
                    }
                }
                Ok(Err(error)) => return Err(error.into()),
            }
            // It writes again from the beginning.
            (teller.told_before, teller.count) = (teller.told_before.max(teller.count), 0);
            let pause = Instant::now() + Duration::from_millis(FOLLOW_PAUSE_MILLIS);
            tokio::time::sleep_until(pause.min(deadline)).await;
        }
    }

    async fn look(&self, one_offs: &dyn OneOffs) -> Result<Option<OneOffState>, PortError> {
        let seen = one_offs.seen().await?;
        Ok(seen.into_iter().find(|(id, _)| *id == self.id()).map(|(_, state)| state))
    }

    /// What it came to, before what is left of it is removed: else whoever goes on with the run would find nothing.
    async fn note(&self, ports: &HostPorts, one_offs: &dyn OneOffs, begun: &Marked, code: i32) {
        let ended = Mark { code: Some(code), ..begun.mark.clone() };
        let noted = async {
            let content = bytes(&ended)?;
            Ok::<_, Failure>(
                ports.host.swap(&path(ports, self.moment), Some(&begun.content), &content).await?,
            )
        };
        match noted.await {
            Ok(Swapped::Yes) => {
                let removed = one_offs.end(self.id(), Millis::from_secs(END_GRACE_SECONDS)).await;
                if let Err(error) = removed {
                    tracing::warn!(%error, "what is left of {} stays until the next deployment", self.moment);
                }
            }
            Ok(Swapped::No) => tracing::warn!("somebody else has changed the mark of {}", self.moment),
            Err(failure) => tracing::warn!(%failure, "what {} came to cannot be written down", self.moment),
        }
    }

    fn verdict(&self, code: i32, last: VecDeque<String>) -> Result<Seen, Failure> {
        if code == 0 {
            let check = self.moment.to_string();
            let exit = || "exit code 0".to_owned();
            return Ok(vec![Evidence { check, wanted: exit(), seen: exit(), ok: true }]);
        }
        let message = format!("{} `{}` ended with exit code {code}", self.moment, self.hook);
        Err(self.failed(message, last))
    }

    fn failed(&self, message: String, last: VecDeque<String>) -> Failure {
        let skip = last.len().saturating_sub(LOG_LINES_MAX);
        let logs = last.into_iter().skip(skip).collect();
        let hint = "what it has changed by itself (a database, for example) stays as it is; mend it, then deploy again";
        Failure::new(FailureKind::HookFailed, message).slot(self.slot).logs(logs).hint(hint)
    }

    async fn too_long(&self, one_offs: &dyn OneOffs, last: VecDeque<String>) -> Failure {
        let timeout = self.hook.timeout;
        let ended = one_offs.end(self.id(), Millis::from_secs(END_GRACE_SECONDS)).await;
        let then = match ended {
            Ok(()) => "and was ended".to_owned(),
            Err(error) => format!("and could not be ended: {error}"),
        };
        let message = format!("{} `{}` took longer than {timeout} {then}", self.moment, self.hook);
        self.failed(message, last)
            .hint(format!("`{}: {{ run: …, timeout: 30m }}` gives it longer", self.moment))
    }

    /// It was begun, and there is nothing that says how it ended.
    fn lost(&self, mark: &Mark) -> Failure {
        let (moment, at) = (self.moment, minute_utc(mark.begun_at));
        let message = format!(
            "{moment} `{}` may have run in part: it was begun at {at}, and nothing is left of it that says how it ended; \
             it is not run again by itself unless `repeat: true`",
            self.hook
        );
        let (service, tag) = (&self.subject.service, &self.release.tag);
        Failure::new(FailureKind::HookFailed, message).slot(self.slot).hint(format!(
            "look at what it changes (the database's list of migrations, for example), then `lockgate deploy {service} \
             {tag}` runs it anew"
        ))
    }
}

fn bytes(mark: &Mark) -> Result<Vec<u8>, Failure> {
    let mut content = serde_json::to_vec(mark)
        .map_err(|error| Failure::new(FailureKind::Other, format!("the mark does not serialise: {error}")))?;
    content.push(b'\n');
    Ok(content)
}

/// Tells each line once, without secrets, and keeps the last.
struct Teller<'a> {
    told: OnHeadway<'a>,
    mask: &'a Mask,
    /// Lines that came since it is followed this time.
    count: u64,
    /// Lines that were told when it was followed before.
    told_before: u64,
    last: VecDeque<String>,
}

#[async_trait]
impl LineSink for Teller<'_> {
    async fn line(&mut self, line: Line) {
        self.count += 1;
        if self.count <= self.told_before {
            return;
        }
        let text = shortened(self.mask.hide(line.text), LOG_LINE_CHARS_MAX);
        if self.last.len() == LOG_LINES_MAX {
            self.last.pop_front();
        }
        self.last.push_back(text.clone());
        let count = u32::try_from(self.count).unwrap_or(u32::MAX);
        (self.told)(Headway { done: count, of: count, seen: text.clone(), said: vec![text] });
    }
}

#[cfg(test)]
#[path = "hook/tests.rs"]
mod tests;
