//! Calls that came to nothing, for the audit: alike ones within a second are one entry.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use lockgate_model::{AuditEntry, EnvironmentName, ProjectName, ServiceName, Timestamp};

use super::core::Core;

/// For which alike ones are counted.
const ALIKE_SECONDS: u64 = 1;
/// Kinds that are told apart within that time; of a flood from more addresses than that, the rest is one entry.
const KINDS_MAX: usize = 50;

/// What is counted together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Kind {
    pub(super) from: String,
    pub(super) endpoint: Option<String>,
    pub(super) result: String,
    pub(super) service: Option<ServiceName>,
    pub(super) environment: Option<EnvironmentName>,
    pub(super) by: Option<String>,
}

/// Since the last entries were written.
#[derive(Default)]
pub(super) struct Notes(Mutex<Counted>);

#[derive(Default)]
struct Counted {
    kinds: HashMap<Kind, Many>,
    /// Of all other kinds.
    others: Option<Many>,
}

struct Many {
    count: u64,
    first: Timestamp,
    /// Among the kinds, by when their first came.
    place: usize,
    detail: String,
}

impl Many {
    fn new(first: Timestamp, place: usize, detail: String) -> Self {
        Self { count: 1, first, place, detail }
    }
}

impl Notes {
    fn counted(&self) -> MutexGuard<'_, Counted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it is the first since then, so that somebody has to write them down later.
    fn count(&self, kind: Kind, detail: String, at: Timestamp) -> bool {
        let mut counted = self.counted();
        let is_first = counted.kinds.is_empty();
        let has_room = counted.kinds.len() < KINDS_MAX;
        if let Some(many) = counted.kinds.get_mut(&kind) {
            many.count += 1;
        } else if has_room {
            let place = counted.kinds.len();
            counted.kinds.insert(kind, Many::new(at, place, detail));
        } else if let Some(others) = &mut counted.others {
            others.count += 1;
        } else {
            let detail = "of more kinds or from more addresses than are told apart".to_owned();
            counted.others = Some(Many::new(at, KINDS_MAX, detail));
        }
        is_first
    }

    /// In the order in which the first of each came.
    fn take(&self, project: &ProjectName) -> Vec<AuditEntry> {
        let Counted { kinds, others } = std::mem::take(&mut *self.counted());
        let mut kinds: Vec<(Kind, Many)> = kinds.into_iter().collect();
        kinds.sort_by_key(|(_, many)| many.place);
        let mut entries: Vec<AuditEntry> =
            kinds.into_iter().map(|(kind, many)| entry(project, kind, many)).collect();
        entries.extend(others.map(|many| {
            let kind = Kind {
                from: "several".to_owned(),
                endpoint: None,
                result: "refused".to_owned(),
                service: None,
                environment: None,
                by: None,
            };
            entry(project, kind, many)
        }));
        entries
    }
}

fn entry(project: &ProjectName, kind: Kind, many: Many) -> AuditEntry {
    let Kind { from, endpoint, result, service, environment, by } = kind;
    let at = endpoint.map(|endpoint| format!("at {endpoint}")).unwrap_or_default();
    let detail = match (at.is_empty(), many.detail.is_empty()) {
        (_, true) => at,
        (true, false) => many.detail,
        (false, false) => format!("{at}: {}", many.detail),
    };
    AuditEntry {
        project: project.clone(),
        at: many.first,
        by: by.unwrap_or_else(|| "unknown".to_owned()),
        via: "webhook".to_owned(),
        action: "deploy".to_owned(),
        service,
        environment,
        digest: None,
        run: None,
        detail,
        from: Some(from),
        result: Some(result),
        count: (many.count > 1).then_some(many.count),
    }
}

impl Core {
    /// Is written down within a second.
    pub(super) fn count(self: &Arc<Self>, kind: Kind, detail: String) {
        if self.notes.count(kind, detail, self.parts.clock.now()) {
            let core = Arc::downgrade(self);
            (self.parts.spawn)(Box::pin(write_later(core)));
        }
    }

    /// What was counted so far.
    pub(super) fn write_notes(&self) {
        for entry in self.notes.take(&self.parts.project) {
            self.writer.note(entry);
        }
    }
}

async fn write_later(core: Weak<Core>) {
    tokio::time::sleep(Duration::from_secs(ALIKE_SECONDS)).await;
    if let Some(core) = core.upgrade() {
        core.write_notes();
    }
}
