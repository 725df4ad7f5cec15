//! What is played: a fleet, some commands, and each one's bad day.

use lockgate_model::{Hooks, Millis, Strategy, Wave};
use lockgate_ports::fake::{Behaviour, Program};

use crate::Random;
use crate::actor::Mutation;
use crate::bad_day::{BadDay, Event, FaultMode};
use crate::scene::{Beside, Initial, Scene, hook};

/// What somebody types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// `deploy web v<n>`.
    Deploy(u8),
    /// `rollback web`.
    Rollback,
    /// `rollback web v<n>`.
    RollbackTo(u8),
    /// `resume web`, of which this is what it does first.
    Resume,
    /// What `resume` does then: what died is started again.
    BringBack,
}

/// One command on one machine.
#[derive(Debug, Clone)]
pub struct Turn {
    pub command: Command,
    /// Which machine's journal it has.
    pub machine: usize,
    pub day: BadDay,
    /// Hosts, by number, that whoever types it leaves out.
    pub skip: Vec<usize>,
    /// Another orchestrator that starts so long after it.
    pub rival: Option<(Millis, Box<Turn>)>,
    /// It is another session of this very process, on the same machine; what stops or kills one does so to both.
    pub one_process: bool,
}

impl Turn {
    #[must_use]
    pub fn new(command: Command, machine: usize, day: BadDay) -> Self {
        Self { command, machine, day, skip: Vec::new(), rival: None, one_process: false }
    }
}

#[derive(Debug, Clone)]
pub struct Story {
    pub seed: u64,
    pub scene: Scene,
    pub turns: Vec<Turn>,
    /// The machine on which somebody resumes at the end; the last deployment comes from one that has seen nothing.
    pub last_machine: usize,
    pub mutation: Option<Mutation>,
    /// Hosts that are gone come back at the end.
    pub come_back: bool,
}

/// Machines in a story: with their own journals.
pub const MACHINES: usize = 3;

impl Story {
    /// One command on a good day.
    #[must_use]
    pub fn plain(scene: Scene, command: Command) -> Self {
        let turns = vec![Turn::new(command, 0, BadDay::default())];
        Self { seed: 1, scene, turns, last_machine: 0, mutation: None, come_back: true }
    }

    #[must_use]
    pub fn random(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let mut scene = scene(&mut random);
        let mut turns = Vec::new();
        for index in 0..=random.below(3) {
            let mut turn = turn(&mut random, &scene, index == 0);
            if random.chance(120) {
                let rival = self::turn(&mut random, &scene, false);
                turn.rival = Some((Millis(random.below(20_000)), Box::new(rival)));
            }
            turns.push(turn);
        }
        let last_machine = usize::try_from(random.below(MACHINES as u64)).unwrap_or(0);
        // Drawn last, so that the stories of before stay what they were.
        if random.chance(250) {
            scene.strategy = Strategy::Recreate;
            // A release that only seems well because it has run for long is not one to go back to, and there is one slot.
            let ahead =
                scene.hosts.iter_mut().filter(|host| matches!(host, Initial::Ahead | Initial::Switched(_)));
            ahead.for_each(|host| *host = Initial::Live(Beside::Nothing));
        }
        let hosts = scene.hosts.len() as u64;
        for kind in [Event::KillStandby, Event::AddressesAnew] {
            if random.chance(150) {
                let turn = random.below(turns.len() as u64);
                let host = usize::try_from(random.below(hosts)).unwrap_or(0);
                let event = (random.below(60 + 50 * hosts), host, kind);
                turns[usize::try_from(turn).unwrap_or(0)].day.events.push(event);
            }
        }
        if random.chance(200) {
            let mut one = |per_mille| random.chance(per_mille).then(|| hook(random.chance(200)));
            scene.hooks = Hooks { before_switch: one(900), after_switch: one(300) };
            let takes = Millis(*random.pick(&[0, 20, 500, 3_000]));
            scene.program = Program { takes, code: i32::from(random.chance(150)), says: Vec::new() };
        }
        Self { seed, scene, turns, last_machine, mutation: None, come_back: true }
    }
}

