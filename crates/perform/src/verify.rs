//! Asking through the router until the release answers: a return code of the switch proves nothing.

use std::time::Duration;

use lockgate_model::{
    Evidence, Failure, FailureKind, Millis, Probe, Release, Seen, Slot, SlotState, Verify, without_query,
};
use lockgate_ports::{HostPorts, RouterAnswer, http};
use tokio::time::Instant;

use crate::asking::{as_logs, request, shown};
use crate::attribution::{Attribution, attribute, says};
use crate::conductor::find;
use crate::health;
use crate::misses::{MISSES_PAUSE_MILLIS, Misses};
use crate::{traffic, trial};

/// Until the new release must answer through the router; nginx feeds the old one for 100 ms after a reload.
const VERIFY_SECONDS_MAX: u64 = 10;
const PAUSE_MILLIS_FIRST: u64 = 2;
const PAUSE_MILLIS_MAX: u64 = 200;
const ASK_SECONDS_MAX: u64 = 5;
/// How long the router may say that it cannot reach the slot; one that has just learnt of it may need a moment.
const BAD_GATEWAY_MILLIS_MAX: u64 = 1_000;
/// Good answers in a row when they do not say who gave them.
const ANONYMOUS_ANSWERS: u32 = 3;

/// What is asked, and whose answer is wanted.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub slot: Slot,
    pub release: &'a Release,
    pub verify: Option<&'a Verify>,
    pub probe: &'a Probe,
    /// A wrong answer of the release itself is waited for too: there is nothing better to go back to.
    pub patient: bool,
}

/// Whose an answer is that is not what was wanted, as far as is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    /// Nobody answered, or the release that had the traffic before: it is waited for.
    NotYetIts,
    /// The router's own: it does not reach what it dials.
    BadGateway,
    /// The release's: the router or the answer names its slot.
    Its,
    /// Nobody is named, and the router dials its slot alone.
    Anonymous,
}

/// What was seen instead of a pass.
#[derive(Debug, Default)]
struct Miss {
    seen: String,
    /// The beginning of the answer, without secrets.
    said: Vec<String>,
}

impl Miss {
    /// Nobody answered.
    fn seen(seen: String) -> Self {
        Self { seen, said: Vec::new() }
    }
}

/// Asks until the release answers. Silence and answers of the release before it are waited for; wrong ones of its own are not,
/// for users get them meanwhile.
///
/// # Errors
/// `Unhealthy` with what was answered last, and with the slot's last log lines where it answered wrongly.
pub(crate) async fn verify(ports: &HostPorts, asked: Asked<'_>) -> Result<Seen, Failure> {
    let Asked { slot, release, probe, .. } = asked;
    let start = Instant::now();
    let mut pause = Duration::from_millis(PAUSE_MILLIS_FIRST);
    let mut in_a_row = 0;
    let mut last = Miss::default();
    let mut patience = health::Patience::default();
    let mut bad_gateway: Option<Instant> = None;
    let mut wrong = Misses::default();
    while start.elapsed() < Duration::from_secs(VERIFY_SECONDS_MAX) {
        let (answered, whose) = asked.once(ports).await?;
        match answered {
            Ok(Attribution::ThisRelease) => return Ok(vec![asked.answered("it says so itself")]),
            Ok(Attribution::Unknown) => {
                (wrong, bad_gateway) = (Misses::default(), None);
                in_a_row += 1;
                match traffic::route(ports).await {
                    Ok(route) if route.only() == Some(slot) && in_a_row >= ANONYMOUS_ANSWERS => {
                        match ports.router.in_force(slot).await {
                            Ok(()) => {
                                let how = "healthy answers, and the router says it dials this slot; set `verify` to be certain";
                                return Ok(vec![asked.answered(how)]);
                            }
                            Err(error) => {
                                let hint = error.hints().joined().unwrap_or_default();
                                last = Miss::seen(format!("{} ({hint})", error.message));
                            }
                        }
                    }
                    Ok(route) if route.only() == Some(slot) => {}
                    Ok(route) => {
                        last = Miss::seen(format!(
                            "the router dials {}",
                            route.dial.as_deref().unwrap_or("nothing")
                        ));
                    }
                    Err(error) => last = Miss::seen(error.message),
                }
            }
            Err(miss) => {
                in_a_row = 0;
                last = miss;
                // While a dead one is waited for nobody is served.
                health::still_runs(ports, slot, release, probe, &mut patience, start.elapsed()).await?;
                match whose {
                    Whose::BadGateway => drop(bad_gateway.get_or_insert_with(Instant::now)),
                    Whose::NotYetIts | Whose::Its | Whose::Anonymous => bad_gateway = None,
                }
                if asked.is_wrong(whose, &mut wrong) {
                    return Err(asked
                        .wrong(ports, &last, &format!("{} times in a row", wrong.in_a_row()))
                        .await);
                }
                let long = Duration::from_millis(BAD_GATEWAY_MILLIS_MAX);
                if bad_gateway.is_some_and(|since| since.elapsed() >= long) {
                    asked.reachable(ports, &last).await?;
                    bad_gateway = None;
                }
            }
        }
        // Three wrong answers within milliseconds may be one hiccup.
        let least = if wrong.are_none() { 0 } else { MISSES_PAUSE_MILLIS };
        tokio::time::sleep(pause.max(Duration::from_millis(least))).await;
        pause = (pause * 2).min(Duration::from_millis(PAUSE_MILLIS_MAX));
    }
    Err(asked.silent(ports, last))
}

