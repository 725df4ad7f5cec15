//! One orchestrator's luck: what becomes of its calls, when it dies, when it falls asleep.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Poll, Waker};

use async_trait::async_trait;
use lockgate_engine::{EventSink, JournalError};
use lockgate_model::{
    EventKind, FailureKind, Holder, HostId, Identity, LeaseRecord, Millis, Requester, RunId, Slot,
};
use lockgate_orchestrator::Stop;
use lockgate_ports::PortError;
use lockgate_ports::fake::{Call, Fate, Faults, Machine, What};
use tokio::time::Instant;

use crate::Random;
use crate::bad_day::{BadDay, Event, FaultMode};
use crate::intents::Intents;
use crate::release_lists;
use crate::sessions::Kin;
use crate::world::World;

/// A Lockgate that is broken on purpose, to see that the checks notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutation {
    /// Stops the other slot before it switches.
    StopsOldFirst,
    /// Believes that it holds the lease.
    SkipsFence,
    /// Cannot switch back, with nothing in its way.
    NeverSwitchesBack,
    /// Switches one host to its other slot when it has verified everything and nobody looks any more.
    MixesFleet,
    /// Counts no requests in flight.
    SkipsDrain,
    /// Switches as soon as the app is started.
    SwitchesEarly,
    /// Takes intents for written that are not.
    ActsBeforeIntent,
    /// Writes no rejection down.
    NeverRejects,
    /// Does not tell the hosts why a run turned back.
    ForgetsCause,
    /// Does not write down since when a release is live.
    ForgetsSince,
    /// Starts nothing again that died with its host.
    NeverBringsBack,
    /// The sessions of one process are one holder of leases.
    OneHolder,
    /// Holds the lock of a record itself, also while it is stopped.
    KeepsLock,
    /// Finds no mark of a hook that was begun.
    ForgetsMark,
    /// Takes a hook for done that was not begun.
    BelievesHooks,
}

struct Inner {
    random: Random,
    calls: u64,
    points: u64,
    appends: u64,
    swaps: u64,
    dead: bool,
    paused_until: Option<Instant>,
    waker: Option<Waker>,
    tokens: BTreeMap<HostId, u64>,
    /// As whom it took them.
    held: BTreeMap<HostId, Holder>,
    run: Option<RunId>,
    /// Effects on slots and routes.
    changes: u64,
    /// A run of its came to an end.
    ended: bool,
    intents: Intents,
}

pub struct Actor {
    pub identity: Identity,
    /// In the trace: two sessions of one process have one identity.
    label: String,
    pub(crate) kin: Kin,
    stop: OnceLock<Stop>,
    pub mutation: Option<Mutation>,
    world: Arc<World>,
    day: BadDay,
    inner: Mutex<Inner>,
}

/// How an orchestrator's command ended.
pub enum Ended<T> {
    Returned(T),
    Died,
}

impl Actor {
    #[must_use]
    pub fn new(
        world: Arc<World>,
        identity: Identity,
        label: String,
        day: BadDay,
        seed: u64,
        mutation: Option<Mutation>,
    ) -> Arc<Self> {
        let inner = Inner {
            random: Random::new(seed),
            calls: 0,
            points: 0,
            appends: 0,
            swaps: 0,
            dead: false,
            paused_until: None,
            waker: None,
            tokens: BTreeMap::new(),
            held: BTreeMap::new(),
            run: None,
            changes: 0,
            ended: false,
            intents: Intents::default(),
        };
        Arc::new(Self {
            identity,
            label,
            kin: Kin::default(),
            stop: OnceLock::new(),
            mutation,
            world,
            day,
            inner: Mutex::new(inner),
        })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn name(&self) -> &str {
        &self.label
    }

    /// How many calls and points there were.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        let inner = self.inner();
        (inner.calls, inner.points)
    }

    /// How many effects on slots and routes it had, and whether it saw a run end.
    #[must_use]
    pub fn changes(&self) -> (u64, bool) {
        let inner = self.inner();
        (inner.changes, inner.ended)
    }

