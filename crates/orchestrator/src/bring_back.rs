//! Mending what happened with nobody at work: a release that died, for its container was killed or its process has ended; a
//! router whose parts send to different slots, for its configuration was loaded anew.

use lockgate_engine::Acquired;
use lockgate_model::{
    Gates, Hooks, HostObserved, Intent, Leftover, Observed, Outcome, Release, RunId, Service,
};
use lockgate_perform::Depth;

use crate::Site;
use crate::interrupted::before_anything;
use crate::session::{Session, Trouble, give_back};

impl Session<'_> {
    /// Deploys the release that should be live once more, without its gates, which it has passed, where it has died in
    /// the slot that has the traffic, or where parts of a router send elsewhere. `wanted`: which of the two is mended. `None`
    /// when it serves everywhere, and when it is not certain which release is meant:
    /// the router and the files of a host name different slots, or the hosts had different releases.
    ///
    /// # Errors
    /// [`Trouble`]; a run that was left unfinished is `resume`'s to end, first.
    pub(crate) async fn bring_back(
        &self,
        wanted: impl Fn(Leftover) -> bool,
    ) -> Result<Option<(RunId, Outcome, Leftover)>, Trouble> {
        let wanted: Vec<Leftover> =
            [Leftover::Died, Leftover::Torn].into_iter().filter(|what| wanted(*what)).collect();
        if wanted.is_empty() || self.tools.interrupt.requested() {
            return Ok(None);
        }
        let acquired = self.acquire().await?;
        let brought = self.bring_back_leased(&acquired, &wanted).await;
        if !matches!(brought, Ok(Some(_))) {
            give_back(&acquired.fence).await;
        }
        brought
    }

    async fn bring_back_leased(
        &self,
        acquired: &Acquired,
        wanted: &[Leftover],
    ) -> Result<Option<(RunId, Outcome, Leftover)>, Trouble> {
        if !acquired.is_at_rest() {
            return Ok(None);
        }
        let observed = before_anything(&self.tools.interrupt, self.observe(Depth::Plan)).await?;
        let left = wanted.iter().find_map(|what| {
            let release = match what {
                Leftover::Died => died(&observed),
                Leftover::Torn => torn(&observed),
                Leftover::CutOff | Leftover::Beside => None,
            };
            release.map(|release| (release, *what))
        });
        let Some((release, what)) = left else { return Ok(None) };
        let intent = Intent::Deploy { release, gates: Gates::None, again: false };
        // Its hooks have run.
        let service = Service { hooks: Hooks::default(), ..self.site.service.clone() };
        let plan = Site { service, ..self.site.clone() }.plan(&intent, &observed)?;
        if plan.is_empty() {
            return Ok(None);
        }
        let run = (self.tools.new_run)();
        let outcome = self.run_plan(acquired.fence.clone(), run, &plan, &[]).await?;
        Ok(Some((run, outcome, what)))
    }
}

/// The one release that is live on all hosts, where parts of a router send to another slot as well.
fn torn(observed: &Observed) -> Option<Release> {
    let hosts = || observed.hosts.values();
    if !hosts().any(|seen| seen.router.torn.is_some()) {
        return None;
    }
    let mut live = hosts().map(|seen| seen.live()?.1.release.as_ref());
    let first = live.next()??;
    live.all(|release| release.is_some_and(|release| release.same_bytes(first))).then(|| first.clone())
}

