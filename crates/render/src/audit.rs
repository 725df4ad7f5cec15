//! Who asked for what, as text.

use lockgate_model::{AuditRecord, AuditVerified, Timestamp};

use crate::{Table, escaped};

/// A table with one line for each entry, in their order. `time` writes a point in time as whoever reads it wants it. Without a
/// line feed at the end.
#[must_use]
pub fn audit_text(records: &[AuditRecord], time: &dyn Fn(Timestamp) -> String) -> String {
    let mut table = Table::new([
        "number",
        "at",
        "by",
        "from",
        "what",
        "service",
        "environment",
        "result",
        "detail",
        "run",
    ]);
    for AuditRecord { seq, entry, .. } in records {
        let result = entry.result.clone().unwrap_or_default();
        let result = match entry.count {
            Some(count) => format!("{result} ×{count}"),
            None => result,
        };
        table.push(vec![
            seq.to_string(),
            time(entry.at),
            escaped(&entry.by),
            escaped(entry.from.as_deref().unwrap_or_default()),
            escaped(&format!("{} {}", entry.via, entry.action)),
            entry.service.as_ref().map(ToString::to_string).unwrap_or_default(),
            entry.environment.as_ref().map(ToString::to_string).unwrap_or_default(),
            escaped(&result),
            escaped(&entry.detail),
            entry.run.map(|run| run.to_string()).unwrap_or_default(),
        ]);
    }
    table.text()
}

/// Whether the audit is as it was written, what to keep of it, and what cannot be known. Without a line feed at the end.
#[must_use]
pub fn audit_verified_text(verified: &AuditVerified) -> String {
    let AuditVerified { entries, last, broken, .. } = verified;
    let mut lines = Vec::new();
    if let Some(broken) = broken {
        lines.push(format!("entry {} of the audit: {}", broken.seq, broken.what.as_str()));
        lines.push(match entries {
            0 => "no entry before it is known to be whole".to_owned(),
            1 => "the one before it is as it was written".to_owned(),
            _ => format!("the {entries} before it are as they were written"),
        });
        lines.push(
            "  hint: compare with a backup of the store; whoever could write to it could change the audit"
                .to_owned(),
        );
        return lines.join("\n");
    }
    match last {
        None => lines.push("there is no entry in the audit".to_owned()),
        Some(last) => {
            let what = if *entries == 1 {
                "1 entry is as it was".to_owned()
            } else {
                format!("{entries} entries are as they were")
            };
            lines.push(format!("{what} written"));
            lines.push(format!("last: {last}"));
            lines.push(format!(
                "not known is whether entries were cut off behind it, or all was written anew: keep the line above elsewhere, \
                 and give it to a later check, `lockgate audit verify --kept {last}`"
            ));
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use lockgate_model::{AuditBreak, AuditChain, AuditEntry, AuditFault, AuditHead, ProjectName, RunId};

    use super::*;
    use crate::fixtures::{environment, service};
    use crate::time::clock_time_utc;

    /// 2025-11-20T12:00:00Z.
    const NOON: i64 = 1_763_640_000_000;

    fn records() -> Vec<AuditRecord> {
        let run = RunId(uuid::Uuid::from_u128(7));
        let deployed = AuditEntry {
            project: ProjectName::new("acme").unwrap(),
            at: Timestamp(NOON + 9_000),
            by: "ci acme/shop#17".into(),
            via: "webhook".into(),
            action: "deploy".into(),
            service: Some(service()),
            environment: Some(environment()),
            digest: None,
            run: Some(run),
            detail: "v2 (1f3a5b7c9d0e)".into(),
            from: Some("192.0.2.7".into()),
            result: Some("deployed".into()),
            count: None,
        };
        let accepted = AuditEntry {
            at: Timestamp(NOON),
            detail: "v2 (abcdef01) at /deploy".into(),
            result: Some("accepted".into()),
            ..deployed.clone()
        };
        let flood = AuditEntry {
            at: Timestamp(NOON - 60_000),
            by: "unknown".into(),
            service: None,
            environment: None,
            run: None,
            detail: "at /deploy: no signature \u{1b}[2J".into(),
            from: Some("192.0.2.66".into()),
            result: Some("unauthorized".into()),
            count: Some(10_000),
            ..deployed.clone()
        };
        let approved = AuditEntry {
            at: Timestamp(NOON - 90_000),
            by: "kim@desk".into(),
            via: "cli".into(),
            action: "approve".into(),
            environment: None,
            run: None,
            detail: String::new(),
            from: None,
            result: None,
            ..deployed.clone()
        };
        let entries = [deployed, accepted, flood, approved];
        let record = |(seq, entry)| AuditRecord { seq, hash: format!("{seq:064x}"), entry };
        [13_u64, 12, 11, 7].into_iter().zip(entries).map(record).collect()
    }

    #[test]
    fn an_entry_says_who_asked_from_where_for_what_and_what_came_of_it() {
        insta::assert_snapshot!(audit_text(&records(), &clock_time_utc));
    }

    #[test]
    fn for_programs_an_entry_is_one_object() {
        let lines: Vec<String> = records().iter().map(|one| serde_json::to_string(one).unwrap()).collect();
        insta::assert_snapshot!(lines.join("\n"));
    }

    #[test]
    fn a_check_says_what_it_found_what_to_keep_and_what_it_cannot_know() {
        let empty = AuditChain::default().verified(None);
        let broken = |seq, what| AuditChain::default().verified(Some(AuditBreak { seq, what }));
        let whole = AuditVerified {
            entries: 42,
            last: Some(AuditHead { seq: 41, hash: "9f".repeat(32) }),
            ..empty.clone()
        };
        let changed = AuditVerified { entries: 17, ..broken(17, AuditFault::Changed) };
        let all = [
            whole,
            AuditVerified { entries: 1, ..changed.clone() },
            changed,
            broken(0, AuditFault::Missing),
            broken(3, AuditFault::Unchained),
            broken(41, AuditFault::NotAsKept),
            empty,
        ];
        let texts: Vec<String> = all.iter().map(audit_verified_text).collect();
        insta::assert_snapshot!("verified_text", texts.join("\n\n"));
        let lines: Vec<String> = all.iter().map(|one| serde_json::to_string(one).unwrap()).collect();
        insta::assert_snapshot!("verified_json", lines.join("\n"));
    }
}
