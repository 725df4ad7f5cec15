//! A first `lockgate.yaml` from what lies in a folder. Only looks at files; writing is the caller's job.

mod caddy;
mod compose;
mod github_actions;
mod process;
mod services_yaml;
mod urls;
mod write;

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use lockgate_model::EnvironmentName;

use crate::error::ConfigError;
use crate::read as yaml;

pub use github_actions::{Branch, BuiltImage, On, PinnedAction, WORKFLOW_PATH, Workflow, github_actions};
pub use services_yaml::import_services_yaml;

/// Largest file that is looked at.
const LOOK_BYTES_MAX: u64 = 1 << 20;
/// Most entries of a folder that are looked at.
const LOOK_ENTRIES_MAX: usize = 500;
/// Most services in a proposal: it is a start, not an inventory.
const SERVICES_MAX: usize = 20;
/// Longest part of another file's text that a note quotes.
const SHOWN_CHARACTERS_MAX: usize = 60;

/// The environment that is only checked.
const TEST: &str = "test";

/// A file to start from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// A `lockgate.yaml` that parses once its variables are set. It begins with the notes.
    pub text: String,
    /// What was found, what was left out and what is still to be filled in, a sentence each.
    pub notes: Vec<String>,
    /// When new releases go live by themselves, as a cron line; `None` where that is only proposed, in a comment.
    pub cron: Option<&'static str>,
}

#[derive(Debug, thiserror::Error)]
pub enum InitError {
    #[error("cannot read {path}: {reason}")]
    Unreadable { path: PathBuf, reason: String },
    /// The file to import is broken or of another form.
    #[error(transparent)]
    Wrong(Box<ConfigError>),
    #[error("`test` is the environment of every `test_url`, which is only checked")]
    OnlyChecked,
}

impl InitError {
    #[must_use]
    pub fn hint(&self) -> &str {
        match self {
            InitError::Unreadable { .. } => "check the path and its permissions",
            InitError::Wrong(error) => error.hint().unwrap_or_default(),
            InitError::OnlyChecked => "name another one with --env, or leave it out for `prod`",
        }
    }
}

/// A service as far as it can be told from files.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Found {
    name: String,
    image: Option<String>,
    port: Option<u16>,
    command: Option<String>,
    // From here on as `lockgate.yaml` has it: with variables, and `$$` for a dollar sign.
    health: Option<String>,
    critical_paths: Vec<String>,
    test_url: Option<String>,
    prod_url: Option<String>,
}

/// How the services run.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Home {
    Process,
    /// A folder for each slot.
    Folders(String),
    /// One Compose file with `<service>-<slot>`.
    File(String),
}

/// How traffic reaches them.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Gateway {
    Builtin,
    /// `@id` (empty: by dial) and dial; absent: the default.
    Caddy {
        id: Option<String>,
        dial: Option<String>,
    },
}

struct Draft {
    origin: String,
    project: String,
    /// What is deployed to.
    environment: String,
    services: Vec<Found>,
    home: Home,
    gateway: Gateway,
    /// There is a `test` environment to look at before.
    regression: bool,
    /// New releases go live by themselves each day, as system A's did.
    daily: bool,
    notes: Vec<String>,
}

/// Proposes a file for the project in `dir`, which is deployed to `environment`.
///
/// # Errors
/// [`InitError::Unreadable`] when the folder cannot be listed. Files in it that cannot be read are passed over, with a
/// note.
pub fn propose(dir: &Path, environment: &EnvironmentName) -> Result<Proposal, InitError> {
    let unreadable =
        |error: std::io::Error| InitError::Unreadable { path: dir.to_owned(), reason: error.to_string() };
    let dir = fs::canonicalize(dir).map_err(unreadable)?;
    fs::read_dir(&dir).map_err(unreadable)?;
    let project = project(&dir);
    let mut notes = Vec::new();
    let (origin, mut services, home) = look(&dir, &project, &mut notes);
    let gateway = match home {
        // A process gets another port each time, which only the built-in router follows.
        Home::Process => Gateway::Builtin,
        _ => caddy::look(&dir, &mut services, &mut notes).unwrap_or(Gateway::Builtin),
    };
    let environment = environment.to_string();
    let (regression, daily) = (false, false);
    let draft = Draft { origin, project, environment, services, home, gateway, regression, daily, notes };
    Ok(write::proposal(draft))
}

/// A project is called as its folder.
fn project(folder: &Path) -> String {
    slug(&folder.file_name().unwrap_or_default().to_string_lossy(), "app")
}