/// The one release that all hosts should have, where it has died on some of them and it is certain that it is meant.
fn died(observed: &Observed) -> Option<Release> {
    let hosts = || observed.hosts.values();
    if !hosts().any(HostObserved::has_died) || hosts().any(|seen| seen.router.unreachable.is_some()) {
        return None;
    }
    let mut releases = hosts().map(|seen| match seen.live() {
        Some((_, live)) => live.release.as_ref(),
        None if seen.has_died() => seen.died_there(),
        None => None,
    });
    let first = releases.next()??;
    releases.all(|release| release.is_some_and(|release| release.same_bytes(first))).then(|| first.clone())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use lockgate_model::{
        Digest, HostId, Recorded, RouterObserved, ServiceName, Slot, SlotObserved, SlotState, Tag,
    };

    use super::*;

    fn release(tag: &str, digit: &str) -> Release {
        Release {
            service: ServiceName::new("web").unwrap(),
            tag: Tag::new(tag).unwrap(),
            digest: Digest::new(format!("sha256:{}", digit.repeat(64))).unwrap(),
            image: None,
            commit: None,
            provenance: None,
        }
    }

    fn host(held: Option<(Release, SlotState)>, active: Option<Slot>) -> HostObserved {
        let slot = held.map(|(release, state)| SlotObserved {
            release: Some(release),
            state,
            started_at: None,
            restarts: 0,
            endpoint: None,
            replicas: Vec::new(),
        });
        HostObserved {
            slots: slot.map(|slot| (Slot::Blue, slot)).into_iter().collect(),
            router: RouterObserved { target: Some(Slot::Blue), ..RouterObserved::default() },
            recorded: Recorded { active, previous: None },
            releases: vec![release("v0", "0").into()],
            ..HostObserved::default()
        }
    }

    fn tag_of(hosts: &[HostObserved]) -> Option<String> {
        let names = ["web1", "web2"].map(|name| HostId::new(name).unwrap());
        let hosts: BTreeMap<_, _> = names.into_iter().zip(hosts.iter().cloned()).collect();
        died(&Observed { hosts }).map(|release| release.tag.to_string())
    }

    #[test]
    fn a_release_is_brought_back_only_where_it_is_certain_which() {
        let blue = Some(Slot::Blue);
        let runs = |tag: &str, digit| host(Some((release(tag, digit), SlotState::Running)), blue);
        let stopped = |tag: &str, digit| host(Some((release(tag, digit), SlotState::Stopped)), blue);
        let v1 = || Some("v1".to_owned());
        assert_eq!(tag_of(&[runs("v1", "1")]), None, "it serves");
        assert_eq!(tag_of(&[stopped("v1", "1")]), v1());
        assert_eq!(tag_of(&[runs("v1", "1"), stopped("v1", "1")]), v1());
        assert_eq!(tag_of(&[runs("v2", "2"), stopped("v1", "1")]), None, "the hosts had different ones");
        assert_eq!(tag_of(&[host(None, blue)]), Some("v0".to_owned()), "the last of the host's list");
        let elsewhere = host(Some((release("v1", "1"), SlotState::Stopped)), Some(Slot::Green));
        assert_eq!(tag_of(&[elsewhere]), None, "the router and the files differ");
        let mut silent = stopped("v1", "1");
        silent.router.unreachable = Some("refused".into());
        assert_eq!(tag_of(&[stopped("v1", "1"), silent]), None, "no plan can be made");
        assert_eq!(tag_of(&[stopped("v1", "1"), HostObserved::default()]), None, "one is new");
    }

    #[test]
    fn a_router_that_is_torn_is_mended_only_where_one_release_is_live() {
        let serving = |tag: &str, digit: &str, is_torn: bool| {
            let mut seen = host(Some((release(tag, digit), SlotState::Running)), Some(Slot::Blue));
            seen.router.torn = is_torn.then(|| "/api dials web-green:80".to_owned());
            seen
        };
        let tag_of = |hosts: [HostObserved; 2]| {
            let names = ["web1", "web2"].map(|name| HostId::new(name).unwrap());
            let hosts = names.into_iter().zip(hosts).collect();
            torn(&Observed { hosts }).map(|release| release.tag.to_string())
        };
        assert_eq!(tag_of([serving("v1", "1", false), serving("v1", "1", true)]), Some("v1".to_owned()));
        assert_eq!(tag_of([serving("v1", "1", false), serving("v1", "1", false)]), None, "nothing is torn");
        assert_eq!(
            tag_of([serving("v2", "2", false), serving("v1", "1", true)]),
            None,
            "which one is not certain"
        );
        let mut dead = serving("v1", "1", true);
        dead.slots.clear();
        assert_eq!(tag_of([serving("v1", "1", false), dead]), None, "nothing is live there");
    }
}
