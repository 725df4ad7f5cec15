#![doc = include_str!("../README.md")]

mod at;
mod checks;
mod env_value;
mod error;
mod from_tree;
pub mod init;
mod interpolate;
mod part;
mod quantity;
mod raw;
mod raw_hook;
mod raw_nginx;
mod raw_notify;
mod raw_serve;
mod raw_setup;
mod raw_ship;
mod raw_soak;
mod read;
mod resolve;
mod schema;
mod tree;
mod unknown;
mod words;

use std::cell::RefCell;
use std::io::Read;
use std::path::{Path, PathBuf};

use lockgate_model::Project;
use lockgate_own::OwnError;

use at::At;
use tree::Node;

pub use error::{ConfigError, Kind, Place, Problem};
pub use quantity::{SPAN_EXPECTS, span};
pub use schema::schema;

/// The file's names, the first wins.
pub const FILE_NAMES: [&str; 2] = ["lockgate.yaml", "lockgate.yml"];

/// Largest file that is read. Hundreds of services fit in a tenth of it.
pub const FILE_BYTES_MAX: u64 = 1 << 20;

/// A project and where it came from.
#[derive(Debug, Clone)]
pub struct Loaded {
    pub project: Project,
    /// Absolute.
    pub path: PathBuf,
}

/// What a file is read for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// `lockgate serve`: all of `serve:` has to be right.
    Serve,
    /// Anything else: the variables that only serving needs may be missing, so that a person without the secrets can look at
    /// what is live. Then [`Project::serve`] is `None` or has fewer secrets.
    Other,
    /// `lockgate ship --job test`, which may be given few secrets: the variables that only hosts, `ssh`, `registries`, a service's
    /// `env` and its `build.args` name may be missing. Values that name one are then left out; of hosts that are all left out,
    /// `unset.invalid` stays, which is reached nowhere.
    Test,
    /// `lockgate ship --job build`: the same but for `registries` and `build.args`, whose variables have to be set.
    Build,
}

/// As [`load_if`], whoever the file belongs to.
///
/// # Errors
/// As [`load_if`].
pub fn load(path: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Loaded, ConfigError> {
    load_if(path, Purpose::Other, env, |_, _| Ok(()))
}

/// Reads a file. `env` is the environment (`|name| std::env::var(name).ok()`). `trusted` is asked about the open file and
/// its absolute path before anything of it is read.
///
/// # Errors
/// [`ConfigError`] with [`Kind::Unreadable`] when the file cannot be read, else what is wrong in it; or that of `trusted`.
pub fn load_if<E: From<ConfigError>>(
    path: &Path,
    purpose: Purpose,
    env: &dyn Fn(&str) -> Option<String>,
    trusted: impl FnOnce(&std::fs::File, &Path) -> Result<(), E>,
) -> Result<Loaded, E> {
    let (file, shown, absolute) = open(path)?;
    trusted(&file, &absolute)?;
    Ok(read_open(file, shown, absolute, purpose, env)?)
}

/// The text of a file as it is written, and its absolute path. `trusted` is asked as by [`load_if`].
///
/// # Errors
/// [`ConfigError`] with [`Kind::Unreadable`] or, where it is not UTF-8, [`Kind::Syntax`]; or that of `trusted`.
pub fn text_if<E: From<ConfigError>>(
    path: &Path,
    trusted: impl FnOnce(&std::fs::File, &Path) -> Result<(), E>,
) -> Result<(String, PathBuf), E> {
    let (file, shown, absolute) = open(path)?;
    trusted(&file, &absolute)?;
    Ok((text_of(file, &shown)?, absolute))
}

/// The file, its name as given, and its absolute path.
fn open(path: &Path) -> Result<(std::fs::File, String, PathBuf), ConfigError> {
    let shown = path.display().to_string();
    let unreadable =
        |message: String, hint: &str| ConfigError::whole(&shown, Kind::Unreadable, message, hint);
    let read = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => unreadable(
            "there is no such file".to_owned(),
            "`lockgate init` writes one; `-c FILE` names another",
        ),
        _ => unreadable(format!("cannot be read: {error}"), "check the path and its permissions"),
    };
    let absolute = std::path::absolute(path).map_err(read)?;
    // Never waits, as opening a FIFO would.
    match lockgate_own::open(&absolute) {
        Ok(file) => Ok((file, shown, absolute)),
        Err(OwnError::Io(error)) if error.kind() != std::io::ErrorKind::IsADirectory => Err(read(error)),
        Err(_) => Err(unreadable("is not a file".to_owned(), "name the lockgate.yaml itself")),
    }
}

