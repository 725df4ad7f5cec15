//! Performs one action by calling the ports.

use std::collections::BTreeMap;

use async_trait::async_trait;
use lockgate_engine::Performer;
use lockgate_model::{
    Action, Digest, EnvironmentName, Failure, FailureKind, Gate, Headway, HostId, Mask, Millis, Probe,
    ProjectName, Release, Seen, ServiceName, Slot, SlotState, WhoIsLive,
};
use lockgate_ports::{Check, Gates, HostPorts, OnHeadway};

use crate::verify::Asked;
use crate::watch::Watch;
use crate::{drain, environments, files, gates, grace, health, hook, live, prune, traffic, verify};

/// Whom a run is about.
#[derive(Debug, Clone)]
pub struct Subject {
    pub project: ProjectName,
    pub service: ServiceName,
    pub environment: EnvironmentName,
}

/// The performer of one service in one environment.
pub struct Conductor {
    pub subject: Subject,
    /// How a slot is looked at that is in no step of its own: the one that has the traffic while another drains.
    pub probe: Probe,
    pub hosts: BTreeMap<HostId, HostPorts>,
    pub gates: Gates,
    /// For what the programs of gates write: they have this machine's environment, from which secrets come.
    pub mask: Mask,
    /// For all else that goes into events, Lockgate's own words among it: what is a secret without doubt.
    pub told: Mask,
}

impl Conductor {
    /// Asks one gate. `release` is what it is asked about, where something is; `told` hears how far it is.
    ///
    /// # Errors
    /// `GateFailed` or `GateNotYet`, with the evidence.
    pub async fn ask_gate(
        &self,
        gate: &Gate,
        release: Option<&Release>,
        told: OnHeadway<'_>,
    ) -> Result<Seen, Failure> {
        let masked = |headway: Headway| told(self.without_secrets(headway));
        let asked = gates::ask(self, gate, release, &masked).await;
        asked.map(|seen| self.told.evidence(seen)).map_err(|failure| self.told.failure(failure))
    }

    fn without_secrets(&self, headway: Headway) -> Headway {
        let said = self.told.hide_all(headway.said);
        Headway { seen: self.told.hide(headway.seen), said, ..headway }
    }

    /// What gates will need of this machine, for `doctor`.
    pub async fn check_gates(&self, gates: &[Gate]) -> Vec<Check> {
        let mask = |check: Check| Check { seen: self.told.hide(check.seen), ..check };
        gates::check(self, gates).await.into_iter().map(mask).collect()
    }

    fn watch<'a>(&'a self, ports: &'a HostPorts, heir: Slot) -> Watch<'a> {
        Watch { ports, heir, service: &self.subject.service, probe: &self.probe }
    }

    async fn on_host(
        &self,
        ports: &HostPorts,
        action: &Action,
        told: OnHeadway<'_>,
    ) -> Result<Seen, Failure> {
        match action {
            Action::Gate { .. } => Ok(Seen::new()),
            Action::Fetch { release } => {
                ports.runtime.fetch(release).await?;
                Ok(Seen::new())
            }
            Action::RunHook { hook, moment, slot, release, run } => {
                let run = run.ok_or_else(|| {
                    Failure::new(FailureKind::Other, format!("{moment} is of no run, so it is not begun"))
                })?;
                let (moment, slot) = (*moment, *slot);
                let asked = hook::Asked { subject: &self.subject, hook, moment, slot, release, run };
                hook::run(ports, &asked, told).await
            }
            Action::EndHook { moment } => hook::end(ports, *moment).await,
            Action::Start { slot, release, own_environment } => {
                start(ports, *slot, release, *own_environment).await
            }
            Action::AwaitHealthy { slot, release, probe } => health::wait(ports, *slot, release, probe).await,
            Action::Switch { slot, release, probe } => traffic::switch(ports, *slot, release, probe).await,
            Action::Hold { bounds, own_grace } => {
                let bounds = if *own_grace { grace::longer(ports, *bounds).await? } else { *bounds };
                traffic::hold(ports, &bounds).await
            }
            Action::LetGo => traffic::let_go(ports).await,
            Action::Withdraw { dial } => traffic::withdraw(ports, dial.as_deref()).await,
            Action::Verify { slot, release, verify, probe, patient } => {
                let (slot, verify, patient) = (*slot, verify.as_ref(), *patient);
                verify::verify(ports, Asked { slot, release, verify, probe, patient }).await
            }
            Action::Record { recorded, release, tried } => {
                let recorded = files::record(ports, recorded, release.as_ref(), tried.as_ref()).await?;
                if let Some(release) = release.as_ref().filter(|_| ports.runtime.has_environments()) {
                    environments::keep(ports, release).await?;
                }
                Ok(recorded)
            }
            Action::TakeBack { release, instead, because } => {
                files::take_back(ports, release, instead.as_ref(), because.as_ref()).await
            }
            Action::Drain { slot, deadline, heir } => {
                // Where a slot is its own heir its requests wait, and nobody has the traffic.
                let heir = heir.filter(|heir| heir != slot);
                drain::drain(ports, *slot, *deadline, heir.map(|heir| self.watch(ports, heir))).await
            }
            Action::Stop { slot, grace, heir, holding } => {
                let watch = heir.map(|heir| self.watch(ports, heir));
                stop(ports, *slot, *grace, watch, holding.as_ref()).await
            }
            Action::Prune { keep } => prune::prune(ports, *keep, |heir| self.watch(ports, heir)).await,
        }
    }
}