pub(crate) fn scene(random: &mut Random) -> Scene {
    let count = *random.pick(&[1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 3, 3, 3, 3, 4, 5, 6]);
    let beside = |random: &mut Random| {
        Initial::Live(*random.pick(&[Beside::Nothing, Beside::Stopped, Beside::Stopped, Beside::Warm]))
    };
    let hosts = match random.below(20) {
        0..2 => vec![Initial::Fresh; count],
        2 => vec![Initial::Foreign; count],
        3..5 => {
            let mut one = |_| match random.below(4) {
                0 => Initial::Ahead,
                1 => Initial::Fresh,
                _ => beside(random),
            };
            (0..count).map(&mut one).collect()
        }
        _ => (0..count).map(|_| beside(random)).collect(),
    };
    let v2 = match random.below(20) {
        0..3 => Behaviour { healthy_after: None, dies_after: None },
        3..6 => {
            Behaviour { healthy_after: Some(Millis(20)), dies_after: Some(Millis(30 + random.below(4_000))) }
        }
        6..8 => Behaviour { healthy_after: Some(Millis(random.below(3_000))), dies_after: None },
        _ => Behaviour { healthy_after: Some(Millis(random.below(150))), dies_after: None },
    };
    let waves = match random.below(3) {
        0 => vec![Wave::Rest],
        1 => vec![Wave::Hosts(1), Wave::Rest],
        _ => vec![Wave::Hosts(1), Wave::Percent(25), Wave::Rest],
    };
    Scene {
        hosts,
        v2,
        smoke_fails: random.chance(200),
        regression_fails: random.chance(50),
        waves,
        keep_warm: if random.chance(250) { Millis::from_secs(60) } else { Millis(0) },
        router_identifies: random.chance(700),
        ..Scene::default()
    }
}

pub(crate) fn turn(random: &mut Random, scene: &Scene, first: bool) -> Turn {
    let command = match random.below(20) {
        _ if first && random.chance(600) => Command::Deploy(2),
        0..8 => Command::Deploy(2),
        8..12 => Command::Deploy(3),
        12..14 => Command::Rollback,
        14..16 => Command::RollbackTo(1),
        _ => Command::Resume,
    };
    let machine = usize::try_from(random.below(MACHINES as u64)).unwrap_or(0);
    Turn::new(command, machine, day(random, scene.hosts.len() as u64))
}

pub(crate) fn day(random: &mut Random, hosts: u64) -> BadDay {
    let events = match random.below(5) {
        0 => (0..=random.below(2)).map(|_| event(random, hosts)).collect(),
        _ => Vec::new(),
    };
    let calls = 60 + 50 * hosts;
    BadDay {
        crash_at_point: random.maybe(350, 30 + 45 * hosts),
        pause_at_call: random.maybe(120, calls).map(|at| (at, Millis(1_000 + random.below(40_000)))),
        stop_at_swap: None,
        interrupt_at_call: random.maybe(120, calls),
        fault_at_call: random.maybe(250, calls).map(|at| (at, *random.pick(&FaultMode::ALL))),
        faults_per_mille: *random.pick(&[0, 0, 0, 0, 0, 0, 2, 10, 50, 200]),
        journal_full_from: random.maybe(80, 30),
        events,
        latency_millis_max: *random.pick(&[0, 0, 0, 5, 40, 400]),
        requests_per_mille: *random.pick(&[0, 100, 400]),
        sees_the_dead: random.chance(500),
    }
}

fn event(random: &mut Random, hosts: u64) -> (u64, usize, Event) {
    let kind = match random.below(9) {
        0 => Event::KillLive,
        1 => Event::RouteElsewhere,
        2 => Event::RouteGone,
        3 => Event::ImagesGone,
        4 => Event::ClockJump(3_600_000),
        5 => Event::ClockJump(-3_600_000),
        6 => Event::HostDown(Millis(random.below(30_000))),
        7 => Event::RouterDown(Millis(random.below(20_000))),
        _ => Event::DiskFull,
    };
    (random.below(60 + 50 * hosts), usize::try_from(random.below(hosts)).unwrap_or(0), kind)
}
