//! Hosts that do not answer, or that somebody left out: a run that was cut off is brought to its end on the others, and
//! nothing is begun without them unless they are left out by name.

use std::collections::BTreeMap;

use lockgate_engine::Acquired;
use lockgate_model::{
    Aim, Failure, HostId, HostObserved, Observed, Outcome, Progress, RunEnd, RunId, Unfinished,
};

use crate::cut_off::{CutOff, was_undone, went_live};
use crate::recover::Towards;
use crate::session::{Session, Trouble, cut_off_rollback, give_back, towards};

/// What ending a run that was cut off came to.
#[derive(Debug, Clone)]
pub(crate) struct Resumed {
    /// How the run ended that had been cut off. `None` when there was none on the hosts that answer.
    pub(crate) ended: Option<(RunId, Outcome)>,
    /// The hosts that do not answer, and why: nothing was done there.
    pub(crate) gone: BTreeMap<HostId, Failure>,
}

impl Session<'_> {
    /// Hosts of a run that the configuration has and that are not used now. (Those that it does not have any more are not
    /// among them: see [`lockgate_plan::match_run`].)
    pub(crate) fn missing(&self, found: &CutOff<'_>) -> Vec<HostId> {
        let left_out = self.site.left_out();
        let of_run = |host: &&HostId| found.plan().is_some_and(|plan| plan.hosts.contains(host));
        left_out.iter().filter(of_run).cloned().collect()
    }

    /// Why a command that needs all hosts does not begin. What was cut off before is brought to its end first, where it can
    /// be: whoever types a rollback after a crash must not have to wait for a host that never comes back.
    pub(crate) async fn refuse(
        &self,
        want: &Aim,
        mut acquired: Acquired,
        gone: &BTreeMap<HostId, Failure>,
    ) -> Trouble {
        let site = self.site.without(gone.keys());
        let others = self.at(&site);
        let recovered = match acquired.is_at_rest() {
            true => Ok(None),
            false => {
                let towards = towards(want, cut_off_rollback(&acquired).as_ref());
                others.recover_all(&mut acquired, towards).await
            }
        };
        give_back(&acquired.fence).await;
        match recovered {
            Ok(recovered) => self.not_all_answer(want, gone, recovered.as_ref()),
            Err(trouble) => trouble,
        }
    }

    fn not_all_answer(
        &self,
        want: &Aim,
        gone: &BTreeMap<HostId, Failure>,
        recovered: Option<&(RunId, Outcome)>,
    ) -> Trouble {
        let Some((host, first)) = gone.first_key_value() else {
            unreachable!("only called when a host does not answer")
        };
        let mut failure = first.clone().at(host);
        let others: Vec<&str> = gone.keys().skip(1).map(HostId::as_str).collect();
        if !others.is_empty() {
            failure.message.push_str(&format!("; nor do {} answer", others.join(", ")));
        }
        if let Some((run, outcome)) = recovered {
            let first = format!(
                "; run {run}, which had been cut off, was brought to its end on the others: {}",
                outcome.as_str()
            );
            failure.message.push_str(&first);
        }
        let (service, environment) = (&self.site.service.name, &self.site.environment.name);
        let typed = want.typed(service, environment, &gone.keys().cloned().collect::<Vec<_>>());
        let without = format!("to go on without: `{typed}`");
        failure.hints.add(without);
        Trouble::Failure(failure)
    }
}

impl CutOff<'_> {
    /// How far the run got, where not all of its hosts can say so. It does not go on then: it is finished where one host
    /// says that it was settled and each of the others says or shows that it went live there, else undone. One that was
    /// told to have been undone is undone, also where the host that was missing then had settled it.
    pub(crate) fn progress_without_some(&self, last: &BTreeMap<HostId, RunEnd>, seen: &Observed) -> Progress {
        let progress = self.progress(last, seen);
        let is_settled = |held: &Unfinished| held.progress == Progress::Committed;
        let serves = |host: &HostId, held: &Unfinished| {
            let shows = |seen: &HostObserved| went_live(seen, &held.plan.release);
            is_settled(held) || seen.hosts.get(host).is_some_and(shows)
        };
        let one_says_so = self.held.values().any(|held| is_settled(held));
        match progress {
            Progress::Forward if one_says_so && self.held.iter().all(|(host, held)| serves(host, held)) => {
                Progress::Committed
            }
            other => other,
        }
    }

    /// Another host has been told that the run was undone.
    pub(crate) fn was_undone_elsewhere(&self, last: &BTreeMap<HostId, RunEnd>) -> bool {
        last.values().any(|end| end.run == self.run && was_undone(&end.outcome))
    }
}

/// Why a run that was cut off does not go on to what it was begun for. `left` are hosts that went on without it, `missing`
/// those that are not asked.
pub(crate) fn reason_to_turn(towards: Towards, left: &[HostId], missing: &[HostId]) -> Option<String> {
    let names = |hosts: &[HostId]| hosts.iter().map(HostId::as_str).collect::<Vec<_>>().join(", ");
    match (left, missing, towards) {
        ([], [], Towards::End) => None,
        ([], [], Towards::Back) => Some("it was cut off, and a rollback was asked for".to_owned()),
        ([], missing, _) => Some(format!(
            "it was cut off, and it cannot be said of {} how far it got there, so it is taken back on the others",
            names(missing)
        )),
        (left, _, _) => Some(format!(
            "it was cut off, and {} went on without it, so it is taken back where it was left",
            names(left)
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(names: &[&str]) -> Vec<HostId> {
        names.iter().map(|name| HostId::new(*name).unwrap()).collect()
    }

    #[test]
    fn a_run_without_some_of_its_hosts_is_turned_back_with_the_reason() {
        let [none, web2, web3] = [&[][..], &["web2"], &["web3"]].map(hosts);
        assert_eq!(reason_to_turn(Towards::End, &none, &none), None);
        let missing = reason_to_turn(Towards::End, &none, &web3).unwrap();
        assert!(missing.contains("cannot be said of web3"), "{missing}");
        assert_eq!(reason_to_turn(Towards::Back, &none, &web3), Some(missing));
        let left = reason_to_turn(Towards::End, &web2, &web3).unwrap();
        assert!(left.contains("web2 went on without it"), "{left}");
    }
}