    /// Polls a command until it returns or its orchestrator dies; not at all while it is paused.
    pub async fn live<F: Future>(&self, command: F) -> Ended<F::Output> {
        let mut command = pin!(command);
        loop {
            let paused = self.inner().paused_until;
            if let Some(until) = paused {
                tokio::time::sleep_until(until).await;
                self.inner().paused_until = None;
                self.world.say(|| format!("{} wakes up", self.name()));
            }
            let step = std::future::poll_fn(|cx| {
                self.inner().waker = Some(cx.waker().clone());
                if !self.stopped()
                    && let Poll::Ready(value) = command.as_mut().poll(cx)
                {
                    return Poll::Ready(Some(Ended::Returned(value)));
                }
                let inner = self.inner();
                match (inner.dead, inner.paused_until) {
                    (true, _) => Poll::Ready(Some(Ended::Died)),
                    (false, Some(_)) => Poll::Ready(None),
                    (false, None) => Poll::Pending,
                }
            });
            if let Some(ended) = step.await {
                return ended;
            }
        }
    }

    /// Its session has begun.
    pub(crate) fn can_be_stopped_by(&self, stop: Stop) {
        assert!(self.stop.set(stop).is_ok(), "an orchestrator has one session");
    }

    /// Ctrl-C.
    fn turn_back(&self) {
        if let Some(stop) = self.stop.get() {
            stop.undo(&Requester::person(&self.identity.owner));
        }
    }

    fn stopped(&self) -> bool {
        let inner = self.inner();
        inner.dead || inner.paused_until.is_some()
    }

