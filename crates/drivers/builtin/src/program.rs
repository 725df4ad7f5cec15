//! What starts the proxy on its host: this program, which has to be there.

use lockgate_ports::{Command, PortError};

use crate::admin::Admin;

/// Names what is missing, a line each.
const MISSING: &str =
    "for program in \"$@\"; do command -v -- \"$program\" >/dev/null || printf '%s\\n' \"$program\"; done";

/// # Errors
/// `NotFound` with how to bring it there, and the host's.
pub(crate) async fn demand(admin: &Admin<'_>, argv: &[String]) -> Result<(), PortError> {
    let program = argv.first().map_or("lockgate", String::as_str);
    let command = Command::new(["sh", "-c", MISSING, "sh", program, "setsid"]);
    let output = admin.host.exec(&command).await?;
    let said = output.stdout_text();
    let missing: Vec<&str> = said.lines().collect();
    let id = admin.host.id();
    match missing.as_slice() {
        [] => Ok(()),
        [one] if *one != program => {
            let message = format!("no proxy runs on {id}, and {one} is not there to start it");
            Err(PortError::not_found(message).hint("install util-linux there"))
        }
        _ => {
            let message =
                format!("no proxy runs on {id}, and the program {program} is not there to start it");
            let there = format!("/usr/local/bin/{}", program.rsplit('/').next().unwrap_or(program));
            Err(PortError::not_found(message).hint(format!(
                "`lockgate setup` brings it there, with `setup: {{}}` in its environment; or `ssh {id} 'cat >{there} && chmod 755 {there}' <\"$(command -v lockgate)\"`"
            )))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use lockgate_model::{FailureKind, HostId};
    use lockgate_ports::Output;
    use lockgate_ports::fake::{Catalogue, FakeHost, FakePorts, Machine, NoFaults, shared};

    use super::*;

    #[tokio::test]
    async fn a_host_without_the_program_is_told_with_what_brings_it_there() {
        let demanded = async |missing: &str| {
            let mut machine = Machine::new(HostId::new("ann@web1").unwrap(), Arc::new(Catalogue::default()));
            let output = Output { code: 0, stdout: missing.as_bytes().to_vec(), stderr: Vec::new() };
            machine.programs.insert("sh".to_owned(), output);
            let host = FakeHost(FakePorts::new(shared(machine), Arc::new(NoFaults)));
            demand(&Admin { host: &host, dir: "/run/lockgate" }, &["lockgate".to_owned()]).await
        };
        assert_eq!(demanded("").await, Ok(()));
        let error = demanded("lockgate\n").await.unwrap_err();
        assert_eq!(error.kind, FailureKind::NotFound);
        let hint = error.hints().to_string();
        assert!(hint.contains("`lockgate setup` brings it there"), "{hint}");
        assert!(
            hint.contains(
                "`ssh ann@web1 'cat >/usr/local/bin/lockgate && chmod 755 /usr/local/bin/lockgate' <"
            ),
            "{hint}"
        );
        assert!(demanded("setsid\n").await.unwrap_err().hints().to_string().contains("util-linux"));
    }

    #[test]
    fn the_script_names_what_is_missing() {
        let output =
            std::process::Command::new("sh").args(["-c", MISSING, "sh", "sh", "no-such-program"]).output();
        assert_eq!(output.unwrap().stdout, b"no-such-program\n");
    }
}
