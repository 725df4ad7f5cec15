//! Hosts that lose power with all their apps and come back: files, images and routes stay, requests end, apps come back by
//! their restart policy or stay down. Who holds the leases there lives elsewhere and goes on.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use lockgate_model::{HostId, Millis, Slot};
use lockgate_ports::fake::{App, Life, Machine};
use tokio::time::Instant;

use crate::Random;
use crate::actor::{Ended, Mutation};
use crate::bad_day::{BadDay, Event};
use crate::scene::HOME;
use crate::story::{Command, Story, Turn};
use crate::systematic::{All, Finding};
use crate::telling::{Stage, Told, tell, word};
use crate::world::{Tally, World};

/// Shortest and longest time without power. None is shorter than a command that happens late, which dies with its host.
const OFF_SECONDS_MIN: u64 = 3;
const OFF_SECONDS_MAX: u64 = 40;
/// A release that is healthy within this, and stays so, can be brought back.
const WELL_MILLIS_MAX: u64 = 500;

/// Until when each host that has lost power is without it.
#[derive(Default)]
pub(crate) struct Power(Mutex<BTreeMap<HostId, Instant>>);

impl Power {
    fn lost(&self) -> MutexGuard<'_, BTreeMap<HostId, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_off(&self, host: &HostId) -> bool {
        self.lost().get(host).is_some_and(|until| Instant::now() < *until)
    }

    fn was_lost(&self) -> bool {
        !self.lost().is_empty()
    }
}

impl World {
    /// The host is off for so long. `back`: its apps have a restart policy.
    pub(crate) fn power_lost(&self, machine: &mut Machine, off: Millis, back: bool) {
        let until = Instant::now() + off.duration();
        // What had died before died by itself.
        self.notice_death(machine);
        match back {
            true => self.excuse(&machine.id),
            false => self.disturb(&machine.id),
        }
        self.count(|tally| tally.faults += 1);
        machine.one_offs.lose_all();
        for app in machine.slots.values_mut() {
            app.requests.clear();
            // Nobody can look at it before.
            app.running_since = app.running_since.filter(|_| back).map(|_| until);
        }
        self.power.lost().insert(machine.id.clone(), until);
    }

    /// All hosts have power again, and the apps that come back begin to.
    pub(crate) fn power_is_back(&self) {
        let now = Instant::now();
        let mut lost = self.power.lost();
        for (host, until) in lost.iter_mut().filter(|(_, until)| now < **until) {
            *until = now;
            for app in self.machine(host).slots.values_mut() {
                app.running_since = app.running_since.map(|since| since.min(now));
            }
        }
    }

    /// The slot that the router of each host names, where its files name the same.
    fn agreed_slots(&self) -> Option<Vec<(HostId, Slot)>> {
        let agreed = |host: &HostId| {
            let machine = self.machine(host);
            let active = machine.files.get(&format!("{HOME}/active_color"))?;
            let said = String::from_utf8_lossy(active).trim().parse::<Slot>().ok();
            machine.target().filter(|target| Some(*target) == said)
        };
        self.machines.keys().map(|host| Some((host.clone(), agreed(host)?))).collect()
    }

    /// The whole fleet has one release that can be brought back where it is down, and it is certain that it is meant.
    fn has_one_release(&self) -> bool {
        let Some(slots) = self.agreed_slots() else { return false };
        let apps = slots.iter().map(|(host, slot)| self.machine(host).slots.get(slot).cloned());
        let Some(apps) = apps.collect::<Option<Vec<_>>>() else { return false };
        // As it is when it is started again, whatever it was like before.
        let Some(first) = self.machines.keys().next() else { return false };
        let catalogue = self.machine(first).catalogue.clone();
        let is_well = |app: &App| {
            let behaviour = catalogue.get(&app.release.tag).map_or(app.behaviour, |one| one.behaviour);
            [app.behaviour, behaviour].iter().all(|one| {
                one.dies_after.is_none()
                    && one.healthy_after.is_some_and(|after| after <= Millis(WELL_MILLIS_MAX))
            })
        };
        apps.iter().all(|app| is_well(app) && app.release.same_bytes(&apps[0].release))
    }
}

