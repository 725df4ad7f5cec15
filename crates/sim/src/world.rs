//! The fleet, what is known of it, and what must hold at every instant.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lockgate_model::{
    Action, Begun, Event, EventKind, Holder, HostId, LeaseRecord, Millis, Outcome, Plan, Release,
    RunFileName, RunId, Slot, Strategy,
};
use lockgate_ports::fake::{Call, Life, Machine, SharedMachine, What};
use tokio::time::Instant;

use crate::fleet::Expired;
use crate::hooks::HookLog;
use crate::lock::Locks;
use crate::power::Power;
use crate::release_lists::condemns_the_release;
use crate::scene::{HOME, Initial, LEASE_SECONDS, Scene};
use crate::sessions::Lessees;

/// Counts of what happened, to see that the bad days were as bad as they were meant to be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    pub stories: u64,
    pub calls: u64,
    pub effects: u64,
    pub faults: u64,
    pub crashes: u64,
    pub pauses: u64,
    pub interrupts: u64,
    pub takeovers: u64,
    pub fenced: u64,
    pub succeeded: u64,
    pub failed: u64,
    pub rolled_back: u64,
    pub stuck: u64,
    /// Fleets that lost power and had one release, which had to be live again.
    pub brought_back: u64,
}

impl Tally {
    pub fn add(&mut self, other: &Tally) {
        self.stories += other.stories;
        self.calls += other.calls;
        self.effects += other.effects;
        self.faults += other.faults;
        self.crashes += other.crashes;
        self.pauses += other.pauses;
        self.interrupts += other.interrupts;
        self.takeovers += other.takeovers;
        self.fenced += other.fenced;
        self.succeeded += other.succeeded;
        self.failed += other.failed;
        self.rolled_back += other.rolled_back;
        self.stuck += other.stuck;
        self.brought_back += other.brought_back;
    }
}

/// What is known beyond the machines themselves.
#[derive(Default)]
struct Known {
    tally: Tally,
    violations: Vec<String>,
    trace: Vec<String>,
    /// Hosts that must serve from now on (P1).
    serving: BTreeSet<HostId>,
    /// Hosts that are dark through no fault of ours.
    excused: BTreeSet<HostId>,
    /// Hosts that a fault changed since the story began.
    disturbed: BTreeSet<HostId>,
    /// Hosts whose requests were held and not let go since. A hold that ended by itself counts: an orchestrator that fell
    /// asleep before its stop, or an answer that took as long, is what no guard sees.
    held: BTreeSet<HostId>,
    /// Hosts whose only slot was stopped while requests were held, until it is healthy again.
    stopped: BTreeSet<HostId>,
    lease_tokens: BTreeMap<HostId, u64>,
    plans: BTreeMap<RunId, Arc<Plan>>,
    /// Hosts of a run that went on without it, or that it goes on without: its end says nothing of them.
    not_touched: BTreeMap<RunId, BTreeSet<HostId>>,
    /// Switches and withdrawals done for a run, by whomever.
    moves: BTreeMap<RunId, BTreeSet<HostId>>,
    /// Releases (by tag) that were started on hosts for a run, by whomever.
    starts: BTreeMap<RunId, BTreeSet<(HostId, String)>>,
    /// Hosts that whoever took a run over left as they were.
    left: BTreeMap<RunId, BTreeSet<HostId>>,
    /// Hosts that were told of a run that it turned back for its release's fault.
    condemned: BTreeMap<RunId, BTreeSet<HostId>>,
    dead: BTreeSet<u32>,
    hosts_down: BTreeMap<HostId, Instant>,
    /// Hosts that are gone, for good or until [`World::come_back`].
    gone: BTreeSet<HostId>,
    routers_down: BTreeMap<HostId, Instant>,
    /// When a host's clock last went forward, and leases that are alive expired.
    jumped_at: Option<Instant>,
    next_run: u128,
    /// Journals and gates that failed a run count as faults of the story too.
    last_end: Option<(RunId, Outcome)>,
}

pub struct World {
    pub machines: BTreeMap<HostId, SharedMachine>,
    strategy: Strategy,
    drain: Millis,
    tracing: bool,
    began: Instant,
    pub(crate) power: Power,
    pub(crate) lessees: Lessees,
    pub(crate) locks: Locks,
    pub(crate) expired: Expired,
    pub(crate) hooks: HookLog,
    pub(crate) leases_watched: bool,
    known: Mutex<Known>,
}