/// The first of these that is there: system A's folders, blue and green themselves, a Compose file, a Dockerfile, a program, nothing.
fn look(dir: &Path, project: &str, notes: &mut Vec<String>) -> (String, Vec<Found>, Home) {
    // A path that would be read as something else is not proposed.
    let shown = dir.to_str().filter(|path| !path.contains(|c: char| c.is_control() || c == '{'));
    if let (Some(services), Some(base)) = (compose::folders(dir, notes), shown.map(write::dollars)) {
        notes.push(format!("Found {} service folder(s) with blue and green.", services.len()));
        return (
            "folders with blue and green".to_owned(),
            services,
            Home::Folders(format!("{base}/{{service}}/{{slot}}")),
        );
    }
    if let Some(service) = compose::own_slots(dir, notes) {
        notes.push("Found blue and green, with a Compose file each: they are the slots.".to_owned());
        return ("blue and green".to_owned(), vec![service], Home::Folders("./{slot}".to_owned()));
    }
    if let Some((file, services, paired)) = compose::file(dir, notes) {
        if let (true, Some(base)) = (paired, shown) {
            notes.push(format!("{file} has a blue and a green service each: they are the slots."));
            let path = format!("{base}/{file}");
            return (file, services, Home::File(path));
        }
        notes.push(format!(
            "{file} has one service each, and two slots are needed: give each slot a folder with its own \
             docker-compose.yml, or put `<service>-blue` and `<service>-green` into {file}."
        ));
        return (file, services, Home::Folders("/srv/apps/{service}/{slot}".to_owned()));
    }
    if let Some(text) = read(&dir.join("Dockerfile")) {
        let port = process::exposed(&text);
        notes.push("Found a Dockerfile: each slot needs a folder with a docker-compose.yml.".to_owned());
        let service = Found { name: project.to_owned(), port, ..Found::default() };
        return (
            "Dockerfile".to_owned(),
            vec![service],
            Home::Folders("/srv/apps/{service}/{slot}".to_owned()),
        );
    }
    let (origin, command) = process::look(dir).unwrap_or_else(|| {
        notes.push("Nothing here tells how to run it: change `command`.".to_owned());
        ("scratch".to_owned(), "./server".to_owned())
    });
    let service = Found { name: project.to_owned(), command: Some(command), ..Found::default() };
    notes.push("The program must listen on the port in the variable PORT.".to_owned());
    (origin, vec![service], Home::Process)
}

/// The text of a file, if it is one of reasonable size and UTF-8.
fn read(path: &Path) -> Option<String> {
    let file = lockgate_own::open(path).ok()?;
    let mut bytes = Vec::new();
    let length = file.take(LOOK_BYTES_MAX + 1).read_to_end(&mut bytes).ok()?;
    // Half a file would be read as another one.
    (u64::try_from(length).ok()? <= LOOK_BYTES_MAX).then(|| String::from_utf8(bytes).ok()).flatten()
}

/// YAML as JSON. A file that is there and cannot be used is noted as `name`.
fn read_yaml(path: &Path, name: &str, notes: &mut Vec<String>) -> Option<serde_json::Value> {
    if !path.exists() {
        return None;
    }
    let Some(text) = read(path) else {
        notes.push(format!("{} was passed over: it cannot be read.", shown(name)));
        return None;
    };
    let problem = match yaml::foreign_value(&text) {
        Ok(value) => return Some(value),
        Err(problem) => problem,
    };
    let at = problem.place.map_or(String::new(), |place| format!(":{}:{}", place.line, place.column));
    let name = shown(&format!("{name}{at}"));
    notes.push(format!("{name} was passed over: {}.", problem.message));
    None
}

/// Text of another file, for a note.
fn shown(text: &str) -> String {
    let mut short: String = text.escape_debug().take(SHOWN_CHARACTERS_MAX).collect();
    if text.escape_debug().count() > SHOWN_CHARACTERS_MAX {
        short.push('…');
    }
    format!("`{}`", short.replace("\\\"", "\"").replace("\\'", "'"))
}

/// Several of them.
fn list<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    texts.map(shown).collect::<Vec<_>>().join(", ")
}

/// Text made into a name: lower case, `-` for what may not stand in one.
fn slug(text: &str, otherwise: &str) -> String {
    let lower = text.to_lowercase();
    let name: String =
        lower.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' }).take(40).collect();
    let name = name.trim_start_matches(|c: char| !c.is_ascii_lowercase()).trim_end_matches('-');
    if name.is_empty() { otherwise.to_owned() } else { name.to_owned() }
}

/// The beginning of a note: these of that were left out. Absent when there are none.
fn left_out<T: AsRef<str>>(texts: &[T], of: &str) -> Option<String> {
    let verb = match texts {
        [] => return None,
        [_] => "was",
        _ => "were",
    };
    Some(format!("{} {of} {verb} left out", list(texts.iter().map(AsRef::as_ref))))
}
