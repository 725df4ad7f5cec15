//! What the jobs said, kept beside lockgate.yaml: a folder for each `ship`, a file for each job.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use lockgate_model::{Job, RunId};

use crate::alone::{MODE, folder, unusable};
use crate::error::CliError;

/// Of one job. What comes after that is shown and not kept.
const LOG_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// Folders that stay; of more the oldest are removed.
const SHIPS_KEPT_MAX: usize = 20;
const FOLDER_MODE: u32 = 0o700;
const CUT: &str = "… more was said than is kept\n";

/// The folder of one `ship`. It is made when there is something to keep.
pub struct Logs {
    root: PathBuf,
    /// Its name, which sorts by time.
    name: String,
    current: Option<Current>,
}

struct Current {
    job: Job,
    /// `None` where it could not be opened, which was said.
    file: Option<File>,
    bytes: u64,
}

impl Logs {
    /// `root` is lockgate.yaml's folder, and `id` sorts by time.
    pub fn new(root: &Path, id: RunId) -> Self {
        Self { root: root.to_owned(), name: id.to_string(), current: None }
    }

    /// The folder for people, from lockgate.yaml's on.
    pub fn shown(&self) -> String {
        format!(".lockgate/ship/{}", self.name)
    }

    /// A line of a job, without secrets. A full disk does not fail a build: it is said once.
    pub fn line(&mut self, job: Job, text: &str) {
        if self.current.as_ref().is_none_or(|current| current.job != job) {
            let file = self.open(&format!("{}.log", job.as_str()));
            self.current = Some(Current { job, file, bytes: 0 });
        }
        let Some(Current { file, bytes, .. }) = &mut self.current else { return };
        let Some(to) = file.as_mut().filter(|_| *bytes <= LOG_BYTES_MAX) else { return };
        *bytes += text.len() as u64 + 1;
        let text = if *bytes > LOG_BYTES_MAX { CUT.to_owned() } else { format!("{text}\n") };
        if let Err(error) = to.write_all(text.as_bytes()) {
            tracing::warn!(%error, job = job.as_str(), "the job's log cannot be kept");
            *file = None;
        }
    }

    /// Which run these jobs were for.
    pub fn run(&self, run: RunId) {
        if let Some(mut file) = self.open("run")
            && let Err(error) = writeln!(file, "{run}")
        {
            tracing::warn!(%error, "the run's id cannot be kept with the logs");
        }
    }

    fn open(&self, name: &str) -> Option<File> {
        let opened = self.folder().and_then(|folder| {
            let path = folder.join(name);
            let file = OpenOptions::new().append(true).create(true).mode(MODE).open(&path);
            file.map_err(|error| unusable(&path, error.into()))
        });
        match opened {
            Ok(file) => Some(file),
            Err(error) => {
                tracing::warn!(?error, name, "the job's log cannot be kept");
                None
            }
        }
    }

    fn folder(&self) -> Result<PathBuf, CliError> {
        let all = folder(&self.root)?.join("ship");
        let own = all.join(&self.name);
        if own.is_dir() {
            return Ok(own);
        }
        let made = DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(&own);
        made.map_err(|error| unusable(&own, error.into()))?;
        lockgate_own::own_folder(&all).map_err(|error| unusable(&all, error))?;
        forget(&all);
        Ok(own)
    }
}

/// Names sort by time, and nothing else is in there.
fn forget(all: &Path) {
    let Ok(entries) = std::fs::read_dir(all) else { return };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut names: Vec<String> = names.filter(|name| name.parse::<RunId>().is_ok()).collect();
    names.sort();
    for name in names.iter().rev().skip(SHIPS_KEPT_MAX) {
        if let Err(error) = std::fs::remove_dir_all(all.join(name)) {
            tracing::warn!(%error, name, "an old log cannot be removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_job_has_its_file_within_a_bound_and_old_ones_go() {
        let root = tempfile::tempdir().unwrap();
        let mut logs = Logs::new(root.path(), crate::tools::new_run());
        assert!(!root.path().join(".lockgate").exists(), "there is nothing to keep yet");
        let first = root.path().join(logs.shown());
        logs.line(Job::Test, "one");
        logs.line(Job::Build, "two");
        logs.line(Job::Build, &"x".repeat(9 * 1024 * 1024));
        logs.line(Job::Build, "never kept");
        let read = |name: &str| std::fs::read_to_string(first.join(name)).unwrap();
        assert_eq!(
            (read("test.log").as_str(), read("build.log").as_str()),
            ("one\n", format!("two\n{CUT}").as_str())
        );
        for _ in 0..SHIPS_KEPT_MAX {
            assert!(first.exists());
            Logs::new(root.path(), crate::tools::new_run()).line(Job::Test, "x");
        }
        assert!(!first.exists());
    }
}