impl Stage {
    /// P4: `resume` starts again what died with its host, where it is certain which release is meant.
    pub(crate) async fn bring_back_at_last(&self, told: &mut Told) {
        if !self.world.power.was_lost() {
            return;
        }
        // Who removes its bytes too leaves nothing to start again.
        let removes = |(_, _, event): &(u64, usize, Event)| *event == Event::ImagesGone;
        let turns = self
            .story
            .turns
            .iter()
            .flat_map(|turn| [Some(turn), turn.rival.as_ref().map(|(_, rival)| &**rival)]);
        let images_stay = !turns.flatten().any(|turn| turn.day.events.iter().any(removes));
        let is_certain = images_stay && self.world.has_one_release();
        if self.story.mutation != Some(Mutation::NeverBringsBack) {
            let calm = Turn::new(Command::BringBack, self.story.last_machine, BadDay::default());
            let actor = self.actor(&calm, 1003);
            let end = self.command(&actor, &calm).await;
            told.ends.push(word(&end));
            if !matches!(end, Ended::Returned(Ok(_))) {
                self.world.violated(format!("P4: bringing back what lost power: {}", word(&end)));
            }
        }
        if !is_certain {
            return;
        }
        self.world.count(|tally| tally.brought_back += 1);
        for host in self.world.machines.keys() {
            let machine = self.world.machine(host);
            let live = machine.live().map(|(app, life)| (app.release.tag.clone(), life));
            drop(machine);
            if !matches!(live, Some((_, Life::Healthy))) {
                self.world.violated(format!("P4: {host} has power again and serves {live:?}"));
            }
        }
    }
}

impl Story {
    /// A story of [`Story::random`] in which hosts lose power, at once or one after the other.
    #[must_use]
    pub fn with_power_loss(seed: u64) -> Self {
        let mut story = Self::random(seed);
        let mut random = Random::new(seed ^ 0x0ff);
        let hosts = story.scene.hosts.len();
        let back = random.chance(500);
        let loss = |random: &mut Random| {
            let seconds = OFF_SECONDS_MIN + random.below(OFF_SECONDS_MAX - OFF_SECONDS_MIN);
            Event::PowerLost { off: Millis::from_secs(seconds), back }
        };
        let calls = 60 + 50 * hosts as u64;
        let turn = usize::try_from(random.below(story.turns.len() as u64)).unwrap_or(0);
        let (at, together) = (random.below(calls), random.chance(300));
        for host in 0..hosts {
            if together {
                story.turns[turn].day.events.push((at, host, loss(&mut random)));
            } else if host == 0 || random.chance(300) {
                let one = usize::try_from(random.below(hosts as u64)).unwrap_or(0);
                story.turns[turn].day.events.push((random.below(calls), one, loss(&mut random)));
            }
        }
        story
    }
}

/// Each host in turn, and all at once, lose power at every `stride`th call of the story's first command; and after it was
/// killed at every `stride`th point, when somebody else resumes it. Apps come back, or do not.
#[must_use]
pub fn lose_power_everywhere(base: &Story, stride: usize) -> (Vec<Finding>, Tally) {
    let mut all = All::default();
    let (calls, points) = all.take("nothing happens".to_owned(), &tell(base, false))[0];
    let hosts = base.scene.hosts.len();
    let sets: Vec<Vec<usize>> = (0..hosts).map(|host| vec![host]).chain([(0..hosts).collect()]).collect();
    let off = Millis::from_secs(20);
    for set in &sets {
        for back in [true, false] {
            let at =
                |call: u64| set.iter().map(|host| (call, *host, Event::PowerLost { off, back })).collect();
            for call in (0..calls).step_by(stride) {
                let mut story = base.clone();
                story.turns[0].day.events = at(call);
                let what = format!("hosts {set:?} lose power at call {call} (apps back: {back})");
                all.take(what, &tell(&story, false));
            }
            for point in (0..points).step_by(stride) {
                let mut story = base.clone();
                story.turns[0].day.crash_at_point = Some(point);
                let mut resumes = Turn::new(Command::Resume, 1, BadDay::default());
                resumes.day.events = at(point % 7);
                story.turns.push(resumes);
                let what = format!("crash at {point}, then hosts {set:?} lose power (apps back: {back})");
                all.take(what, &tell(&story, false));
            }
        }
    }
    (all.findings, all.tally)
}
