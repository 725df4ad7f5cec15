//! What is live where, as text.

use std::fmt::Write;

use lockgate_model::{
    Behind, HostId, HostObserved, LeaseRecord, Millis, Rejected, Release, ServiceStatus, SlotState,
    Timestamp, deploy_again, live_text,
};

use crate::failure::failure_text;
use crate::outcome::hosts_text;
use crate::plan::warnings;
use crate::{Paint, Table, escaped};

/// Rejected releases that are shown.
const REJECTED_SHOWN_MAX: usize = 3;

/// The word for each service in an environment, and a table; below it what is out of order, who is at work and what was
/// left unfinished. `time` formats points in time, as [`crate::rfc3339`]. Without a line feed at the end.
#[must_use]
pub fn status_text(all: &[ServiceStatus], time: &dyn Fn(Timestamp) -> String, paint: Paint) -> String {
    if all.is_empty() {
        return "no service is deployed from here".to_owned();
    }
    let parts: Vec<String> = all.iter().map(|one| one_text(one, time, paint)).collect();
    parts.join("\n\n")
}

pub(crate) fn one_text(status: &ServiceStatus, time: &dyn Fn(Timestamp) -> String, paint: Paint) -> String {
    let mut text = paint.bold(&format!("{} in {}", status.service, status.environment));
    let word = status.word();
    let shown = word.as_str().replace('_', " ");
    let _ = write!(text, ": {}", if word.is_well() { shown } else { paint.red(&shown) });
    let mut table = Table::new(["host", "live", "since", "beside"]).indent(2);
    for (host, seen) in &status.observed.hosts {
        // Where it was not written down when it went live, when it was started is nearest to it.
        let started = || seen.live().and_then(|(_, slot)| slot.started_at).filter(|_| !seen.is_starting());
        let since = seen.live_since().or_else(started).map(time).unwrap_or_default();
        table.push(vec![hosts_text(std::slice::from_ref(host)), live_text(seen), since, beside(seen)]);
    }
    if !status.observed.hosts.is_empty() {
        let _ = write!(text, "\n{}", table.text());
    }
    for (host, failure) in &status.unseen {
        let shown = failure_text(failure, paint).replace('\n', "\n  ");
        let _ = write!(text, "\n  {} {}: {shown}", paint.red("✗"), hosts_text(std::slice::from_ref(host)));
    }
    let is_unfinished = status.leases.values().any(|lease| lease.unfinished.is_some());
    for (host, seen) in &status.observed.hosts {
        for warning in warnings(seen) {
            let _ = write!(
                text,
                "\n  {} {}: {warning}",
                paint.yellow("!"),
                hosts_text(std::slice::from_ref(host))
            );
        }
        // A router that cannot be asked may be all that is missing, and what was left unfinished has its own command.
        if seen.is_dark() && seen.router.unreachable.is_none() && !is_unfinished {
            let deploy = deploy_again(&status.service, &status.environment, seen);
            let _ = write!(text, "\n    bring it back: {deploy}");
        }
    }
    if status.differs() {
        let _ = write!(
            text,
            "\n  {} the hosts differ; `lockgate --env {} deploy {} TAG` gives all of them the same",
            paint.yellow("!"),
            status.environment,
            status.service
        );
    }
    for (host, behind) in status.behind() {
        let _ = write!(text, "\n  {} {}", paint.yellow("!"), behind_text(status, &host, &behind, time));
    }
    push_rejected(&mut text, status, time, paint);
    push_leases(&mut text, status, time, paint);
    text
}

/// A release that was rejected, as the hosts tell it: which, when, by whom and why. `time` as in [`status_text`].
#[must_use]
pub fn rejected_text(rejected: &Rejected, time: &dyn Fn(Timestamp) -> String) -> String {
    let Rejected { rejection, hosts } = rejected;
    let place =
        if hosts.iter().all(HostId::is_local) { String::new() } else { format!(" on {}", hosts_text(hosts)) };
    format!(
        "{} was rejected{place} at {} by {}: {}",
        rejection.release,
        time(rejection.rejected_at),
        escaped(&rejection.by),
        escaped(&rejection.why)
    )
}

