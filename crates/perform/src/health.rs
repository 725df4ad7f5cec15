//! Waiting until a slot answers its health check: probes start milliseconds apart and back off.
//!
//! What is asked by HTTP, and what an answer shows, is in `asking.rs`.

use std::time::Duration;

use lockgate_model::{
    CommandHealth, DockerHealth, Evidence, Failure, FailureKind, Health, Millis, Probe, Release, Seen,
    ServiceName, Slot, SlotState,
};
use lockgate_ports::{Diagnosis, Endpoint, HostPorts, OwnHealthState, PortError, Runtime};
use tokio::time::Instant;

use crate::asking::as_logs;
use crate::conductor::find;
use crate::replicas::{Answers, ask_each, stopped};

/// First pause between probes, which the timer makes a whole millisecond or two of: an app that boots at once is found
/// at once.
const PAUSE_MICROS_FIRST: u64 = 200;
const PAUSE_MILLIS_MAX: u64 = 250;
/// Between consecutive passes: long enough to tell a flapping app, short enough not to be felt.
const PAUSE_MILLIS_PASSING: u64 = 5;
/// First pause between looks at what costs more than a request: a container's HEALTHCHECK, or a program.
const PAUSE_MILLIS_OWN: u64 = 20;
/// Lines of a health check's own output in the error.
const SAID_LINES_MAX: usize = 10;
/// One probe; an app that answers later than this is not healthy.
pub(crate) const PROBE_SECONDS_MAX: u64 = 5;
/// While nothing answers, the slot itself is looked at this often: a crashed one need not be waited for.
const LOOK_AT_SLOT_MILLIS: u64 = 200;
/// A slot that is seen stopped this often in a row is not coming back (a restart policy would have brought it).
const STOPPED_LOOKS_MAX: u32 = 3;
/// How long a host or an engine that is being restarted is waited for.
const SILENCE_SECONDS_MAX: u64 = 15;
/// Right before the switch.
const PROBES_BEFORE_SWITCH_MAX: u32 = 3;
/// Log lines in the error.
const LOG_LINES: u32 = 20;

/// One look at a slot that was not a pass.
pub(crate) struct Miss {
    /// What was seen instead, in our words.
    pub(crate) seen: String,
    /// What the health check itself wrote, or by HTTP the beginning of the answer.
    pub(crate) said: Vec<String>,
    /// What may help besides.
    pub(crate) hint: Option<String>,
    /// It does not get better.
    pub(crate) is_final: bool,
}

impl Miss {
    pub(crate) fn new(seen: impl Into<String>) -> Self {
        Self { seen: seen.into(), said: Vec::new(), hint: None, is_final: false }
    }
}

/// Waits for as many passes in a row as the health check wants. Passes that have begun in time are seen to their end, however slow the
/// way to the host.
///
/// # Errors
/// `Unhealthy` with the last answer, what stands out about the slot and its last log lines; `NotFound` when nothing
/// was started in it.
pub(crate) async fn wait(
    ports: &HostPorts,
    slot: Slot,
    release: &Release,
    probe: &Probe,
) -> Result<Seen, Failure> {
    let start = Instant::now();
    let health = &probe.health;
    let mut deadline = start + health.timeout().duration();
    let mut patience = Patience::default();
    let mut answers: Option<Answers> = None;
    let mut passes = 0;
    let mut last = "it was never asked".to_owned();
    let (mut said, mut hint) = (Vec::new(), None);
    let mut pause = match health {
        Health::Http(_) => Duration::from_micros(PAUSE_MICROS_FIRST),
        Health::Docker(_) | Health::Command(_) => Duration::from_millis(PAUSE_MILLIS_OWN),
    };
    while Instant::now() < deadline || passes > 0 {
        if answers.is_none() || patience.due(start.elapsed()) {
            answers = look(ports, slot, release, &mut patience, &mut last).await?;
            if patience.is_over() {
                break;
            }
        }
        let answer = match health {
            Health::Http(http) => match &answers {
                Some(answers) => ask_each(ports, &answers.endpoints(), http, probe).await,
                None => Err(Miss::new(last.clone())),
            },
            Health::Docker(docker) => {
                let (answer, patience) = own(ports, slot, docker).await?;
                if let Some(patience) = patience.filter(|_| docker.timeout.is_none()) {
                    deadline = start + patience.duration();
                }
                answer
            }
            Health::Command(command) => run(&*ports.runtime, slot, command).await,
        };
        match answer {
            Ok(answer) => {
                passes += 1;
                if passes >= health.passes() {
                    return Ok(vec![passed(slot, health, &answer, start.elapsed())]);
                }
                tokio::time::sleep(Duration::from_millis(PAUSE_MILLIS_PASSING)).await;
            }
            Err(miss) => {
                passes = 0;
                (last, said, hint) = (miss.seen, miss.said, miss.hint);
                if miss.is_final {
                    break;
                }
                tokio::time::sleep(pause.min(deadline.saturating_duration_since(Instant::now()))).await;
                pause = (pause * 3 / 2).min(Duration::from_millis(PAUSE_MILLIS_MAX));
            }
        }
    }
    let after = Millis::from(start.elapsed()).rounded();
    let mut failure = unhealthy(ports, slot, &release.service, probe, &last, after).await;
    let said: Vec<String> = match health {
        Health::Http(_) => as_logs(said).collect(),
        Health::Docker(_) | Health::Command(_) => said,
    };
    let logs = said.into_iter().chain(std::mem::take(&mut failure.logs)).collect();
    let failure = failure.logs(logs);
    Err(match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    })
}

