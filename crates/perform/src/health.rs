//! Waiting until a slot answers its health check: probes start milliseconds apart and back off.

use std::time::Duration;

use lockgate_model::{
    Evidence, Failure, FailureKind, Health, Millis, Probe, Release, Seen, Slot, SlotState, without_query,
};
use lockgate_ports::{Answer, Diagnosis, Endpoint, HostPorts, PortError, Request, http};
use tokio::time::Instant;

use crate::conductor::find;

/// First pause between probes, which the timer makes a whole millisecond or two of: an app that boots at once is found
/// at once.
const PAUSE_MICROS_FIRST: u64 = 200;
const PAUSE_MILLIS_MAX: u64 = 250;
/// Between consecutive passes: long enough to tell a flapping app, short enough not to be felt.
const PAUSE_MILLIS_PASSING: u64 = 5;
/// One probe; an app that answers later than this is not healthy.
const PROBE_SECONDS_MAX: u64 = 5;
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

/// Waits for `probe.health.passes` passes in a row. Passes that have begun in time are seen to their end, however slow the
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
    let deadline = start + probe.health.timeout.duration();
    let mut patience = Patience::default();
    let mut endpoint: Option<Endpoint> = None;
    let mut passes = 0;
    let mut last = "it was never asked".to_owned();
    let mut pause = Duration::from_micros(PAUSE_MICROS_FIRST);
    while Instant::now() < deadline || passes > 0 {
        if endpoint.is_none() || patience.due(start.elapsed()) {
            endpoint = look(ports, slot, release, &mut patience, &mut last).await?;
            if patience.is_over() {
                break;
            }
        }
        let answer = match &endpoint {
            Some(endpoint) => ask(ports, endpoint, &probe.health).await,
            None => Err(last.clone()),
        };
        match answer {
            Ok(answer) => {
                passes += 1;
                if passes >= probe.health.passes {
                    return Ok(vec![passed(slot, &probe.health, &answer, start.elapsed())]);
                }
                tokio::time::sleep(Duration::from_millis(PAUSE_MILLIS_PASSING)).await;
            }
            Err(seen) => {
                passes = 0;
                last = seen;
                tokio::time::sleep(pause.min(deadline.saturating_duration_since(Instant::now()))).await;
                pause = (pause * 3 / 2).min(Duration::from_millis(PAUSE_MILLIS_MAX));
            }
        }
    }
    Err(unhealthy(ports, slot, release, probe, &last, Millis::from(start.elapsed()).rounded()).await)
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
        true => Err(unhealthy(ports, slot, release, probe, &last, Millis::from(elapsed).rounded()).await),
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
        matches!(failure.kind, FailureKind::Unreachable | FailureKind::TimedOut)
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
) -> Result<Option<Endpoint>, Failure> {
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
    match seen.state {
        SlotState::Running => patience.stopped_looks = 0,
        SlotState::Stopped => {
            patience.stopped_looks += 1;
            *last = "it has stopped".to_owned();
        }
    }
    Ok(seen.endpoint)
}

/// One probe of a slot: `Err` says what was seen instead.
pub(crate) async fn ask(ports: &HostPorts, endpoint: &Endpoint, health: &Health) -> Result<Answer, String> {
    let request = Request::get(&health.path, Millis::from_secs(PROBE_SECONDS_MAX));
    match http::send(ports.host.as_ref(), endpoint, request).await {
        Ok(answer) => match mismatch(&answer, health) {
            None => Ok(answer),
            Some(seen) => Err(seen),
        },
        Err(error) => Err(error.message),
    }
}

fn mismatch(answer: &Answer, health: &Health) -> Option<String> {
    if !health.status.contains(answer.status) {
        return Some(format!("it answered {}, wanted {}", answer.status, health.status));
    }
    match &health.body {
        Some(wanted) if !answer.text().contains(wanted.as_str()) => {
            Some(format!("its body does not contain {wanted:?}"))
        }
        _ => None,
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
) -> Result<Endpoint, Failure> {
    let endpoint = find(ports, slot).await?.and_then(|seen| seen.endpoint);
    let Some(endpoint) = endpoint else {
        return Err(unhealthy(ports, slot, release, probe, "it does not run", Millis(0)).await);
    };
    let mut last = String::new();
    for attempt in 0..PROBES_BEFORE_SWITCH_MAX {
        if attempt > 0 {
            tokio::time::sleep(Duration::from_millis(PAUSE_MILLIS_PASSING)).await;
        }
        match ask(ports, &endpoint, &probe.health).await {
            Ok(_) => return Ok(endpoint),
            Err(seen) => last = seen,
        }
    }
    Err(unhealthy(ports, slot, release, probe, &last, Millis(0)).await)
}

fn passed(slot: Slot, health: &Health, answer: &Answer, after: Duration) -> Evidence {
    Evidence {
        check: format!("GET {} of {slot}", without_query(&health.path)),
        wanted: format!("{} {} times in a row", health.status, health.passes),
        seen: format!("{} after {}", answer.status, Millis::from(after).rounded()),
        ok: true,
    }
}

async fn unhealthy(
    ports: &HostPorts,
    slot: Slot,
    release: &Release,
    probe: &Probe,
    last: &str,
    after: Millis,
) -> Failure {
    let path = without_query(&probe.health.path);
    let mut message = format!("{slot} is not healthy after {after}: GET {path}: {last}");
    let Diagnosis { findings, said } = ports.runtime.diagnose(slot, probe.port).await;
    for finding in findings {
        message.push_str("; ");
        message.push_str(&finding);
    }
    let lines = ports
        .runtime
        .logs(slot, LOG_LINES)
        .await
        .unwrap_or_else(|error: PortError| vec![format!("(its log cannot be read: {error})")]);
    let logs = said.into_iter().chain(lines).collect();
    Failure::new(FailureKind::Unhealthy, message).slot(slot).logs(logs).hint(format!(
        "`lockgate logs {} --slot {slot}` shows more; `health` in lockgate.yaml sets path and timeout",
        release.service
    ))
}
