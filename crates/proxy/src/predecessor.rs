//! Upgrade without a lost request, the new process's side (the protocol is in `handover`).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::config::ProxyError;
use crate::handover::{Link, Message};
use crate::shared::Shared;
use crate::store::RoutesFile;
use crate::wire::InFlightByRoute;

/// How much later than it should a predecessor may close its clients' idle connections.
const LATE_SECONDS_MAX: u64 = 1;
/// How long a switch waits for the predecessor to follow.
const FOLLOW_SECONDS_MAX: u64 = 5;

type Switch = (Arc<RoutesFile>, oneshot::Sender<()>);

/// The old process, as long as it drains.
#[derive(Debug)]
pub(crate) struct Predecessor {
    pub(crate) pid: u32,
    /// It keeps requests waiting when it is told that their route is held.
    pub(crate) heeds_holds: bool,
    since: Instant,
    in_flight: Mutex<InFlightByRoute>,
    switches: mpsc::Sender<Switch>,
    cut: CancellationToken,
    ended: CancellationToken,
}

impl Predecessor {
    pub(crate) fn in_flight(&self) -> InFlightByRoute {
        self.in_flight.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until it has ended, as far as we can know.
    pub(crate) async fn ended(&self) {
        self.ended.cancelled().await;
    }

    fn tell(&self, in_flight: InFlightByRoute) {
        *self.in_flight.lock().unwrap_or_else(PoisonError::into_inner) = in_flight;
    }

    /// Returns once the predecessor sends no request to a held route: at once, unless it is too old to heed a hold. That
    /// one is waited for until it has closed its clients' idle connections, `lame_duck` after the upgrade.
    pub(crate) async fn can_be_held(&self, lame_duck: Duration) {
        if !self.heeds_holds {
            let closed = self.since + lame_duck + Duration::from_secs(LATE_SECONDS_MAX);
            tokio::select! {
                () = tokio::time::sleep_until(closed) => {}
                () = self.ended() => {}
            }
        }
    }

    /// Returns once the predecessor sends no request to a target that is not in `routes`. If it doesn't answer, the
    /// connection to it is cut, upon which it takes no further request at all.
    pub(crate) async fn apply(&self, routes: Arc<RoutesFile>) {
        let (done, followed) = oneshot::channel();
        if self.switches.send((routes, done)).await.is_err() {
            return; // It has ended.
        }
        if tokio::time::timeout(Duration::from_secs(FOLLOW_SECONDS_MAX), followed).await.is_err() {
            tracing::warn!(
                pid = self.pid,
                "the draining predecessor doesn't follow a switch; cutting it off"
            );
            self.cut.cancel();
        }
    }
}

/// What the predecessor hands over.
pub(crate) struct Handed {
    pub(crate) ask_token: String,
    pub(crate) predecessor: Arc<Predecessor>,
    link: Link,
    switches: mpsc::Receiver<Switch>,
}

/// Says that everything is ready, and waits for the word to go.
pub(crate) async fn introduce(mut link: Link, limit: Duration) -> Result<Handed, ProxyError> {
    let failed = |reason: String| ProxyError::Handover { reason };
    let ready = Message::Ready { pid: std::process::id() };
    link.send(&ready).await.map_err(|error| failed(error.to_string()))?;
    match link.expect(Instant::now() + limit).await.map_err(failed)? {
        Message::Go { pid, ask_token, in_flight, heeds_holds } => {
            let (sender, switches) = mpsc::channel(1);
            let (cut, ended) = (CancellationToken::new(), CancellationToken::new());
            let predecessor = Predecessor {
                pid,
                heeds_holds,
                since: Instant::now(),
                in_flight: Mutex::new(in_flight),
                switches: sender,
                cut,
                ended,
            };
            Ok(Handed { ask_token, predecessor: Arc::new(predecessor), link, switches })
        }
        _ => Err(failed("it said something else instead of go".to_owned())),
    }
}

impl Handed {
    /// Says that this process serves, and keeps in touch until the predecessor has ended.
    pub(crate) async fn serving(mut self, shared: Arc<Shared>) -> Result<(), ProxyError> {
        let sent = self.link.send(&Message::Serving).await;
        sent.map_err(|error| ProxyError::Handover { reason: error.to_string() })?;
        tokio::spawn(async move {
            let drain = shared.config.upgrade_drain;
            let predecessor = self.predecessor.clone();
            if self.accompany().await == Ending::CutOff {
                // It finishes what is in flight; how much that is, nobody tells us. The last word stands for as
                // long as it may take.
                tokio::time::sleep(drain).await;
            }
            tracing::info!(pid = predecessor.pid, "the predecessor has ended");
            shared.router.set_predecessor(None);
            predecessor.ended.cancel();
        });
        Ok(())
    }

    async fn accompany(mut self) -> Ending {
        let mut sequence = 0;
        let mut waiting: Option<(u64, oneshot::Sender<()>)> = None;
        loop {
            tokio::select! {
                () = self.predecessor.cut.cancelled() => return Ending::CutOff,
                message = self.link.receive() => match message {
                    Ok(Some(Message::InFlight { in_flight })) => self.predecessor.tell(in_flight),
                    Ok(Some(Message::Applied { sequence, in_flight })) => {
                        self.predecessor.tell(in_flight);
                        if let Some((_, done)) = waiting.take_if(|(expected, _)| *expected == sequence) {
                            // Nobody waits any more if the switch was given up meanwhile, which is fine.
                            let _ = done.send(());
                        }
                    }
                    Ok(Some(_)) => return Ending::CutOff,
                    Ok(None) | Err(_) => return Ending::Gone,
                },
                Some((routes, done)) = self.switches.recv() => {
                    sequence += 1;
                    waiting = Some((sequence, done));
                    if self.link.send(&Message::Apply { sequence, routes: (*routes).clone() }).await.is_err() {
                        return Ending::Gone;
                    }
                }
            }
        }
    }
}

#[derive(PartialEq, Eq)]
enum Ending {
    /// Its end of the connection is closed: nothing is in flight there any more.
    Gone,
    /// We stopped listening to it.
    CutOff,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a process says that was started before there were holds.
    const OLD_GO: &str = r#"{"go":{"pid":1,"ask_token":"t","in_flight":{}}}"#;

    fn predecessor(heeds_holds: bool) -> Predecessor {
        Predecessor {
            pid: 1,
            heeds_holds,
            since: Instant::now(),
            in_flight: Mutex::default(),
            switches: mpsc::channel(1).0,
            cut: CancellationToken::new(),
            ended: CancellationToken::new(),
        }
    }

    #[tokio::test]
    async fn one_too_old_to_hold_is_waited_for_until_it_takes_no_further_request() {
        let Message::Go { heeds_holds, .. } = serde_json::from_str(OLD_GO).unwrap() else { panic!() };
        assert!(!heeds_holds);
        let old = predecessor(heeds_holds);
        let lame_duck = Duration::from_millis(50);
        old.can_be_held(lame_duck).await;
        assert!(old.since.elapsed() >= lame_duck + Duration::from_secs(LATE_SECONDS_MAX));
        // One that has ended, and one that heeds holds, are not.
        let gone = predecessor(false);
        gone.ended.cancel();
        let limit = Duration::from_secs(20);
        for quick in [gone, predecessor(true)] {
            assert!(tokio::time::timeout(limit, quick.can_be_held(10 * limit)).await.is_ok());
        }
    }
}