fn read_open(
    file: std::fs::File,
    shown: String,
    absolute: PathBuf,
    purpose: Purpose,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Loaded, ConfigError> {
    let text = text_of(file, &shown)?;
    let root = absolute.parent().unwrap_or(Path::new("/"));
    let project = parse_for(purpose, &text, &shown, root, env)?;
    Ok(Loaded { project, path: absolute })
}

fn text_of(file: std::fs::File, shown: &str) -> Result<String, ConfigError> {
    let unreadable = |message: String, hint: &str| ConfigError::whole(shown, Kind::Unreadable, message, hint);
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|error| {
        unreadable(format!("cannot be read: {error}"), "check the path and its permissions")
    })?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(unreadable("is larger than 1 MiB".to_owned(), "is it the right file?"));
    }
    String::from_utf8(bytes)
        .map_err(|_| ConfigError::whole(shown, Kind::Syntax, "is not UTF-8", "save it as UTF-8"))
}

/// Parses the text of a file. `file_name` is for errors, `root` is the folder that relative paths start at.
///
/// # Errors
/// [`ConfigError`]: all that is wrong, in the order of the file.
pub fn parse(
    text: &str,
    file_name: &str,
    root: &Path,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Project, ConfigError> {
    parse_for(Purpose::Other, text, file_name, root, env)
}

/// As [`parse`], for a purpose.
///
/// # Errors
/// As [`parse`].
pub fn parse_for(
    purpose: Purpose,
    text: &str,
    file_name: &str,
    root: &Path,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Project, ConfigError> {
    let (tree, file) = written(text, file_name)?;
    let read_variables = RefCell::new(Vec::new());
    let recording = |name: &str| {
        let value = env(name)?;
        read_variables.borrow_mut().push((name.to_owned(), value.clone()));
        Some(value)
    };
    let mut reader = resolve::Reader { purpose, env: &recording, problems: Vec::new() };
    let project = resolve::project(&mut reader, &file, root);
    // What is wrong in parts would be said again of the whole.
    if let (Some(project), true) = (&project, reader.problems.is_empty()) {
        checks::all(&mut reader, &file, project);
    }
    match project {
        Some(project) if reader.problems.is_empty() => Ok(project),
        _ => {
            let mut problems = reader.problems;
            problems.iter_mut().for_each(|problem| hide(problem, &read_variables.borrow()));
            Err(told(text, file_name, Some(&tree), problems))
        }
    }
}

/// The file as it is written: as a tree, and in its shapes.
fn written(text: &str, file_name: &str) -> Result<(At<Node>, raw::File), ConfigError> {
    let tree = read::tree(text).map_err(|problem| told(text, file_name, None, vec![problem]))?;
    let file = read::file(text, &tree)
        .map_err(|first| told(text, file_name, Some(&tree), structure(&tree, first)))?;
    Ok((tree, file))
}

fn told(text: &str, file_name: &str, tree: Option<&At<Node>>, mut problems: Vec<Problem>) -> ConfigError {
    let source = tree::annotate(text, tree, &mut problems);
    ConfigError::new(file_name, source, problems)
}

/// The problem that reading stopped at, and the other keys that nobody knows.
fn structure(tree: &At<Node>, first: Problem) -> Vec<Problem> {
    let mut more = unknown::keys(tree);
    more.retain(|problem| problem.place != first.place);
    more.insert(0, first);
    more
}

/// Shortest value of a variable that is looked for in messages; shorter ones say nothing and are everywhere.
const HIDDEN_CHARACTERS_MIN: usize = 4;

/// Puts `${NAME}` back wherever a message came to hold what the variable held.
fn hide(problem: &mut Problem, variables: &[(String, String)]) {
    for (name, value) in variables.iter().filter(|(_, value)| value.len() >= HIDDEN_CHARACTERS_MIN) {
        let reference = format!("${{{name}}}");
        problem.message = problem.message.replace(value.as_str(), &reference);
        problem.hint = problem.hint.take().map(|hint| hint.replace(value.as_str(), &reference));
    }
}

/// Looks for the file in `start` and the folders above it.
#[must_use]
pub fn find(start: &Path) -> Option<PathBuf> {
    let start = std::path::absolute(start).ok()?;
    start
        .ancestors()
        .flat_map(|folder| FILE_NAMES.map(|name| folder.join(name)))
        // What is no file, such as a FIFO, is told of instead of one further up being taken.
        .find(|candidate| candidate.metadata().is_ok_and(|seen| !seen.is_dir()))
}