#[async_trait]
impl Performer for Conductor {
    async fn perform(
        &self,
        host: Option<&HostId>,
        action: &Action,
        told: OnHeadway<'_>,
    ) -> Result<Seen, Failure> {
        if let Action::Gate { gate, release, .. } = action {
            return self.ask_gate(gate, Some(release), told).await;
        }
        let ports = host
            .and_then(|host| self.hosts.get(host))
            .ok_or_else(|| unknown(host, &self.subject.environment, Some(action)))?;
        let masked = |headway: Headway| told(self.without_secrets(headway));
        let done = self.on_host(ports, action, &masked).await;
        done.map(|seen| self.told.evidence(seen)).map_err(|failure| self.told.failure(failure).at(&ports.id))
    }

    async fn who_is_live(&self, hosts: &[HostId]) -> WhoIsLive {
        live::look(hosts.iter().map(|host| (host, self.hosts.get(host)))).await
    }
}

/// A plan outlives the configuration that it was made from: whoever adopts a run may have another.
fn unknown(host: Option<&HostId>, environment: &EnvironmentName, action: Option<&Action>) -> Failure {
    let Some(host) = host else {
        let title = action.map(Action::title).unwrap_or_default();
        return Failure::new(FailureKind::Other, format!("\"{title}\" names no host"));
    };
    let message = format!("host {host} is in the unfinished run, but not in the configuration's `hosts`");
    Failure::new(FailureKind::Refused, message).hint(format!(
        "put it back into `environments.{environment}.hosts` until `lockgate resume` is through"
    ))
}

/// The slot that has the traffic is never replaced: what is live changes only by a switch (P1).
async fn start(
    ports: &HostPorts,
    slot: Slot,
    release: &Release,
    own_environment: bool,
) -> Result<Seen, Failure> {
    let route = traffic::route(ports).await?;
    let unknown = route.split.is_none().then_some(route.dial.as_deref()).flatten();
    if route.sends_to(slot) || unknown.is_some() {
        let live = find(ports, slot).await?.filter(|seen| seen.state == SlotState::Running);
        let other =
            live.filter(|seen| seen.release.as_ref().is_none_or(|running| !running.same_bytes(release)));
        if let Some((dial, _)) = unknown.zip(other.as_ref()) {
            let router = ports.router.name();
            return Err(Failure::new(
                FailureKind::Refused,
                format!("{router} dials {dial}, which may be what runs in {slot}, so nothing else is started in it"),
            )
            .slot(slot)
            .hint(format!(
                "tell Lockgate how {router} calls the slots (`router.{router}.dial`), or stop what runs in {slot} where \
                 nobody is sent to it"
            )));
        }
        if other.is_some() {
            return Err(Failure::new(
                FailureKind::Refused,
                format!("{slot} has the traffic, so nothing else is started in it"),
            )
            .slot(slot)
            .hint("the router was changed behind our back; run the deployment again, it looks anew"));
        }
    }
    if own_environment {
        return environments::start(ports, slot, release).await;
    }
    ports.runtime.start(slot, release).await.map_err(|error| Failure::from(error).slot(slot))?;
    Ok(Seen::new())
}

