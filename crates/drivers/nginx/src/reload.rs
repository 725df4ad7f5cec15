//! The switch that is a reload, for configurations that cannot look for a file: a file of ours that nginx includes says where the
//! slot is, and nginx loads it anew.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use lockgate_model::{FailureKind, Millis, Slot, TOLD_CHARS_MAX, quoted};
use lockgate_ports::{Command, Output, PortError};

use crate::files::Configuration;
use crate::nginx::Nginx;

const ACT: &str = include_str!("sh/act.sh");
const WORKERS: &str = include_str!("sh/workers.sh");
/// Longest wait for `nginx -t`, for `nginx -s reload`, and for a look at its workers.
const ACT_SECONDS_MAX: u64 = 20;
/// Longest wait until the workers of before take nothing new any more.
const LEAVE_SECONDS_MAX: u64 = 15;
/// Between two looks at them.
const LOOK_MILLIS: u64 = 20;
/// Where Debian's package, and nginx's own image, have it.
const PID_FILE: &str = "/run/nginx.pid";

/// nginx's workers, by their process ids on the host.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Workers {
    pub serving: BTreeSet<u32>,
    /// They finish what they have, with the configuration that they had.
    pub leaving: BTreeSet<u32>,
}

/// `None` where there is no master.
fn parse(text: &str) -> Option<Workers> {
    let mut workers = Workers::default();
    let mut lines = text.lines();
    lines.next().filter(|line| line.starts_with("master "))?;
    for line in lines {
        match line.split_once(' ').map(|(pid, state)| (pid.parse(), state)) {
            Some((Ok(pid), "serving")) => drop(workers.serving.insert(pid)),
            Some((Ok(pid), "leaving")) => drop(workers.leaving.insert(pid)),
            _ => {}
        }
    }
    Some(workers)
}

impl Nginx {
    /// # Errors
    /// `Unreachable` where nginx does not run.
    pub(crate) async fn workers(&self, configuration: &Configuration) -> Result<Workers, PortError> {
        let pid =
            configuration.directives.iter().find(|one| one.name == "pid").map_or(PID_FILE, |one| one.first());
        let container = self.options.container.as_deref().unwrap_or("-");
        let argv = ["sh", "-c", WORKERS, "workers.sh", container, pid];
        let command = Command::new(argv).timeout(Millis::from_secs(ACT_SECONDS_MAX));
        let output = self.host().exec(&command).await.map_err(PortError::without_effect)?;
        parse(&output.stdout_text()).ok_or_else(|| {
            let message = match &self.options.container {
                Some(name) => format!("no nginx is seen as the first process of the container {name}"),
                None => format!("no nginx is seen whose process id {pid} names"),
            };
            PortError::unreachable(message)
                .without_effect()
                .hint(format!("start nginx on {}: `systemctl start nginx`", self.host().id()))
        })
    }

    async fn act(&self, what: &str) -> Result<Output, PortError> {
        let given = |text: &Option<String>| text.as_deref().unwrap_or("-").to_owned();
        let argv = ["sh", "-c", ACT, "act.sh"].map(str::to_owned).into_iter();
        let argv = argv.chain([given(&self.options.container), given(&self.options.config), what.to_owned()]);
        self.host().exec(&Command::new(argv).timeout(Millis::from_secs(ACT_SECONDS_MAX))).await
    }

    /// Has nginx go by the file as it stands now. When it returns no worker of before takes a request any more.
    ///
    /// # Errors
    /// `Refused` and `Unauthorized` where nothing was loaded; with an unknown effect where nginx was told to and does not.
    pub(crate) async fn reload(&self, configuration: &Configuration) -> Result<(), PortError> {
        let before = self.workers(configuration).await?;
        let tested = self.act("test").await.map_err(PortError::without_effect)?;
        if !tested.ok() {
            return Err(self.refused("`nginx -t` refuses the configuration", &tested));
        }
        let told = self.act("reload").await.map_err(PortError::with_unknown_effect)?;
        if !told.ok() {
            return Err(self.refused("nginx could not be told to reload", &told));
        }
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(LEAVE_SECONDS_MAX) {
            let now = self.workers(configuration).await.map_err(PortError::with_unknown_effect)?;
            if now.serving.is_disjoint(&before.serving) && !now.serving.is_empty() {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(LOOK_MILLIS)).await;
        }
        let message = format!(
            "nginx was told to reload, and workers of before still serve after {LEAVE_SECONDS_MAX} s: it goes on with what it had"
        );
        Err(PortError::new(FailureKind::Refused, message).with_unknown_effect().hint(
            "its error log says why, such as an address that is taken: `tail /var/log/nginx/error.log`",
        ))
    }

    fn refused(&self, what: &str, output: &Output) -> PortError {
        let said = output.stderr_text();
        let telling =
            |line: &&str| line.contains("[emerg]") || line.contains("[error]") || line.contains("[crit]");
        let line = said.lines().find(telling).or_else(|| said.trim().lines().next_back()).unwrap_or_default();
        let words = quoted(line.trim_start_matches("nginx: "), TOLD_CHARS_MAX);
        let forbidden = ["(13: Permission denied)", "(1: Operation not permitted)"];
        let kind = match forbidden.iter().any(|why| said.contains(why)) {
            true => FailureKind::Unauthorized,
            false => FailureKind::Refused,
        };
        let hint = match kind {
            FailureKind::Unauthorized => {
                "only root can reload nginx: let Lockgate be root there, or write `switch: file`, which needs no reload"
            }
            _ => "`nginx -t` on that host says the same",
        };
        PortError::new(kind, format!("{what}: {words}")).hint(hint)
    }

    /// Where a slot has no connections, and has lost the traffic: whether a worker that is leaving may yet make one.
    pub(crate) async fn may_come_back(
        &self,
        configuration: &Configuration,
        slot: Slot,
        live: Slot,
    ) -> Result<bool, PortError> {
        Ok(slot != live && !self.workers(configuration).await?.leaving.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_are_told_apart_by_what_they_call_themselves() {
        let workers = parse("master 1\n7 serving\n8 leaving\nx serving\n9 other\n").unwrap();
        assert_eq!((workers.serving, workers.leaving), (BTreeSet::from([7]), BTreeSet::from([8])));
        assert_eq!(parse(""), None);
        assert_eq!(parse("7 serving\n"), None);
    }
}
