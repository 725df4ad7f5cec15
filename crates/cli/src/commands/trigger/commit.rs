//! When a commit was made, as the checkout here says.

use std::path::Path;

use lockgate_local::LocalRunner;
use lockgate_model::{CommitSha, Millis, Timestamp};
use lockgate_ports::{Command, CommandRunner};

const GIT_SECONDS_MAX: u64 = 10;

/// `None` where there is no git, no checkout, or not this commit in it: nothing is then called older than it.
pub async fn time(folder: &Path, sha: &CommitSha) -> Option<Timestamp> {
    // Plumbing, which runs no program that a checkout's configuration names and fetches nothing.
    let mut command = Command::new(["git", "--no-replace-objects", "cat-file", "commit", sha.as_str()]);
    command.env.insert("GIT_NO_LAZY_FETCH".to_owned(), "1".to_owned());
    command.timeout = Millis::from_secs(GIT_SECONDS_MAX);
    let output = LocalRunner { cwd: folder.to_owned() }.run(&command).await;
    let said = match output {
        Ok(output) if output.code == 0 => output.stdout,
        Ok(output) => {
            tracing::debug!(code = output.code, "git knows no time of this commit");
            return None;
        }
        Err(error) => {
            tracing::debug!(%error, "git cannot be asked for the commit's time");
            return None;
        }
    };
    committer_time(&String::from_utf8_lossy(&said))
}

/// Of the line `committer Kim <kim@shop.example> 1763683201 +0100` in a commit's head.
fn committer_time(commit: &str) -> Option<Timestamp> {
    let mut head = commit.lines().take_while(|line| !line.is_empty());
    let line = head.find_map(|line| line.strip_prefix("committer "))?;
    let (_, time) = line.rsplit_once("> ")?;
    let seconds: i64 = time.split(' ').next()?.parse().ok()?;
    seconds.checked_mul(1_000).filter(|at| *at >= 0).map(Timestamp)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_the_committer_s_whatever_the_message_says() {
        let commit = "tree 1\nauthor Lee <lee@x> 5 +0000\ncommitter Kim > x <kim@x> 1763683201 +0100\n\n\
                      committer Mallory <m@x> 9 +0000\n";
        assert_eq!(committer_time(commit), Some(Timestamp(1_763_683_201_000)));
        for none in
            ["", "tree 1\n\ncommitter Kim <kim@x> 5 +0000\n", "committer Kim <kim@x> soon", "committer Kim"]
        {
            assert_eq!(committer_time(none), None, "{none:?}");
        }
    }

    #[tokio::test]
    async fn where_there_is_no_checkout_nothing_is_known() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(time(folder.path(), &CommitSha::new("a".repeat(40)).unwrap()).await, None);
    }
}
