//! A first `lockgate.yaml` from what lies in a folder. Only looks at files; writing is the caller's job.

mod caddy;
mod compose;
mod dockerfile;
mod env_file;
mod github_actions;
mod given;
mod golang;
mod java;
mod language;
mod listing;
mod migrations;
mod node;
mod process;
mod push_paths;
mod python;
mod recreate;
mod rust;
mod services_yaml;
mod ship_workflow;
mod shipped;
mod shipping;
mod test_tools;
mod urls;
mod variables;
mod write;

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use lockgate_model::EnvironmentName;

use crate::error::ConfigError;
use crate::read as yaml;

pub use github_actions::{Branch, BuiltImage, On, PinnedAction, WORKFLOW_PATH, Workflow, github_actions};
pub use services_yaml::import_services_yaml;
pub use ship_workflow::{SecretToSet, ShipWorkflow};
pub use shipped::{NotShipped, Shipped, ShippedBuild, ShippedService, ShippedTest, shipped};
pub use variables::{Form, Variable, Variables};

use shipping::{DOCKERFILE, Shipping, Source};

/// Largest file that is looked at.
const LOOK_BYTES_MAX: u64 = 1 << 20;
/// Most entries of a folder that are looked at.
const LOOK_ENTRIES_MAX: usize = 500;
/// Most services in a proposal: it is a start, not an inventory.
const SERVICES_MAX: usize = 20;
/// Longest part of another file's text that a note quotes.
const SHOWN_CHARACTERS_MAX: usize = 60;

/// Dockerfiles below the folder that a note names.
const BELOW_SHOWN: usize = 5;
/// Where the folders of slots are looked for on a host.
const SLOTS: &str = "/srv/apps/{service}/{slot}";
/// What is proposed.
const FILE: &str = crate::FILE_NAMES[0];

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
    /// `lockgate ship` is how it is deployed, to hosts that `lockgate setup` makes ready.
    pub ships: bool,
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
    /// As it is called in its Compose file.
    key: Option<String>,
    /// Its Compose file has it read its variables from a file.
    reads_env_file: bool,
    source: Option<Source>,
    /// Where its image can be built.
    shipping: Option<Shipping>,
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
    /// A Compose file, by its name here, with each service once: two slots are needed.
    Unslotted(String),
    /// A Compose file, by its name here, that goes to a host, where the new container takes the old one's place.
    One(String),
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
    /// Names of variables that the service seems to read.
    variables: Vec<String>,
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
    let caddy = match home {
        // A process gets another port each time, which only the built-in router follows.
        Home::Process => None,
        _ => caddy::look(&dir, &mut services, &mut notes),
    };
    ship(&dir, &origin, &mut services, &mut notes);
    let home = recreate::settle(home, &services, caddy.is_some(), &mut notes);
    let variables = match (&home, services.as_slice()) {
        (Home::One(_), [only]) if only.reads_env_file => env_file::names(&dir),
        _ => Vec::new(),
    };
    let gateway = caddy.unwrap_or(Gateway::Builtin);
    let environment = environment.to_string();
    let (regression, daily) = (false, false);
    let draft =
        Draft { origin, project, environment, services, home, gateway, regression, daily, variables, notes };
    Ok(write::proposal(draft))
}

/// What can be built here is to be shipped.
fn ship(dir: &Path, origin: &str, services: &mut [Found], notes: &mut Vec<String>) {
    // What is called otherwise, such as folders, is no file.
    let file = Some(origin).filter(|origin| dir.join(origin).is_file());
    let beside: Vec<&str> = file.into_iter().filter(|file| *file != DOCKERFILE).chain([FILE]).collect();
    if let ([only], Some(_)) = (&mut *services, file)
        && only.source.is_none()
        && only.image.is_some()
        && dir.join(DOCKERFILE).exists()
    {
        only.source = Some(Source::here());
    }
    for service in services {
        let source = service.source.take();
        service.shipping = source.and_then(|source| shipping::look(dir, source, &beside, notes));
    }
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
        return (file.clone(), services, Home::Unslotted(file));
    }
    if let Some(text) = read(&dir.join(DOCKERFILE)) {
        let port = dockerfile::exposed(&text);
        notes.push("Found a Dockerfile: each slot needs a folder with a docker-compose.yml.".to_owned());
        let source = Some(Source::here());
        let service = Found { name: project.to_owned(), port, source, ..Found::default() };
        return (DOCKERFILE.to_owned(), vec![service], Home::Folders(SLOTS.to_owned()));
    }
    undockered(dir, notes);
    let (origin, command) = process::look(dir).unwrap_or_else(|| {
        notes.push("Nothing here tells how to run it: change `command`.".to_owned());
        ("scratch".to_owned(), "./server".to_owned())
    });
    let service = Found { name: project.to_owned(), command: Some(command), ..Found::default() };
    notes.push("The program must listen on the port in the variable PORT.".to_owned());
    (origin, vec![service], Home::Process)
}

/// What `ship` would need is not there, and what is has to be said.
fn undockered(dir: &Path, notes: &mut Vec<String>) {
    if dir.join(DOCKERFILE).exists() {
        notes.push(format!("`{DOCKERFILE}` was passed over: it is no file that can be read."));
        return;
    }
    let files = listing::Listing::of(dir);
    let below: Vec<&str> =
        files.files().filter(|file| listing::base(file) == DOCKERFILE).take(BELOW_SHOWN).collect();
    if !below.is_empty() {
        notes.push(format!(
            "There is {} below: run `lockgate init` in that folder, or have a Compose file here build from it.",
            list(below.into_iter())
        ));
    }
    let found = language::all(&files, &mut Vec::new());
    if let Some(language) = found.first() {
        let (name, because) = (language.name, shown(&language.because));
        notes.push(format!(
            "Found {name} ({because}): with a Dockerfile, `lockgate ship` tests, builds and deploys it; run `lockgate init` again then."
        ));
    }
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
