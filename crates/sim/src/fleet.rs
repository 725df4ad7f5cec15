//! Large fleets that answer slowly: no lease expires under a holder that lives, and the run ends.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use lockgate_model::{HostId, LeaseRecord, Millis};
use lockgate_ports::fake::Machine;

use crate::Random;
use crate::bad_day::BadDay;
use crate::scene::{Beside, HOME, Initial, Scene};
use crate::story::{Command, Story, Turn};
use crate::world::World;

/// Hosts of a fleet.
const HOSTS_MIN: u64 = 40;
const HOSTS_MAX: u64 = 100;

/// Hosts whose lease expired under a living holder; each is told of once.
#[derive(Default)]
pub(crate) struct Expired(Mutex<BTreeSet<HostId>>);

impl World {
    /// Whoever looks at a host finds that its lease has not expired, or that its holder is dead.
    pub(crate) fn check_lease_lives(&self, machine: &Machine) {
        let Some(content) = machine.files.get(&format!("{HOME}/.lockgate/lease.json")) else { return };
        let record = serde_json::from_slice::<LeaseRecord>(content).ok();
        let Some(holder) = record.and_then(|record| record.holder) else { return };
        if !holder.has_expired(machine.now()) || self.is_dead(holder.pid) {
            return;
        }
        let is_new = self.expired.0.lock().unwrap_or_else(PoisonError::into_inner).insert(machine.id.clone());
        if is_new {
            let (host, owner) = (&machine.id, &holder.owner);
            self.violated(format!("{host}: the lease expired under {owner}, who is alive"));
        }
    }
}

impl Story {
    /// A deployment to up to a hundred hosts, each of whose calls takes a while; a half of them dies at some point and is
    /// resumed. The seed 0 has the most hosts.
    #[must_use]
    pub fn of_a_fleet(seed: u64) -> Self {
        let mut random = Random::new(seed ^ 0xf1ee7);
        let count = HOSTS_MAX - if seed == 0 { 0 } else { random.below(HOSTS_MAX - HOSTS_MIN) };
        let hosts = vec![Initial::Live(Beside::Stopped); usize::try_from(count).unwrap_or(1)];
        let scene = Scene {
            hosts,
            smoke_fails: random.chance(200),
            health_timeout: Millis::from_secs(5),
            leases_watched: true,
            ..Scene::default()
        };
        let mut story = Self::plain(scene, Command::Deploy(2));
        story.seed = seed;
        let latency_millis_max = *random.pick(&[20, 100, 300, 600]);
        let slow = BadDay { latency_millis_max, ..BadDay::default() };
        story.turns[0].day =
            BadDay { crash_at_point: random.maybe(500, 40 * count), requests_per_mille: 50, ..slow.clone() };
        story.turns.push(Turn::new(Command::Resume, 1, slow));
        story
    }
}
