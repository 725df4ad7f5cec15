//! `trigger`'s part of the command line.

use std::path::PathBuf;

use clap::Args as ClapArgs;
use lockgate_config::{SPAN_EXPECTS, span};
use lockgate_model::{CommitSha, Millis, ServiceName, Timestamp};

#[derive(Debug, ClapArgs)]
#[command(after_help = SECRET)]
pub struct Trigger {
    /// The endpoint, such as https://deploy.shop.example/deploy
    pub url: String,
    /// Which service; default: the only one that the endpoint has
    #[arg(long, value_name = "NAME")]
    pub service: Option<ServiceName>,
    /// The commit whose image goes live, all 40 digits
    #[arg(long, env = "GITHUB_SHA", value_name = "SHA")]
    pub sha: CommitSha,
    /// When the commit was made, as 2026-11-27T06:40:00Z or in seconds since 1970; default: what git says of it here. The
    /// daemon refuses an older one than what is live
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub committed_at: Option<Timestamp>,
    /// Although it was asked for before, or is older than what is live
    #[arg(long)]
    pub force: bool,
    /// How long to ask again while somebody else deploys, a gate says not yet or the daemon stops; default: not at all
    #[arg(long, value_name = "TIME", value_parser = length)]
    pub wait: Option<Millis>,
    /// How long to wait for the end; the deployment goes on behind it
    #[arg(long, value_name = "TIME", value_parser = length, default_value = "1h")]
    pub timeout: Millis,
    /// Certificates (PEM) to trust beside the system's authorities: another one's, or the very one that the daemon shows
    #[arg(long, value_name = "FILE")]
    pub cacert: Option<PathBuf>,
    /// The secret's file; default: the environment, as below
    #[arg(long, value_name = "FILE")]
    pub secret_file: Option<PathBuf>,
    /// Allow http:// to other machines, where the way there is safe
    #[arg(long)]
    pub plain_http: bool,
}

const SECRET: &str = "The secret that signs the call is in LOCKGATE_WEBHOOK_SECRET or WEBHOOK_SECRET, or in a file (--secret-file); \
never on the command line, where every user of a machine sees it.";

fn length(text: &str) -> Result<Millis, String> {
    span(text).filter(|span| span.0 > 0).ok_or_else(|| format!("write {SPAN_EXPECTS}"))
}

fn time(text: &str) -> Result<Timestamp, String> {
    let seconds = || text.parse::<i64>().ok()?.checked_mul(1_000);
    let written = || text.parse::<jiff::Timestamp>().ok().map(|time| time.as_millisecond());
    let at = seconds().or_else(written).filter(|at| *at >= 0);
    at.map(Timestamp)
        .ok_or_else(|| "write a time such as 2026-11-27T06:40:00Z, or seconds since 1970".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Alone {
        #[command(flatten)]
        trigger: Trigger,
    }

    fn parsed(args: &[&str]) -> Result<Trigger, String> {
        let all = [&["trigger", "https://shop.example/deploy"], args].concat();
        Alone::try_parse_from(all).map(|alone| alone.trigger).map_err(|error| error.to_string())
    }

    #[test]
    fn times_and_lengths_are_as_people_and_git_write_them() {
        let sha = "a".repeat(40);
        for text in ["2025-11-21T00:00:01Z", "2025-11-21T01:00:01+01:00", "1763683201"] {
            let trigger = parsed(&["--sha", &sha, "--committed-at", text, "--wait", "10m"]).unwrap();
            assert_eq!(trigger.committed_at, Some(Timestamp(1_763_683_201_000)), "{text}");
            assert_eq!(
                (trigger.wait, trigger.timeout),
                (Some(Millis::from_secs(600)), Millis::from_secs(3_600))
            );
        }
        for bad in ["yesterday", "-5", "2025-11-21", "99999999999999999999"] {
            assert!(parsed(&["--sha", &sha, &format!("--committed-at={bad}")]).is_err(), "{bad}");
        }
        for bad in ["0", "soon", "-1s", "400h"] {
            assert!(parsed(&["--sha", &sha, &format!("--wait={bad}")]).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_commit_is_nothing_else() {
        let upper = "A".repeat(40);
        for bad in ["", "--help", "v1", "abcdef1", &upper, "$(id)"] {
            let error = parsed(&[&format!("--sha={bad}")]).unwrap_err();
            assert!(error.contains("a commit is 40 lower-case hex digits"), "{bad}: {error}");
        }
    }
}
