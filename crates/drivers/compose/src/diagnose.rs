//! Why a slot might not answer.

use std::collections::BTreeSet;

use lockgate_model::Slot;
use lockgate_ports::{Diagnosis, Finding};

use crate::api::Container;
use crate::compose::Compose;
use crate::held::Held;
use crate::plain::plain;
use crate::replicas::group;

/// `st` of a listening socket in `/proc/<pid>/net/tcp`. Source: Linux, `include/net/tcp_states.h`.
const LISTEN: &str = "0A";
/// Docker's own name server inside a container listens here.
const DOCKER_DNS: &str = "0B00007F";
/// Lines of a health check's output that are shown, from the end.
const HEALTH_OUTPUT_LINES_MAX: usize = 5;

/// A listening TCP port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Listener {
    port: u16,
    /// Reachable from inside the container only.
    loopback: bool,
}

impl Compose {
    pub(crate) async fn find_reasons(&self, slot: Slot, port: Option<u16>) -> Diagnosis {
        let held = match self.held().await {
            Ok(held) => held,
            Err(error) => return vec![error.message].into(),
        };
        let group = group(&held, slot);
        if group.is_empty() {
            let none = format!("there is no container for {} in slot {slot}", self.service.name);
            return vec![none].into();
        }
        let is_one = group.len() == 1;
        let mut all = Diagnosis::default();
        for one in group {
            let mut seen = self.find_reasons_of(one, port).await;
            if !is_one {
                // What says nothing of which container it is about is told with its name.
                let named = |finding: String| match finding.contains(one.name()) {
                    true => finding,
                    false => format!("{}: {finding}", one.name()),
                };
                seen.findings = seen.findings.into_iter().map(named).collect();
            }
            all.findings.extend(seen.findings);
            all.said.extend(seen.said);
        }
        all
    }

    async fn find_reasons_of(&self, one: &Held, port: Option<u16>) -> Diagnosis {
        let container = match self.engine.container(&one.summary.id).await {
            Ok(Some(container)) => container,
            Ok(None) => return vec![format!("the container {} is gone", one.name())].into(),
            Err(error) => return vec![error.message].into(),
        };
        let mut findings = state(one.name(), &container);
        if let Some(port) = port.or(self.service.port)
            && container.state.status == "running"
        {
            findings.extend(self.listening(&container, port).await);
        }
        Diagnosis { findings, said: health_output(&container) }
    }

    async fn listening(&self, container: &Container, port: u16) -> Option<Finding> {
        if self.engine.address().await.ok()?.elsewhere.is_some() {
            return Some(format!(
                "the engine is on another machine, where the container's port {port} must be under `ports:`"
            ));
        }
        let mut listeners = BTreeSet::new();
        let mut seen = false;
        for table in ["tcp", "tcp6"] {
            // No such file: the process ended, or the host is no Linux of ours; then nothing can be said.
            let path = format!("/proc/{}/net/{table}", container.state.pid);
            if let Ok(read) = self.host.read(&path).await
                && let Some(content) = read.content
            {
                seen = true;
                listeners.extend(parse(&String::from_utf8_lossy(&content)));
            }
        }
        let shared = container.host_config.network_mode == "host";
        if seen { judge(&listeners, port, shared) } else { None }
    }
}

fn judge(listeners: &BTreeSet<Listener>, port: u16, host_network: bool) -> Option<Finding> {
    if listeners.iter().any(|one| one.port == port && (!one.loopback || host_network)) {
        return None;
    }
    if listeners.iter().any(|one| one.port == port) {
        return Some(format!(
            "port {port} is listened on at 127.0.0.1 inside the container only: make the program listen on 0.0.0.0"
        ));
    }
    // With the host's network the table shows the whole host's ports, which say nothing about the container.
    let ports: BTreeSet<u16> = listeners.iter().map(|one| one.port).collect();
    if host_network || ports.is_empty() {
        return Some(format!("nothing listens on port {port}"));
    }
    let listed: Vec<String> = ports.iter().map(u16::to_string).collect();
    let mend = match listed.as_slice() {
        [only] => format!(": `port: {only}` in lockgate.yaml, if that is the app"),
        _ => String::new(),
    };
    Some(format!("nothing listens on port {port}; the container listens on {}{mend}", listed.join(", ")))
}

fn parse(table: &str) -> Vec<Listener> {
    table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let mut fields = line.split_whitespace().skip(1);
            let (address, port) = fields.next()?.split_once(':')?;
            let listens = fields.nth(1)? == LISTEN;
            if !listens || address == DOCKER_DNS {
                return None;
            }
            let port = u16::from_str_radix(port, 16).ok()?;
            Some(Listener { port, loopback: is_loopback(address) })
        })
        .collect()
}

