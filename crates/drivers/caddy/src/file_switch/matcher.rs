//! Where Caddy's configuration goes by `active_color`: the routes to the slots behind `vars {file.…/active_color} green`. Pure.

use lockgate_model::Slot;
use serde_json::{Map, Value};

use crate::tree::{self, Handler, Path};

/// Name of the file that is the switch.
pub(crate) const FILE_NAME: &str = "active_color";

/// What the configuration makes of the file.
#[derive(Debug, PartialEq)]
pub(crate) enum Found {
    /// No route to a slot asks any such file.
    No,
    /// Every route to a slot follows it.
    Yes(Routes),
    /// Some do, and what is said here keeps it from being the switch.
    Odd(Vec<String>),
}

/// The handlers that dial the slots, each pair at one place: where the file says green, and where it does not.
#[derive(Debug, PartialEq)]
pub(crate) struct Routes {
    pub green: Vec<Handler>,
    pub blue: Vec<Handler>,
}

impl Routes {
    /// `3 routes`, `1 route`: each is a pair.
    pub(crate) fn count(&self) -> String {
        match self.green.len() {
            1 => "1 route".to_owned(),
            count => format!("{count} routes"),
        }
    }
}

/// When a request gets to a handler, as far as the file has a part in it.
#[derive(Debug, Clone, PartialEq)]
enum When {
    Says(Slot),
    /// Whatever the file says; what comes first may have taken the request.
    Any,
    /// Why it cannot be told.
    Odd(String),
}

struct Dialled {
    handler: Handler,
    slot: Slot,
    when: When,
}

/// Looks for the handlers that dial `blue` or `green`, and whether they go by `file`, the path as Caddy sees it.
pub(crate) fn find(config: &Value, file: &str, blue: &str, green: &str) -> Found {
    let mut odd = Vec::new();
    let mut dialled = Vec::new();
    for handler in tree::handlers(config) {
        let slot = match (
            handler.dials.iter().any(|dial| dial == blue),
            handler.dials.iter().any(|dial| dial == green),
        ) {
            (false, false) => continue,
            (true, false) => Slot::Blue,
            (false, true) => Slot::Green,
            (true, true) => {
                odd.push(format!("{} dials both slots", handler.describe()));
                continue;
            }
        };
        if handler.dials.len() > 1 {
            odd.push(format!("{} dials something else beside {slot}", handler.describe()));
        }
        let when = when(config, &handler.path, file);
        dialled.push(Dialled { handler, slot, when });
    }
    if dialled.iter().all(|one| one.when == When::Any) {
        return Found::No;
    }
    for one in &dialled {
        odd.extend(complaint(config, one, &dialled));
    }
    if !odd.is_empty() {
        return Found::Odd(odd);
    }
    let (green, blue): (Vec<_>, Vec<_>) = dialled.into_iter().partition(|one| one.slot == Slot::Green);
    let handlers = |list: Vec<Dialled>| list.into_iter().map(|one| one.handler).collect();
    Found::Yes(Routes { green: handlers(green), blue: handlers(blue) })
}

/// Why a handler does not follow the file; `None` when it does.
fn complaint(config: &Value, one: &Dialled, all: &[Dialled]) -> Option<String> {
    let told = one.handler.describe();
    let mut others = all.iter().filter(|other| other.slot != one.slot);
    match (&one.when, one.slot) {
        (When::Odd(why), _) => Some(format!("{told}: {why}")),
        (When::Says(said), slot) if *said != slot => {
            Some(format!("{told} is reached when the file says {said}"))
        }
        (When::Any, Slot::Green) => Some(format!("{told} is reached whatever the file says")),
        // It gets what the route to green before it has not taken.
        (When::Any, _) if others.any(|green| takes_before(config, green, one)) => None,
        (When::Any, _) => Some(format!(
            "{told} is reached whatever the file says: no route to green stands before it for the same requests"
        )),
        (When::Says(_), _) if others.any(|other| common_list(config, other, one).is_some()) => None,
        (When::Says(_), slot) => {
            let other = if slot == Slot::Green { Slot::Blue } else { Slot::Green };
            Some(format!("{told}: no route to {other} stands beside it for the same requests"))
        }
    }
}

/// `green`, which the file leads to, stands before `blue` in one list of routes, and both want the same of a request.
fn takes_before(config: &Value, green: &Dialled, blue: &Dialled) -> bool {
    green.when == When::Says(Slot::Green)
        && common_list(config, green, blue).is_some_and(|(green, blue)| green < blue)
}

