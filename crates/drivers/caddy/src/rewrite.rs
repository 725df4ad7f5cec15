//! The one change of Caddy's configuration that a switch is: one request, whatever the number of handlers.

use serde_json::Value;

use crate::members::Members;
use crate::tree::{self, Path};

/// New upstreams for all handlers of a service, as one piece of the configuration.
#[derive(Debug)]
pub(crate) struct Rewrite {
    /// What is written: the upstreams of the only handler, else the smallest piece that holds all of them.
    pub path: Path,
    /// Where in it each list is, and the list. `@id`s around and in them stay.
    parts: Vec<(Path, Value)>,
}

impl Rewrite {
    /// `lists`: the upstreams of each member, in their order.
    pub(crate) fn of(members: &Members, lists: Vec<Value>) -> Rewrite {
        let path = place(members);
        let within = |at: Path| Path(at.0[path.0.len()..].to_vec());
        let parts = members.handlers().map(|handler| within(handler.upstreams_path())).zip(lists).collect();
        Rewrite { parts, path }
    }

    /// What is written in the place of `now`; `None` where that has no such handlers.
    pub(crate) fn apply(&self, now: &Value) -> Option<Value> {
        let mut whole = now.clone();
        for (at, list) in &self.parts {
            match at.0.split_last() {
                None => whole = list.clone(),
                Some((key, around)) => {
                    let handler = Path(around.to_vec()).get_mut(&mut whole)?;
                    handler.as_object_mut()?.insert(key.clone(), list.clone());
                }
            }
        }
        Some(whole)
    }

    /// Whether the piece `seen` dials what this wants, whatever else is in it.
    pub(crate) fn is_in(&self, seen: &Value) -> bool {
        self.parts.iter().all(|(at, list)| {
            at.get(seen).is_some_and(|upstreams| tree::dials(upstreams) == tree::dials(list))
        })
    }

    /// What is dialled afterwards, each address once.
    pub(crate) fn dials(&self) -> Vec<String> {
        let mut dials = Vec::new();
        for dial in self.parts.iter().flat_map(|(_, list)| tree::dials(list)) {
            if !dials.contains(&dial) {
                dials.push(dial);
            }
        }
        dials
    }

    /// Whether the handlers dial what this wants, wherever they are.
    pub(crate) fn is_as(&self, members: &Members) -> bool {
        let wanted = self.parts.iter().map(|(_, list)| tree::dials(list));
        members.handlers().map(|handler| handler.dials.clone()).eq(wanted)
    }

    /// The lists alone, in the members' order.
    pub(crate) fn into_lists(self) -> Vec<Value> {
        self.parts.into_iter().map(|(_, list)| list).collect()
    }

    /// What the first handler dials afterwards.
    pub(crate) fn first_dials(&self) -> Vec<String> {
        self.parts.first().map(|(_, list)| tree::dials(list)).unwrap_or_default()
    }
}

/// What a switch writes, and what it is compared with beforehand.
pub(crate) fn place(members: &Members) -> Path {
    let mut common = members.first().path.0.as_slice();
    if members.all.len() == 1 {
        return members.first().upstreams_path();
    }
    for handler in members.handlers() {
        let same = common.iter().zip(&handler.path.0).take_while(|(one, other)| one == other).count();
        common = &common[..same];
    }
    Path(common.to_vec())
}
