//! The service's command with its holes filled in.

use lockgate_model::{EnvironmentName, Service, Slot, Tag, Template, TemplateError, Vars};
use lockgate_ports::PortError;

/// Command and working folder of one release in one slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Filled {
    /// Not empty.
    pub argv: Vec<String>,
    /// As configured, possibly relative to the root.
    pub cwd: String,
    /// Absolute on the host.
    pub folder: String,
}

/// Fills `{service}`, `{environment}`, `{slot}` and `{tag}`; `{digest}` cannot be known before the bytes are.
///
/// # Errors
/// `Other` with a hint for a service without command or a placeholder without value.
pub(crate) fn fill(
    service: &Service,
    environment: &EnvironmentName,
    root: &str,
    slot: Slot,
    tag: &Tag,
) -> Result<Filled, PortError> {
    let vars = Vars {
        service: Some(&service.name),
        environment: Some(environment),
        slot: Some(slot),
        port: None,
        tag: Some(tag),
        digest: None,
    };
    let fill = |template: &Template| template.fill(&vars).map_err(|error| unset(service, &error));
    let argv: Vec<String> = service.command.iter().map(fill).collect::<Result<_, _>>()?;
    if argv.first().is_none_or(String::is_empty) {
        return Err(PortError::other(format!("the service {} has no command", service.name))
            .hint("name the program and its arguments: command: [\"./web-{tag}\"]"));
    }
    let cwd = service.cwd.as_ref().map(fill).transpose()?.unwrap_or_default();
    Ok(Filled { argv, folder: folder(root, &cwd), cwd })
}

/// `$PORT` in arguments becomes the port, as a shell would do it; no shell reads them. The release's bytes are taken
/// before, so the same release on another port is the same release.
pub(crate) fn with_port(argv: &[String], port: u16) -> Vec<String> {
    let port = port.to_string();
    let fill = |argument: &String| {
        let mut parts = argument.split("$PORT");
        let first = parts.next().unwrap_or_default().to_owned();
        parts.fold(first, |filled, rest| {
            let longer_name = rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
            filled + if longer_name { "$PORT" } else { &port } + rest
        })
    };
    argv.iter().map(fill).collect()
}

/// `cwd` below `root`, unless it is absolute.
pub(crate) fn folder(root: &str, cwd: &str) -> String {
    match cwd {
        "" => root.to_owned(),
        absolute if absolute.starts_with('/') => absolute.to_owned(),
        relative => format!("{}/{relative}", root.trim_end_matches('/')),
    }
}

/// Which arguments are the same in both slots, so that what they name can be part of the release; the program first.
///
/// # Errors
/// `Refused` when the program itself depends on the slot: then no release could run in both.
pub(crate) fn slotless(service: &Service) -> Result<Vec<bool>, PortError> {
    let same = |template: &Template| !template.names("slot");
    let cwd_same = service.cwd.as_ref().is_none_or(same);
    let arguments: Vec<bool> = service
        .command
        .iter()
        .map(|argument| same(argument) && (cwd_same || argument.as_str().starts_with('/')))
        .collect();
    // A bare name is looked for in PATH, which no working folder changes.
    let bare =
        service.command.first().is_some_and(|program| same(program) && !program.as_str().contains('/'));
    if arguments.first() == Some(&false) && !bare {
        return Err(PortError::new(
            lockgate_model::FailureKind::Refused,
            format!("the program of {} is another one in each slot", service.name),
        )
        .hint("a release is the same bytes in both slots: use {tag}, not {slot}, in the program's path"));
    }
    Ok(arguments)
}

fn unset(service: &Service, error: &TemplateError) -> PortError {
    PortError::other(format!("the command of {}: {error}", service.name))
        .hint("a command can name {service}, {environment}, {slot} and {tag}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_filled_into_arguments_and_longer_names_are_left_alone() {
        let argv = ["serve", "$PORT", "--listen=:$PORT/", "$PORTAL", "a$PORT$PORT"].map(str::to_owned);
        assert_eq!(with_port(&argv, 81), ["serve", "81", "--listen=:81/", "$PORTAL", "a8181"]);
    }
}
