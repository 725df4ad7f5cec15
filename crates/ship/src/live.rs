//! Which commit is live.

use futures_util::future::{BoxFuture, Either, select};
use lockgate_model::{CommitSha, Failure, FailureKind, Refusal, Release, ServiceStatus};

type Looked = Result<ServiceStatus, Refusal>;

/// A look at what is live, which may have been begun.
pub(crate) enum Seen<'a> {
    Unasked,
    UnderWay(BoxFuture<'a, Looked>),
    Done(Looked),
}

impl<'a> Seen<'a> {
    /// Does something else, and looks meanwhile. The look is not waited for.
    pub(crate) async fn beside<T>(look: BoxFuture<'a, Looked>, other: impl Future<Output = T>) -> (T, Self) {
        let other = std::pin::pin!(other);
        match select(other, look).await {
            Either::Left((done, look)) => (done, Seen::UnderWay(look)),
            Either::Right((seen, other)) => (other.await, Seen::Done(seen)),
        }
    }

    /// `ask` begins a look.
    pub(crate) async fn status(self, ask: &(dyn Fn() -> BoxFuture<'a, Looked> + Sync)) -> Looked {
        match self {
            Seen::Unasked => ask().await,
            Seen::UnderWay(look) => look.await,
            Seen::Done(seen) => seen,
        }
    }
}

/// What is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Live {
    /// The same on every host, and what it is the commit of.
    Commit(CommitSha, Box<Release>),
    /// Why it cannot be said.
    Unknown(String),
}

/// Why nothing should be begun for a deployment: it would come to nothing, after minutes of tests and builds. `None`: go on.
/// `waits`: the hosts may still be booting, and are waited for later.
pub(crate) fn stands_against(status: &ServiceStatus, waits: bool) -> Option<Refusal> {
    let silent =
        |failure: &Failure| matches!(failure.kind, FailureKind::Unreachable | FailureKind::TimedOut) && waits;
    if let Some((host, failure)) = status.unseen.iter().find(|(_, failure)| !silent(failure)) {
        return Some(Refusal::Failed { failure: failure.clone().at(host) });
    }
    let held = status.leases.values().find_map(|lease| lease.unfinished.as_ref().and(lease.holder.as_ref()));
    held.map(|holder| {
        let (service, environment) = (&status.service, &status.environment);
        let message = format!("{} is at work on {service} in {environment}", holder.owner);
        let failure = Failure::new(FailureKind::Conflict, message)
            .hint(format!("`lockgate --env {environment} status {service}` says what is done"));
        Refusal::Busy { failure }
    })
}

impl Live {
    pub(crate) fn of(status: &ServiceStatus) -> Self {
        let unknown = |why: String| Live::Unknown(why);
        // What is live then is no release that a run has settled.
        if status.leases.values().any(|lease| lease.unfinished.is_some()) {
            return unknown("a run was left unfinished, and is brought to its end first".to_owned());
        }
        if let Some((host, failure)) = status.unseen.iter().next() {
            return unknown(format!("{host} does not say what is live: {failure}"));
        }
        let mut releases = Vec::new();
        for seen in status.observed.hosts.values() {
            let release = seen.live().and_then(|(_, live)| live.release.as_ref());
            let Some(release) = release else { return unknown(nothing_is_live(status)) };
            releases.push((release, commit_of(release, seen.was_live())));
        }
        let Some(((first, commit), others)) = releases.split_first() else {
            return unknown(nothing_is_live(status));
        };

        if others.iter().any(|(other, _)| !other.same_bytes(first)) {
            return unknown("the hosts differ in what is live".to_owned());
        }
        match commit.map(CommitSha::new) {
            Some(Ok(_)) if !status.word().is_well() => {
                unknown(format!("{} is live, and it is not well", first.tag))
            }
            Some(Ok(commit)) => Live::Commit(commit, Box::new((*first).clone())),
            Some(Err(_)) => {
                unknown(format!("what is live ({}) was built from a tree with changes", first.tag))
            }
            None => unknown(format!("of what is live ({}) the commit is not known", first.tag)),
        }
    }
}

fn nothing_is_live(status: &ServiceStatus) -> String {
    let was = status.observed.hosts.values().any(|seen| !seen.releases.is_empty());
    match was {
        true => "nothing is live any more on some host".to_owned(),
        false => "nothing is live yet".to_owned(),
    }
}

/// As the container says, else the host's list.
fn commit_of<'r>(release: &'r Release, mut listed: impl Iterator<Item = &'r Release>) -> Option<&'r str> {
    let known = || listed.find(|known| known.same_bytes(release)).and_then(|known| known.commit.as_deref());
    release.commit.as_deref().or_else(known)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use lockgate_model::{
        Digest, Failure, FailureKind, HostId, HostObserved, Observed, RouterObserved, ServiceName, Slot,
        SlotObserved, SlotState, Tag,
    };

    use super::*;

    const SHA: &str = "0123456789abcdef0123456789abcdef01234567";

    fn serving(tag: &str, commit: Option<&str>) -> HostObserved {
        let release = Release {
            service: ServiceName::new("web").unwrap(),
            tag: Tag::new(tag).unwrap(),
            digest: Digest::of(tag.as_bytes()),
            image: None,
            commit: commit.map(str::to_owned),
            provenance: None,
        };
        let slot = SlotObserved {
            release: Some(release),
            state: SlotState::Running,
            started_at: None,
            restarts: 0,
            endpoint: None,
            replicas: Vec::new(),
        };
        HostObserved {
            router: RouterObserved { target: Some(Slot::Blue), ..RouterObserved::default() },
            slots: BTreeMap::from([(Slot::Blue, slot)]),
            ..HostObserved::default()
        }
    }

    fn status(hosts: Vec<HostObserved>) -> ServiceStatus {
        let name = |number| HostId::new(format!("web{number}")).unwrap();
        let hosts = hosts.into_iter().enumerate().map(|(number, seen)| (name(number), seen)).collect();
        ServiceStatus {
            service: "web".parse().unwrap(),
            environment: "prod".parse().unwrap(),
            observed: Observed { hosts },
            leases: BTreeMap::new(),
            wanted: BTreeMap::new(),
            clocks: BTreeMap::new(),
            unseen: BTreeMap::new(),
        }
    }

    #[test]
    fn the_commit_is_known_when_every_host_says_the_same() {
        let live = |hosts| Live::of(&status(hosts));
        let Live::Commit(commit, release) = live(vec![serving("v1", Some(SHA)), serving("v1", Some(SHA))])
        else {
            panic!("both say the same");
        };
        assert_eq!((commit.as_str(), release.tag.as_str()), (SHA, "v1"));
        for (hosts, why) in [
            (vec![], "nothing is live yet"),
            (vec![serving("v1", Some(SHA)), HostObserved::default()], "nothing is live yet"),
            (vec![serving("v1", Some(SHA)), serving("v2", Some(SHA))], "the hosts differ"),
            (vec![serving("v1", None)], "is not known"),
            (vec![serving("v1", Some("0123456-dirty"))], "a tree with changes"),
        ] {
            let Live::Unknown(said) = live(hosts) else { panic!("{why}") };
            assert!(said.contains(why), "{said}");
        }
        let mut one_silent = status(vec![serving("v1", Some(SHA))]);
        let silence = Failure::new(FailureKind::Unreachable, "no route");
        one_silent.unseen.insert(HostId::new("web9").unwrap(), silence);
        assert!(matches!(Live::of(&one_silent), Live::Unknown(why) if why.contains("web9")));
    }
}
