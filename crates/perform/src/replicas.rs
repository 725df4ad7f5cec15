//! All that a slot holds: each of its containers must answer, for each gets its part of the traffic.

use futures_util::future::join_all;
use lockgate_model::{HttpHealth, Probe};
use lockgate_ports::{Endpoint, HostPorts, Replica, RuntimeSlot};

use crate::asking::ask;
use crate::health::Miss;

/// Where all that runs in a slot answers.
#[derive(Debug, Clone)]
pub(crate) struct Answers {
    /// The first one's.
    pub endpoint: Endpoint,
    /// Each with an endpoint; of one whose runtime tells nothing else, none.
    pub replicas: Vec<Replica>,
}

impl Answers {
    /// `None` when some of them has no address now.
    pub(crate) fn of(seen: &RuntimeSlot) -> Option<Answers> {
        let has_address = |one: &Replica| one.runs() && one.endpoint.is_some();
        let all = seen.replicas.iter().all(has_address);
        Some(Answers { endpoint: seen.endpoint.clone().filter(|_| all)?, replicas: seen.replicas.clone() })
    }

    pub(crate) fn endpoints(&self) -> Vec<&Endpoint> {
        match self.replicas.is_empty() {
            true => vec![&self.endpoint],
            false => self.replicas.iter().filter_map(|one| one.endpoint.as_ref()).collect(),
        }
    }
}

/// Which of a slot's several containers have stopped while others run; `None` where all do.
pub(crate) fn stopped(seen: &RuntimeSlot) -> Option<String> {
    let stopped: Vec<&str> = seen
        .replicas
        .iter()
        .filter(|one| !one.runs())
        .map(|one| one.name.as_deref().unwrap_or("it"))
        .collect();
    let several = seen.replicas.len() > 1 && !stopped.is_empty();
    several.then(|| match stopped.as_slice() {
        [one] => format!("of its {} containers {one} has stopped", seen.replicas.len()),
        all => format!("of its {} containers {} have stopped", seen.replicas.len(), all.join(", ")),
    })
}

/// Asks all of them beside each other, each once. The first that does not pass is what is told; what passed is the first
/// one's answer, and how many there are.
pub(crate) async fn ask_each(
    ports: &HostPorts,
    endpoints: &[&Endpoint],
    health: &HttpHealth,
    probe: &Probe,
) -> Result<String, Miss> {
    let [only] = endpoints else {
        let asked = join_all(endpoints.iter().map(|endpoint| ask(ports, endpoint, health, probe))).await;
        let mut seen = String::new();
        for (endpoint, answer) in endpoints.iter().zip(asked) {
            let named = |miss: Miss| Miss { seen: format!("{endpoint}: {}", miss.seen), ..miss };
            seen = answer.map_err(named)?;
        }
        return Ok(format!("{seen} from all {}", endpoints.len()));
    };
    ask(ports, only, health, probe).await
}

#[cfg(test)]
mod tests;
