//! What the demo found, as a table and as one JSON object.

use lockgate_model::Millis;
use lockgate_render::Table;
use serde::Serialize;

use super::load::Tally;

/// One act of the demo.
#[derive(Debug, Serialize)]
pub struct Act {
    pub title: &'static str,
    pub wanted: &'static str,
    pub seen: String,
    pub ok: bool,
    /// From starting the program to the new release having the traffic.
    pub to_traffic_ms: Option<Millis>,
}

/// The final object of `lockgate demo --format json`.
#[derive(Debug, Serialize)]
pub struct Report {
    pub ok: bool,
    pub requests: u64,
    pub failed: u64,
    /// Times that traffic was switched, switches back included.
    pub swaps: u32,
    pub rollbacks: u32,
    /// Whether the killed deployment was brought to its end.
    pub resumed: bool,
    pub seconds: f64,
    pub acts: Vec<Act>,
    pub answers_by_release: std::collections::BTreeMap<String, u64>,
    pub failures: Vec<String>,
}

impl Report {
    pub fn new(acts: Vec<Act>, swaps: u32, tally: Tally, took: Millis) -> Self {
        let rolled_back = |act: &&Act| act.ok && act.wanted == ROLLED_BACK;
        let Tally { requests, failed, failures, by_release } = tally;
        Self {
            ok: failed == 0 && requests > 0 && acts.iter().all(|act| act.ok),
            requests,
            failed,
            swaps,
            rollbacks: u32::try_from(acts.iter().filter(rolled_back).count()).unwrap_or(u32::MAX),
            resumed: acts.iter().any(|act| act.ok && act.wanted == RESUMED),
            seconds: took.0 as f64 / 1000.0,
            acts,
            answers_by_release: by_release,
            failures,
        }
    }

    pub fn text(&self) -> String {
        let mut table = Table::new(["deployment", "wanted", "seen", "to traffic"]);
        for act in &self.acts {
            let mark = if act.ok { "✓" } else { "✗" };
            let span = act.to_traffic_ms.map(|span| span.to_string()).unwrap_or_default();
            table.push(vec![
                act.title.to_owned(),
                act.wanted.to_owned(),
                format!("{mark} {}", act.seen),
                span,
            ]);
        }
        let releases: Vec<String> =
            self.answers_by_release.iter().map(|(release, count)| format!("{release} {count}")).collect();
        let mut text = table.text();
        text.push_str(&format!(
            "\n\n{} requests sent, {} failed · swaps: {} · rollbacks: {} · resumed: {} · {:.1}s\nanswered by: {}\n",
            self.requests,
            self.failed,
            self.swaps,
            self.rollbacks,
            if self.resumed { "yes" } else { "no" },
            self.seconds,
            releases.join(", "),
        ));
        for failure in &self.failures {
            text.push_str(&format!("  failed: {failure}\n"));
        }
        text.push_str(match self.ok {
            true => "\nNot one request was lost.",
            false => "\nThe demo did not go as it should; please report it with the lines above.",
        });
        text
    }
}

pub const ROLLED_BACK: &str = "rolled back to v2";
pub const RESUMED: &str = "resumed, v5 is live";
