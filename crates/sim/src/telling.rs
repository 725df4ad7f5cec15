//! Plays a story and says what was wrong with it.

use std::sync::{Arc, Mutex, PoisonError};

use lockgate_engine::Clock;
use lockgate_model::{
    Aim, Environment, FailureKind, GateKind, HostId, Identity, Leftover, Millis, Outcome, Refusal, Report,
    Requester, Resume, RunId, Service, Timestamp, Want,
};
use lockgate_orchestrator::{Handle, InProcess, Orchestrator, Parts, Site, Teller, Wiring};
use lockgate_ports::fake::{FakePorts, FakeProber, FakeRunner, Faults, Life};
use lockgate_ports::{CommandRunner, Output, PortError, Prober};
use tokio::time::Instant;

use crate::actor::{Actor, Ended, Mutation};
use crate::bad_day::BadDay;
use crate::journal::{ActorJournal, Memory};
use crate::scene::{HOME, LEASE_SECONDS, service_name, tag};
use crate::sessions::Kin;
use crate::story::{Command, MACHINES, Story, Turn};
use crate::world::{Tally, World};

/// Longer than any late command.
const SETTLE_SECONDS: u64 = 5;
/// Virtual time after which a command that has not come to an end is taken for one that never will.
const COMMAND_SECONDS_MAX: u64 = 3_600;

/// What came of a story.
#[derive(Debug, Clone, Default)]
pub struct Told {
    pub violations: Vec<String>,
    pub trace: Vec<String>,
    pub tally: Tally,
    /// Calls and points of each turn's orchestrator.
    pub counts: Vec<(u64, u64)>,
    /// How each turn ended, in a word.
    pub ends: Vec<String>,
    /// From the beginning to the end, in virtual time.
    pub took: Millis,
}

/// Plays the story of a seed. `tracing` keeps what happened, for people.
#[must_use]
pub fn play(seed: u64, tracing: bool) -> Told {
    tell(&Story::random(seed), tracing)
}

/// Plays a story on its own runtime, with a clock that moves when nothing else does.
#[must_use]
pub fn tell(story: &Story, tracing: bool) -> Told {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.unwrap_or_else(|error| panic!("a runtime cannot be made: {error}"));
    runtime.block_on(async {
        let stage = Stage::new(story, tracing);
        stage.play().await
    })
}

pub(crate) struct Stage {
    pub(crate) story: Arc<Story>,
    pub(crate) world: Arc<World>,
    pub(crate) memories: Vec<Arc<Memory>>,
    pub(crate) began: Instant,
}

pub(crate) enum Came {
    Ran(Box<Report>),
    Resumed(Box<Option<(RunId, Outcome)>>),
}

pub(crate) type End = Ended<Result<Came, Refusal>>;

impl Stage {
    pub(crate) fn new(story: &Story, tracing: bool) -> Self {
        let world = World::new(&story.scene, tracing);
        world.count(|tally| tally.stories += 1);
        // One more, for a machine that has seen nothing.
        let memories = (0..=MACHINES).map(|_| Arc::new(Memory::default())).collect();
        Self { story: Arc::new(story.clone()), world, memories, began: Instant::now() }
    }

    async fn play(self) -> Told {
        let mut told = Told::default();
        for (index, turn) in self.story.turns.iter().enumerate() {
            let pid = u32::try_from(index * 2 + 1).unwrap_or(u32::MAX);
            let (end, counts) = match &turn.rival {
                None => self.take(turn, &self.actor(turn, pid)).await,
                Some((after, rival)) => {
                    let (actor, mut rival) = (self.actor(turn, pid), (**rival).clone());
                    let other = if turn.one_process {
                        rival.machine = turn.machine;
                        let other = self.actor_in(&rival, pid, 1);
                        Kin::unite(&actor, &other);
                        other
                    } else {
                        self.actor(&rival, pid + 1)
                    };
                    let later = async {
                        tokio::time::sleep(after.duration()).await;
                        self.take(&rival, &other).await
                    };
                    tokio::join!(self.take(turn, &actor), later).0
                }
            };
            told.counts.push(counts);
            told.ends.push(end);
        }
        self.world.heal();
        tokio::time::sleep(Millis::from_secs(SETTLE_SECONDS).duration()).await;
        if self.go_on_without(&mut told).await {
            self.resume_at_last(&mut told).await;
            self.bring_back_at_last(&mut told).await;
            self.deploy_at_last(&mut told).await;
        }
        told.violations = self.world.violations();
        told.trace = self.world.trace();
        told.tally = self.world.tally();
        told.took = Millis::from(self.began.elapsed());
        told
    }