/// Whether a slot that does not answer through the router has stopped for good. Looks only as often as
/// [`wait`] does.
///
/// # Errors
/// As [`wait`], with what the slot said at its end.
pub(crate) async fn still_runs(
    ports: &HostPorts,
    slot: Slot,
    release: &Release,
    probe: &Probe,
    patience: &mut Patience,
    elapsed: Duration,
) -> Result<(), Failure> {
    let mut last = String::new();
    if patience.due(elapsed) {
        look(ports, slot, release, patience, &mut last).await?;
    }
    match patience.is_over() {
        true => {
            Err(unhealthy(ports, slot, &release.service, probe, &last, Millis::from(elapsed).rounded()).await)
        }
        false => Ok(()),
    }
}

/// When to look at the slot itself, and what is put up with when it is looked at.
#[derive(Default)]
pub(crate) struct Patience {
    looked_at: Option<Duration>,
    /// Looks in a row that found it stopped.
    stopped_looks: u32,
    /// Since when the host or its engine has not answered.
    silent: Option<Instant>,
}

impl Patience {
    fn due(&self, elapsed: Duration) -> bool {
        self.looked_at.is_none_or(|at| elapsed >= at + Duration::from_millis(LOOK_AT_SLOT_MILLIS))
    }

    /// The slot has stopped and does not come back.
    fn is_over(&self) -> bool {
        self.stopped_looks >= STOPPED_LOOKS_MAX
    }

    /// Whether the slot is to be looked at again after this failure to look.
    fn endures(&mut self, failure: &Failure) -> bool {
        failure.is_silence()
            && self.silent.get_or_insert_with(Instant::now).elapsed()
                < Duration::from_secs(SILENCE_SECONDS_MAX)
    }
}

/// Where the slot is to be asked, if it can be said now; `last` is why not.
async fn look(
    ports: &HostPorts,
    slot: Slot,
    release: &Release,
    patience: &mut Patience,
    last: &mut String,
) -> Result<Option<Answers>, Failure> {
    let since = patience.looked_at.unwrap_or_default();
    patience.looked_at = Some(since + Duration::from_millis(LOOK_AT_SLOT_MILLIS));
    let found = match find(ports, slot).await.map_err(Failure::from) {
        Ok(found) => found,
        Err(failure) if patience.endures(&failure) => {
            *last = failure.message;
            return Ok(None);
        }
        Err(failure) => return Err(failure),
    };
    patience.silent = None;
    let Some(seen) = found else {
        return Err(Failure::new(FailureKind::NotFound, format!("{slot} holds nothing")).slot(slot));
    };
    if seen.release.as_ref().is_some_and(|held| !held.same_bytes(release)) {
        return Err(Failure::new(
            FailureKind::Conflict,
            format!("{slot} holds another release than {release}"),
        )
        .slot(slot)
        .hint("somebody started it meanwhile; `lockgate status` shows what"));
    }
    let stopped = match seen.state {
        SlotState::Running => stopped(&seen),
        SlotState::Stopped => Some("it has stopped".to_owned()),
    };
    match stopped {
        None => patience.stopped_looks = 0,
        Some(stopped) => {
            patience.stopped_looks += 1;
            *last = stopped;
        }
    }
    Ok(Answers::of(&seen))
}

/// What the container's own HEALTHCHECK says now, and how long it may take in all.
///
/// # Errors
/// `Refused` for a container that has none: no waiting helps.
pub(crate) async fn own(
    ports: &HostPorts,
    slot: Slot,
    docker: &DockerHealth,
) -> Result<(Result<String, Miss>, Option<Millis>), Failure> {
    let seen = match ports.runtime.health(slot).await {
        Ok(seen) => seen,
        Err(error) if error.is_silence() || error.kind == FailureKind::NotFound => {
            return Ok((Err(Miss::new(error.message)), None));
        }
        Err(error) => return Err(Failure::from(error).slot(slot)),
    };
    let answer = match seen.state {
        OwnHealthState::Healthy => Ok("healthy".to_owned()),
        OwnHealthState::Starting => Err(Miss::new("it is starting")),
        OwnHealthState::Unhealthy => {
            // Who names a time of their own waits for it.
            Err(Miss { is_final: docker.timeout.is_none(), ..Miss::new("it is unhealthy") })
        }
        OwnHealthState::Missing => {
            let message = format!("the container of {slot} has no HEALTHCHECK, and `health: docker` asks it");
            return Err(Failure::new(FailureKind::Refused, message).slot(slot).hint(
                "add HEALTHCHECK to the image or `healthcheck:` to the Compose file, or write `health: /path`",
            ));
        }
    };
    Ok((answer, Some(seen.patience)))
}

