//! What a job of GitHub Actions shows beside its log: annotations, groups, and a summary in Markdown.
//!
//! Whoever reads a job's log looks for commands at the beginning of its lines (`::error::…`), also in what an app or a gate
//! wrote. So what comes from elsewhere stands between [`Job::quiet`] and [`Job::loud`], and is [inert](Job::inert) elsewhere.

use std::fmt::Write;

use lockgate_model::{CommitSha, DeployAnswer, Failure, Millis, ServiceName};

use crate::answer::{Mood, answer_failure, answer_head, mood};
use crate::{Paint, clean, escaped, failure_text};

/// Longest annotation, in characters; GitHub cuts them, too.
const ANNOTATION_CHARS_MAX: usize = 4_000;
/// Longest page of a job summary, in characters; GitHub takes a MiB of bytes for all of a step.
const SUMMARY_CHARS_MAX: usize = 60_000;

/// How an annotation is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// Red: the step failed by it.
    Error,
    /// Yellow.
    Warning,
    /// Blue.
    Notice,
}

/// A job that asks for a deployment.
#[derive(Debug, Clone)]
pub struct Job<'a> {
    /// `None`: the only one that the endpoint has.
    pub service: Option<&'a ServiceName>,
    pub sha: &'a CommitSha,
    /// Where the endpoint is.
    pub address: &'a str,
    /// A word that nobody can guess, which ends what [`Job::quiet`] begins.
    pub token: &'a str,
}