    /// P4: a plain `resume` finishes or undoes whatever was left.
    pub(crate) async fn resume_at_last(&self, told: &mut Told) {
        let calm = Turn::new(Command::Resume, self.story.last_machine, BadDay::default());
        let actor = self.actor(&calm, 1001);
        let end = self.command(&actor, &calm).await;
        told.ends.push(word(&end));
        match end {
            Ended::Returned(Ok(_)) => self.world.check_settled(),
            Ended::Returned(Err(Refusal::Stuck { outcome, .. })) if !self.world.disturbed() => {
                self.world
                    .violated(format!("P4: nothing stands in the way, but resume is stuck: {outcome:?}"));
            }
            Ended::Returned(Err(Refusal::Stuck { .. })) => {}
            Ended::Returned(Err(trouble)) => self.world.violated(format!("P4: resume failed: {trouble:?}")),
            Ended::Died => self.world.violated("a calm orchestrator died".to_owned()),
        }
    }

    /// P4: whatever has happened, nobody has to tidy up by hand before the next deployment.
    pub(crate) async fn deploy_at_last(&self, told: &mut Told) {
        let calm = Turn::new(Command::Deploy(3), MACHINES, BadDay::default());
        let actor = self.actor(&calm, 1002);
        let end = self.command(&actor, &calm).await;
        told.ends.push(word(&end));
        let began = match end {
            Ended::Returned(Ok(Came::Ran(report))) if matches!(report.outcome, Outcome::Succeeded { .. }) => {
                report.run.is_some()
            }
            other => {
                return self
                    .world
                    .violated(format!("P4: the last deployment did not succeed: {}", word(&other)));
            }
        };
        for host in self.world.machines.keys() {
            let machine = self.world.machine(host);
            let live = machine.live().map(|(app, life)| (app.release.tag.clone(), life));
            drop(machine);
            if live != Some((tag("v3"), Life::Healthy)) {
                self.world.violated(format!("P4: after the last deployment {host} serves {live:?}"));
            }
        }
        self.world.check_settled();
        // A run sweeps what was left by who died, and removes its own.
        for host in self.world.machines.keys().filter(|_| began) {
            let left = self.world.run_files(host);
            if !left.is_empty() {
                self.world.violated(format!("P4: {host}: nobody removed {left:?}"));
            }
        }
    }

    pub(crate) fn actor(&self, turn: &Turn, pid: u32) -> Arc<Actor> {
        self.actor_in(turn, pid, 0)
    }

    /// `session`: 0 for the first of its process.
    pub(crate) fn actor_in(&self, turn: &Turn, pid: u32, session: u32) -> Arc<Actor> {
        let machine = turn.machine;
        let identity = Identity {
            owner: format!("{pid}@machine{machine}"),
            boot_id: format!("boot{machine}"),
            pid,
            started: u64::from(pid),
            session: String::new(),
        };
        let seed = self.story.seed.wrapping_mul(1_000_003).wrapping_add(u64::from(pid + session));
        let label = match session {
            0 => identity.owner.clone(),
            other => format!("{}/{other}", identity.owner),
        };
        Actor::new(self.world.clone(), identity, label, turn.day.clone(), seed, self.story.mutation)
    }

    async fn take(&self, turn: &Turn, actor: &Arc<Actor>) -> (String, (u64, u64)) {
        let end = self.command(actor, turn).await;
        self.judge(actor, &end);
        (word(&end), actor.counts())
    }