/// The places of two handlers in the innermost list of routes that has both, where the two routes want the same of a
/// request but for the file.
fn common_list(config: &Value, one: &Dialled, other: &Dialled) -> Option<(usize, usize)> {
    let (one, other) = (&one.handler.path, &other.handler.path);
    let at = one.0.iter().zip(&other.0).position(|(a, b)| a != b)?;
    // What comes before the first difference is the list, when it is a list of routes.
    if at == 0 || one.0[at - 1] != "routes" {
        return None;
    }
    let place = |path: &Path| path.0[at].parse::<usize>().ok();
    let wanted = |path: &Path| {
        let route = Path(path.0[..=at].to_vec());
        route.get(config).map(rest_of).unwrap_or_default()
    };
    (wanted(one) == wanted(other)).then_some(())?;
    Some((place(one)?, place(other)?))
}

/// What the routes around the handler say of the file, from the outside in.
fn when(config: &Value, handler: &Path, file: &str) -> When {
    let mut seen = When::Any;
    for route in routes_around(config, handler) {
        seen = match (seen, said(route, file)) {
            (When::Odd(why), _) | (_, When::Odd(why)) => return When::Odd(why),
            (seen, When::Any) => seen,
            (When::Any, said) => said,
            (seen, said) if seen == said => seen,
            _ => return When::Odd("the routes around it want different things of the file".to_owned()),
        };
    }
    seen
}

fn routes_around<'a>(config: &'a Value, handler: &'a Path) -> impl Iterator<Item = &'a Value> {
    let is_list = |at: &usize| handler.0[*at] == "routes";
    let ends = (0..handler.0.len().saturating_sub(1)).filter(is_list);
    ends.filter_map(|at| Path(handler.0[..=at + 1].to_vec()).get(config))
}

fn sets(route: &Value) -> &[Value] {
    route.get("match").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// What a route wants of the file: all its sets of matchers must want the same, for one of them suffices.
fn said(route: &Value, file: &str) -> When {
    let mut all = sets(route).iter().map(|set| said_by_set(set, file));
    let Some(first) = all.next() else { return When::Any };
    match all.find(|other| *other != first) {
        None => first,
        Some(_) => When::Odd("only some of its route's matchers want something of the file".to_owned()),
    }
}

fn said_by_set(set: &Value, file: &str) -> When {
    let mut seen = set.get("vars").map_or(When::Any, |vars| said_by_vars(vars, file));
    for inner in set.get("not").and_then(Value::as_array).into_iter().flatten() {
        let Some(vars) = inner.get("vars") else { continue };
        seen = match said_by_vars(vars, file) {
            When::Any => seen,
            When::Says(Slot::Green)
                if inner.as_object().is_some_and(|set| set.len() == 1) && seen == When::Any =>
            {
                When::Says(Slot::Blue)
            }
            When::Odd(why) => When::Odd(why),
            When::Says(_) => {
                When::Odd("its `not` can be told only where it is `not vars {file.…} green`".to_owned())
            }
        };
    }
    seen
}

fn said_by_vars(vars: &Value, file: &str) -> When {
    let empty = Map::new();
    let vars = vars.as_object().unwrap_or(&empty);
    let asked = vars.iter().find_map(|(key, values)| Some((asked_file(key)?, values)));
    let Some((asked, values)) = asked else { return When::Any };
    if asked != file {
        return When::Odd(format!("it asks the file {asked}, and this service's is {file}"));
    }
    let values: Vec<&str> = values.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    match (vars.len(), values.as_slice()) {
        (1, ["green"]) => When::Says(Slot::Green),
        (1, ["blue"]) => When::Says(Slot::Blue),
        // Caddy takes any of several for a match.
        _ => When::Odd("its matcher takes something else beside one colour of the file".to_owned()),
    }
}

/// The path in `{file.<path>}`, where it is an `active_color`.
fn asked_file(key: &str) -> Option<&str> {
    let path = key.strip_prefix("{file.")?.strip_suffix('}')?;
    (path.rsplit('/').next() == Some(FILE_NAME)).then_some(path)
}

/// What a route wants of a request beside the file.
fn rest_of(route: &Value) -> Vec<Value> {
    let mut rest: Vec<Value> = sets(route).iter().map(without_file).collect();
    rest.retain(|set| set.as_object().is_none_or(|set| !set.is_empty()));
    rest
}

fn without_file(set: &Value) -> Value {
    let mut set = set.clone();
    let Some(matchers) = set.as_object_mut() else { return set };
    let asks = |vars: Option<&Value>| {
        vars.and_then(Value::as_object).is_some_and(|vars| vars.keys().any(|key| asked_file(key).is_some()))
    };
    if asks(matchers.get("vars")) {
        matchers.remove("vars");
    }
    if let Some(Value::Array(not)) = matchers.get_mut("not") {
        not.retain(|inner| !asks(inner.get("vars")));
        if not.is_empty() {
            matchers.remove("not");
        }
    }
    set
}

#[cfg(test)]
#[path = "matcher_tests.rs"]
mod tests;
