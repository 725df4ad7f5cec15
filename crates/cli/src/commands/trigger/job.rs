//! A job of GitHub Actions hears of a deployment: in its log, as an annotation, and on its summary's page.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::Write;

use lockgate_client::{Asked, End, NoAnswer};
use lockgate_model::Failure;
use lockgate_render::{Job, Severity};

use crate::args::Format;
use crate::exit::Exit;
use crate::output::Output;

/// Where this process is a step of such a job. Its log is stderr, for there the run is shown.
pub struct GithubJob<'a> {
    output: &'a Output,
    /// `None` elsewhere.
    within: Option<Within<'a>>,
}

struct Within<'a> {
    asked: &'a Asked,
    address: String,
    token: String,
    /// `GITHUB_STEP_SUMMARY`.
    page: Option<OsString>,
}

impl<'a> GithubJob<'a> {
    pub fn here(asked: &'a Asked, address: &str, output: &'a Output) -> Self {
        let is_job = std::env::var("GITHUB_ACTIONS").is_ok_and(|value| value == "true");
        let within = is_job.then(|| Within {
            asked,
            address: address.to_owned(),
            token: uuid::Uuid::now_v7().simple().to_string(),
            page: std::env::var_os("GITHUB_STEP_SUMMARY").filter(|path| !path.is_empty()),
        });
        Self { output, within }
    }

    /// What is shown from here on is folded, and no command.
    pub fn begins(&self) {
        if let Some(within) = self.within.as_ref().filter(|_| self.output.format == Format::Text) {
            within.with(|job| self.lines(&[job.group(), job.quiet()]));
        }
    }

    /// How it ended.
    pub fn ends(&self, end: &Result<End, NoAnswer>) {
        let Some(within) = &self.within else { return };
        within.with(|job| {
            if self.output.format == Format::Text {
                self.lines(&[job.loud(), job.end_of_group()]);
            }
            let (line, page) = match end {
                Ok(End { answer, .. }) => (job.of_answer(answer), job.summary(answer)),
                Err(error) => {
                    let (head, failure) = (head(error.exit()), error.failure());
                    (self.annotation(job, head, failure), job.summary_without(head, failure))
                }
            };
            self.lines(&[self.output.masked(&line)]);
            within.write(&self.output.masked(&page));
        });
    }

    /// The text as it may stand in a job's log; elsewhere as it is.
    pub fn inert(&self, text: &str) -> String {
        match self.within {
            Some(_) => Job::inert(text),
            None => text.to_owned(),
        }
    }

    fn annotation(&self, job: &Job<'_>, head: &str, failure: &Failure) -> String {
        job.annotation(Severity::Error, head, &lockgate_render::failure_text(failure, Default::default()))
    }

    /// Also with `--quiet`: they are for GitHub, not for people.
    fn lines(&self, lines: &[String]) {
        let mut stderr = std::io::stderr().lock();
        for line in lines {
            if let Err(error) = writeln!(stderr, "{line}") {
                tracing::debug!(%error, "the job's log cannot be written");
            }
        }
    }
}

impl Within<'_> {
    fn with(&self, tell: impl FnOnce(&Job<'_>)) {
        tell(&Job {
            service: self.asked.service.as_ref(),
            sha: &self.asked.sha,
            address: &self.address,
            token: &self.token,
        });
    }

    /// A page that cannot be written changes nothing about the deployment.
    fn write(&self, page: &str) {
        let Some(path) = &self.page else { return };
        let written = OpenOptions::new().append(true).create(true).open(path).and_then(|mut file| {
            file.write_all(page.as_bytes())?;
            file.write_all(b"\n")
        });
        if let Err(error) = written {
            tracing::warn!(%error, "the job's summary cannot be written");
        }
    }
}

fn head(exit: Exit) -> &'static str {
    match exit {
        Exit::Unknown => "not known: it may still go on",
        Exit::Usage => "refused: nothing was changed",
        Exit::Succeeded | Exit::Failed | Exit::RolledBack | Exit::Stuck | Exit::NotYet | Exit::Held => {
            "failed: nothing was changed"
        }
    }
}