    pub(crate) async fn command(&self, actor: &Arc<Actor>, turn: &Turn) -> End {
        self.world.say(|| format!("{} types {:?}", actor.name(), turn.command));
        let skip: Vec<HostId> =
            turn.skip.iter().filter_map(|index| self.world.machines.keys().nth(*index).cloned()).collect();
        let (orchestrator, service) = (InProcess::new(self.parts(actor, turn)), service_name());
        let command = async {
            let want = |aim| Want { skip: skip.clone(), aim, ..Want::rollback(service.clone()) };
            let resume =
                |only| Resume { skip: skip.clone(), only: Some(only), ..Resume::of(service.clone()) };
            let deploy = |number| Want::deploy(service.clone(), tag(&format!("v{number}"))).aim;
            match turn.command {
                Command::Resume => resumed(&orchestrator, actor, resume(Leftover::CutOff)).await,
                Command::BringBack => resumed(&orchestrator, actor, resume(Leftover::Died)).await,
                Command::Deploy(number) => ran(&orchestrator, actor, want(deploy(number))).await,
                Command::Rollback => ran(&orchestrator, actor, want(Aim::Rollback { release: None })).await,
                Command::RollbackTo(number) => {
                    let release = Some(format!("v{number}"));
                    ran(&orchestrator, actor, want(Aim::Rollback { release })).await
                }
            }
        };
        let bound = Millis::from_secs(COMMAND_SECONDS_MAX).duration();
        let end = match tokio::time::timeout(bound, command).await {
            // Only who dies says nothing.
            Ok(Err(Refusal::CutOff { .. })) => Ended::Died,
            Ok(end) => Ended::Returned(end),
            Err(_) => {
                self.world.violated(format!("{:?} never ended", turn.command));
                Ended::Died
            }
        };
        self.world.say(|| format!("{} ends: {}", actor.name(), word(&end)));
        end
    }

    /// A command that says that nothing was changed has changed nothing; a stuck run has a reason.
    fn judge(&self, actor: &Actor, end: &End) {
        let Ended::Returned(end) = end else { return };
        let (changes, ended) = actor.changes();
        let tally = self.world.tally();
        // A pause is a reason too: what was waited for may have timed out meanwhile.
        let blameless = tally.faults == 0 && tally.pauses == 0 && !self.world.disturbed();
        match end {
            Err(Refusal::Illegal { failure } | Refusal::Midway { failure }) => {
                self.world.violated(format!("an illegal transition: {failure}"))
            }
            Err(
                refusal @ (Refusal::Usage { .. }
                | Refusal::Busy { .. }
                | Refusal::BegunBefore { .. }
                | Refusal::Abandoned { .. }
                | Refusal::CutOff { .. }),
            ) => {
                self.world.violated(format!("nobody asked for that: {refusal:?}"));
            }
            Err(Refusal::LeaseLost { .. }) => self.world.count(|tally| tally.fenced += 1),
            Err(Refusal::Stuck { outcome, .. }) if blameless => {
                self.world.violated(format!("stuck, and nothing was in the way: {outcome:?}"));
            }
            Err(
                trouble @ (Refusal::Failed { .. }
                | Refusal::NoImage { .. }
                | Refusal::Held { .. }
                | Refusal::Journal { .. }),
            ) if changes > 0 && !ended => {
                self.world.violated(format!(
                    "P8: it says that nothing was changed, after {changes} effects: {trouble}"
                ));
            }
            Ok(Came::Ran(report)) if blameless && matches!(report.outcome, Outcome::Stuck(_)) => {
                self.world.violated(format!("stuck, and nothing was in the way: {:?}", report.outcome));
            }
            Ok(_) | Err(_) => {}
        }
    }

    fn site(&self, actor: &Arc<Actor>) -> Site {
        let (project, service, environment) = self.story.scene.project();
        let faults: Arc<dyn Faults> = actor.clone();
        let ports = |machine: &lockgate_ports::fake::SharedMachine| {
            FakePorts::new(machine.clone(), faults.clone()).host_ports(HOME)
        };
        let scene = self.story.scene.clone();
        let runner: Arc<dyn CommandRunner> = Arc::new(FakeRunner::new(faults.clone(), move |command| {
            Ok(Output { code: scene.exit_code(&command.argv), stdout: Vec::new(), stderr: Vec::new() })
        }));
        let prober: Arc<dyn Prober> = Arc::new(FakeProber::new(faults.clone(), |request| {
            Err(PortError::new(FailureKind::Unreachable, format!("{} is nowhere", request.target)))
        }));
        Site {
            project,
            service,
            environment,
            hosts: self.world.machines.values().map(ports).collect(),
            gates: lockgate_ports::Gates::new(move |kind| match kind {
                GateKind::Http(gate) => Arc::new(lockgate_gates::Http::new(gate.clone(), prober.clone())),
                GateKind::Command(gate) => {
                    Arc::new(lockgate_gates::Program::new(gate.clone(), runner.clone()))
                }
            }),
            secrets: Vec::new(),
        }
    }

