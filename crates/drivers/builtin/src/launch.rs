//! Starting the proxy on its host.

use std::time::Duration;

use lockgate_ports::{Command, PortError};
use lockgate_proxy::StatusView;
use tokio::time::Instant;

use crate::admin::Admin;

/// How long the proxy may take until it answers.
const LAUNCH_SECONDS_MAX: u64 = 5;
/// Pause between two looks.
const LOOK_MILLIS: u64 = 5;
/// How much of its log an error shows.
const LOG_LINES: &str = "5";

/// `launch.sh DIR ARGV...`: starts the program in a session of its own, so that it outlives whoever called. Of the
/// environment it gets only what any program needs: it lives long, and the caller's secrets are none of its business.
const LAUNCH: &str = r#"
dir=$1
shift
mkdir -p -m 700 -- "$dir" || exit 1
set -- env -i PATH="$PATH" HOME="$HOME" LANG="$LANG" TZ="$TZ" "$@"
exec >> "$dir/proxy.log" 2>&1 < /dev/null || exit 1
setsid -f "$@" || { setsid "$@" & }
"#;

/// Starts it and waits until it answers. When somebody else starts one at the same time, one of the two gives way and
/// the other answers.
///
/// # Errors
/// `TimedOut` with the end of its log, or as the host.
pub(crate) async fn launch(admin: &Admin<'_>, argv: &[String]) -> Result<StatusView, PortError> {
    let head = ["sh", "-c", LAUNCH, "sh", admin.dir].into_iter();
    let command = Command::new(head.chain(argv.iter().map(String::as_str)));
    let output = admin.host.exec(&command).await.map_err(|error| error.context("start the proxy"))?;
    if !output.ok() {
        return Err(PortError::other(format!("start the proxy: {}", output.stderr_text().trim())));
    }
    let limit = Instant::now() + Duration::from_secs(LAUNCH_SECONDS_MAX);
    loop {
        if let Some(status) = admin.status().await? {
            return Ok(status);
        }
        if Instant::now() >= limit {
            let log = last_lines(admin).await;
            return Err(PortError::timed_out(format!(
                "the proxy does not answer {LAUNCH_SECONDS_MAX} s after its start: {log}"
            ))
            .hint(format!("run it by hand to see why: {}", argv.join(" "))));
        }
        tokio::time::sleep(Duration::from_millis(LOOK_MILLIS)).await;
    }
}

/// For an error that is on its way already, so this one's own failure is only mentioned.
async fn last_lines(admin: &Admin<'_>) -> String {
    let path = format!("{}/proxy.log", admin.dir);
    match admin.host.exec(&Command::new(["tail", "-n", LOG_LINES, "--", &path])).await {
        Ok(output) => output.stdout_text().lines().collect::<Vec<_>>().join("; "),
        Err(error) => format!("its log cannot be read: {error}"),
    }
}
