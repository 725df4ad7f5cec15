//! The port, by one program.

use std::sync::Arc;

use async_trait::async_trait;
use lockgate_model::{
    COMMITS_TOLD_MAX, Commit as Told, CommitSha, Commits, FailureKind, Millis, TOLD_CHARS_MAX, Timestamp,
    quoted,
};
use lockgate_ports::{Between, Changed, Command, GIT_TAGS_MAX, Git, Head, Host, Output, PortError};

use crate::status;

/// For one question. A status of a large tree on a cold disk takes seconds.
const GIT_SECONDS_MAX: u64 = 60;
/// What a host keeps of a command's output, from the end: an answer that long may be a part.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;
/// Settings of a clone that would start a program, show less, or write. (`log` and `diff-tree` get theirs as options.)
const SETTINGS: [&str; 6] =
    ["-c", "core.fsmonitor=false", "-c", "core.quotePath=false", "-c", "i18n.logOutputEncoding=UTF-8"];
/// In place of what whoever calls has set: nothing is locked, fetched or asked, and messages are in English.
const OWN_VARIABLES: [&str; 4] =
    ["GIT_OPTIONAL_LOCKS=0", "GIT_NO_LAZY_FETCH=1", "GIT_TERMINAL_PROMPT=0", "LC_ALL=C"];

/// What a [`GitCli`] needs.
pub struct GitOptions {
    /// The machine with the clone.
    pub host: Arc<dyn Host>,
    /// The project's folder: the clone's, or one in it.
    pub folder: String,
    /// Variables of the caller's environment that git would heed: those whose names begin with `GIT_`.
    pub unset: Vec<String>,
}

/// [`Git`] by the `git` that is installed.
pub struct GitCli {
    options: GitOptions,
}

impl GitCli {
    #[must_use]
    pub fn new(options: GitOptions) -> Self {
        Self { options }
    }

    fn command(&self, args: &[&str]) -> Command {
        let unset = self.options.unset.iter().flat_map(|name| ["-u", name.as_str()]);
        let words = ["env"].into_iter().chain(unset).chain(OWN_VARIABLES);
        let git = ["git", "--no-pager", "--no-replace-objects"];
        let words = words.chain(git).chain(SETTINGS).chain(args.iter().copied());
        Command::new(words).cwd(self.options.folder.clone()).timeout(Millis::from_secs(GIT_SECONDS_MAX))
    }

    /// What git answers.
    async fn ask(&self, command: &Command) -> Result<Vec<u8>, PortError> {
        let output = self.options.host.exec(command).await?;
        if output.ok() { Ok(output.stdout) } else { Err(self.refused(&output)) }
    }

    async fn ask_text(&self, args: &[&str]) -> Result<String, PortError> {
        let said = self.ask(&self.command(args)).await?;
        Ok(String::from_utf8_lossy(&said).into_owned())
    }

    fn refused(&self, output: &Output) -> PortError {
        let said = output.stderr_text();
        let folder = &self.options.folder;
        let has = |text: &str| said.contains(text);
        if output.code == 127 {
            return PortError::not_found("git is not installed here, or not on PATH").hint("install git");
        }
        if has("not a git repository") {
            return PortError::not_found(format!("{folder} is in no git repository"))
                .hint("go to a clone of it; `lockgate deploy SERVICE TAG` needs none");
        }
        if has("dubious ownership") {
            return PortError::new(
                FailureKind::Unauthorized,
                format!("git does not trust the repository of {folder}, for it belongs to somebody else"),
            )
            .hint(format!("if it may be trusted: git config --global --add safe.directory {folder}"));
        }
        if has("unknown revision")
            || has("bad revision 'HEAD'")
            || has("malformed object name 'HEAD'")
            || has("ambiguous argument 'HEAD'")
            || has("does not have any commits")
        {
            return PortError::not_found("there is no commit yet").hint("git add, git commit");
        }
        let last = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
        let last = quoted(last, TOLD_CHARS_MAX);
        PortError::other(format!("git failed with exit code {}: {last}", output.code))
            .hint("try `git status` there")
    }

    /// The commit with its author, subject and time.
    async fn commit(&self) -> Result<Commit, PortError> {
        let format = "--format=%H%x00%an%x00%s%x00%ct";
        let args = ["log", "-1", "--no-show-signature", "--no-color", "--no-notes", format, "HEAD", "--"];
        let said = self.ask_text(&args).await?;
        let mut parts = said.trim_end_matches('\n').split('\0').map(str::to_owned);
        let mut next = || parts.next().unwrap_or_default();
        let (sha, author, subject, at) = (next(), next(), next(), next());
        let sha = CommitSha::new(sha).map_err(|invalid| {
            PortError::other(format!(
                "git's name of the commit is none that is known here: {}",
                invalid.reason
            ))
            .hint("repositories by SHA-256 are not known")
        })?;
        let seconds: i64 = at.parse().unwrap_or_default();
        let at = Timestamp(seconds.saturating_mul(1_000));
        Ok(Commit { sha, author, subject, at })
    }

    async fn place(&self) -> Result<(bool, String), PortError> {
        let said = self.ask_text(&["rev-parse", "--is-shallow-repository", "--show-prefix"]).await?;
        let (is_shallow, folder) = said.split_once('\n').unwrap_or((&said, ""));
        Ok((is_shallow == "true", folder.strip_suffix('\n').unwrap_or(folder).to_owned()))
    }

