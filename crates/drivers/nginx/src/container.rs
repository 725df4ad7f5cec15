//! An nginx in a container: where it is reached from the host.

use lockgate_model::{Millis, TOLD_CHARS_MAX, quoted};
use lockgate_ports::{Command, Host, PortError};

/// Longest wait for Docker's answer.
const LOOK_SECONDS_MAX: u64 = 10;
const FORMAT: &str = "{{range .NetworkSettings.Networks}}{{.IPAddress}}\n{{end}}";

/// Its address; `None` where it has none of its own, being on the host's network.
///
/// # Errors
/// `Unreachable` where Docker does not say.
pub(crate) async fn address(host: &dyn Host, name: &str) -> Result<Option<String>, PortError> {
    let command = Command::new(["docker", "inspect", "-f", FORMAT, "--", name]);
    let output = host.exec(&command.timeout(Millis::from_secs(LOOK_SECONDS_MAX))).await?;
    if !output.ok() {
        let said = output.stderr_text();
        let said = quoted(said.trim().lines().next_back().unwrap_or_default(), TOLD_CHARS_MAX);
        return Err(PortError::unreachable(format!("nginx's container {name} cannot be looked at: {said}"))
            .without_effect()
            .hint(format!(
                "`docker inspect {name}` on that host says more; is `router.nginx.container` its name?"
            )));
    }
    let text = output.stdout_text();
    Ok(text.lines().map(str::trim).find(|line| line.parse::<std::net::IpAddr>().is_ok()).map(str::to_owned))
}
