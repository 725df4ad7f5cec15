//! Ctrl-C: once undoes what is not settled, twice leaves it, and says where that is. So does the terminal that goes away
//! (SIGHUP), at once.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use lockgate_engine::Interrupt;
use lockgate_model::{Begun, HostId, HostObserved, Millis, ServiceStatus, Slot};
use lockgate_orchestrator::Session;
use lockgate_render::{clean, failure_text, hosts_text, live_text};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;

use super::Context;
use crate::args::Format;
use crate::exit::Exit;
use crate::sink::Screen;

/// Longest wait until the hosts know that a run turns back, so that whoever comes next does not go on with it.
const HEEDED_SECONDS_MAX: u64 = 2;
/// Longest look at the hosts once somebody wants to be gone; all are looked at beside each other.
const LOOK_SECONDS_MAX: u64 = 2;

/// Listens for Ctrl-C, for SIGTERM, as CI systems cancel, and for SIGHUP, as a lost SSH session ends.
pub struct Signals {
    listener: tokio::task::JoinHandle<()>,
    /// Told of the second one, or of a SIGHUP.
    leave: Arc<Notify>,
    screen: Arc<Screen>,
}

impl Signals {
    pub fn listen(interrupt: Interrupt, screen: Arc<Screen>) -> Signals {
        let leave = Arc::new(Notify::new());
        let (told, shown) = (leave.clone(), screen.clone());
        let mut caught = Caught::new();
        let listener = tokio::spawn(async move {
            if caught.next().await == Wish::End {
                shown.note(
                    "interrupted: what is not settled yet is undone, a release that has passed its gates stays. Once more leaves it to `lockgate resume`",
                );
                interrupt.request();
                caught.next().await;
            }
            told.notify_one();
        });
        Signals { listener, leave, screen }
    }

    /// What `work` comes to. A second Ctrl-C or a SIGHUP ends the process in the midst of it, after a short look at the
    /// hosts.
    pub async fn unless_left<T>(
        &self,
        context: &Context<'_>,
        session: &Session<'_>,
        work: impl Future<Output = T>,
    ) -> T {
        // Not dropped before the process ends: what was under way is neither undone nor put in order.
        let mut work = pin!(work);
        tokio::select! {
            biased;
            done = &mut work => return done,
            () = self.leave.notified() => {}
        }
        // It may be at its end by now, which says more than that it was left.
        let bound = Duration::from_secs(HEEDED_SECONDS_MAX);
        tokio::select! {
            biased;
            done = &mut work => return done,
            () = session.tools.interrupt.heeded() => {}
            () = tokio::time::sleep(bound), if session.tools.interrupt.requested() => {}
            // Nobody asked the run to turn back, so there is nothing that the hosts have to know of.
            () = std::future::ready(()), if !session.tools.interrupt.requested() => {}
        }
        self.screen.finish();
        self.screen.note("left as it is; `lockgate resume` finishes or undoes it");
        let status = session.status_within(Millis::from_secs(LOOK_SECONDS_MAX)).await;
        tell(context, session, &status);
        lockgate_ssh::end_masters();
        std::process::exit(i32::from(Exit::Stuck.code()))
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    /// To come to an end, undoing what is not settled.
    End,
    /// To be gone: nobody is there to wait for an end.
    Leave,
}

/// The signals for as long as it lives: what comes between two questions is not missed.
struct Caught(Option<Streams>);

struct Streams {
    int: Signal,
    term: Signal,
    /// `None` under `nohup`, which asks to go on without a terminal.
    hup: Option<Signal>,
}

impl Caught {
    fn new() -> Caught {
        match Streams::open() {
            Ok(streams) => Caught(Some(streams)),
            Err(error) => {
                tracing::warn!(%error, "Ctrl-C, SIGTERM and SIGHUP cannot be caught");
                Caught(None)
            }
        }
    }

    async fn next(&mut self) -> Wish {
        let Some(Streams { int, term, hup }) = &mut self.0 else { return std::future::pending().await };
        let hangup = async {
            match hup {
                Some(hup) => drop(hup.recv().await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = int.recv() => Wish::End,
            _ = term.recv() => Wish::End,
            () = hangup => Wish::Leave,
        }
    }
}

impl Streams {
    fn open() -> std::io::Result<Streams> {
        let hup = if ignores_hangup() { None } else { Some(signal(SignalKind::hangup())?) };
        Ok(Streams { int: signal(SignalKind::interrupt())?, term: signal(SignalKind::terminate())?, hup })
    }
}

/// Whether whoever started this process had it ignore SIGHUP, as `nohup` does; see proc(5), `SigIgn`.
fn ignores_hangup() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
    mask >> (SignalKind::hangup().as_raw_value() - 1) & 1 == 1
}

/// The run that was left and a host that holds it, where it is ours: while somebody else's is waited for there is nothing of ours to finish.
fn ours<'a>(status: &'a ServiceStatus, session: &Session<'_>) -> Option<(&'a HostId, &'a Begun)> {
    let identity = session.identity();
    let mut held = status.leases.iter();
    held.find_map(|(host, lease)| {
        let ours = lease.holder.as_ref().is_some_and(|one| identity.is(one));
        lease.unfinished.as_ref().filter(|_| ours).map(|begun| (host, begun))
    })
}

fn tell(context: &Context<'_>, session: &Session<'_>, status: &ServiceStatus) {
    let site = session.site;
    let (service, environment) = (&site.service.name, &site.environment.name);
    let commands = ["status", "resume"].map(|what| format!("lockgate --env {environment} {what} {service}"));
    let output = context.output;
    if output.format == Format::Json {
        let run = ours(status, session);
        let slot = |seen: &HostObserved| seen.live().map(|(slot, _)| slot);
        let hosts = status.observed.hosts.iter();
        let live: Vec<(&HostId, Slot)> = hosts.filter_map(|(host, seen)| Some((host, slot(seen)?))).collect();
        output.json(&serde_json::json!({
            "event": "result",
            "run": run.map(|(_, begun)| begun.run),
            "service": service,
            "environment": environment,
            "release": run.and_then(|(host, _)| status.wanted.get(host)),
            "result": {
                "outcome": "abandoned",
                "live": std::collections::BTreeMap::from_iter(live),
                "hosts": status.observed.hosts,
                "unseen": status.unseen,
                "commands": commands,
            },
            "exit": Exit::Stuck.code(),
        }));
        return;
    }
    let mut lines =
        vec![output.paint.red(&format!("abandoned: {service} in {environment} is left as it is"))];
    lines.push("now, as far as is known:".to_owned());
    for ports in &site.hosts {
        let place = hosts_text(std::slice::from_ref(&ports.id));
        lines.push(match (status.observed.hosts.get(&ports.id), status.unseen.get(&ports.id)) {
            (Some(seen), _) => format!("  {place}: {}", live_text(seen)),
            (None, Some(why)) => format!("  {place}: not known: {}", failure_text(why, output.paint)),
            (None, None) => format!("  {place}: not known"),
        });
    }
    lines.push(format!("{} type, in this order:", output.paint.bold("next:")));
    lines.extend(commands.iter().map(|command| format!("  {}", clean(command))));
    output.text(&lines.join("\n"));
}