    fn wake(&self) {
        let waker = self.inner().waker.take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// For as long as the orchestrator cannot go on: for ever when it is dead.
    async fn goes_on(&self) {
        loop {
            let (dead, paused) = {
                let inner = self.inner();
                (inner.dead, inner.paused_until.filter(|until| Instant::now() < *until))
            };
            if dead {
                std::future::pending::<()>().await;
            }
            match paused {
                Some(until) => tokio::time::sleep_until(until).await,
                None => return,
            }
        }
    }

    /// A point at which it may die.
    async fn point(&self, what: impl FnOnce() -> String) {
        let dies = {
            let mut inner = self.inner();
            inner.points += 1;
            let dies = self.day.crash_at_point == Some(inner.points - 1);
            inner.dead |= dies;
            dies
        };
        if dies {
            self.world.died(self.identity.pid);
            self.world.count(|tally| tally.crashes += 1);
            self.world.say(|| format!("{} DIES {}", self.name(), what()));
            self.wake();
            for other in self.kin.each() {
                other.inner().dead = true;
                other.wake();
            }
        }
        self.goes_on().await;
    }

    /// It dies now, and with it all of its process.
    pub(crate) fn dies(&self, what: &str) {
        if std::mem::replace(&mut self.inner().dead, true) {
            return;
        }
        self.world.died(self.identity.pid);
        self.world.count(|tally| tally.crashes += 1);
        self.world.say(|| format!("{} DIES {what}", self.name()));
        self.wake();
        for other in self.kin.each() {
            other.inner().dead = true;
            other.wake();
        }
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.inner().dead
    }

    async fn latency(&self) {
        let millis = match self.day.latency_millis_max {
            0 => 0,
            max => self.inner().random.below(max),
        };
        if millis > 0 {
            tokio::time::sleep(Millis(millis).duration()).await;
        }
    }

    pub fn cannot_append(&self) {
        self.inner().intents.fall_silent();
    }

    /// # Errors
    /// `Full`, when it is.
    pub async fn before_append(&self, event: &lockgate_model::Event) -> Result<(), JournalError> {
        self.goes_on().await;
        self.point(|| format!("before it journals {}", word(event))).await;
        let full = {
            let mut inner = self.inner();
            inner.appends += 1;
            self.day.journal_full_from.is_some_and(|from| inner.appends > from)
        };
        if full {
            self.world.count(|tally| tally.faults += 1);
            self.world.say(|| format!("{}: the journal is full for {}", self.name(), word(event)));
            return Err(JournalError::Full { message: "no space left on device".to_owned() });
        }
        Ok(())
    }

    pub async fn after_append(&self, event: &lockgate_model::Event) {
        let lost = matches!(event.kind, EventKind::Intended { .. } | EventKind::StepStarted { .. });
        if !(lost && self.mutation == Some(Mutation::ActsBeforeIntent)) {
            self.inner().intents.note(event);
        }
        self.point(|| "after it journaled".to_owned()).await;
    }

    /// What its day has in store for this call.
    fn happenings(&self, call: &Call, number: u64) {
        for (_, index, event) in self.day.events.iter().filter(|(at, _, _)| *at == number) {
            self.happen(*index, *event);
        }
        if self.day.interrupt_at_call == Some(number) {
            self.world.count(|tally| tally.interrupts += 1);
            self.world.say(|| format!("{}: Ctrl-C", self.name()));
            self.turn_back();
            self.kin.each().iter().for_each(|other| other.turn_back());
        }
        if let Some((at, span)) = self.day.pause_at_call
            && at == number
        {
            self.world.say(|| format!("{} falls asleep for {span} before {call}", self.name()));
            self.sleep(span);
        }
    }

    /// Its child finishes the swap, and it hears of that when it goes on.
    fn stop_in_swap(&self, host: &HostId) {
        let number = {
            let mut inner = self.inner();
            inner.swaps += 1;
            inner.swaps - 1
        };
        if let Some((at, span)) = self.day.stop_at_swap
            && at == number
        {
            self.world.say(|| format!("{} is stopped for {span} under the lock on {host}", self.name()));
            if self.mutation == Some(Mutation::KeepsLock) {
                self.world.locks.keep(host, span);
            }
            self.sleep(span);
        }
    }

    /// The process stands still, with all its sessions.
    fn sleep(&self, span: Millis) {
        let until = Instant::now() + span.duration();
        self.world.count(|tally| tally.pauses += 1);
        self.inner().paused_until = Some(until);
        self.wake();
        for other in self.kin.each() {
            other.inner().paused_until = Some(until);
            other.wake();
        }
    }

    fn happen(&self, index: usize, event: Event) {
        let Some(host) = self.world.machines.keys().nth(index) else { return };
        self.world.say(|| format!("fault: {event:?} on {host}"));
        let mut machine = self.world.machine(host);
        let target = machine.target();
        match event {
            Event::KillLive => {
                self.world.disturb(host);
                if let Some(app) = target.and_then(|slot| machine.slots.get_mut(&slot)) {
                    app.running_since = None;
                    app.requests.clear();
                }
            }
            Event::KillStandby => {
                self.world.disturb(host);
                if let Some(app) = target.and_then(|slot| machine.slots.get_mut(&beside(slot))) {
                    app.running_since = None;
                    app.requests.clear();
                }
            }
            Event::AddressesAnew => machine.deal_addresses_anew(),
            Event::RouteElsewhere => {
                self.world.disturb(host);
                let other = machine.address_of(target.map_or(Slot::Blue, beside));
                machine.point_at(Some(other), None);
            }
            Event::RouteGone => {
                self.world.disturb(host);
                machine.point_at(None, None);
            }
            Event::ImagesGone => {
                self.world.disturb(host);
                machine.images.clear();
            }
            Event::ClockJump(millis) => {
                machine.clock_offset_millis += millis;
                if millis > 0 {
                    self.world.clock_jumped();
                }
            }
            Event::DiskFull => {
                machine.disk_free_mib = 0;
                self.world.count(|tally| tally.faults += 1);
            }
            Event::HostDown(span) => self.world.host_down(host, span),
            Event::HostGone => self.world.host_gone(host),
            Event::RouterDown(span) => self.world.router_down(host, span),
            Event::PowerLost { off, back } => self.world.power_lost(&mut machine, off, back),
        }
    }

    fn fault(&self, call: &Call, number: u64) -> Option<FaultMode> {
        if let Some((at, mode)) = self.day.fault_at_call
            && at == number
        {
            return Some(mode);
        }
        let mut inner = self.inner();
        if !inner.random.chance(self.day.faults_per_mille) {
            return None;
        }
        Some(match (inner.random.below(20), call.what.is_effect()) {
            (0..8, _) => FaultMode::Unreachable,
            (8..14, _) => FaultMode::AnswerLost,
            (14..18, true) => FaultMode::Late,
            (18, true) => FaultMode::NotFound,
            (19, true) => FaultMode::DiskFull,
            (_, false) => FaultMode::Unreachable,
            (20.., true) => FaultMode::AnswerLost,
        })
    }

    fn fate(&self, call: &Call, mode: FaultMode) -> Fate {
        self.world.count(|tally| tally.faults += 1);
        self.world.say(|| format!("{}: {mode:?} at {call}", self.name()));
        match mode {
            FaultMode::Unreachable => Fate::Fails(PortError::unreachable("the connection is gone")),
            FaultMode::AnswerLost => Fate::AnswerLost(PortError::unreachable("the connection broke")),
            FaultMode::NotFound => Fate::Fails(PortError::not_found("it is not there")),
            FaultMode::DiskFull => Fate::Fails(PortError::new(FailureKind::DiskFull, "no space left")),
            FaultMode::Late => {
                let error = PortError::timed_out("given up");
                // Only commands outlive their connection; a router's request ends with it.
                match call.what {
                    What::Start(_)
                    | What::Stop(_)
                    | What::BeginOneOff
                    | What::EndOneOff
                    | What::Fetch
                    | What::Prune
                    | What::Swap => Fate::Late(Millis(50 + self.inner().random.below(2_000)), error),
                    _ => Fate::AnswerLost(error),
                }
            }
        }
    }

    /// A user's request, by now and then one that outlasts any drain.
    fn user_request(&self, host: &HostId) {
        let mut inner = self.inner();
        if !inner.random.chance(self.day.requests_per_mille) {
            return;
        }
        let millis = match inner.random.below(30) {
            0 => 20_000,
            _ => 1 + inner.random.below(300),
        };
        drop(inner);
        self.world.machine(host).request(Some(Instant::now() + Millis(millis).duration()));
    }

    /// What a broken Lockgate does beside the call.
    fn meddle(&self, call: &Call, machine: &mut Machine) {
        match (self.mutation, call.what) {
            (Some(Mutation::StopsOldFirst), What::Switch(to)) => {
                if let Some(app) = machine.slots.get_mut(&beside(to)) {
                    app.running_since = None;
                }
                let target = machine.target();
                if target == Some(beside(to)) {
                    self.world.judge(self.name(), u64::MAX.into(), None, call, machine);
                }
            }
            (Some(Mutation::SkipsDrain), What::InFlight(_)) => machine.counts_nothing = true,
            (Some(Mutation::SkipsFence), What::Read) if call.detail.ends_with("lease.json") => {
                self.forge(machine, &call.detail);
            }
            _ => {}
        }
    }

    /// Makes the lease record say that this orchestrator holds it, whoever does.
    fn forge(&self, machine: &mut Machine, path: &str) {
        let Some(token) = self.inner().tokens.get(&machine.id).copied() else { return };
        let Some(content) = machine.files.get(path) else { return };
        let Ok(mut record) = serde_json::from_slice::<LeaseRecord>(content) else { return };
        if record.token > token {
            record.token = token;
            record.holder = self.inner().held.get(&machine.id).cloned();
            if let Ok(content) = serde_json::to_vec(&record) {
                machine.files.insert(path.to_owned(), content);
            }
        }
    }
}

fn word(event: &lockgate_model::Event) -> String {
    match &event.kind {
        EventKind::RunStarted { .. } => "run_started".to_owned(),
        EventKind::StepSucceeded { step, .. } => format!("step_succeeded {}", step.0),
        EventKind::StepFailed { step, failure } => format!("step_failed {}: {failure}", step.0),
        EventKind::RunEnded { outcome } => format!("run_ended {}", outcome.as_str()),
        other => format!("{other:?}"),
    }
}

#[async_trait]
impl Faults for Actor {
    async fn before(&self, call: &Call) -> Fate {
        self.goes_on().await;
        self.latency().await;
        self.goes_on().await;
        if let Some(host) = &call.host {
            self.user_request(host);
        }
        let number = {
            let mut inner = self.inner();
            inner.calls += 1;
            inner.calls - 1
        };
        self.world.count(|tally| tally.calls += 1);
        self.happenings(call, number);
        self.goes_on().await;
        if call.what.is_effect() {
            self.point(|| format!("before {call}")).await;
        }
        if let (Some(host), What::Swap) = (&call.host, call.what)
            && let Err(error) = self.world.locks.wait(host).await
        {
            return Fate::Fails(error);
        }
        if call.host.as_ref().is_some_and(|host| self.world.is_down(host, call.what)) {
            self.world.count(|tally| tally.faults += 1);
            return Fate::Fails(PortError::unreachable("it is down"));
        }
        if let (Some(Mutation::NeverSwitchesBack), What::Switch(lockgate_model::Slot::Blue)) =
            (self.mutation, call.what)
        {
            return Fate::Late(Millis(u64::from(u32::MAX)), PortError::unreachable("never done"));
        }
        self.fault(call, number).map_or(Fate::Happens, |mode| self.fate(call, mode))
    }