    pub(crate) fn parts(&self, actor: &Arc<Actor>, turn: &Turn) -> Parts {
        let memory = self.memories[turn.machine].clone();
        let (world, boot, sees) =
            (self.world.clone(), actor.identity.boot_id.clone(), turn.day.sees_the_dead);
        let (ids, shared) = (self.world.clone(), Mutex::new(shared_session(&self.story, actor)));
        let (project, ..) = self.story.scene.project();
        let lives = actor.clone();
        Parts {
            project,
            wiring: Arc::new(Place(self.site(actor))),
            journal: Arc::new(ActorJournal { memory, actor: actor.clone() }),
            clock: Arc::new(VirtualClock(self.began)),
            identity: actor.identity.clone(),
            surely_dead: Arc::new(move |holder| sees && holder.boot_id == boot && world.is_dead(holder.pid)),
            new_run: Arc::new(move || {
                let shared = shared.lock().unwrap_or_else(PoisonError::into_inner).take();
                shared.unwrap_or_else(|| ids.new_run())
            }),
            lease_ttl: Millis::from_secs(LEASE_SECONDS),
            teller: Teller::default(),
            state_files: None,
            beside: None,
            watcher: Some(actor.clone()),
            // A session of a process that dies is dropped where it stands.
            spawn: Arc::new(move |session| {
                let actor = lives.clone();
                drop(tokio::spawn(async move {
                    actor.live(session).await;
                }));
            }),
        }
    }
}

/// The one place of a story.
struct Place(Site);

impl Wiring for Place {
    fn site(&self, _: &Service, _: &Environment) -> Result<Site, Refusal> {
        Ok(self.0.clone())
    }
}

async fn ran(orchestrator: &InProcess, actor: &Actor, want: Want) -> Result<Came, Refusal> {
    let session = orchestrator.start(&want, &person(actor)).await?;
    Ok(Came::Ran(Box::new(ended(session, actor).await?)))
}

async fn resumed(orchestrator: &InProcess, actor: &Actor, what: Resume) -> Result<Came, Refusal> {
    let session = orchestrator.resume(&what, &person(actor)).await?;
    let resumed = ended(session, actor).await?;
    let ended = resumed.ended.into_iter().next().map(|end| (end.run, end.outcome));
    match resumed.refusal {
        Some(refusal) => Err(*refusal),
        None => Ok(Came::Resumed(Box::new(ended))),
    }
}

async fn ended<T>(mut session: Handle<T>, actor: &Actor) -> Result<T, Refusal> {
    actor.can_be_stopped_by(session.stop.clone());
    session.end().await
}

fn person(actor: &Actor) -> Requester {
    Requester::person(&actor.identity.owner)
}

/// The id that all sessions of one process have, in a Lockgate that is broken so. The first id that a session asks for is
/// its own.
fn shared_session(story: &Story, actor: &Actor) -> Option<RunId> {
    let is_broken = story.mutation == Some(Mutation::OneHolder) && !actor.kin.is_alone();
    is_broken.then(|| RunId(uuid::Uuid::from_u128(7 << 76)))
}

pub(crate) struct VirtualClock(pub(crate) Instant);

impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        Timestamp(i64::try_from(self.0.elapsed().as_millis()).unwrap_or(i64::MAX))
    }
}

pub(crate) fn word(end: &End) -> String {
    match end {
        Ended::Died => "died".to_owned(),
        Ended::Returned(Ok(Came::Ran(report))) => {
            let failure = report.outcome.failure().map(|failure| format!(": {failure}")).unwrap_or_default();
            format!("{}{failure}", report.outcome.as_str())
        }
        Ended::Returned(Ok(Came::Resumed(end))) => match end.as_ref() {
            None => "nothing to resume".to_owned(),
            Some((_, outcome)) => format!("resumed: {}", outcome.as_str()),
        },
        Ended::Returned(Err(trouble)) => format!("trouble: {trouble}"),
    }
}