/// That a rejected release is deployed all the same. `time` as in [`status_text`].
#[must_use]
pub fn goes_on_text(rejected: &Rejected, time: &dyn Fn(Timestamp) -> String) -> String {
    format!("{}; it goes on, for it was asked for", rejected_text(rejected, time))
}

/// That somebody else's lease is watched, for so long at most.
#[must_use]
pub fn waiting_text(owner: &str, up_to: Millis) -> String {
    let (seconds, owner) = (up_to.0.div_ceil(1000), escaped(owner));
    format!("waiting up to {seconds} s to see whether {owner}, who holds the lease, is still at work")
}

/// The newest few; all of them are in the JSON.
fn push_rejected(
    text: &mut String,
    status: &ServiceStatus,
    time: &dyn Fn(Timestamp) -> String,
    paint: Paint,
) {
    let rejected = status.rejected();
    for one in rejected.iter().take(REJECTED_SHOWN_MAX) {
        let _ = write!(text, "\n  {} {}", paint.faint("·"), rejected_text(one, time));
    }
    if let more @ 1.. = rejected.len().saturating_sub(REJECTED_SHOWN_MAX) {
        let _ = write!(text, "\n  {} {more} more were rejected before", paint.faint("·"));
    }
}

/// Who went on without a host, and what brings it along.
fn behind_text(
    status: &ServiceStatus,
    host: &HostId,
    behind: &Behind,
    time: &dyn Fn(Timestamp) -> String,
) -> String {
    let of = behind.by.as_ref().map(|by| format!(" of {}", escaped(by))).unwrap_or_default();
    let ended = behind.at.map(|at| format!(" at {}", time(at))).unwrap_or_default();
    let others = status.observed.hosts.iter().filter(|(other, _)| *other != host);
    let mut live: Vec<&str> =
        others.filter_map(|(_, seen)| Some(seen.live()?.1.release.as_ref()?.tag.as_str())).collect();
    live.dedup();
    let tag = match live.as_slice() {
        [tag] => tag,
        _ => "TAG",
    };
    let deploy = format!("lockgate --env {} deploy {}", status.environment, status.service);
    format!(
        "{} is behind: run {}{of} went on without it{ended}\n    when it is back: `{deploy} {tag}` brings it along; until then: `{deploy} TAG --skip {host}`",
        hosts_text(std::slice::from_ref(host)),
        behind.run
    )
}

/// The slot that gets no traffic, as far as something is in it.
fn beside(seen: &HostObserved) -> String {
    let others = seen.slots.iter().filter(|(slot, _)| Some(**slot) != seen.router.target);
    let shown: Vec<String> = others
        .map(|(slot, inside)| {
            let state = match inside.state {
                SlotState::Running => "running",
                SlotState::Stopped => "stopped",
            };
            let release = inside.release.as_ref().map_or("unknown release".to_owned(), ToString::to_string);
            format!("{release} in {slot}, {state}")
        })
        .collect();
    shown.join("; ")
}

/// What the leases tell, once for all hosts that tell the same.
fn push_leases(text: &mut String, status: &ServiceStatus, time: &dyn Fn(Timestamp) -> String, paint: Paint) {
    let mut said: Vec<(String, Vec<HostId>)> = Vec::new();
    for (host, lease) in &status.leases {
        for line in lease_lines(lease, status.wanted.get(host), time, paint) {
            match said.iter_mut().find(|(known, _)| *known == line) {
                Some((_, hosts)) => hosts.push(host.clone()),
                None => said.push((line, vec![host.clone()])),
            }
        }
    }
    for (line, hosts) in said {
        // Named only where not all hosts tell the same.
        let place = if hosts.len() == status.leases.len() {
            String::new()
        } else {
            format!(" (on {})", hosts_text(&hosts))
        };
        let _ = write!(text, "\n  {line}{place}");
    }
}

