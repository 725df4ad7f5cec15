//! Stability: looking again and again for a time.

use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use lockgate_model::{Headway, HttpGate, Millis};
use lockgate_ports::{OnHeadway, Prober};
use tokio::time::{Instant, MissedTickBehavior};

use crate::look::{Look, Tally};

/// Looks at one path that may wait for an answer at once. Where answers take longer than the time between looks, the next
/// look waits for one of them.
const WAITING_MAX: usize = 8;
/// Between two words of how far it is.
const HEADWAY_MILLIS_MIN: u64 = 1_000;

/// How long, and how often.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    pub(crate) span: Millis,
    pub(crate) every: Millis,
}

/// One tally for each look. It ends when every look was made, when the time for them is over, or as soon as one path
/// cannot pass any more: every further look keeps a bad release live.
pub(crate) async fn watch(
    looks: &[Look],
    gate: &HttpGate,
    span: Span,
    prober: &dyn Prober,
    told: OnHeadway<'_>,
) -> Vec<Tally> {
    let mut tallies: Vec<Tally> = looks.iter().map(|_| Tally::default()).collect();
    let mut waiting = FuturesUnordered::new();
    let (rounds, began) = (gate.sampling.looks(), Instant::now());
    let last_begin = began + span.span.duration() + gate.sampling.late_max().duration();
    let mut ticks = tokio::time::interval(span.every.duration().max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut round, mut said) = (0, began);
    loop {
        let begins = round < rounds && waiting.len() <= looks.len() * (WAITING_MAX - 1);
        tokio::select! {
            // What is known is taken in before more is asked.
            biased;
            Some((index, answer)) = waiting.next() => {
                let tally: &mut Tally = &mut tallies[index];
                tally.take(&answer, gate);
                if tally.cannot_pass(gate) {
                    break;
                }
            }
            () = tokio::time::sleep_until(last_begin), if round < rounds => round = rounds,
            _ = ticks.tick(), if begins => {
                round += 1;
                waiting.extend(looks.iter().enumerate().map(|(index, look)| async move {
                    (index, look.get(prober).await)
                }));
                if said.elapsed() >= Duration::from_millis(HEADWAY_MILLIS_MIN) {
                    said = Instant::now();
                    told(headway(round, rounds, &tallies));
                }
            }
            else => break,
        }
    }
    tallies
}

fn headway(done: u32, of: u32, tallies: &[Tally]) -> Headway {
    let bad: u32 = tallies.iter().map(Tally::bad).sum();
    let seen = match bad {
        0 => "no failures".to_owned(),
        1 => "1 failure".to_owned(),
        many => format!("{many} failures"),
    };
    Headway { done, of, seen, said: Vec::new() }
}

#[cfg(test)]
mod tests;
