//! Whether Caddy's service runs on the host: as a unit of systemd, else as a process.

use lockgate_model::Millis;
use lockgate_ports::{Check, Command, Host};

/// Longest wait for the answer.
const LOOK_SECONDS_MAX: u64 = 5;
const LOOK: &str = include_str!("sh/service.sh");
const WHAT: &str = "Caddy's service";

/// What the host says of it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    /// What systemd says of its unit; `None` where there is no such unit, or no systemd.
    unit: Option<String>,
    /// A process called `caddy`. One in a container is among them where the host sees its processes.
    pid: Option<u32>,
}

/// `answers`: whether its admin API does. Never bad where that does, for Caddy may run in many ways.
pub(crate) async fn check(host: &dyn Host, answers: bool) -> Check {
    let command = Command::new(["sh", "-c", LOOK]).timeout(Millis::from_secs(LOOK_SECONDS_MAX));
    match host.exec(&command).await {
        Ok(output) => said(&parse(&output.stdout_text()), answers),
        Err(error) => Check::warn(WHAT, error.to_string(), "see that the host runs `sh`"),
    }
}

fn parse(text: &str) -> Seen {
    let mut seen = Seen::default();
    for line in text.lines() {
        match line.split_once(' ') {
            Some(("unit", state)) if is_word(state) => seen.unit = Some(state.to_owned()),
            Some(("process", pid)) => seen.pid = pid.trim().parse().ok(),
            _ => {}
        }
    }
    seen
}

/// `active`, `inactive`, `failed`, `activating`, `deactivating`, `reloading`.
fn is_word(state: &str) -> bool {
    !state.is_empty() && state.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')
}

fn said(seen: &Seen, answers: bool) -> Check {
    let process = seen.pid.map(|pid| format!("process {pid} is called caddy"));
    match (&seen.unit, process) {
        (Some(state), _) if matches!(state.as_str(), "active" | "reloading") => {
            Check::ok(WHAT, format!("systemd says that its unit caddy is {state}"))
        }
        (Some(state), process) if answers => {
            let runs = process.unwrap_or_else(|| "the Caddy that answers is no unit of systemd".to_owned());
            Check::ok(WHAT, format!("{runs}; systemd says that its unit caddy is {state}"))
        }
        (Some(state), _) => Check::bad(
            WHAT,
            format!("systemd says that its unit caddy is {state}"),
            "on that host: `sudo systemctl start caddy`; `journalctl -u caddy -n 50` says why it ended",
        ),
        (None, Some(process)) => Check::ok(WHAT, format!("{process}; it is no unit of systemd")),
        (None, None) if answers => Check::ok(
            WHAT,
            "no process on the host is called caddy: the one that answers runs in a container, or by another name",
        ),
        (None, None) => Check::warn(
            WHAT,
            "no process on the host is called caddy, and there is no unit of systemd for it",
            "start Caddy as you do there, such as `caddy start --config /etc/caddy/Caddyfile`",
        ),
    }
}

#[cfg(test)]
mod tests {
    use lockgate_ports::CheckState;

    use super::*;

    #[test]
    fn only_what_the_host_can_have_said_is_read() {
        let seen = |unit: Option<&str>, pid| Seen { unit: unit.map(str::to_owned), pid };
        assert_eq!(parse("unit active\nprocess 812\n"), seen(Some("active"), Some(812)));
        assert_eq!(parse("process 7\n"), seen(None, Some(7)));
        assert_eq!(parse("unit \x1b[2J\nprocess x\nhello\n"), seen(None, None));
        assert_eq!(parse(""), seen(None, None));
    }

    #[test]
    fn a_host_without_systemd_is_no_reason_to_fail_and_a_unit_that_failed_is_where_nobody_answers() {
        let state = |unit: Option<&str>, pid, answers| {
            said(&Seen { unit: unit.map(str::to_owned), pid }, answers).state
        };
        for answers in [true, false] {
            assert_eq!(state(Some("active"), None, answers), CheckState::Ok);
            assert_eq!(state(None, Some(7), answers), CheckState::Ok);
        }
        assert_eq!(state(None, None, true), CheckState::Ok);
        assert_eq!(state(None, None, false), CheckState::Warn);
        assert_eq!(state(Some("failed"), None, true), CheckState::Ok);
        assert_eq!(state(Some("failed"), None, false), CheckState::Bad);
        let mend = said(&Seen { unit: Some("failed".into()), pid: None }, false).mend.unwrap();
        assert!(mend.contains("`sudo systemctl start caddy`"), "{mend}");
    }
}