/// `wanted` is the release that its unfinished run is about, where that is known.
fn lease_lines(
    lease: &LeaseRecord,
    wanted: Option<&Release>,
    time: &dyn Fn(Timestamp) -> String,
    paint: Paint,
) -> Vec<String> {
    let mut lines = Vec::new();
    match (&lease.holder, &lease.unfinished) {
        (Some(holder), unfinished) => {
            let (owner, since) = (escaped(&holder.owner), time(holder.since));
            let what = unfinished.as_ref().map_or(String::new(), |begun| {
                let release = wanted.map_or(String::new(), |release| format!(" on {release}"));
                format!("{release} (run {})", begun.run)
            });
            lines.push(format!("{} {owner} is at work{what} since {since}", paint.yellow("→")));
        }
        (None, Some(unfinished)) => lines.push(format!(
            "{} run {} was left unfinished: type `lockgate resume`",
            paint.yellow("!"),
            unfinished.run
        )),
        (None, None) => {}
    }
    if let Some(last) = &lease.last {
        let ended = last.outcome.as_str().replace('_', " ");
        lines.push(format!("last run: {ended} at {} (run {})", time(last.at), last.run));
    }
    lines
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use lockgate_model::{Failure, FailureKind, LeftOut};

    use super::*;
    use crate::fixtures::{environment, held_lease, host, left_lease, observed, service};

    fn time(at: Timestamp) -> String {
        format!("t{}", at.0)
    }

    fn status() -> ServiceStatus {
        ServiceStatus {
            service: service(),
            environment: environment(),
            observed: observed(),
            leases: BTreeMap::new(),
            wanted: BTreeMap::new(),
            clocks: BTreeMap::new(),
            unseen: BTreeMap::new(),
        }
    }

    #[test]
    fn status_shows_what_is_live_what_is_beside_and_who_is_at_work() {
        let mut one = status();
        one.leases = [(host("web1"), held_lease()), (host("web2"), held_lease())].into();
        let mut other = status();
        other.observed.hosts.remove(&host("web2"));
        other
            .unseen
            .insert(host("web2"), Failure::new(FailureKind::Unreachable, "no route").hint("is it up?"));
        other.leases = [(host("web1"), left_lease()), (host("web3"), LeaseRecord::default())].into();
        insta::assert_snapshot!(status_text(&[one, other], &time, Paint::plain()), @r"
        web in prod: rolled back
          host  live                       since           beside
          web1  v1 (0a0a0a0a0a0a) in blue  t1763640000000
          web2  v1 (0a0a0a0a0a0a) in blue  t1763640000000  unknown release in green, stopped
          → kim@desk is at work since t5
          last run: rolled back at t4 (run 00000000-0000-0000-0000-000000000007)

        web in prod: unwell
          host  live                       since           beside
          web1  v1 (0a0a0a0a0a0a) in blue  t1763640000000
          ✗ web2: unreachable: no route
            hint: is it up?
          ! run 00000000-0000-0000-0000-000000000007 was left unfinished: type `lockgate resume` (on web1)
        ");
    }

    #[test]
    fn who_is_behind_is_said_with_what_brings_it_along() {
        let mut one = status();
        let run = left_lease().unfinished.unwrap().run;
        let left_out = LeftOut { run, hosts: vec![host("web3")], by: "kim@desk".into(), at: Timestamp(7) };
        one.leases =
            [(host("web1"), LeaseRecord { left_out: Some(left_out), ..LeaseRecord::default() })].into();
        one.unseen.insert(host("web3"), Failure::new(FailureKind::TimedOut, "it does not answer"));
        insta::assert_snapshot!(status_text(&[one], &time, Paint::plain()), @r"
        web in prod: unwell
          host  live                       since           beside
          web1  v1 (0a0a0a0a0a0a) in blue  t1763640000000
          web2  v1 (0a0a0a0a0a0a) in blue  t1763640000000  unknown release in green, stopped
          ✗ web3: timed out: it does not answer
          ! web3 is behind: run 00000000-0000-0000-0000-000000000007 of kim@desk went on without it at t7
            when it is back: `lockgate --env prod deploy web v1` brings it along; until then: `lockgate --env prod deploy web TAG --skip web3`
        ");
    }

    #[test]
    fn no_service_is_said_too() {
        assert_eq!(status_text(&[], &time, Paint::plain()), "no service is deployed from here");
    }
}
