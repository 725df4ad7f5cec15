//! Why a slot might not answer.

use lockgate_model::Slot;
use lockgate_ports::{Finding, Host, PortError};

use crate::look::Seen;
use crate::port::Sockets;

/// `port` is where it was expected; the slot's own port when nothing else is said. `end` is how it ended, if that is
/// known.
///
/// # Errors
/// As the host.
pub(crate) async fn findings(
    host: &dyn Host,
    dir: &str,
    slot: Slot,
    seen: &Seen,
    port: Option<u16>,
    end: Option<&str>,
) -> Result<Vec<Finding>, PortError> {
    if !seen.alive {
        return Ok(vec![ended(seen, end)]);
    }
    let own = seen.record.port;
    let wanted = port.unwrap_or(own);
    let held = Sockets::of_run(host, &format!("{dir}/{slot}"), &seen.record.token).await?.held();
    let pid = seen.run.as_ref().map_or(0, |run| run.pid);
    if held.contains(&wanted) {
        return Ok(Vec::new());
    }
    let others: Vec<String> = held.iter().map(u16::to_string).collect();
    let mut findings = vec![match others.as_slice() {
        [] => format!("nothing listens on port {wanted}; process {pid} runs and listens on no port"),
        others => format!("nothing listens on port {wanted}; process {pid} listens on {}", others.join(", ")),
    }];
    if !held.contains(&own) && !held.is_empty() {
        findings.push(format!("the service was told PORT={own} and does not use it"));
    }
    Ok(findings)
}

fn ended(seen: &Seen, end: Option<&str>) -> Finding {
    match &seen.run {
        Some(run) => {
            let how = end.map(|end| format!(" with {end}")).unwrap_or_default();
            format!("process {} has ended by itself{how}", run.pid)
        }
        None if seen.ended => "it was stopped".to_owned(),
        None => "it was never started".to_owned(),
    }
}