    async fn tags(&self) -> Result<Vec<String>, PortError> {
        let count = format!("--count={GIT_TAGS_MAX}");
        let args = ["for-each-ref", "--points-at=HEAD", &count, "--format=%(refname:lstrip=2)", "refs/tags"];
        Ok(self.ask_text(&args).await?.lines().map(str::to_owned).collect())
    }

    /// Only where the commit has any, for asking takes a shell.
    async fn absent_submodules(&self) -> Result<Vec<String>, PortError> {
        let known = self.command(&["ls-files", "-z", "--", ":(top,literal).gitmodules"]);
        if self.ask(&known).await?.is_empty() {
            return Ok(Vec::new());
        }
        let said = self.ask_text(&["submodule", "status", "--recursive"]).await?;
        // `-0123… path` is one that is not checked out.
        let absent = said.lines().filter_map(|line| line.strip_prefix('-')?.split_once(' '));
        Ok(absent.map(|(_, path)| path.to_owned()).take(lockgate_ports::UNCLEAN_MAX).collect())
    }

    /// Which of these the clone does not have; the first of them.
    async fn missing(&self, commits: [&CommitSha; 2]) -> Result<Option<CommitSha>, PortError> {
        let asked: String = commits.iter().map(|sha| format!("{sha}\n")).collect();
        let said = self.ask(&self.command(&["cat-file", "--batch-check"]).stdin(asked)).await?;
        let said = String::from_utf8_lossy(&said).into_owned();
        let is_there = |sha: &CommitSha| said.lines().any(|line| line.starts_with(&format!("{sha} commit ")));
        Ok(commits.into_iter().find(|sha| !is_there(sha)).cloned())
    }

    /// Whether they have a commit in common.
    async fn are_related(&self, one: &CommitSha, other: &CommitSha) -> Result<bool, PortError> {
        let command = self.command(&["merge-base", one.as_str(), other.as_str()]);
        let output = self.options.host.exec(&command).await?;
        match output.code {
            0 => Ok(true),
            1 => Ok(false),
            _ => Err(self.refused(&output)),
        }
    }

    /// Commits of `of` that `without` has not.
    async fn commits(&self, without: &CommitSha, of: &CommitSha) -> Result<Commits, PortError> {
        let range = format!("{without}..{of}");
        let count = self.ask_text(&["rev-list", "--count", &range, "--"]).await?;
        let count: u64 = count.trim().parse().map_err(|_| {
            let said = quoted(count.trim(), TOLD_CHARS_MAX);
            PortError::other(format!("git counts \"{said}\" commits")).hint("try `git status` there")
        })?;
        if count == 0 {
            return Ok(Commits::default());
        }
        let newest = format!("-{COMMITS_TOLD_MAX}");
        let format = "--format=%H%x00%an%x00%s";
        let args =
            ["log", "-z", &newest, "--no-show-signature", "--no-color", "--no-notes", format, &range, "--"];
        let said = self.ask_text(&args).await?;
        let parts: Vec<&str> = said.split('\0').collect();
        let read = |commit: &[&str]| match commit {
            [id, author, subject] => CommitSha::new(*id).ok().map(|id| Told::new(&id, author, subject)),
            _ => None,
        };
        Ok(Commits { count, newest: parts.chunks(3).filter_map(read).collect() })
    }
}

struct Commit {
    sha: CommitSha,
    author: String,
    subject: String,
    at: Timestamp,
}

#[async_trait]
impl Git for GitCli {
    async fn head(&self) -> Result<Head, PortError> {
        let status =
            self.command(&["status", "--porcelain=v2", "--branch", "-z", "--untracked-files=normal"]);
        let (commit, (is_shallow, folder), tags, absent_submodules, said) = tokio::try_join!(
            self.commit(),
            self.place(),
            self.tags(),
            self.absent_submodules(),
            self.ask(&status)
        )?;
        let status = status::parse(&String::from_utf8_lossy(&said), &format!("{folder}.lockgate/"));
        let Commit { sha, author, subject, at } = commit;
        Ok(Head {
            commit: sha,
            author,
            subject,
            at,
            branch: status.branch,
            tags,
            unclean: status.unclean,
            absent_submodules,
            is_shallow,
            folder,
        })
    }

    async fn changed(&self, from: &CommitSha, to: &CommitSha) -> Result<Changed, PortError> {
        if let Some(missing) = self.missing([from, to]).await? {
            return Ok(Changed::Missing(missing));
        }
        let args = ["diff-tree", "-r", "-z", "--name-only", "--no-renames", "--no-ext-diff", "--no-color"];
        let commits = ["--end-of-options", from.as_str(), to.as_str(), "--"];
        let said = self.ask(&self.command(&[&args[..], &commits].concat())).await?;
        if said.len() >= ANSWER_BYTES_MAX {
            return Ok(Changed::TooMany);
        }
        let said = String::from_utf8_lossy(&said);
        Ok(Changed::Files(said.split('\0').filter(|path| !path.is_empty()).map(str::to_owned).collect()))
    }

    async fn between(&self, from: &CommitSha, to: &CommitSha) -> Result<Between, PortError> {
        if let Some(missing) = self.missing([to, from]).await? {
            return Ok(Between::Missing(missing));
        }
        if !self.are_related(from, to).await? {
            return Ok(Between::Unrelated);
        }
        let (brought, taken_back) = tokio::try_join!(self.commits(from, to), self.commits(to, from))?;
        Ok(Between::Commits { brought, taken_back })
    }
}
