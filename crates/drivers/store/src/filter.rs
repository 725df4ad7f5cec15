//! Which rows are asked for: only the conditions that there are, for one that may be switched off by its value would keep both
//! databases from using an index.

use lockgate_ports::{LookFilter, RECORDS_MAX, RecordFilter};

use crate::connection::Value;

#[derive(Default)]
pub(crate) struct Conditions {
    table: &'static str,
    texts: Vec<String>,
    values: Vec<Value>,
}

impl Conditions {
    /// `column` is one of `table`'s, with what stands between it and the value: `at <`.
    pub(crate) fn on(table: &'static str) -> Self {
        Self { table, ..Self::default() }
    }

    pub(crate) fn and(mut self, column: &str, value: Option<impl Into<Value>>) -> Self {
        if let Some(value) = value {
            self.values.push(value.into());
            self.texts.push(format!("{}.{column} ${}", self.table, self.values.len()));
        }
        self
    }

    pub(crate) fn of_records(table: &'static str, filter: &RecordFilter) -> Self {
        let RecordFilter { project, service, environment, digest, limit: _ } = filter;
        Self::on(table)
            .and("project =", Some(project.as_str()))
            .and("service =", service.as_ref().map(|one| one.as_str()))
            .and("environment =", environment.as_ref().map(|one| one.as_str()))
            .and("digest =", digest.as_ref().map(|one| one.as_str()))
    }

    pub(crate) fn of_looks(table: &'static str, filter: &LookFilter) -> Self {
        let LookFilter { project, service, environment, digest, probe, from, to } = filter;
        Self::on(table)
            .and("project =", Some(project.as_str()))
            .and("service =", Some(service.as_str()))
            .and("environment =", Some(environment.as_str()))
            .and("digest =", digest.as_ref().map(|one| one.as_str()))
            .and("probe =", probe.as_deref())
            .and("at >=", Some(from.0))
            .and("at <", Some(to.0))
    }

    /// `WHERE …`, and the values.
    pub(crate) fn wanted(self) -> (String, Vec<Value>) {
        (format!("WHERE {}", self.texts.join(" AND ")), self.values)
    }

    /// `WHERE … ORDER BY … LIMIT …`, and the values.
    pub(crate) fn ending(self, order: &str, limit: u32) -> (String, Vec<Value>) {
        let (wanted, mut values) = self.wanted();
        values.push(i64::from(limit.min(RECORDS_MAX)).into());
        (format!("{wanted} ORDER BY {order} LIMIT ${}", values.len()), values)
    }
}