/// `grace`: `None` is what is in the slot wants. `holding`: the slot is stopped only while it has these bytes. `heir` is looked
/// at before, meanwhile and once more behind it.
pub(crate) async fn stop(
    ports: &HostPorts,
    slot: Slot,
    grace: Option<Millis>,
    heir: Option<Watch<'_>>,
    holding: Option<&Digest>,
) -> Result<Seen, Failure> {
    let (routed, seen) = tokio::join!(traffic::route(ports), ports.runtime.slots());
    let seen = seen?;
    let held = seen.iter().find(|seen| seen.slot == slot).and_then(|seen| seen.release.as_ref());
    if held.zip(holding).is_some_and(|(held, meant)| held.digest != *meant) {
        return Ok(Seen::new());
    }
    let runs = |slot| seen.iter().any(|seen| seen.slot == slot && seen.state == SlotState::Running);
    // Where nothing runs there is nothing to stop, whatever the router says or does not.
    if !runs(slot) {
        return Ok(Seen::new());
    }
    let refused = |message: String| Failure::new(FailureKind::Refused, message).slot(slot);
    let route = match heir {
        Some(watch) => watch.routed(routed).await?,
        None => routed?,
    };
    if route.sends_to(slot) && !route.held && holding.is_some() {
        // The hold before it lapsed: whoever undoes holds and drains again.
        let message = format!("{slot} has the traffic again, so it is not stopped: requests waited too long");
        return Err(Failure::new(FailureKind::Conflict, message)
            .slot(slot)
            .hint("run the same command again; a longer `drain` lets them wait longer"));
    }
    if route.sends_to(slot) && !route.held {
        return Err(refused(format!("{slot} has the traffic, so it is not stopped"))
            .hint("the router was changed behind our back; `lockgate status` shows where the traffic goes"));
    }
    // Where there is no router, what runs is live.
    let serves = |heir| (!ports.router.sends_traffic() || route.sends_to(heir)) && runs(heir);
    if let Some(Watch { heir, .. }) = heir.filter(|watch| !serves(watch.heir)) {
        return Err(refused(format!(
            "{heir}, which should have the traffic, does not run with it, so {slot} is not stopped"
        ))
        .hint("`lockgate status` shows what is live; `lockgate rollback` goes back to what still runs"));
    }
    let held = seen.iter().find(|seen| seen.slot == slot);
    if holding.is_some() && ports.runtime.has_environments() {
        // Another release takes its place, so nothing is left of it to ask.
        environments::keep_unknown(ports, held).await?;
    }
    let grace = grace::of(grace, held);
    let stopping = grace::stop(ports, slot, grace);
    let Some(watch) = heir else { return stopping.await };
    let seen = watch.beside(stopping).await?;
    watch.last_look().await.map_err(|failure| Failure {
        message: format!("{slot} was stopped, and by then nobody was served: {}", failure.message),
        ..failure
    })?;
    Ok(seen)
}

