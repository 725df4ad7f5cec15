//! Values of variables that are in files or come from programs, such as a password manager's: had when something is about to be
//! started or set up, and never by a command that only looks.

use std::io::Read;
use std::path::Path;
use std::time::Duration;

use lockgate_local::Local;
use lockgate_model::{Failure, FailureKind, Millis, Project, Secret, ValueSource, quoted};
use lockgate_ports::{Command, Host};
use tokio::time::Instant;

use crate::error::CliError;

/// Longest run of one program: it may ask a person to unlock something.
const COMMAND_SECONDS_MAX: u64 = 60;
/// Longest value: more than an environment takes (`MAX_ARG_STRLEN` of Linux has 128 KiB with the name).
const VALUE_BYTES_MAX: usize = 64 * 1024;
const SHOWN_CHARS_MAX: usize = 200;
/// For all values together, where one can do without them.
const SOON_SECONDS_MAX: u64 = 10;

/// Puts all of them into their services' `env`. Each file is read and each program run once.
///
/// # Errors
/// What keeps a value from being had, with the name of its variable. None holds a part of a value.
pub async fn fill(project: &mut Project) -> Result<(), CliError> {
    let root = project.root.clone();
    match each(project, true, async |source| had(&root, source).await).await.into_iter().next() {
        None => Ok(()),
        Some(failure) => Err(failure.into()),
    }
}

/// As [`fill`], of what can be had soon; the rest stays in `env_from`. Why, for each: without a part of a value.
pub async fn fill_some(project: &mut Project) -> Vec<Failure> {
    let root = project.root.clone();
    let deadline = Instant::now() + Duration::from_secs(SOON_SECONDS_MAX);
    let had = async |source: &ValueSource| {
        let late = |_| Failure::new(FailureKind::TimedOut, format!("not within {SOON_SECONDS_MAX} s"));
        tokio::time::timeout_at(deadline, had(&root, source)).await.map_err(late)?
    };
    each(project, false, had).await
}

/// `is_all`: the first that cannot be had is the last that is tried.
async fn each(
    project: &mut Project,
    is_all: bool,
    had: impl AsyncFn(&ValueSource) -> Result<Secret, Failure>,
) -> Vec<Failure> {
    let mut known: Vec<(ValueSource, Result<Secret, Failure>)> = Vec::new();
    let mut failures = Vec::new();
    for service in project.services.values_mut() {
        for (name, source) in std::mem::take(&mut service.env_from) {
            let value = match known.iter().find(|(one, _)| *one == source) {
                Some((_, value)) => value.clone(),
                None => {
                    let value = had(&source).await;
                    known.push((source.clone(), value.clone()));
                    value
                }
            };
            match value {
                Ok(value) => drop(service.env.insert(name, value)),
                Err(failure) => {
                    failures.push(failed(service.name.as_str(), &name, failure));
                    service.env_from.insert(name, source);
                    if is_all {
                        return failures;
                    }
                }
            }
        }
    }
    failures
}

/// For what starts no service: those that lie in files here are looked for in outputs. No program is run for a value, and where
/// there is none, none is wanted.
pub fn fill_from_files(project: &mut Project) {
    let root = project.root.clone();
    for service in project.services.values_mut() {
        for (name, source) in &service.env_from {
            if let ValueSource::File(file) = source
                && let Ok(value) = of_file(&root, file)
            {
                service.env.insert(name.clone(), value);
            }
        }
    }
}

fn failed(service: &str, name: &str, failure: Failure) -> Failure {
    let message = format!("the value of {name}, in `env` of {service}, cannot be had: {}", failure.message);
    Failure { message, ..failure }
}

async fn had(root: &Path, source: &ValueSource) -> Result<Secret, Failure> {
    match source {
        ValueSource::File(file) => of_file(root, file),
        ValueSource::Command(argv) => {
            let typed = quoted(&shell_words::join(argv), SHOWN_CHARS_MAX);
            one_value(
                run(root, argv, &typed).await?,
                &format!("`{typed}`"),
                &format!("see what it prints: `{typed}`"),
            )
        }
    }
}

fn of_file(root: &Path, file: &str) -> Result<Secret, Failure> {
    let shown = quoted(file, SHOWN_CHARS_MAX);
    one_value(read(&root.join(file), &shown)?, &shown, &format!("see what is in {shown}"))
}

fn read(path: &Path, shown: &str) -> Result<Vec<u8>, Failure> {
    let unreadable = |kind, why: String| {
        Failure::new(kind, format!("{shown} {why}"))
            .hint("`file` names a file on this machine; a relative one starts at the folder of lockgate.yaml")
    };
    let file = match lockgate_own::open(path) {
        Ok(file) => file,
        Err(error) if error.is_missing() => {
            return Err(unreadable(FailureKind::NotFound, "is not there".to_owned()));
        }
        Err(error) => return Err(unreadable(FailureKind::Refused, format!("cannot be read: {error}"))),
    };
    let mut content = Vec::new();
    file.take(VALUE_BYTES_MAX as u64 + 3)
        .read_to_end(&mut content)
        .map_err(|error| unreadable(FailureKind::Other, format!("cannot be read: {error}")))?;
    Ok(content)
}

