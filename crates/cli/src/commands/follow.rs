//! A session that is under way, shown as it goes on. Ctrl-C: once undoes what is not settled, twice leaves it, and says
//! where that is. So does the terminal that goes away (SIGHUP), at once.

use lockgate_model::Refusal;
use lockgate_orchestrator::Handle;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Context, abandoned};
use crate::error::CliError;
use crate::exit::Exit;
use crate::sink::Screen;

/// Listens for Ctrl-C, for SIGTERM, as CI systems cancel, and for SIGHUP, as a lost SSH session ends.
pub struct Signals {
    /// `None` where they cannot be caught. What comes between two questions is not missed.
    streams: Option<Streams>,
    /// Somebody has asked for the end of what is under way, and of what would come after it.
    pub asked_to_end: bool,
}

struct Streams {
    int: Signal,
    term: Signal,
    /// `None` under `nohup`, which asks to go on without a terminal.
    hup: Option<Signal>,
}

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// To come to an end, undoing what is not settled.
    End,
    /// To be gone: nobody is there to wait for an end.
    Leave,
}

impl Signals {
    pub fn listen() -> Signals {
        let streams = match Streams::open() {
            Ok(streams) => Some(streams),
            Err(error) => {
                tracing::warn!(%error, "Ctrl-C, SIGTERM and SIGHUP cannot be caught");
                None
            }
        };
        Signals { streams, asked_to_end: false }
    }

    /// Returns when somebody asks for something; never where signals cannot be caught.
    pub async fn next(&mut self) -> Wish {
        let Some(Streams { int, term, hup }) = &mut self.streams else { return std::future::pending().await };
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

    /// Returns when somebody asks for the end where no session is under way.
    pub async fn end_asked(&mut self) {
        self.next().await;
        self.asked_to_end = true;
    }

    /// As [`Signals::end_of`].
    pub async fn follow<T>(
        &mut self,
        context: &Context<'_>,
        screen: &Screen,
        session: Handle<T>,
    ) -> Result<T, CliError> {
        Ok(self.end_of(context, screen, session).await?)
    }

    /// What the session comes to. Where it is left, that is told, and the process ends in the midst of it.
    pub async fn end_of<T>(
        &mut self,
        context: &Context<'_>,
        screen: &Screen,
        mut session: Handle<T>,
    ) -> Result<T, Refusal> {
        loop {
            tokio::select! {
                biased;
                told = session.events.next() => match told {
                    Some(told) => screen.tell(&told),
                    None => break,
                },
                wish = self.next() => match (wish, self.asked_to_end) {
                    (Wish::End, false) => {
                        screen.note("interrupted: what is not settled yet is undone, a release that has passed its gates stays. Once more leaves it to `lockgate resume`");
                        self.asked_to_end = true;
                        session.stop.undo(&context.requester());
                    }
                    (Wish::End, true) | (Wish::Leave, _) => session.stop.leave(),
                },
            }
        }
        match session.end().await {
            Err(Refusal::Abandoned { abandoned }) => {
                abandoned::tell(context, &abandoned);
                lockgate_ssh::end_masters();
                // What was under way is kept by the session's handle, and is neither undone nor put in order.
                std::process::exit(i32::from(Exit::Stuck.code()))
            }
            end => end,
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
