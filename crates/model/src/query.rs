//! Plans and events as they are shown: without the queries of URLs, which are a place for secrets.
//!
//! Journals and hosts keep a plan as it is, for whoever brings a run to its end asks what it says.

use crate::{
    Action, Event, EventKind, Gate, GateKind, GateTarget, Health, HttpGate, Phase, Plan, Probe, Step, Verify,
};

/// A URL or path without its query and fragment: `/health?…`.
#[must_use]
pub fn without_query(url: &str) -> String {
    let bare = url.split('#').next().unwrap_or_default();
    bare.split_once('?').map_or_else(|| bare.to_owned(), |(bare, _)| format!("{bare}?…"))
}

impl Event {
    /// For output: the plan in it without queries.
    #[must_use]
    pub fn without_queries(&self) -> Event {
        let mut event = self.clone();
        if let EventKind::RunStarted { plan, .. } = &mut event.kind {
            strip_plan(plan);
        }
        event
    }
}

impl Plan {
    /// For output: every path and URL in it without its query.
    #[must_use]
    pub fn without_queries(&self) -> Plan {
        let mut plan = self.clone();
        strip_plan(&mut plan);
        plan
    }
}

impl Gate {
    /// For output, as [`Plan::without_queries`].
    #[must_use]
    pub fn without_queries(&self) -> Gate {
        let mut gate = self.clone();
        strip_gate(&mut gate);
        gate
    }
}

fn strip(url: &mut String) {
    *url = without_query(url);
}

fn strip_plan(plan: &mut Plan) {
    for Phase { lanes, .. } in &mut plan.phases {
        for Step { action, undo, .. } in lanes.iter_mut().flat_map(|lane| &mut lane.steps) {
            strip_action(action);
            undo.iter_mut().for_each(strip_action);
        }
    }
}

fn strip_action(action: &mut Action) {
    match action {
        Action::Gate { gate, .. } => strip_gate(gate),
        Action::AwaitHealthy { probe, .. } | Action::Switch { probe, .. } => strip_probe(probe),
        Action::Verify { verify, probe, .. } => {
            strip_probe(probe);
            if let Some(Verify { path, .. }) = verify {
                strip(path);
            }
        }
        Action::Fetch { .. }
        | Action::RunHook { .. }
        | Action::EndHook { .. }
        | Action::Start { .. }
        | Action::Withdraw { .. }
        | Action::Hold { .. }
        | Action::LetGo
        | Action::Record { .. }
        | Action::TakeBack { .. }
        | Action::Drain { .. }
        | Action::Stop { .. }
        | Action::Prune { .. } => {}
    }
}

fn strip_probe(probe: &mut Probe) {
    if let Health::Http(http) = &mut probe.health {
        strip(&mut http.path);
    }
}

fn strip_gate(gate: &mut Gate) {
    if let GateKind::Http(HttpGate { target, paths, .. }) = &mut gate.kind {
        paths.iter_mut().for_each(strip);
        if let GateTarget::Url(url) = target {
            strip(url);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_a_question_mark_and_dots() {
        for (url, shown) in [
            ("/health", "/health"),
            ("/health?token=a?b", "/health?…"),
            ("https://shop.example/#x", "https://shop.example/"),
            ("https://shop.example/a?b#c", "https://shop.example/a?…"),
            ("/a?…", "/a?…"),
        ] {
            assert_eq!(without_query(url), shown);
        }
    }
}