/// Addresses are words in the host's byte order, which is little-endian wherever Docker is common: 127.0.0.1 is
/// `0100007F`, ::1 ends in `01000000`.
fn is_loopback(address: &str) -> bool {
    (address.len() == 8 && address.ends_with("7F")) || address == "00000000000000000000000001000000"
}

fn state(name: &str, container: &Container) -> Vec<Finding> {
    let state = &container.state;
    let mut findings = Vec::new();
    let code = state.exit_code;
    match state.status.as_str() {
        "running" if container.restart_count > 0 => {
            findings.push(format!("the container {name} was restarted {} times", container.restart_count));
        }
        "running" => {}
        "restarting" => findings.push(format!(
            "the container {name} keeps ending, with code {code}, and was restarted {} times",
            container.restart_count
        )),
        "exited" | "dead" => {
            findings.push(format!("the container {name} ended with code {code}{}", meaning(code)))
        }
        "created" => findings.push(format!("the container {name} was made, but never started")),
        other => findings.push(format!("the container {name} is {other}")),
    }
    if state.oom_killed {
        findings
            .push("the kernel killed it because it used more memory than it may: raise its limit".to_owned());
    }
    if !state.error.is_empty() {
        findings.push(format!("Docker says: {}", plain(&state.error)));
    }
    if let Some(health) = state.health.as_ref().filter(|health| health.status == "unhealthy") {
        findings.push(format!("its own health check failed {} times in a row", health.failing_streak));
    }
    findings
}

/// What the image's health check wrote when it last failed, which is as much the app's as its log.
fn health_output(container: &Container) -> Vec<String> {
    let health = container.state.health.as_ref().filter(|health| health.status != "healthy");
    let Some(entry) = health.and_then(|health| health.log.last()) else { return Vec::new() };
    let output = plain(&entry.output);
    let lines: Vec<&str> = output.trim().lines().collect();
    let last = &lines[lines.len().saturating_sub(HEALTH_OUTPUT_LINES_MAX)..];
    last.iter().map(|line| format!("(its health check) {line}")).collect()
}

/// Codes that shells and Docker give a meaning.
fn meaning(code: i64) -> &'static str {
    match code {
        126 => " (the command may not be executed)",
        127 => " (the command was not found in the image)",
        137 => " (SIGKILL)",
        139 => " (SIGSEGV)",
        143 => " (SIGTERM)",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "  sl  local_address rem_address   st tx_queue\n\
        \x20  0: 00000000:1F90 00000000:0000 0A 00000000:00000000\n\
        \x20  1: 0B00007F:8B4D 00000000:0000 0A 00000000:00000000\n\
        \x20  2: 0100007F:0050 00000000:0000 0A 00000000:00000000\n\
        \x20  3: 020011AC:1388 010011AC:C350 01 00000000:00000000\n";

    #[test]
    fn what_a_health_check_wrote_is_kept_out_of_the_findings() {
        let json = serde_json::json!({ "State": { "Status": "running", "Health": {
            "Status": "unhealthy", "FailingStreak": 3,
            "Log": [{ "Output": "older" }, { "Output": "\u{1b}[31mone\nTOKEN=hunter2\n3\n4\n5\n6\n" }],
        } } });
        let container: Container = serde_json::from_value(json).unwrap();
        assert_eq!(state("web-blue", &container), ["its own health check failed 3 times in a row"]);
        let said = ["TOKEN=hunter2", "3", "4", "5", "6"].map(|line| format!("(its health check) {line}"));
        assert_eq!(health_output(&container), said);
        assert!(health_output(&Container::default()).is_empty());
    }

    #[test]
    fn listening_ports_are_told_from_connections_and_dockers_name_server() {
        let listeners: BTreeSet<Listener> = parse(TABLE).into_iter().collect();
        assert_eq!(
            listeners.iter().map(|one| (one.port, one.loopback)).collect::<Vec<_>>(),
            [(80, true), (8080, false)]
        );
        assert_eq!(judge(&listeners, 8080, false), None);
        assert!(judge(&listeners, 80, false).unwrap().contains("listen on 0.0.0.0"));
        let wanted = "nothing listens on port 5000; the container listens on 80, 8080";
        assert_eq!(judge(&listeners, 5000, false).as_deref(), Some(wanted));
        assert_eq!(judge(&BTreeSet::new(), 5000, false).as_deref(), Some("nothing listens on port 5000"));
    }
}