impl Asked<'_> {
    fn path(&self) -> &str {
        self.verify.map_or(self.probe.health.path(), |verify| &verify.path)
    }

    /// One question, to each of the slot's replicas where the router can. The answer, or what was seen instead, and whose that
    /// is: of several the first that is wrong.
    async fn once(&self, ports: &HostPorts) -> Result<(Result<Attribution, Miss>, Whose), Failure> {
        let request = request(self.path(), Millis::from_secs(ASK_SECONDS_MAX), self.probe);
        let answers = match ports.router.ask_each(&request).await {
            Ok(answers) => answers,
            Err(error) => {
                traffic::revive(ports, &error).await?;
                return Ok((Err(Miss::seen(error.message)), Whose::NotYetIts));
            }
        };
        let mut least = Attribution::ThisRelease;
        for answer in &answers {
            match attribute(answer, self.slot, self.release, self.verify, self.probe) {
                Ok(Attribution::ThisRelease) => {}
                Ok(Attribution::Unknown) => least = Attribution::Unknown,
                Err(seen) => {
                    let whose = self.whose(ports, answer).await;
                    return Ok((Err(Miss { seen, said: shown(&answer.answer, &ports.mask) }), whose));
                }
            }
        }
        Ok((Ok(least), Whose::Its))
    }

    /// Of an answer that is wrong.
    async fn whose(&self, ports: &HostPorts, answer: &RouterAnswer) -> Whose {
        let other_bytes =
            answer.release.as_ref().is_some_and(|digest| *digest != self.release.digest.to_string());
        match answer.slot {
            Some(named) if named == self.slot && !other_bytes => return Whose::Its,
            Some(_) => return Whose::NotYetIts,
            None if is_bad_gateway(answer.answer.status) => return Whose::BadGateway,
            None => {}
        }
        let (routed, slots) = tokio::join!(traffic::route(ports), ports.runtime.slots());
        let (Ok(route), Ok(slots)) = (routed, slots) else { return Whose::NotYetIts };
        if route.only() != Some(self.slot) {
            return Whose::NotYetIts;
        }
        // A router that has taken its change may still send some requests by what it had before.
        let others = slots.iter().filter(|seen| seen.slot != self.slot && seen.state == SlotState::Running);
        let says_other = |verify: &Verify| {
            let mut releases = others.filter_map(|seen| Some((seen.slot, seen.release.as_ref()?)));
            releases.any(|(slot, release)| says(answer, slot, release, verify).is_ok())
        };
        match self.verify.is_some_and(says_other) {
            true => Whose::NotYetIts,
            false => Whose::Anonymous,
        }
    }

    /// Whether it has answered wrongly so often that it is gone back from. One that is not named has a second in any case:
    /// the release before it may have been asked.
    fn is_wrong(&self, whose: Whose, wrong: &mut Misses) -> bool {
        match whose {
            Whose::NotYetIts | Whose::BadGateway => *wrong = Misses::default(),
            Whose::Its | Whose::Anonymous => wrong.note(),
        }
        !self.patient
            && match whose {
                Whose::NotYetIts | Whose::BadGateway => false,
                Whose::Its => wrong.count(),
                Whose::Anonymous => wrong.last_long(),
            }
    }

    /// `how_long` ends the sentence: how often it was seen, and where.
    async fn wrong(&self, ports: &HostPorts, miss: &Miss, how_long: &str) -> Failure {
        let Self { slot, release, .. } = self;
        let (router, path) = (ports.router.name(), without_query(self.path()));
        let message = format!(
            "{} answers wrongly through {router}: GET {path}{}: {}, {how_long}",
            release.tag,
            self.sent(),
            miss.seen
        );
        let log = health::last_lines(ports, *slot).await;
        let logs = as_logs(miss.said.clone()).chain(log).collect();
        Failure::new(FailureKind::Unhealthy, message).slot(*slot).logs(logs).hint(format!(
            "{}`verify` in lockgate.yaml says what is asked, or else `health`",
            health::more_logs(&release.service, *slot)
        ))
    }

    fn silent(&self, ports: &HostPorts, last: Miss) -> Failure {
        let Self { slot, release, .. } = self;
        Failure::new(
            FailureKind::Unhealthy,
            format!(
                "{} does not answer through {}: GET {}{}: {}",
                release.tag,
                ports.router.name(),
                without_query(self.path()),
                self.sent(),
                last.seen
            ),
        )
        .slot(*slot)
        .logs(as_logs(last.said).collect())
        .hint(format!(
            "compare `lockgate logs {}` with the router's log; `verify` in lockgate.yaml says what tells releases apart",
            release.service
        ))
    }

    /// Users get what the router answers, so there is nothing to wait for where it is not the slot that fails, nor where it
    /// is the slot that says what looks like the router's word.
    ///
    /// # Errors
    /// `Unhealthy` when the slot answers whoever asks it directly.
    async fn reachable(&self, ports: &HostPorts, miss: &Miss) -> Result<(), Failure> {
        let (slot, path) = (self.slot, self.path());
        let Some(endpoint) = find(ports, slot).await?.and_then(|seen| seen.endpoint) else { return Ok(()) };
        let request = request(path, Millis::from_secs(ASK_SECONDS_MAX), self.probe);
        match http::send(ports.host.as_ref(), &endpoint, request).await {
            Ok(answer) if !is_bad_gateway(answer.status) => {}
            Ok(_) if !self.patient => {
                return Err(self.wrong(ports, miss, &format!("and at {endpoint} as well")).await);
            }
            Ok(_) | Err(_) => return Ok(()),
        }
        let dialled = traffic::route(ports).await?.dial.unwrap_or_else(|| "nothing".to_owned());
        let router = ports.router.name();
        Err(trial::unreached(router, slot, &endpoint.to_string(), &dialled, path, &miss.seen))
    }

    /// What was sent with the question, in brackets; empty where nothing was.
    fn sent(&self) -> String {
        self.probe.sent().map(|sent| format!(" ({sent})")).unwrap_or_default()
    }

    fn answered(&self, how: &str) -> Evidence {
        Evidence {
            check: format!("GET {} through the router", without_query(self.path())),
            wanted: format!("{} from {}", self.release.tag, self.slot),
            seen: how.to_owned(),
            ok: true,
        }
    }
}

/// What a proxy answers in the place of an upstream that it cannot reach (RFC 9110, 15.6.3 to 15.6.5).
fn is_bad_gateway(status: u16) -> bool {
    matches!(status, 502..=504)
}

#[cfg(test)]
mod tests;
