//! Two sessions in one process: they are two holders, and what stops or kills the process stops or kills both.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use lockgate_model::{Holder, HostId, LeaseRecord, Millis};
use lockgate_ports::fake::Machine;
use tokio::time::Instant;

use crate::Random;
use crate::actor::Actor;
use crate::scene::HOME;
use crate::story::{Story, turn};
use crate::world::World;

/// The other session starts so long after the first, at most.
const LATER_MILLIS_MAX: u64 = 15_000;

/// The other sessions of an orchestrator's process.
#[derive(Default)]
pub(crate) struct Kin(Mutex<Vec<Weak<Actor>>>);

impl Kin {
    fn all(&self) -> MutexGuard<'_, Vec<Weak<Actor>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes two orchestrators sessions of one process.
    pub(crate) fn unite(one: &Arc<Actor>, other: &Arc<Actor>) {
        one.kin.all().push(Arc::downgrade(other));
        other.kin.all().push(Arc::downgrade(one));
    }

    pub(crate) fn each(&self) -> Vec<Arc<Actor>> {
        self.all().iter().filter_map(Weak::upgrade).collect()
    }

    pub(crate) fn is_alone(&self) -> bool {
        self.all().is_empty()
    }
}

/// Which session has the lease of each host, of processes with two.
#[derive(Default)]
pub(crate) struct Lessees(Mutex<BTreeMap<HostId, Lessee>>);

struct Lessee {
    /// Its name, which tells it from the others of its process.
    name: String,
    holder: Holder,
    /// When its record was last written.
    written: Instant,
}

impl World {
    /// A session of several in its process has changed a lease record. `taken`: the token was raised.
    pub(crate) fn leased(&self, name: &str, taken: bool, machine: &Machine) {
        let record = machine.files.get(&format!("{HOME}/.lockgate/lease.json"));
        let record = record.and_then(|record| serde_json::from_slice::<LeaseRecord>(record).ok());
        let mut lessees = self.lessees.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = lessees.remove(&machine.id);
        let Some(holder) = record.and_then(|record| record.holder) else { return };
        if let (Some(before), true, false) = (&before, taken, self.has_jumped())
            && before.name != name
            && (before.holder.pid, &before.holder.boot_id) == (holder.pid, &holder.boot_id)
            && !before.holder.has_expired(machine.now())
            && before.written.elapsed() < before.holder.believed_ttl().duration()
        {
            let (host, theirs) = (&machine.id, &before.name);
            self.violated(format!(
                "{name} took the lease on {host} from {theirs}, another session of its process that is alive"
            ));
        }
        let name = match before {
            Some(before) if !taken => before.name,
            Some(_) | None => name.to_owned(),
        };
        lessees.insert(machine.id.clone(), Lessee { name, holder, written: Instant::now() });
    }
}

impl Story {
    /// A story of [`Story::random`] in which the first command's process has another session at once.
    #[must_use]
    pub fn with_two_sessions(seed: u64) -> Self {
        let mut story = Self::random(seed);
        let mut random = Random::new(seed ^ 0x05e5);
        let other = turn(&mut random, &story.scene, true);
        let later = match random.chance(300) {
            true => Millis(0),
            false => Millis(random.below(LATER_MILLIS_MAX)),
        };
        story.turns[0].rival = Some((later, Box::new(other)));
        story.turns[0].one_process = true;
        story
    }
}