impl World {
    /// Must be called within a tokio runtime.
    #[must_use]
    pub fn new(scene: &Scene, tracing: bool) -> Arc<Self> {
        let live =
            |initial: &Initial| matches!(initial, Initial::Live(_) | Initial::Ahead | Initial::Switched(_));
        let hosts = scene.host_ids().into_iter().zip(&scene.hosts);
        let serving = hosts.filter(|(_, initial)| live(initial)).map(|(host, _)| host).collect();
        let machines = scene.machines();
        let tokens = machines.iter().filter_map(|(host, machine)| {
            let machine = machine.lock().unwrap_or_else(PoisonError::into_inner);
            let content = machine.files.get(&format!("{HOME}/.lockgate/lease.json"))?;
            Some((host.clone(), token_of(content)?))
        });
        let known = Known { serving, lease_tokens: tokens.collect(), ..Known::default() };
        Arc::new(Self {
            machines,
            strategy: scene.strategy,
            drain: scene.drain,
            tracing,
            began: Instant::now(),
            power: Power::default(),
            lessees: Lessees::default(),
            locks: Locks::default(),
            expired: Expired::default(),
            hooks: HookLog::default(),
            leases_watched: scene.leases_watched,
            known: Mutex::new(known),
        })
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn machine(&self, host: &HostId) -> MutexGuard<'_, Machine> {
        self.machines[host].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a line to the trace; it is only made when somebody wants to read it.
    pub fn say(&self, line: impl FnOnce() -> String) {
        if self.tracing {
            let at = self.began.elapsed();
            self.known().trace.push(format!("{:>9.3}s  {}", at.as_secs_f64(), line()));
        }
    }

    pub fn violated(&self, what: String) {
        self.say(|| format!("VIOLATED: {what}"));
        self.known().violations.push(what);
    }

    #[must_use]
    pub fn violations(&self) -> Vec<String> {
        self.known().violations.clone()
    }

    #[must_use]
    pub fn trace(&self) -> Vec<String> {
        self.known().trace.clone()
    }

    pub fn count(&self, change: impl FnOnce(&mut Tally)) {
        change(&mut self.known().tally);
    }

    #[must_use]
    pub fn tally(&self) -> Tally {
        self.known().tally
    }

    /// UUIDs that rise, as version 7 does.
    pub fn new_run(&self) -> RunId {
        let mut known = self.known();
        known.next_run += 1;
        RunId(uuid::Uuid::from_u128((7 << 76) | known.next_run))
    }

    pub fn died(&self, pid: u32) {
        self.known().dead.insert(pid);
    }

    #[must_use]
    pub fn is_dead(&self, pid: u32) -> bool {
        self.known().dead.contains(&pid)
    }

    pub fn host_down(&self, host: &HostId, span: Millis) {
        self.known().hosts_down.insert(host.clone(), Instant::now() + span.duration());
    }

    pub fn router_down(&self, host: &HostId, span: Millis) {
        self.known().routers_down.insert(host.clone(), Instant::now() + span.duration());
    }

    #[must_use]
    pub fn is_down(&self, host: &HostId, what: What) -> bool {
        let (known, now) = (self.known(), Instant::now());
        let down = |of: &BTreeMap<HostId, Instant>| of.get(host).is_some_and(|until| now < *until);
        down(&known.hosts_down)
            || known.gone.contains(host)
            || self.power.is_off(host)
            || (what.is_router() && down(&known.routers_down))
    }

    pub fn host_gone(&self, host: &HostId) {
        self.known().gone.insert(host.clone());
    }

    #[must_use]
    pub fn gone(&self) -> BTreeSet<HostId> {
        self.known().gone.clone()
    }

    pub fn come_back(&self) {
        self.known().gone.clear();
    }

    pub fn clock_jumped(&self) {
        self.known().jumped_at = Some(Instant::now());
    }

    /// A lease that is alive may have expired lately.
    pub(crate) fn has_jumped(&self) -> bool {
        let ttl = Millis::from_secs(LEASE_SECONDS).duration();
        self.known().jumped_at.is_some_and(|at| at.elapsed() < ttl)
    }

    /// A fault changes a host: what follows from that there is not ours.
    pub fn disturb(&self, host: &HostId) {
        let mut known = self.known();
        known.excused.insert(host.clone());
        known.disturbed.insert(host.clone());
    }

    /// A host is dark through no fault of ours, and nothing else is wrong with it.
    pub(crate) fn excuse(&self, host: &HostId) {
        self.known().excused.insert(host.clone());
    }

    #[must_use]
    pub fn disturbed(&self) -> bool {
        !self.known().disturbed.is_empty()
    }

    /// Everything that can mend by itself does.
    pub fn heal(&self) {
        let mut known = self.known();
        known.hosts_down.clear();
        known.routers_down.clear();
        drop(known);
        self.power_is_back();
        for machine in self.machines.values() {
            let mut machine = machine.lock().unwrap_or_else(PoisonError::into_inner);
            machine.disk_free_mib = 10_000;
            machine.one_offs.program.code = 0;
        }
    }

    /// Who changed a host, judged in one moment with the change.
    pub fn judge(
        &self,
        who: &str,
        token: Option<u64>,
        run: Option<RunId>,
        call: &Call,
        machine: &mut Machine,
    ) {
        self.count(|tally| tally.effects += 1);
        let lease = self.known().lease_tokens.get(&machine.id).copied().unwrap_or(0);
        let jumped = self.has_jumped();
        // A run's file is named by what is in it and removed by who has seen its record name it no more: whoever comes late
        // with one harms nobody.
        let fenced = call.what != What::Swap && !is_run_file(&call.detail);
        if fenced && !call.late && !jumped && token.unwrap_or(0) < lease {
            self.violated(format!(
                "{who} was replaced (token {token:?}, the lease has {lease}) and still did {call}"
            ));
        }
        if matches!(call.what, What::Switch(_) | What::Withdraw)
            && let Some(run) = run
        {
            self.known().moves.entry(run).or_default().insert(machine.id.clone());
        }
        self.check_run_file(who, call, machine);
        if let (What::Start(_), Some(run), false) = (call.what, run, call.late) {
            let started = (machine.id.clone(), call.detail.clone());
            self.known().starts.entry(run).or_default().insert(started);
        }
        if let (What::Swap, Some(run)) = (call.what, run) {
            let record = machine.files.get(&format!("{HOME}/.lockgate/lease.json"));
            if record.is_some_and(|record| condemns_the_release(record)) {
                self.known().condemned.entry(run).or_default().insert(machine.id.clone());
            }
        }
        self.check_hooks(who, run, call, machine);
        self.check_dropped(who, call, machine);
        self.check_serving(who, call, machine);
    }

    /// The lease's token, if the swap that has just been made raised it.
    pub fn raised_token(&self, machine: &Machine) -> Option<u64> {
        let content = machine.files.get(&format!("{HOME}/.lockgate/lease.json"))?;
        let token = token_of(content)?;
        let mut known = self.known();
        let highest = known.lease_tokens.entry(machine.id.clone()).or_default();
        let before = *highest;
        *highest = before.max(token);
        if token > before + 1 || token < before {
            drop(known);
            self.violated(format!("{}: the lease's token went from {before} to {token}", machine.id));
            return Some(token);
        }
        (token > before).then_some(token)
    }

    /// Who the host's record says holds the lease.
    pub fn holder(&self, machine: &Machine) -> Option<Holder> {
        let content = machine.files.get(&format!("{HOME}/.lockgate/lease.json"))?;
        serde_json::from_slice::<LeaseRecord>(content).ok()?.holder
    }

    /// P4: the plan of the run that a record names is there, whatever was cut off or came late.
    fn check_run_file(&self, who: &str, call: &Call, machine: &Machine) {
        let about = match call.what {
            What::Swap => true,
            What::Write | What::Remove => is_run_file(&call.detail),
            _ => false,
        };
        let record = machine.files.get(&format!("{HOME}/.lockgate/lease.json")).filter(|_| about);
        let Some(Ok(record)) = record.map(|content| serde_json::from_slice::<LeaseRecord>(content)) else {
            return;
        };
        let Some(name) = record.unfinished.as_ref().and_then(Begun::file) else { return };
        if !machine.files.contains_key(&format!("{HOME}/.lockgate/{name}")) {
            let host = &machine.id;
            self.violated(format!(
                "P4: {host}: after {who} did {call} the record names {name}, which is missing"
            ));
        }
    }

    /// Files of runs on a host, whether a record names them or not.
    #[must_use]
    pub fn run_files(&self, host: &HostId) -> Vec<String> {
        self.machine(host).files.keys().filter(|path| is_run_file(path)).cloned().collect()
    }

    /// P2: requests end with their slot only after the drain's bound.
    fn check_dropped(&self, who: &str, call: &Call, machine: &mut Machine) {
        // A hold that ended by itself let them in again.
        let lapsed = !machine.is_held() && self.known().held.contains(&machine.id);
        for dropped in std::mem::take(&mut machine.dropped) {
            if !lapsed && !call.late && dropped.without_traffic < self.drain {
                let (requests, after) = (dropped.requests, dropped.without_traffic);
                self.violated(format!(
                    "P2: {who} did {call} with {requests} requests in flight, {after} after the slot lost the traffic"
                ));
            }
        }
    }

    /// P1: the router points at a healthy running slot.
    fn check_serving(&self, who: &str, call: &Call, machine: &Machine) {
        let mut known = self.known();
        let host = &machine.id;
        if !known.serving.contains(host) {
            return;
        }
        match call.what {
            What::Hold => drop(known.held.insert(host.clone())),
            What::LetGo => drop(known.held.remove(host)),
            What::Stop(_) if self.strategy == Strategy::Recreate && known.held.contains(host) => {
                known.stopped.insert(host.clone());
            }
            _ => {}
        }
        match machine.live().map(|(_, life)| life) {
            Some(Life::Healthy) => {
                known.excused.remove(host);
                known.stopped.remove(host);
            }
            // Requests wait, or waited until nobody was there to let them go; they are never let go to nobody.
            Some(Life::Stopped | Life::Starting | Life::Sick)
                if known.stopped.contains(host) && call.what != What::LetGo => {}
            Some(Life::Died) => {
                known.excused.insert(host.clone());
                known.disturbed.insert(host.clone());
            }
            _ if known.excused.contains(host) => {}
            // Back to what a fault had made of it before.
            _ if call.what == What::Withdraw && known.disturbed.contains(host) => {
                known.excused.insert(host.clone());
            }
            other => {
                let (target, was) =
                    (machine.target(), other.map_or("nothing".to_owned(), |life| format!("{life:?}")));
                drop(known);
                self.violated(format!(
                    "P1: after {who} did {call} the router points at {target:?}, which is {was}"
                ));
            }
        }
    }

    /// An app that died by itself since the last effect: what starts it again now is not why nobody is served.
    pub fn notice_death(&self, machine: &Machine) {
        let mut known = self.known();
        if known.serving.contains(&machine.id) && machine.live().is_some_and(|(_, life)| life == Life::Died) {
            known.excused.insert(machine.id.clone());
            known.disturbed.insert(machine.id.clone());
        }
    }

    /// Hears every event of every orchestrator.
    pub fn hear(&self, event: &Event) {
        self.hear_of_hooks(event);
        match &event.kind {
            EventKind::RunStarted { plan, .. } => {
                self.known().plans.entry(event.run).or_insert_with(|| Arc::new((**plan).clone()));
            }
            EventKind::Adopted { left, without, .. } => {
                self.count(|tally| tally.takeovers += 1);
                let went_on = left.iter().filter(|host| self.last_run(host) != Some(event.run));
                let hosts = went_on.chain(without).cloned().collect();
                let mut known = self.known();
                known.left.entry(event.run).or_default().extend(left.iter().chain(without).cloned());
                known.not_touched.insert(event.run, hosts);
                // What was moved there belongs to an end that was told before.
                let moves = known.moves.entry(event.run).or_default();
                moves.retain(|host| !left.contains(host) && !without.contains(host));
            }
            EventKind::RunEnded { outcome } => self.check_end(event.run, outcome),
            _ => {}
        }
    }

    #[must_use]
    pub fn plan(&self, run: RunId) -> Option<Arc<Plan>> {
        self.known().plans.get(&run).cloned()
    }

    #[must_use]
    pub fn last_end(&self) -> Option<(RunId, Outcome)> {
        self.known().last_end.clone()
    }

    /// P3 and P8: the outcome says what the fleet is.
    fn check_end(&self, run: RunId, outcome: &Outcome) {
        let plan = {
            let mut known = self.known();
            let tally = &mut known.tally;
            match outcome {
                Outcome::Succeeded { .. } => tally.succeeded += 1,
                Outcome::Failed { .. } => tally.failed += 1,
                Outcome::RolledBack { .. } => tally.rolled_back += 1,
                Outcome::Stuck(_) => tally.stuck += 1,
            }
            known.last_end = Some((run, outcome.clone()));
            let Some(plan) = known.plans.get(&run).cloned() else {
                drop(known);
                return self.violated(format!("run {run} ended and was never started"));
            };
            plan
        };
        let not_touched = self.known().not_touched.get(&run).cloned().unwrap_or_default();
        for host in plan.hosts.iter().filter(|host| !not_touched.contains(host)) {
            if self.known().disturbed.contains(host) {
                continue;
            }
            let live = self.live_release(host);
            let wrong = match outcome {
                Outcome::Succeeded { .. } => live.as_ref().is_none_or(|live| !live.same_bytes(&plan.release)),
                Outcome::Failed { .. } | Outcome::RolledBack { .. } => match plan.before.get(host) {
                    Some(before) => live.as_ref().is_none_or(|live| !live.same_bytes(before)),
                    None => live.as_ref().is_some_and(|live| live.same_bytes(&plan.release)),
                },
                Outcome::Stuck(_) => false,
            };
            if wrong {
                let (said, before) = (outcome.as_str(), plan.before.get(host).map(|release| &release.tag));
                let live = live.map_or("nothing".to_owned(), |live| live.tag.to_string());
                let wanted = &plan.release.tag;
                self.violated(format!(
                    "P3/P8: the run ended {said}, and on {host} {live} is live (wanted {wanted}, before {before:?})"
                ));
            }
        }
        self.check_words(run, &plan, outcome, &not_touched);
        self.check_listed(run, &plan, outcome);
    }

    pub(crate) fn was_left(&self, run: RunId, host: &HostId) -> bool {
        self.known().left.get(&run).is_some_and(|left| left.contains(host))
    }

    /// Not what an undo started again.
    pub(crate) fn was_started(&self, run: RunId, host: &HostId, release: &Release) -> bool {
        let started = (host.clone(), release.tag.to_string());
        self.known().starts.get(&run).is_some_and(|all| all.contains(&started))
    }

    /// A host that the run goes on with was told that it turned back for its release's fault. What only others were told
    /// nobody knows who ends it without them.
    pub(crate) fn was_condemned(&self, run: RunId) -> bool {
        let known = self.known();
        let left = known.left.get(&run);
        let is_there = |host: &HostId| !left.is_some_and(|left| left.contains(host));
        known.condemned.get(&run).is_some_and(|told| told.iter().any(is_there))
    }

    /// The last run that ended on a host, as its record says.
    fn last_run(&self, host: &HostId) -> Option<RunId> {
        self.record(host)?.last.map(|end| end.run)
    }

    /// A host's lease record. `None` where there is none that can be read.
    #[must_use]
    pub fn record(&self, host: &HostId) -> Option<LeaseRecord> {
        let machine = self.machine(host);
        let content = machine.files.get(&format!("{HOME}/.lockgate/lease.json"))?;
        serde_json::from_slice(content).ok()
    }

    fn says_who_is_behind(&self, host: &HostId) -> bool {
        self.record(host).is_some_and(|record| record.left_out.is_some())
    }

    fn check_words(&self, run: RunId, plan: &Plan, outcome: &Outcome, not_touched: &BTreeSet<HostId>) {
        match outcome {
            Outcome::Succeeded { .. } => {
                for host in plan.hosts.iter().filter(|host| !not_touched.contains(host)) {
                    self.check_recorded(host);
                    self.known().serving.insert(host.clone());
                }
            }
            Outcome::Failed { .. } => {
                let moved = self.known().moves.get(&run).cloned().unwrap_or_default();
                // Where there was no route before, nothing that was live is live again.
                let had_one: Vec<&HostId> = moved.iter().filter(|host| !from_nothing(plan, host)).collect();
                if !had_one.is_empty() {
                    self.violated(format!(
                        "P8: the run ended failed, but it changed the routes of {had_one:?}"
                    ));
                }
            }
            Outcome::RolledBack { .. } | Outcome::Stuck(_) => {}
        }
    }

    /// `active_color` says what the router does.
    fn check_recorded(&self, host: &HostId) {
        if self.known().disturbed.contains(host) {
            return;
        }
        let machine = self.machine(host);
        let active = machine.files.get(&format!("{HOME}/active_color"));
        let said = active.and_then(|content| String::from_utf8_lossy(content).trim().parse::<Slot>().ok());
        let target = machine.target();
        drop(machine);
        if said != target {
            self.violated(format!("P8: {host}: active_color says {said:?}, the router {target:?}"));
        }
    }

    /// The release that the router's slot runs; one that has died by itself counts.
    #[must_use]
    pub fn live_release(&self, host: &HostId) -> Option<Release> {
        let machine = self.machine(host);
        machine.live().filter(|(_, life)| *life != Life::Stopped).map(|(app, _)| app.release.clone())
    }

    /// After all has healed and somebody has resumed: nothing is left over, and the fleet is one that a plan wanted or
    /// found.
    pub fn check_settled(&self) {
        for (host, machine) in &self.machines {
            let machine = machine.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(content) = machine.files.get(&format!("{HOME}/.lockgate/lease.json")).cloned() else {
                continue;
            };
            drop(machine);
            match serde_json::from_slice::<LeaseRecord>(&content) {
                Ok(record) => {
                    if let Some(unfinished) = record.unfinished {
                        self.violated(format!("P4: {host}: run {} is still unfinished", unfinished.run));
                    }
                    if let Some(holder) = record.holder {
                        self.violated(format!("P4: {host}: {} still holds the lease", holder.owner));
                    }
                }
                Err(error) => self.violated(format!("P4: {host}: the lease does not parse: {error}")),
            }
        }
        // Where a host was behind, `status` says so until a deployment brings it along.
        if self.disturbed() || self.machines.keys().any(|host| self.says_who_is_behind(host)) {
            return;
        }
        let fleet: BTreeMap<HostId, Release> =
            self.machines.keys().filter_map(|host| Some((host.clone(), self.live_release(host)?))).collect();
        let plans: Vec<Arc<Plan>> = self.known().plans.values().cloned().collect();
        let is_in_order = |plan: &Plan| {
            // What it leaves out is not its business.
            let mut fleet = fleet.clone();
            fleet.retain(|host, _| !plan.without.contains(host));
            let is_wanted =
                fleet.len() == plan.hosts.len() && fleet.values().all(|live| live.same_bytes(&plan.release));
            is_wanted || fleet == plan.before
        };
        if !plans.is_empty() && !plans.iter().any(|plan| is_in_order(plan)) {
            let shown: Vec<String> =
                fleet.iter().map(|(host, live)| format!("{host} {}", live.tag)).collect();
            self.violated(format!("P3: the fleet is mixed: {}", shown.join(", ")));
        }
    }
}

/// True when the plan's switch on the host takes back nothing but the route.
fn from_nothing(plan: &Plan, host: &HostId) -> bool {
    plan.steps()
        .filter(|(_, on, step)| *on == Some(host) && matches!(step.action, Action::Switch { .. }))
        .all(|(_, _, step)| matches!(step.undo.first(), Some(Action::Withdraw { dial: None })))
}

/// A path that is one of a run's file.
fn is_run_file(path: &str) -> bool {
    path.rsplit('/').next().is_some_and(|name| name.parse::<RunFileName>().is_ok())
}

/// The first field of a lease record, without reading the rest.
fn token_of(content: &[u8]) -> Option<u64> {
    let rest = content.strip_prefix(b"{\"token\":")?;
    let end = rest.iter().position(|byte| !byte.is_ascii_digit())?;
    std::str::from_utf8(&rest[..end]).ok()?.parse().ok()
}