async fn run(root: &Path, argv: &[String], typed: &str) -> Result<Vec<u8>, Failure> {
    let command =
        Command::new(argv).cwd(root.to_string_lossy()).timeout(Millis::from_secs(COMMAND_SECONDS_MAX));
    let output = Local::new().exec(&command).await?;
    if output.ok() {
        return Ok(output.stdout);
    }
    let said = output.stderr_text();
    let last = said.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("it says nothing of why");
    let message =
        format!("`{typed}` ended with exit code {}: {}", output.code, quoted(last, SHOWN_CHARS_MAX));
    Err(Failure::new(FailureKind::Unauthorized, message)
        .hint(format!("try it in the folder of lockgate.yaml, with this environment: `{typed}`")))
}

/// Without the line break that files and programs end with.
fn one_value(bytes: Vec<u8>, whose: &str, hint: &str) -> Result<Secret, Failure> {
    let wrong = |what: &str| Err(Failure::new(FailureKind::Refused, format!("{whose} {what}")).hint(hint));
    let Ok(text) = String::from_utf8(bytes) else { return wrong("gives what is no UTF-8 text") };
    let text = text.strip_suffix('\n').map_or(text.as_str(), |text| text.strip_suffix('\r').unwrap_or(text));
    match text {
        "" => wrong("gives nothing"),
        text if text.len() > VALUE_BYTES_MAX => wrong("gives more than 64 KiB"),
        text if text.contains('\0') => wrong("gives a NUL character, which no variable can hold"),
        text => Ok(Secret::new(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Result<String, String> {
        let value = one_value(text.into(), "`op`", "h").map_err(|failure| failure.message);
        value.map(|value| value.reveal().to_owned())
    }

    #[test]
    fn a_value_is_all_but_the_last_line_break() {
        assert_eq!(value("a\n").as_deref(), Ok("a"));
        assert_eq!(value("a\r\n").as_deref(), Ok("a"));
        assert_eq!(value("a\n\n").as_deref(), Ok("a\n"));
        assert_eq!(value(" a ").as_deref(), Ok(" a "));
        for nothing in ["", "\n"] {
            assert_eq!(value(nothing), Err("`op` gives nothing".into()));
        }
        assert!(value("a\0b").is_err() && value(&"x".repeat(VALUE_BYTES_MAX + 1)).is_err());
    }

    #[tokio::test]
    async fn where_one_can_do_without_them_what_cannot_be_had_stays_to_be_had() {
        let root = tempfile::tempdir().unwrap();
        let config = "project: p\nservices:\n  web:\n    command: [./web]\n    env: { A: \"1\", B: { file: missing }, C: { \
                      command: [printf, three] }, D: { file: missing }, E: { command: [sh, -c, \"echo no >&2; exit 2\"] } }\nenvironments:\n  \
                      prod:\n    runtime: process\n    router: none\n";
        let path = root.path().join("lockgate.yaml");
        std::fs::write(&path, config).unwrap();
        let load = || {
            let env = |_: &str| None;
            let purpose = lockgate_config::Purpose::Other;
            lockgate_config::load_if(&path, purpose, &env, |_, _| Ok::<(), CliError>(())).unwrap().project
        };
        let mut project = load();
        let failures = fill_some(&mut project).await;
        let web = project.services.values().next().unwrap();
        assert_eq!(web.env.keys().collect::<Vec<_>>(), ["A", "C"]);
        assert_eq!(web.env_from.keys().collect::<Vec<_>>(), ["B", "D", "E"]);
        let told: Vec<&str> = failures.iter().map(|failure| failure.message.as_str()).collect();
        assert!(told[0].contains("the value of B, in `env` of web") && told[1].contains("of D"), "{told:?}");
        assert!(told[2].contains("exit code 2: no"), "{told:?}");
        let mut project = load();
        fill(&mut project).await.unwrap_err();
    }

    #[tokio::test]
    async fn programs_and_files_give_values_and_their_failures_name_what_was_tried() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("secret"), "of a file\n").unwrap();
        let command =
            |words: &[&str]| ValueSource::Command(words.iter().map(|word| (*word).to_owned()).collect());
        let had = async |source: &ValueSource| had(root.path(), source).await;
        assert_eq!(had(&ValueSource::File("secret".into())).await.unwrap().reveal(), "of a file");
        assert_eq!(had(&command(&["printf", "a b\nc\n"])).await.unwrap().reveal(), "a b\nc");
        assert_eq!(
            had(&command(&["cat", "secret"])).await.unwrap().reveal(),
            "of a file",
            "it runs beside lockgate.yaml"
        );
        let failure =
            had(&command(&["sh", "-c", "echo hunter2; echo not signed in >&2; exit 3"])).await.unwrap_err();
        assert!(failure.message.contains("exit code 3: not signed in"), "{failure}");
        assert!(!failure.message.replace("echo hunter2", "").contains("hunter2"), "{failure}");
        let failure = had(&command(&["no-such-program-here"])).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::NotFound, "{failure}");
        let failure = had(&ValueSource::File("not/there".into())).await.unwrap_err();
        assert!(failure.message.contains("not/there is not there"), "{failure}");
        let failure = had(&ValueSource::File(".".into())).await.unwrap_err();
        assert!(failure.message.contains("cannot be read"), "{failure}");
    }
}
