//! Where a found plan is another than the one that this configuration makes.

use std::fmt;

use lockgate_model::{Failure, FailureKind, HostId, Plan, quoted};
use serde_json::Value;

/// Most differences that are told of one record.
const DIFFERENCES_MAX: usize = 3;
/// Longest value and longest way to it that is shown, in characters.
const VALUE_CHARS_MAX: usize = 80;
const PATH_CHARS_MAX: usize = 120;

/// Whose record of a run it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// The host's lease record.
    Host(HostId),
    /// This machine's journal.
    Journal,
}

/// One place at which a record differs. What is in the record is text from a host: it is escaped and cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    pub record: Record,
    /// `phases.0.lanes.0.steps.0.action.gate.kind.command.argv.0`, as in the record's JSON.
    pub path: String,
    /// What the record has there, as JSON.
    pub there: String,
    /// What this configuration, or what is seen, has there.
    pub here: String,
}

/// `web1's record has "touch" at phases.0.title, where this configuration has "check before"`.
impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Difference { record, path, there, here } = self;
        match record {
            Record::Host(host) if host.is_local() => f.write_str("this machine's record")?,
            Record::Host(host) => write!(f, "{host}'s record")?,
            Record::Journal => f.write_str("this machine's journal")?,
        }
        write!(f, " has {there} at {path}, where this configuration has {here}")
    }
}

impl Difference {
    pub(crate) fn new(record: &Record, path: &str, there: &str, here: &str) -> Self {
        Self {
            record: record.clone(),
            path: quoted(path, PATH_CHARS_MAX),
            there: quoted(there, VALUE_CHARS_MAX),
            here: quoted(here, VALUE_CHARS_MAX),
        }
    }
}

/// The first places at which `plan` is not `made`; empty when they are the same.
pub(crate) fn between(record: &Record, plan: &Plan, made: &Plan) -> Vec<Difference> {
    if plan == made {
        return Vec::new();
    }
    let mut found = Vec::new();
    match (serde_json::to_value(plan), serde_json::to_value(made)) {
        (Ok(there), Ok(here)) => walk(record, "", &there, &here, &mut found),
        (Err(error), _) | (_, Err(error)) => {
            found.push(Difference::new(record, "plan", &error.to_string(), "a plan"));
        }
    }
    if found.is_empty() {
        found.push(Difference::new(record, "plan", "another plan", "its own"));
    }
    found
}

fn walk(record: &Record, path: &str, there: &Value, here: &Value, found: &mut Vec<Difference>) {
    if there == here || found.len() == DIFFERENCES_MAX {
        return;
    }
    let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    match (there, here) {
        (Value::Object(theirs), Value::Object(ours)) => {
            let added = theirs.keys().filter(|key| !ours.contains_key(*key));
            for key in ours.keys().chain(added) {
                let side = |side: &serde_json::Map<String, Value>| side.get(key).cloned().unwrap_or_default();
                walk(record, &below(key), &side(theirs), &side(ours), found);
            }
        }
        (Value::Array(theirs), Value::Array(ours)) => {
            for (index, (one, other)) in theirs.iter().zip(ours).enumerate() {
                walk(record, &below(&index.to_string()), one, other, found);
            }
            if theirs.len() != ours.len() && found.len() < DIFFERENCES_MAX {
                let count = |side: &[Value]| format!("{} of them", side.len());
                found.push(Difference::new(record, path, &count(theirs), &count(ours)));
            }
        }
        _ => found.push(Difference::new(record, path, &there.to_string(), &here.to_string())),
    }
}

/// Why a run is not finished, with what to type.
#[must_use]
pub fn not_finished(differences: &[Difference], plan: &Plan) -> Failure {
    let mut shown: Vec<String> = differences.iter().take(DIFFERENCES_MAX).map(ToString::to_string).collect();
    if differences.len() > DIFFERENCES_MAX {
        shown.push("and more".to_owned());
    }
    let message = format!(
        "the run that was cut off is not what this configuration would do, so it is not finished: {}",
        shown.join("; ")
    );
    let Plan { service, environment, .. } = plan;
    Failure::new(FailureKind::Refused, message).hint(format!(
        "where lockgate.yaml has changed since, or another version of Lockgate began the run, deploy again with `lockgate --env {environment} deploy {service} TAG` (a host that was taken out of `hosts` is put back first); else somebody has changed the record on that host"
    ))
}
