//! The file `.env` beside a Compose file, as far as it says which files there are: what Compose by hand goes by.

use lockgate_model::{FailureKind, quoted};
use lockgate_ports::PortError;

const COMPOSE_FILE: &str = "COMPOSE_FILE";
const SEPARATOR: &str = "COMPOSE_PATH_SEPARATOR";
const SHOWN_CHARS_MAX: usize = 200;

/// The value of a variable; the last one counts. `None` where there is none, or an empty one.
fn value(content: &[u8], name: &str) -> Option<String> {
    let text = std::str::from_utf8(content).ok()?;
    let of = |line: &str| {
        let line = line.trim();
        let line = line.strip_prefix("export ").map_or(line, str::trim_start);
        let rest = line.strip_prefix(name)?.trim_start().strip_prefix('=')?.trim();
        let unquoted = |quote: char| rest.strip_prefix(quote)?.split(quote).next();
        let bare = || rest.split(" #").next().unwrap_or_default().trim_end();
        Some(unquoted('"').or_else(|| unquoted('\'')).unwrap_or_else(bare).to_owned())
    };
    text.lines().filter_map(of).next_back().filter(|value| !value.is_empty())
}

/// The files that `COMPOSE_FILE` names, in their order; `None` where it is not set. `path` is the `.env`'s.
///
/// # Errors
/// `Refused` for what Compose would take from elsewhere: it would then be another folder's project.
pub(crate) fn compose_files(content: &[u8], path: &str) -> Result<Option<Vec<String>>, PortError> {
    let Some(named) = value(content, COMPOSE_FILE) else { return Ok(None) };
    let separator = value(content, SEPARATOR).unwrap_or_else(|| ":".to_owned());
    let files: Vec<String> = named
        .split(&separator)
        .map(|name| name.trim().trim_start_matches("./").to_owned())
        .filter(|name| !name.is_empty())
        .collect();
    let is_elsewhere = |name: &String| name.contains(['/', '$']) || name.starts_with(['-', '~']);
    if files.is_empty() || files.iter().any(is_elsewhere) {
        let shown = quoted(&named, SHOWN_CHARS_MAX);
        return Err(PortError::new(
            FailureKind::Refused,
            format!("{path} has `COMPOSE_FILE={shown}`, which names more than files beside it"),
        )
        .hint("set `dir` of the compose runtime to the folder of the first file, and name files in that folder only"));
    }
    Ok(Some(files))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compose_file_is_read_as_compose_reads_it() {
        let files = |text: &str| compose_files(text.as_bytes(), "/srv/web/blue/.env");
        let named =
            |names: &[&str]| Ok(Some(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()));
        assert_eq!(files("TAG=1\n#COMPOSE_FILE=x\nCOMPOSE_FILES=y\n"), Ok(None));
        assert_eq!(files("COMPOSE_FILE=\n"), Ok(None));
        assert_eq!(files("COMPOSE_FILE=base.yml:./prod.yml\n"), named(&["base.yml", "prod.yml"]));
        let other = "export COMPOSE_FILE = \"base.yml,prod.yml\" # both\nCOMPOSE_PATH_SEPARATOR=','\n";
        assert_eq!(files(other), named(&["base.yml", "prod.yml"]));
        assert_eq!(files("COMPOSE_FILE=a.yml # one\nCOMPOSE_FILE=b.yml\r\n"), named(&["b.yml"]));
        for elsewhere in ["../x.yml", "/etc/x.yml", "sub/x.yml", "${X}.yml", "-f", ":"] {
            let refused = files(&format!("COMPOSE_FILE={elsewhere}")).unwrap_err();
            assert_eq!(refused.kind, FailureKind::Refused, "{elsewhere}");
            assert!(refused.message.starts_with("/srv/web/blue/.env has `COMPOSE_FILE="), "{refused}");
        }
    }
}
