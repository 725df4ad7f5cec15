//! The handlers of one service: all that send requests to one of its slots. Pure.

use std::collections::{BTreeMap, BTreeSet};

use lockgate_model::{Slot, Split};
use serde_json::Value;

use crate::dials::{self, Dials, Leads};
use crate::tree::{self, GHOST_PREFIX, Handler, Path};

/// What a split is written in.
const WHOLE: usize = 100;

/// One handler, and what each of its upstreams leads to.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Member {
    pub handler: Handler,
    pub leads: Vec<Leads>,
}

/// They are switched together. Never empty; the first is the one with the `@id`, else one that dials a slot's own address.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Members {
    pub all: Vec<Member>,
    pub by: By,
    /// Handlers of other sites that may lead anywhere, a slot among it.
    pub doubts: Vec<String>,
}

/// How the first was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    Id,
    /// By what it dials; no id is configured.
    Dial,
    /// By what it dials; an id is configured and nothing has it.
    DialForLostId,
}

/// Why there is nothing that could be switched.
#[derive(Debug, PartialEq)]
pub(crate) enum Unfit {
    /// What `reverse_proxy` handlers there are instead.
    None { others: Vec<Handler>, id: IdSeen },
    /// What has the id holds these, and none dials a slot.
    Several(Vec<Handler>),
    /// Something sends to a slot in a way that a switch would not change, or would break.
    NotUnderstood(Vec<String>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IdSeen {
    NotConfigured,
    Missing,
    /// Something has the id, but there is no `reverse_proxy` in it.
    WithoutHandler,
}

/// What a handler is to the service.
enum Stand {
    /// It sends to slots, and to nothing else.
    Ours(Member),
    Elsewhere(Member),
    /// It may send to a slot, by what cannot be seen. Why.
    Doubt(String),
    /// It sends to a slot, and cannot be switched. Why.
    Unfit(String),
}

impl Member {
    fn slots(&self) -> BTreeSet<Slot> {
        self.leads.iter().filter_map(Leads::slot).collect()
    }

    fn dials_own_address(&self) -> bool {
        self.leads.iter().any(|leads| matches!(leads, Leads::To(_)))
    }

    /// The list for a slot at `to`: every upstream keeps its settings, and none is in it twice.
    pub(crate) fn upstreams_at(&self, to: &str) -> Value {
        if self.slots().is_empty() {
            return upstreams(&self.handler.upstreams, &[to.to_owned()]);
        }
        let mut seen = BTreeSet::new();
        let mut list = self.handler.upstreams.as_array().cloned().unwrap_or_default();
        for (upstream, leads) in list.iter_mut().zip(&self.leads) {
            let dial = upstream.get("dial").and_then(Value::as_str).unwrap_or_default();
            if let Some(moved) = dials::moved(dial, leads, to) {
                upstream["dial"] = Value::String(moved);
            }
        }
        list.retain(|upstream| seen.insert(upstream.get("dial").cloned().unwrap_or_default().to_string()));
        Value::Array(list)
    }
}

/// The new list: each address with the first upstream's other settings (`max_requests`), which a switch must keep.
pub(crate) fn upstreams(now: &Value, dials: &[String]) -> Value {
    let model = now.get(0).and_then(Value::as_object).cloned().unwrap_or_default();
    let one = |(index, dial): (usize, &String)| {
        let mut upstream = model.clone();
        if index > 0 {
            upstream.remove("@id");
        }
        upstream.insert("dial".to_owned(), Value::String(dial.clone()));
        Value::Object(upstream)
    };
    Value::Array(dials.iter().enumerate().map(one).collect())
}

impl Members {
    pub(crate) fn first(&self) -> &Handler {
        &self.all[0].handler
    }

    pub(crate) fn handlers(&self) -> impl Iterator<Item = &Handler> {
        self.all.iter().map(|member| &member.handler)
    }

    /// What they dial, each address once, in order.
    pub(crate) fn dials(&self) -> Vec<String> {
        let mut dials: Vec<String> = Vec::new();
        for dial in self.handlers().flat_map(|handler| &handler.dials) {
            if !dials.contains(dial) {
                dials.push(dial.clone());
            }
        }
        dials
    }

    /// What they have now, each its list.
    pub(crate) fn lists(&self) -> Vec<Value> {
        self.handlers().map(|handler| handler.upstreams.clone()).collect()
    }

    /// What they have once all of it goes to a slot at `to`.
    pub(crate) fn at(&self, to: &str) -> Vec<Value> {
        self.all.iter().map(|member| member.upstreams_at(to)).collect()
    }

    /// What they had when they dialled `before`, as [`Members::dials`] gave it.
    pub(crate) fn back_to(&self, before: &[String], slots: &Dials) -> Vec<Value> {
        let led = before.iter().map(|dial| dials::leads(slots, dial).slot());
        let led: BTreeSet<Option<Slot>> = led.collect();
        let slot = led.first().copied().flatten().filter(|_| led.len() == 1 && self.all.len() > 1);
        match slot.and_then(|slot| slots.get(&slot)) {
            Some(to) => self.at(to),
            None => self.handlers().map(|handler| upstreams(&handler.upstreams, before)).collect(),
        }
    }

    /// Which slots get traffic; `None` where none does. Of several each has the share of the upstreams that lead to it.
    pub(crate) fn split(&self) -> Option<Split> {
        let leads = self.all.iter().flat_map(|member| &member.leads).filter_map(Leads::slot);
        let mut counts: BTreeMap<Slot, usize> = BTreeMap::new();
        leads.for_each(|slot| *counts.entry(slot).or_default() += 1);
        if counts.len() < 2 {
            return counts.into_keys().next().map(Split::all_to);
        }
        let all: usize = counts.values().sum();
        let (last, _) = counts.pop_last()?;
        let share = |count: usize| u8::try_from((count * WHOLE / all).clamp(1, WHOLE - 1)).unwrap_or(1);
        let mut shares: Vec<(Slot, u8)> =
            counts.into_iter().map(|(slot, count)| (slot, share(count))).collect();
        let given: u8 = shares.iter().map(|(_, share)| share).sum();
        shares.push((last, 100_u8.saturating_sub(given)));
        Split::new(shares).ok()
    }

    /// Says which send where, where each sends to one slot and not all to the same. A handler that sends to several slots
    /// means to.
    pub(crate) fn torn(&self) -> Option<String> {
        let slots: BTreeSet<Slot> = self.all.iter().flat_map(Member::slots).collect();
        let decided = self.all.iter().all(|member| member.slots().len() == 1);
        (decided && slots.len() > 1).then(|| self.describe())
    }

    pub(crate) fn describe(&self) -> String {
        list(self.handlers())
    }
}

pub(crate) fn list<'a>(handlers: impl IntoIterator<Item = &'a Handler>) -> String {
    handlers.into_iter().map(Handler::describe).collect::<Vec<_>>().join("; ")
}

/// The service's handlers: the one in (or around) the object with `id`, and all that dial one of the slots.
pub(crate) fn find(config: &Value, id: Option<&str>, dials: &Dials) -> Result<Members, Unfit> {
    let all = tree::handlers(config);
    let (mut ours, mut elsewhere, mut doubts, mut reasons) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for handler in &all {
        match stand(dials, handler) {
            Stand::Ours(member) => ours.push(member),
            Stand::Elsewhere(member) => elsewhere.push(member),
            Stand::Doubt(why) => doubts.push((handler, why)),
            Stand::Unfit(why) => reasons.push(why),
        }
    }
    reasons.extend(other_dials(config, dials, &all));
    if !reasons.is_empty() {
        return Err(Unfit::NotUnderstood(reasons));
    }
    let place = id.and_then(|id| tree::object(config, id));
    // The id may also be on an upstream inside the handler.
    let within = |handler: &Handler| {
        place.as_ref().is_some_and(|place| place.holds(&handler.path) || handler.path.holds(place))
    };
    let by = match (id, &place) {
        (_, Some(_)) => By::Id,
        (Some(_), None) => By::DialForLostId,
        (None, None) => By::Dial,
    };
    if by == By::Id && !ours.iter().any(|member| within(&member.handler)) {
        ours.insert(0, alone_within(&all, elsewhere, &doubts, within)?);
    }
    ours.sort_by_key(|member| (!within(&member.handler), !member.dials_own_address()));
    if ours.is_empty() {
        let id = if by == By::Dial { IdSeen::NotConfigured } else { IdSeen::Missing };
        return Err(Unfit::None { others: all.clone(), id });
    }
    refuse_disagreement(&ours)?;
    let near =
        |handler: &Handler| ours.iter().any(|member| same_site(config, &member.handler.path, &handler.path));
    let (close, far): (Vec<_>, Vec<_>) = doubts.into_iter().partition(|(handler, _)| near(handler));
    if !close.is_empty() {
        return Err(Unfit::NotUnderstood(close.into_iter().map(|(_, why)| why).collect()));
    }
    Ok(Members { all: ours, by, doubts: far.into_iter().map(|(_, why)| why).collect() })
}

/// What has the id and sends to no slot yet, as before the first deployment.
fn alone_within(
    all: &[Handler],
    elsewhere: Vec<Member>,
    doubts: &[(&Handler, String)],
    within: impl Fn(&Handler) -> bool,
) -> Result<Member, Unfit> {
    let inside: Vec<Handler> = all.iter().filter(|handler| within(handler)).cloned().collect();
    match inside.len() {
        0 => return Err(Unfit::None { others: all.to_vec(), id: IdSeen::WithoutHandler }),
        1 => {}
        _ => return Err(Unfit::Several(inside)),
    }
    if let Some((_, why)) = doubts.iter().find(|(handler, _)| within(handler)) {
        return Err(Unfit::NotUnderstood(vec![why.clone()]));
    }
    let member = elsewhere.into_iter().find(|member| within(&member.handler));
    let member = member.ok_or(Unfit::Several(inside))?;
    match &member.handler.dynamic {
        Some(_) => Err(Unfit::NotUnderstood(vec![dynamic_reason(&member.handler)])),
        None => Ok(member),
    }
}

/// What the id names sends elsewhere, and others to a slot: going back could not give each what it had.
fn refuse_disagreement(ours: &[Member]) -> Result<(), Unfit> {
    let strange = ours.iter().find(|member| member.slots().is_empty());
    match (strange, ours.len()) {
        (Some(strange), 2..) => {
            let others =
                list(ours.iter().map(|member| &member.handler).filter(|one| **one != strange.handler));
            let why = format!("{}, which is neither slot, beside {others}", strange.handler.describe());
            Err(Unfit::NotUnderstood(vec![why]))
        }
        _ => Ok(()),
    }
}

fn stand(dials: &Dials, handler: &Handler) -> Stand {
    let upstreams = handler.upstreams.as_array().map(Vec::as_slice).unwrap_or_default();
    let leads: Vec<Leads> = upstreams.iter().map(|upstream| upstream_leads(dials, upstream)).collect();
    let source = handler.dynamic.as_ref().map(|source| dials::source_leads(dials, source));
    let described = handler.describe();
    let all = || leads.iter().chain(&source);
    if let Some(Leads::AtTimes(why)) = all().find(|leads| matches!(leads, Leads::AtTimes(_))) {
        return Stand::Unfit(match handler.dynamic {
            Some(_) => format!("{}: {why}", dynamic_reason(handler)),
            None => format!("{described}: {why}"),
        });
    }
    let member = Member { handler: handler.clone(), leads };
    if member.slots().is_empty() {
        let all = member.leads.iter().chain(&source);
        let doubt = all.into_iter().find_map(|leads| match leads {
            Leads::Anywhere(why) => Some(format!("{described}: {why}")),
            _ => None,
        });
        return doubt.map_or(Stand::Elsewhere(member), Stand::Doubt);
    }
    if handler.dynamic.is_some() {
        return Stand::Unfit(dynamic_reason(handler));
    }
    if member.leads.iter().any(|leads| leads.slot().is_none()) {
        return Stand::Unfit(format!("{described}: not all of it is a slot"));
    }
    match &handler.health_upstream {
        Some(asked) if dials::leads(dials, asked) != Leads::Elsewhere => Stand::Unfit(format!(
            "{described}: its active health check asks {asked} whatever is dialled (`health_upstream`)"
        )),
        _ => Stand::Ours(member),
    }
}

fn upstream_leads(dials: &Dials, upstream: &Value) -> Leads {
    let text = |key: &str| upstream.get(key).and_then(Value::as_str);
    match (text("dial"), text("lookup_srv")) {
        (Some(dial), _) => dials::leads(dials, dial),
        (None, Some(name)) => dials::srv_leads(dials, name),
        (None, None) => Leads::Elsewhere,
    }
}

fn dynamic_reason(handler: &Handler) -> String {
    format!("{} has dynamic upstreams, so a switch would change nothing", handler.describe())
}

/// What else of the configuration dials a slot: another app's proxy (`layer4`).
fn other_dials(config: &Value, dials: &Dials, handlers: &[Handler]) -> Vec<String> {
    let mut found = Vec::new();
    tree::visit(config, &Path(Vec::new()), &mut |value, path| {
        if tree::id_of(value).is_some_and(|id| id.starts_with(GHOST_PREFIX))
            || handlers.iter().any(|handler| handler.upstreams_path() == *path)
        {
            return false;
        }
        let dialled = value.get("dial").map(|dial| match dial {
            Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
            one => Vec::from_iter(one.as_str()),
        });
        for dial in dialled.unwrap_or_default() {
            if !matches!(dials::leads(dials, dial), Leads::Elsewhere | Leads::Anywhere(_)) {
                found.push(format!("{path} (dials {dial}) is no `reverse_proxy`"));
            }
        }
        true
    });
    found
}

/// Both are asked under a host of the other's, as far as their routes say.
fn same_site(config: &Value, one: &Path, other: &Path) -> bool {
    if one.server() != other.server() {
        return false;
    }
    let (one, other) = (hosts(config, one), hosts(config, other));
    one.is_empty() || other.is_empty() || !one.is_disjoint(&other)
}

/// The hosts of the route that the handler is in; empty: any.
fn hosts(config: &Value, handler: &Path) -> BTreeSet<String> {
    let route = handler.route();
    let sets = route.get(config).and_then(|route| route.get("match")?.as_array());
    let named = |set: &Value| set.get("host").and_then(Value::as_array).cloned().unwrap_or_default();
    let names: Vec<Value> = sets.into_iter().flatten().flat_map(named).collect();
    names.iter().filter_map(Value::as_str).map(str::to_ascii_lowercase).collect()
}

#[cfg(test)]
#[path = "members_tests.rs"]
mod tests;
