//! The Caddyfile snippet that brings a restarted Caddy back to the live slot.

use lockgate_model::FailureKind;
use lockgate_ports::{Host, PortError};

const SNIPPET_MODE: u32 = 0o644;

/// What the file holds: `to <dial>…`, to be used as `reverse_proxy { import <file> }`.
///
/// # Errors
/// `Refused` for a dial that the Caddyfile would read as something else.
pub(crate) fn text(dials: &[String]) -> Result<String, PortError> {
    if let Some(bad) = dials.iter().find(|dial| !is_token(dial)) {
        return Err(PortError::new(
            FailureKind::Refused,
            format!("{bad:?} cannot be written into a Caddyfile as an address to dial"),
        )
        .hint("an address is `host:port`; check `router.caddy.dial`"));
    }
    if dials.is_empty() {
        return Ok("# lockgate: nothing is live\n".to_owned());
    }
    Ok(format!("to {}\n", dials.join(" ")))
}

fn is_token(dial: &str) -> bool {
    let plain = |c: char| !c.is_whitespace() && !c.is_control() && !matches!(c, '"' | '`' | '\\');
    !dial.is_empty() && dial != "{" && dial != "}" && !dial.starts_with('#') && dial.chars().all(plain)
}

/// The file's old content, for [`Written::take_back`].
pub(crate) struct Written<'a> {
    host: &'a dyn Host,
    path: &'a str,
    old: Option<Vec<u8>>,
}

/// Has `content` in the file; `None` when it holds that already.
pub(crate) async fn write<'a>(
    host: &'a dyn Host,
    path: &'a str,
    content: &str,
) -> Result<Option<Written<'a>>, PortError> {
    let old = host.read(path).await.map_err(|error| explain(error, host, path))?.content;
    if old.as_deref() == Some(content.as_bytes()) {
        return Ok(None);
    }
    host.write(path, content.as_bytes(), SNIPPET_MODE).await.map_err(|error| explain(error, host, path))?;
    Ok(Some(Written { host, path, old }))
}

impl Written<'_> {
    /// Puts the old content back, after a switch that surely did not happen; adds to `error` when even that fails.
    pub(crate) async fn take_back(self, error: PortError) -> PortError {
        let undone = match &self.old {
            Some(old) => self.host.write(self.path, old, SNIPPET_MODE).await,
            None => self.host.remove(self.path).await,
        };
        match undone {
            Ok(()) => error,
            Err(second) => {
                let mut error = error.with_unknown_effect();
                error.message = format!(
                    "{}; and the snippet {} already names the new address and could not be put back: {second}",
                    error.message, self.path
                );
                error
            }
        }
    }
}

fn explain(error: PortError, host: &dyn Host, path: &str) -> PortError {
    let error = error.context(format!("the Caddyfile snippet {path}"));
    let hint = format!(
        "the user that Lockgate is on {} must be able to write it (`router.caddy.snippet`)",
        host.id()
    );
    error.or_hint(|| hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snippet_is_one_to_line_and_nothing_can_be_smuggled_in() {
        assert_eq!(text(&["web-blue:5000".to_owned()]).unwrap(), "to web-blue:5000\n");
        assert_eq!(text(&["a:1".to_owned(), "b:2".to_owned()]).unwrap(), "to a:1 b:2\n");
        assert!(text(&[]).unwrap().starts_with('#'));
        for bad in ["", "a:1\nlog", "a b", "#a", "\"x\"", "{", "}"] {
            assert_eq!(text(&[bad.to_owned()]).unwrap_err().kind, FailureKind::Refused, "{bad:?}");
        }
    }
}