impl Job<'_> {
    /// The line that begins a part of the log that is folded.
    #[must_use]
    pub fn group(&self) -> String {
        format!("::group::{}", data(&self.title()))
    }

    /// The line that ends it.
    #[must_use]
    pub fn end_of_group(&self) -> String {
        "::endgroup::".to_owned()
    }

    /// The line from which on nothing in the log is a command.
    #[must_use]
    pub fn quiet(&self) -> String {
        format!("::stop-commands::{}", self.token)
    }

    /// The line that ends that.
    #[must_use]
    pub fn loud(&self) -> String {
        format!("::{}::", self.token)
    }

    /// The text, with no line in it that GitHub takes for a command.
    #[must_use]
    pub fn inert(text: &str) -> String {
        let lines = text.split('\n').map(|line| {
            let words = line.trim_start();
            let line = match words.starts_with("::") {
                true => line.replacen("::", ": :", 1),
                false => line.to_owned(),
            };
            line.replace("##[", "# #[")
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    /// The line that is shown with the job's result.
    #[must_use]
    pub fn annotation(&self, severity: Severity, head: &str, message: &str) -> String {
        let severity = match severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Notice => "notice",
        };
        let message = lockgate_model::shortened(clean(message), ANNOTATION_CHARS_MAX);
        let title = property(&format!("{}: {}", self.title(), escaped(head)));
        format!("::{severity} title={title}::{}", data(&message))
    }

    /// Of an answer: what became of it, and why.
    #[must_use]
    pub fn of_answer(&self, answer: &DeployAnswer) -> String {
        let head = answer_head(answer);
        let (short, _) = head.split_once(':').unwrap_or((&head, ""));
        match (&answer.error, mood(answer.status)) {
            (Some(_), _) | (None, Mood::Bad | Mood::Later) => {
                let text = failure_text(&answer_failure(answer), Paint::plain());
                self.annotation(Severity::Error, short, &text)
            }
            (None, Mood::Good) if answer.logs.is_empty() => self.annotation(Severity::Notice, short, &head),
            (None, Mood::Good) => self.annotation(Severity::Warning, short, &answer.logs.join("\n")),
        }
    }

    /// The page of an answer.
    #[must_use]
    pub fn summary(&self, answer: &DeployAnswer) -> String {
        let sign = match mood(answer.status) {
            Mood::Good => "✅",
            Mood::Later => "⚠️",
            Mood::Bad => "❌",
        };
        let mut rows = vec![("Result", answer_head(answer))];
        if let Some(release) = &answer.release {
            rows.push(("Release", format!("`{}` `{}`", release.tag, release.digest)));
        }
        rows.extend(answer.run.map(|run| ("Run", format!("`{run}`"))));
        rows.extend(answer.dark_ms.map(|dark| ("Dark for", Millis(dark).to_string())));
        let said = match &answer.error {
            Some(_) => Some(failure_text(&answer_failure(answer), Paint::plain())),
            None => Some(answer.logs.join("\n")).filter(|logs| !logs.is_empty()),
        };
        self.page(sign, &rows, said.as_deref())
    }

    /// The page where nobody answered.
    #[must_use]
    pub fn summary_without(&self, head: &str, failure: &Failure) -> String {
        let said = failure_text(failure, Paint::plain());
        self.page("❌", &[("Result", head.to_owned())], Some(&said))
    }

    fn page(&self, sign: &str, rows: &[(&str, String)], said: Option<&str>) -> String {
        let mut page = format!("### {sign} {}\n\n| | |\n| --- | --- |\n", self.title());
        let own = [("Commit", format!("`{}`", self.sha)), ("Asked", format!("`{}`", self.address))];
        for (name, value) in rows.iter().chain(&own) {
            let _ = writeln!(page, "| {name} | {} |", value.replace('|', "\\|"));
        }
        if let Some(said) = said {
            let said = lockgate_model::shortened(clean(said), SUMMARY_CHARS_MAX);
            let fence = "`".repeat(longest_run(&said, '`').max(2) + 1);
            let _ = write!(page, "\n{fence}text\n{said}\n{fence}\n");
        }
        page
    }

    fn title(&self) -> String {
        match self.service {
            Some(service) => format!("Deploy {service}"),
            None => "Deploy".to_owned(),
        }
    }
}

/// As the message of a command.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// As the value of a command's property.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

fn longest_run(text: &str, character: char) -> usize {
    text.split(|other| other != character).map(str::len).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use lockgate_model::{DeployStatus, FailureKind, Outcome, RunId};

    use super::*;
    use crate::fixtures::{release, service};

    fn with<T>(look: impl FnOnce(&Job<'_>) -> T) -> T {
        let (service, sha) = (service(), CommitSha::new("0123456789abcdef0123456789abcdef01234567").unwrap());
        look(&Job {
            service: Some(&service),
            sha: &sha,
            address: "https://shop.example/deploy",
            token: "0190a8a27d3c",
        })
    }

    fn rolled_back(failure: Failure) -> DeployAnswer {
        let run = RunId(uuid::Uuid::from_u128(7));
        DeployAnswer::of_outcome(run, &release("v2"), &Outcome::RolledBack { failure }, false)
    }

    #[test]
    fn an_annotation_is_one_line_whatever_somebody_wrote() {
        let hostile = Failure::new(FailureKind::Unhealthy, "100 %, a:b\n::add-mask::x\u{1b}[2J\r")
            .logs(vec!["::error::forged".into(), "%0A::set-env name=PATH::x".into()]);
        let line = with(|job| job.of_answer(&rolled_back(hostile)));
        insta::assert_snapshot!(line, @"::error title=Deploy web%3A rolled back::unhealthy: 100 %25, a:b\\n::add-mask::x\\x1b[2J\\r%0A  its last log lines:%0A    | ::error::forged%0A    | %250A::set-env name=PATH::x");
        let title = with(|job| job.annotation(Severity::Warning, "a,b: c\nd%", "x"));
        assert_eq!(title, "::warning title=Deploy web%3A a%2Cb%3A c\\nd%25::x");
        let good = DeployAnswer::new(DeployStatus::LiveAlready).about(&release("v2"));
        let good = with(|job| job.of_answer(&good));
        assert_eq!(
            good,
            "::notice title=Deploy web%3A nothing to do::nothing to do: v2 (1f3a5b7c9d0e) is live already"
        );
    }

    #[test]
    fn a_summary_is_a_page_in_which_what_somebody_wrote_is_text() {
        let hostile = Failure::new(FailureKind::Unhealthy, "<script>alert(1)</script> ```` | [x](y)")
            .logs(vec!["```".into(), "</td></table>".into()])
            .hint("look at the database");
        let page = with(|job| job.summary(&DeployAnswer { dark_ms: Some(0), ..rolled_back(hostile) }));
        insta::assert_snapshot!(page, @r"
        ### ⚠️ Deploy web

        | | |
        | --- | --- |
        | Result | rolled back: v2 (1f3a5b7c9d0e) is not live, the release from before is |
        | Release | `v2` `sha256:1f3a5b7c9d0e0000000000000000000000000000000000000000000000000000` |
        | Run | `00000000-0000-0000-0000-000000000007` |
        | Dark for | 0ms |
        | Commit | `0123456789abcdef0123456789abcdef01234567` |
        | Asked | `https://shop.example/deploy` |

        `````text
        unhealthy: <script>alert(1)</script> ```` | [x](y)
          its last log lines:
            | ```
            | </td></table>
          hint: look at the database
        `````
        ");
    }

    #[test]
    fn where_nobody_answered_the_page_says_so() {
        let failure = Failure::new(FailureKind::Unreachable, "cannot connect").hint("check its name");
        insta::assert_snapshot!(with(|job| job.summary_without("failed: nothing was changed", &failure)), @r"
        ### ❌ Deploy web

        | | |
        | --- | --- |
        | Result | failed: nothing was changed |
        | Commit | `0123456789abcdef0123456789abcdef01234567` |
        | Asked | `https://shop.example/deploy` |

        ```text
        unreachable: cannot connect
          hint: check its name
        ```
        ");
    }

    #[test]
    fn what_an_app_writes_is_no_command() {
        for (text, inert) in [
            ("::set-env name=A::b", ": :set-env name=A::b"),
            ("a\n  ::error::x\nb ::c::", "a\n  : :error::x\nb ::c::"),
            ("##[command]rm", "# #[command]rm"),
            ("as it is", "as it is"),
        ] {
            assert_eq!(Job::inert(text), inert);
        }
        assert_eq!(
            with(|job| [job.quiet(), job.loud(), job.group()]),
            ["::stop-commands::0190a8a27d3c", "::0190a8a27d3c::", "::group::Deploy web"]
        );
    }
}