/// Runs the health check's program once.
pub(crate) async fn run(runtime: &dyn Runtime, slot: Slot, command: &CommandHealth) -> Result<String, Miss> {
    let limit = Millis::from_secs(PROBE_SECONDS_MAX).min(command.timeout);
    match runtime.run_in(slot, &command.argv, limit).await {
        Ok(output) if output.ok() => Ok("exit code 0".to_owned()),
        Ok(output) => {
            let text = output.stdout_text() + &output.stderr_text();
            let lines: Vec<&str> = text.lines().collect();
            let last = &lines[lines.len().saturating_sub(SAID_LINES_MAX)..];
            let said = last.iter().map(|line| format!("(its health check) {line}")).collect();
            Err(Miss { said, ..Miss::new(format!("it exited with {}, wanted 0", output.code)) })
        }
        Err(error) => Err(Miss::new(error.message)),
    }
}

/// Probes a slot right before it gets traffic, for a router accepts a dead upstream without a word. One good answer is
/// enough; a single broken connection is not yet a dead slot.
///
/// # Errors
/// `Unhealthy`, or the runtime's error.
pub(crate) async fn once(
    ports: &HostPorts,
    slot: Slot,
    release: &Release,
    probe: &Probe,
) -> Result<Answers, Failure> {
    let found = find(ports, slot).await?;
    let Some(answers) = found.as_ref().and_then(Answers::of) else {
        let seen = found.as_ref().and_then(stopped).unwrap_or_else(|| "it does not run".to_owned());
        return Err(unhealthy(ports, slot, &release.service, probe, &seen, Millis(0)).await);
    };
    let mut last = String::new();
    for attempt in 0..PROBES_BEFORE_SWITCH_MAX {
        if attempt > 0 {
            tokio::time::sleep(Duration::from_millis(PAUSE_MILLIS_PASSING)).await;
        }
        match probe_at(ports, slot, &answers.endpoints(), probe).await? {
            Ok(_) => return Ok(answers),
            Err(seen) => last = seen,
        }
    }
    Err(unhealthy(ports, slot, &release.service, probe, &last, Millis(0)).await)
}

/// One probe of what answers at each of `endpoints`: the inner `Err` says what was seen instead of a pass.
///
/// # Errors
/// What no further probe mends; see [`own`].
pub(crate) async fn probe_at(
    ports: &HostPorts,
    slot: Slot,
    endpoints: &[&Endpoint],
    probe: &Probe,
) -> Result<Result<String, String>, Failure> {
    Ok(match &probe.health {
        Health::Http(http) => ask_each(ports, endpoints, http, probe).await.map_err(|miss| miss.seen),
        Health::Docker(docker) => own(ports, slot, docker).await?.0.map_err(|miss| miss.seen),
        Health::Command(command) => run(&*ports.runtime, slot, command).await.map_err(|miss| miss.seen),
    })
}

fn passed(slot: Slot, health: &Health, answer: &str, after: Duration) -> Evidence {
    let wanted = match health {
        Health::Http(http) => http.status.to_string(),
        Health::Docker(_) => "healthy".to_owned(),
        Health::Command(_) => "exit code 0".to_owned(),
    };
    Evidence {
        check: format!("{health} of {slot}"),
        wanted: format!("{wanted} {} times in a row", health.passes()),
        seen: format!("{answer} after {}", Millis::from(after).rounded()),
        ok: true,
    }
}

/// The end of the slot's log, for a failure that is told without it where it cannot be read.
/// Where there is more of the slot's log once the run is over. Nothing for the only slot, in which the release before runs again
/// by then.
pub(crate) fn more_logs(service: &ServiceName, slot: Slot) -> String {
    match slot {
        Slot::Blue | Slot::Green => format!("`lockgate logs {service} --slot {slot}` shows more; "),
        Slot::Main => String::new(),
    }
}

pub(crate) async fn last_lines(ports: &HostPorts, slot: Slot) -> Vec<String> {
    let lines = ports.runtime.logs(slot, LOG_LINES).await;
    lines.unwrap_or_else(|error: PortError| vec![format!("(its log cannot be read: {error})")])
}

/// Why the slot might be so, its last log lines and where to look, with what was seen `last`.
pub(crate) async fn unhealthy(
    ports: &HostPorts,
    slot: Slot,
    service: &ServiceName,
    probe: &Probe,
    last: &str,
    after: Millis,
) -> Failure {
    let sent = match (&probe.health, probe.sent()) {
        (Health::Http(_), Some(sent)) => format!(" ({sent})"),
        _ => String::new(),
    };
    let mut message = format!("{slot} is not healthy after {after}: {}{sent}: {last}", probe.health);
    let Diagnosis { findings, said } = ports.runtime.diagnose(slot, probe.port).await;
    for finding in findings {
        message.push_str("; ");
        message.push_str(&finding);
    }
    let logs = said.into_iter().chain(last_lines(ports, slot).await).collect();
    Failure::new(FailureKind::Unhealthy, message)
        .slot(slot)
        .logs(logs)
        .hint(format!("{}`health` in lockgate.yaml sets path and timeout", more_logs(service, slot)))
}