    async fn after(&self, call: &Call) {
        if call.what.is_effect() {
            self.point(|| format!("after {call}")).await;
        }
        self.latency().await;
        self.goes_on().await;
    }

    fn admits(&self, call: &Call, machine: &mut Machine) -> bool {
        if call.late {
            if self.world.power.is_off(&machine.id) {
                return false;
            }
            // No client could guard against a command that comes when its slot has the traffic by now.
            return !matches!(call.what, What::Start(slot) | What::Stop(slot) if machine.target() == Some(slot));
        }
        self.world.notice_death(machine);
        if self.world.leases_watched {
            self.world.check_lease_lives(machine);
        }
        self.meddle(call, machine);
        let run = self.inner().run;
        self.world.forge_mark(self.mutation, run, call, machine);
        true
    }

    fn happened(&self, call: &Call, machine: &mut Machine) {
        self.world.notice_hooks(machine);
        if !call.what.is_effect() {
            return;
        }
        self.world.say(|| format!("{}: {call}", self.name()));
        if let (Some(Mutation::SwitchesEarly), What::Start(slot)) = (self.mutation, call.what) {
            let there = machine.address_of(slot);
            machine.point_at(Some(there), None);
        }
        if call.what == What::Swap && !call.late {
            self.stop_in_swap(&machine.id);
        }
        let raised = if call.what == What::Swap { self.world.raised_token(machine) } else { None };
        if call.what == What::Swap && !self.kin.is_alone() {
            self.world.leased(self.name(), raised.is_some(), machine);
        }
        if let Some(token) = raised.filter(|_| !call.late) {
            let holder = self.world.holder(machine);
            let mut inner = self.inner();
            inner.tokens.insert(machine.id.clone(), token);
            inner.held.extend(holder.map(|holder| (machine.id.clone(), holder)));
        }
        let (token, run) = {
            let mut inner = self.inner();
            if matches!(call.what, What::Start(_) | What::Stop(_) | What::Switch(_) | What::Withdraw) {
                inner.changes += 1;
            }
            (inner.tokens.get(&machine.id).copied(), inner.run)
        };
        self.world.judge(self.name(), token, run, call, machine);
        let inner = self.inner();
        let plan = inner.intents.run().and_then(|run| self.world.plan(run));
        if !inner.intents.cover(call, plan.as_deref()) {
            self.world.violated(format!("P4: {} did {call} without an intent in its journal", self.name()));
        }
        if let Some(mutation) = self.mutation {
            release_lists::forget(mutation, call, machine);
        }
    }
}

impl EventSink for Actor {
    fn event(&self, event: &lockgate_model::Event) {
        {
            let mut inner = self.inner();
            inner.run = Some(event.run);
            inner.ended |= matches!(event.kind, EventKind::RunEnded { .. });
        }
        if let (Some(Mutation::MixesFleet), EventKind::RunEnded { .. }) = (self.mutation, &event.kind)
            && let Some(host) = self.world.machines.keys().next()
        {
            let mut machine = self.world.machine(host);
            let other = machine.target().map(|slot| machine.address_of(beside(slot)));
            machine.point_at(other, None);
        }
        self.world.say(|| format!("{}: · {}", self.name(), word(event)));
        self.world.hear(event);
    }
}

fn beside(slot: Slot) -> Slot {
    match slot {
        Slot::Blue => Slot::Green,
        Slot::Green | Slot::Main => Slot::Blue,
    }
}
