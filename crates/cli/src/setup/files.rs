//! Files that are to be there, and what becomes of those that are.

use std::path::{Path, PathBuf};

use lockgate_local::Local;
use lockgate_ports::Host;
use similar::TextDiff;

use crate::error::CliError;

/// Unchanged lines that are shown around a change.
const CONTEXT_LINES: usize = 2;

/// A file that is to be there.
#[derive(Debug, Clone)]
pub struct Install {
    pub path: PathBuf,
    pub mode: u32,
    pub content: String,
    /// As it is shown, where that is another text.
    pub shown: Option<String>,
    /// What is there already is left as it is, whatever is in it.
    pub keeps: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    New,
    Same,
    /// It is there, and is somebody's own.
    Kept,
    /// What would become of it, line by line.
    Differs(String),
}

impl Change {
    pub fn word(&self) -> &'static str {
        match self {
            Change::New => "new",
            Change::Same => "as it should be",
            Change::Kept => "there already, left as it is",
            Change::Differs(_) => "differs",
        }
    }
}

/// What is to be done about each, in order.
pub struct Changes(pub Vec<(Install, Change)>);

impl Changes {
    /// # Errors
    /// A file that is there cannot be read.
    pub fn of(installs: Vec<Install>) -> Result<Self, CliError> {
        let looked = installs.into_iter().map(|install| {
            let change = look(&install)?;
            Ok((install, change))
        });
        looked.collect::<Result<_, CliError>>().map(Self)
    }

    pub fn differing(&self) -> impl Iterator<Item = &Install> {
        self.0.iter().filter(|(_, change)| matches!(change, Change::Differs(_))).map(|(one, _)| one)
    }

    pub fn is_same(&self) -> bool {
        self.0.iter().all(|(_, change)| matches!(change, Change::Same | Change::Kept))
    }

    /// Writes those that are missing or differ, each whole or not at all.
    ///
    /// # Errors
    /// One cannot be written; those before it were.
    pub async fn write(&self, host: &Local) -> Result<(), CliError> {
        let wanted = self.0.iter().filter(|(_, change)| matches!(change, Change::New | Change::Differs(_)));
        for (install, _) in wanted {
            host.write(&install.path.to_string_lossy(), install.content.as_bytes(), install.mode).await?;
        }
        Ok(())
    }
}

fn look(install: &Install) -> Result<Change, CliError> {
    match read(&install.path)? {
        None => Ok(Change::New),
        Some(_) if install.keeps => Ok(Change::Kept),
        Some(there) if there == install.content => Ok(Change::Same),
        Some(there) => {
            let diff = TextDiff::from_lines(&there, &install.content);
            let mut unified = diff.unified_diff();
            let shown = unified.context_radius(CONTEXT_LINES).header("as it is", "as it would be");
            Ok(Change::Differs(shown.to_string()))
        }
    }
}

fn read(path: &Path) -> Result<Option<String>, CliError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(CliError::usage(
            format!("{} cannot be read: {error}", path.display()),
            "only root may set a daemon up: run it with sudo",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_shown_line_by_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.service");
        let install = |content: &str, keeps| Install {
            path: path.clone(),
            mode: 0o644,
            content: content.into(),
            shown: None,
            keeps,
        };
        let change = |content: &str, keeps| Changes::of(vec![install(content, keeps)]).unwrap().0.remove(0).1;
        assert_eq!(change("a\n", false), Change::New);
        std::fs::write(&path, "[Service]\nType=simple\nUser=root\n").unwrap();
        assert_eq!(change("[Service]\nType=simple\nUser=root\n", false), Change::Same);
        assert_eq!(change("other\n", true), Change::Kept);
        let Change::Differs(diff) = change("[Service]\nType=notify\nUser=root\n", false) else { panic!() };
        insta::assert_snapshot!(diff, @r"
        --- as it is
        +++ as it would be
        @@ -1,3 +1,3 @@
         [Service]
        -Type=simple
        +Type=notify
         User=root
        ");
    }
}
