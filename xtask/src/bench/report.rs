//! What a benchmark found: for the terminal and for `docs/benchmarks.md`.

use std::fmt::Write;

/// One benchmark's figures.
#[derive(Debug, Default)]
pub struct Report {
    pub name: &'static str,
    pub title: &'static str,
    /// What was done and what the figures mean, in sentences.
    pub meaning: String,
    pub header: Vec<&'static str>,
    pub rows: Vec<Vec<String>>,
    pub targets: Vec<Target>,
    /// What else was seen, one sentence each.
    pub notes: Vec<String>,
    /// Why nothing was measured.
    pub skipped: Option<String>,
}

/// A figure that was promised.
#[derive(Debug)]
pub struct Target {
    pub what: String,
    pub wanted: String,
    pub seen: String,
    pub met: bool,
}

impl Report {
    pub fn new(name: &'static str, title: &'static str) -> Self {
        Self { name, title, ..Self::default() }
    }

    pub fn skipped(name: &'static str, title: &'static str, why: impl Into<String>) -> Self {
        Self { skipped: Some(why.into()), ..Self::new(name, title) }
    }

    pub fn row<const N: usize>(&mut self, cells: [&str; N]) {
        self.rows.push(cells.map(str::to_owned).to_vec());
    }

    pub fn target(&mut self, what: &str, wanted: impl Into<String>, seen: impl Into<String>, met: bool) {
        self.targets.push(Target { what: what.to_owned(), wanted: wanted.into(), seen: seen.into(), met });
    }

    pub fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    pub fn missed(&self) -> bool {
        self.targets.iter().any(|target| !target.met)
    }

    /// For the terminal: columns in line.
    pub fn text(&self) -> String {
        let mut text = format!("\n{} · {}\n", self.name, self.title);
        if let Some(why) = &self.skipped {
            let _ = writeln!(text, "  skipped: {why}");
            return text;
        }
        let widths: Vec<usize> = (0..self.header.len())
            .map(|column| {
                let cells =
                    self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
                cells.chain([self.header[column].chars().count()]).max().unwrap_or(0)
            })
            .collect();
        let header: Vec<String> = self.header.iter().map(|&cell| cell.to_owned()).collect();
        for row in std::iter::once(&header).chain(&self.rows) {
            let cells: Vec<String> =
                row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
            let _ = writeln!(text, "  {}", cells.join("  ").trim_end());
        }
        for target in &self.targets {
            let mark = if target.met { "met   " } else { "missed" };
            let _ = writeln!(text, "  {mark} {}: {} (wanted {})", target.what, target.seen, target.wanted);
        }
        for note in &self.notes {
            let _ = writeln!(text, "  - {note}");
        }
        text
    }

    pub fn markdown(&self) -> String {
        let mut text = format!("## `{}`: {}\n\n", self.name, self.title);
        if let Some(why) = &self.skipped {
            let _ = writeln!(text, "Not measured: {why}.");
            return text;
        }
        let _ = writeln!(text, "{}\n", self.meaning);
        let _ = writeln!(text, "| {} |", self.header.join(" | "));
        let _ = writeln!(text, "|{}", " --- |".repeat(self.header.len()));
        for row in &self.rows {
            let _ = writeln!(text, "| {} |", row.join(" | "));
        }
        if !self.targets.is_empty() {
            text.push('\n');
        }
        for target in &self.targets {
            let mark = if target.met { "met" } else { "**missed**" };
            let _ = writeln!(
                text,
                "- Target, {mark}: {}: {} (wanted {}).",
                target.what, target.seen, target.wanted
            );
        }
        if !self.notes.is_empty() {
            text.push('\n');
        }
        for note in &self.notes {
            let _ = writeln!(text, "- {note}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let mut report = Report::new("status", "how long a look takes");
        report.meaning = "Whole commands.".to_owned();
        report.header = vec!["what", "ms"];
        report.row(["lockgate status", "5.00 / 6.00"]);
        report.target("status", "≤ 15 ms", "5.00 ms", true);
        report
    }

    #[test]
    fn the_terminal_gets_columns_and_markdown_a_table() {
        assert_eq!(
            report().text(),
            "\nstatus · how long a look takes\n  what             ms\n  lockgate status  5.00 / 6.00\n  met    status: 5.00 ms (wanted ≤ 15 ms)\n"
        );
        assert_eq!(
            report().markdown(),
            "## `status`: how long a look takes\n\nWhole commands.\n\n| what | ms |\n| --- | --- |\n| lockgate status | 5.00 / 6.00 |\n\n- Target, met: status: 5.00 ms (wanted ≤ 15 ms).\n"
        );
    }

    #[test]
    fn what_was_skipped_says_why_and_misses_nothing() {
        let report = Report::skipped("compose", "Compose", "docker is not installed");
        assert!(!report.missed());
        assert_eq!(report.markdown(), "## `compose`: Compose\n\nNot measured: docker is not installed.\n");
    }
}
