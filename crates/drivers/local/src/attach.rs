//! A command that has this process's own standard input, output and error.

use std::os::unix::process::ExitStatusExt;

use lockgate_ports::{Command, PortError};

/// In this process's group, for the terminal's Ctrl-C is the command's.
///
/// # Errors
/// As [`lockgate_ports::Host::attach`].
pub(crate) async fn run(command: &Command) -> Result<i32, PortError> {
    let [program, arguments @ ..] = command.argv.as_slice() else {
        return Err(PortError::other("an empty command cannot be run").without_effect());
    };
    let mut process = tokio::process::Command::new(program);
    process.args(arguments).envs(&command.env).kill_on_drop(true);
    if let Some(cwd) = &command.cwd {
        process.current_dir(cwd);
    }
    let failed = |error| PortError::from(error).context(format!("cannot run {program}")).without_effect();
    let status = process.spawn().map_err(failed)?.wait().await.map_err(PortError::from)?;
    Ok(status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default()))
}