pub(crate) async fn find(
    ports: &HostPorts,
    slot: Slot,
) -> Result<Option<lockgate_ports::RuntimeSlot>, lockgate_ports::PortError> {
    Ok(ports.runtime.slots().await?.into_iter().find(|seen| seen.slot == slot))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use lockgate_model::{HoldBounds, Split, Tag};
    use lockgate_ports::fake::{
        Artifact, Behaviour, Call, FakePorts, Fate, Faults, Machine, NoFaults, What, shared,
    };
    use lockgate_ports::{
        InFlight, NoRouter, PortError, Request, Route, RouteVersion, Router, RouterAnswer, Upstream,
    };

    use super::*;
    use crate::scene::{probed, release, releases, service, serving};

    /// A host whose router has died.
    struct DeadRouter;

    #[async_trait]
    impl Faults for DeadRouter {
        async fn before(&self, call: &Call) -> Fate {
            match call.what {
                What::Route => Fate::Fails(PortError::unreachable("the router is down")),
                _ => Fate::Happens,
            }
        }

        async fn after(&self, _: &Call) {}

        fn admits(&self, _: &Call, _: &mut Machine) -> bool {
            true
        }

        fn happened(&self, _: &Call, _: &mut Machine) {}
    }

    #[test]
    fn a_host_that_the_configuration_does_not_have_any_more_is_said_with_what_to_do() {
        let (web2, prod) = (HostId::new("web2").unwrap(), EnvironmentName::new("prod").unwrap());
        let action = Action::Stop { slot: Slot::Blue, grace: Some(Millis(0)), heir: None, holding: None };
        let refused = unknown(Some(&web2), &prod, Some(&action));
        assert!(refused.message.starts_with("host web2 is in the unfinished run, but not in"), "{refused}");
        let hint = refused.hints.to_string();
        assert!(hint.contains("`environments.prod.hosts` until `lockgate resume`"), "{hint}");
    }

    #[tokio::test]
    async fn where_nothing_runs_there_is_nothing_to_stop_or_to_drain_though_the_router_is_down() {
        let machine = shared(Machine::new(HostId::new("web2").unwrap(), Arc::new(BTreeMap::new())));
        let ports = FakePorts::new(machine, Arc::new(DeadRouter)).host_ports("/srv/web");
        assert_eq!(stop(&ports, Slot::Green, Some(Millis(0)), None, None).await, Ok(Seen::new()));
        assert_eq!(drain::drain(&ports, Slot::Green, Millis(0), None).await, Ok(Seen::new()));
    }

    /// What is left to go back to stays while the one that took over does not serve.
    #[tokio::test]
    async fn a_slot_is_not_stopped_while_its_heir_does_not_run_with_the_traffic() {
        let tag = Tag::new("v1").unwrap();
        let digest = Digest::new(format!("sha256:{}", "1".repeat(64))).unwrap();
        let service = ServiceName::new("web").unwrap();
        let release =
            Release { service, tag: tag.clone(), digest, image: None, commit: None, provenance: None };
        let artifact = Artifact { release, behaviour: Behaviour::default() };
        let catalogue = Arc::new(BTreeMap::from([(tag.clone(), artifact)]));
        for (heir_runs, target, stops) in
            [(true, Slot::Green, true), (false, Slot::Green, false), (true, Slot::Blue, false)]
        {
            let machine = shared(Machine::new(HostId::new("web1").unwrap(), catalogue.clone()));
            {
                let mut machine = machine.lock().unwrap();
                machine.place(Slot::Blue, &tag, true);
                machine.place(Slot::Green, &tag, heir_runs);
                machine.point_at(Some(Machine::address(target)), None);
            }
            let ports = FakePorts::new(machine, Arc::new(NoFaults)).host_ports("/srv/web");
            let ended = stop(&ports, Slot::Blue, Some(Millis(0)), Some(heir(&ports)), None).await;
            assert_eq!(ended.is_ok(), stops, "{heir_runs} {target}: {ended:?}");
            if let Err(failure) = ended {
                assert_eq!(failure.kind, FailureKind::Refused);
                assert!(!failure.hints.is_empty());
            }
        }
    }

    fn heir(ports: &HostPorts) -> Watch<'_> {
        Watch { ports, heir: Slot::Green, service: service(), probe: probed() }
    }

    fn runs(machine: &lockgate_ports::fake::SharedMachine, slot: Slot) -> bool {
        machine.lock().unwrap().slots[&slot].running_since.is_some()
    }

    /// Requests that wait find the new release; nothing else lets the slot with the traffic be stopped.
    #[tokio::test]
    async fn the_slot_with_the_traffic_is_stopped_only_while_requests_are_held() {
        let (machine, ports) = serving(Slot::Main, "v1");
        let refused = stop(&ports, Slot::Main, Some(Millis(0)), None, None).await.unwrap_err();
        assert_eq!(refused.kind, FailureKind::Refused);
        let bounds = HoldBounds { time: Millis::from_secs(60), requests_max: 10 };
        traffic::hold(&ports, &bounds).await.unwrap();
        assert!(ports.router.route().await.unwrap().held);
        traffic::let_go(&ports).await.unwrap();
        assert!(stop(&ports, Slot::Main, Some(Millis(0)), None, None).await.is_err());
        traffic::hold(&ports, &bounds).await.unwrap();
        assert_eq!(drain::drain(&ports, Slot::Main, Millis(0), None).await.map(|seen| seen.len()), Ok(1));
        stop(&ports, Slot::Main, Some(Millis(0)), None, None).await.unwrap();
        assert!(!runs(&machine, Slot::Main));
    }

    /// A tenth of the requests is as much traffic as all of them.
    #[tokio::test]
    async fn a_slot_that_shares_the_traffic_is_neither_stopped_nor_replaced_nor_drained() {
        let (machine, mut ports) = serving(Slot::Blue, "v1");
        machine.lock().unwrap().place(Slot::Green, &Tag::new("v2").unwrap(), true);
        let shares = [(Slot::Blue, 90), (Slot::Green, 10)];
        ports.router = Arc::new(Splitting(Split::new(shares).unwrap(), ports.router));
        let v1 = releases(&["v1", "v2"])[&Tag::new("v1").unwrap()].release.clone();
        for slot in [Slot::Blue, Slot::Green] {
            for refused in [
                stop(&ports, slot, Some(Millis(0)), None, None).await,
                drain::drain(&ports, slot, Millis(0), None).await,
            ] {
                assert_eq!(refused.unwrap_err().kind, FailureKind::Refused, "{slot}");
            }
        }
        assert_eq!(start(&ports, Slot::Green, &v1, false).await.unwrap_err().kind, FailureKind::Refused);
        assert!(runs(&machine, Slot::Blue) && runs(&machine, Slot::Green));
        let seen = crate::glimpse(&ports).await.unwrap().0.router;
        assert_eq!(
            (seen.target, seen.shared.unwrap().to_string()),
            (Some(Slot::Blue), "blue 90 %, green 10 %".into())
        );
        let host = HostId::new("web1").unwrap();
        assert_eq!(live::look([(&host, Some(&ports))].into_iter()).await.live[&host], Slot::Blue);
    }

    /// Says that it splits, and is another router in all else.
    struct Splitting(Split, Arc<dyn Router>);

    #[async_trait]
    impl Router for Splitting {
        fn name(&self) -> &'static str {
            "splitting"
        }

        async fn route(&self) -> Result<Route, PortError> {
            Ok(Route { split: Some(self.0.clone()), ..self.1.route().await? })
        }

        async fn set(&self, to: &Split<Upstream>, expected: &RouteVersion) -> Result<(), PortError> {
            self.1.set(to, expected).await
        }

        async fn withdraw(&self, dial: Option<&str>, expected: &RouteVersion) -> Result<(), PortError> {
            self.1.withdraw(dial, expected).await
        }

        async fn in_flight(&self, slot: Slot) -> Result<InFlight, PortError> {
            self.1.in_flight(slot).await
        }

        async fn ask(&self, request: &Request) -> Result<RouterAnswer, PortError> {
            self.1.ask(request).await
        }

        async fn check(&self) -> Vec<Check> {
            self.1.check().await
        }
    }

    /// After a crash it is not known whether the slot has the old release or the new one by now.
    #[tokio::test]
    async fn a_stop_that_means_other_bytes_stops_nothing() {
        let (machine, mut ports) = serving(Slot::Main, "v2");
        ports.router = Arc::new(NoRouter);
        let digest = |tag: &str| releases(&["v1", "v2"])[&Tag::new(tag).unwrap()].release.digest.clone();
        stop(&ports, Slot::Main, Some(Millis(0)), None, Some(&digest("v1"))).await.unwrap();
        assert!(runs(&machine, Slot::Main));
        stop(&ports, Slot::Main, Some(Millis(0)), None, Some(&digest("v2"))).await.unwrap();
        assert!(!runs(&machine, Slot::Main), "without a router it is stopped");
    }

    #[tokio::test]
    async fn without_a_router_an_heir_has_to_run_and_no_more() {
        for heir_runs in [true, false] {
            let (machine, mut ports) = serving(Slot::Blue, "v1");
            machine.lock().unwrap().place(Slot::Green, &Tag::new("v2").unwrap(), heir_runs);
            ports.router = Arc::new(NoRouter);
            let ended = stop(&ports, Slot::Blue, Some(Millis(0)), Some(heir(&ports)), None).await;
            assert_eq!((ended.is_ok(), runs(&machine, Slot::Blue)), (heir_runs, !heir_runs), "{ended:?}");
        }
    }

    /// It is dialled by a name that is not known as a slot's.
    #[tokio::test]
    async fn nothing_else_is_started_in_a_slot_that_runs_while_what_the_router_dials_is_no_slot() {
        let (machine, ports) = serving(Slot::Blue, "v1");
        machine.lock().unwrap().point_at(Some("app:3000".to_owned()), None);
        let refused = start(&ports, Slot::Blue, &release("v2"), false).await.unwrap_err();
        assert_eq!(refused.kind, FailureKind::Refused);
        assert!(refused.message.contains("dials app:3000, which may be what runs in blue"), "{refused}");
        ports.runtime.fetch(&release("v2")).await.unwrap();
        start(&ports, Slot::Green, &release("v2"), false).await.unwrap();
        start(&ports, Slot::Blue, &release("v1"), false).await.unwrap();
    }
}
