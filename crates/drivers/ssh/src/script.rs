//! All that is ever run on the other side, and the one place where text is quoted for a shell.
//!
//! A session's command line is [`COMMAND_LINE`], which reads one line and runs it: [`program`], the worker, with every
//! script as a function. So no login shell (sh, bash, zsh, fish, csh) reads a script. The worker then answers requests,
//! one at a time, each of them three things after one another on its standard input:
//!
//! 1. `<nonce> <name> <size>`, a line: whose turn it is. It answers at once with a line on both outputs,
//!    `<nonce> start <own>`: it lives and has read this much. `own` is 1 where commands get a process group of their own.
//! 2. A line of assignments that [`Line`] quoted. `read -r` takes byte by byte, so what follows is left for the programs.
//! 3. `size` bytes of content.
//!
//! What the script writes goes out as it is. Then comes a line on both outputs, `<nonce> end <exit code>`. The nonce is
//! 128 random bits, new for each request and known to no program that a request runs, so that nothing a program says is
//! taken for the end. Lengths in front would have needed the output to be held in memory or in files there.
//!
//! No request reads what belongs to the next one: there is none before this one has been answered, and before that all
//! of the content has been read, or else the worker is dead.

use std::collections::BTreeMap;

use lockgate_model::FailureKind;
use lockgate_own::SHELL;
use lockgate_ports::{Command, PortError};

/// Exit code of a script that did not get its whole input: nothing was done.
pub(crate) const CUT_OFF: i32 = 99;
/// Exit code of `swap.sh` when the lock was not had in time: nothing was done.
pub(crate) const LOCKED: i32 = 75;
/// How the line begins that says who holds the lock.
pub(crate) const LOCKED_BY: &str = "lockgate-locked-by ";
/// Exit code of `swap.sh` when the file held something else.
pub(crate) const NOT_SWAPPED: i32 = 76;
/// What `exec.sh` says as its last error line when the program could not be started; `cwd` or `program` follows.
pub(crate) const NOT_STARTED: &str = "lockgate-not-started:";
/// What stands for the digest of a missing file.
pub(crate) const NO_FILE: &str = "none";

/// The remote command line of every session.
pub(crate) const COMMAND_LINE: &str = "exec sh -c 'IFS= read -r lg_all && eval \"$lg_all\"'";

/// What a worker can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Script {
    Exec,
    Read,
    ReadEach,
    Write,
    Swap,
    Names,
    Remove,
    Space,
    Probe,
}

impl Script {
    /// Its name in a request; but for `exec` the function of a worker is called so, with `lg_` in front.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Script::Exec => "exec",
            Script::Read => "read",
            Script::ReadEach => "read_each",
            Script::Write => "write",
            Script::Swap => "swap",
            Script::Names => "names",
            Script::Remove => "remove",
            Script::Space => "space",
            Script::Probe => "probe",
        }
    }
}

/// Runs a command and watches the session: the whole of another shell's script.
const EXEC: &str = include_str!("sh/exec.sh");
/// One function for each [`Script`] but `exec`, and what they share.
const FUNCTIONS: [&str; 10] = [
    SHELL,
    include_str!("sh/shared.sh"),
    include_str!("sh/read.sh"),
    include_str!("sh/read_each.sh"),
    include_str!("sh/write.sh"),
    include_str!("sh/swap.sh"),
    include_str!("sh/names.sh"),
    include_str!("sh/remove.sh"),
    include_str!("sh/space.sh"),
    include_str!("sh/probe.sh"),
];
/// The loop that answers requests.
const WORK: &str = include_str!("sh/work.sh");

/// The worker as the one line that [`COMMAND_LINE`] reads.
pub(crate) fn program() -> String {
    let mut text = format!("lg_exec={}\n", quote(&bare(EXEC)));
    for part in FUNCTIONS.iter().chain([&WORK]) {
        text.push_str(&bare(part));
    }
    format!("{LINE_BREAK}eval {}\n", quote(&text))
}

/// Scripts that have a session to themselves, one after the other, as the one line that [`COMMAND_LINE`] reads. `nonce` is
/// in the line with which they begin to speak, and `size` is that of the input, where that is told them.
pub(crate) fn alone(nonce: &str, size: usize, scripts: &[&str]) -> String {
    let mut text = format!("lg_nonce={nonce}\nlg_size={size}\nlg_exec={}\n", quote(&bare(EXEC)));
    for part in [include_str!("sh/own_session.sh")].iter().chain(scripts) {
        text.push_str(&bare(part));
    }
    format!("{LINE_BREAK}eval {}\n", quote(&text))
}

/// A script without its comments, blank lines and indentation, which would only cost time on the way.
fn bare(script: &str) -> String {
    let lines = script.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.flat_map(|line| [line, "\n"]).collect()
}

/// Text as one word of a POSIX shell, without a line break: each is the variable that [`LINE_BREAK`] sets.
pub(crate) fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''").replace('\n', "'\"$lg_break\"'"))
}

/// Sets the variable that stands for a line break in what [`quote`] gives.
const LINE_BREAK: &str = "lg_break=$(printf \"\\n.\"); lg_break=${lg_break%.}; ";

/// The line of assignments a script reads first.
pub(crate) struct Line(String);

impl Line {
    pub(crate) fn new() -> Line {
        Line(LINE_BREAK.to_owned())
    }

    /// # Errors
    /// `Other` when the text has a NUL, which no argument, variable or path can hold.
    pub(crate) fn set(mut self, name: &str, text: &str) -> Result<Line, PortError> {
        self.0.push_str(&format!("lg_{name}={}; ", checked(text)?));
        Ok(self)
    }

    /// `lg_path`, and its `lg_folder` and `lg_file_name`.
    ///
    /// # Errors
    /// `Other` for a path that names no file.
    pub(crate) fn path(self, path: &str) -> Result<Line, PortError> {
        let (folder, name) = match path.rsplit_once('/') {
            Some(("", name)) => ("/", name),
            Some((folder, name)) => (folder, name),
            None => (".", path),
        };
        if name.is_empty() {
            return Err(PortError::other(format!("{path:?} names no file")));
        }
        self.set("path", path)?.set("folder", folder)?.set("file_name", name)
    }

    pub(crate) fn end(mut self) -> Vec<u8> {
        self.0.push('\n');
        self.0.into_bytes()
    }
}

fn checked(text: &str) -> Result<String, PortError> {
    if text.contains('\0') {
        return Err(PortError::other("a path, argument or variable with a NUL byte cannot be passed"));
    }
    Ok(quote(text))
}

/// The line that `exec.sh` reads.
///
/// # Errors
/// `Other` for an empty command, a NUL byte or a variable name that is none.
pub(crate) fn command(command: &Command) -> Result<Vec<u8>, PortError> {
    if command.argv.is_empty() {
        return Err(PortError::other("an empty command cannot be run"));
    }
    let mut line = Line::new().0;
    if let Some(cwd) = &command.cwd {
        // `CDPATH` and a folder named `-` must not matter.
        let cwd = if cwd.starts_with('/') { cwd.clone() } else { format!("./{cwd}") };
        line.push_str(&format!("lg_why=cwd; cd -- {} || exit 1; ", checked(&cwd)?));
    }
    line.push_str("lg_why=program; set --");
    for argument in &command.argv {
        line.push(' ');
        line.push_str(&checked(argument)?);
    }
    line.push_str(&exports(&command.env)?);
    line.push('\n');
    Ok(line.into_bytes())
}

/// A file that removes itself and becomes the command.
///
/// # Errors
/// As [`command`].
pub(crate) fn file(command: &Command) -> Result<Vec<u8>, PortError> {
    let [program, arguments @ ..] = command.argv.as_slice() else {
        return Err(PortError::other("an empty command cannot be run"));
    };
    let mut line = format!("{LINE_BREAK}rm -f -- \"$0\"");
    if let Some(cwd) = &command.cwd {
        let cwd = if cwd.starts_with('/') { cwd.clone() } else { format!("./{cwd}") };
        line.push_str(&format!("; cd -- {} || exit 125", checked(&cwd)?));
    }
    line.push_str(&exports(&command.env)?);
    line.push_str(&format!("; exec {}", checked(program)?));
    for argument in arguments {
        line.push(' ');
        line.push_str(&checked(argument)?);
    }
    line.push('\n');
    Ok(line.into_bytes())
}

fn exports(env: &BTreeMap<String, String>) -> Result<String, PortError> {
    let mut text = String::new();
    for (name, value) in env {
        let mut letters = name.chars();
        let valid = letters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
            && letters.all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
        if !valid {
            return Err(PortError::new(
                FailureKind::Refused,
                format!("{name:?} is not the name of a variable"),
            )
            .hint("letters, digits and _ only, and no digit first"));
        }
        text.push_str(&format!("; export {name}={}", checked(value)?));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worker_is_one_line_and_no_login_shell_reads_it() {
        let program = program();
        assert_eq!(program.find('\n'), Some(program.len() - 1));
        assert_eq!(COMMAND_LINE.matches('\'').count(), 2, "one word in single quotes");
        assert!(!COMMAND_LINE.contains(['\\', '!', '\n']), "csh and fish read them within single quotes");
    }

    #[test]
    fn values_are_quoted_as_one_word_on_one_line() {
        assert_eq!(quote(""), "''");
        assert_eq!(quote("a b$(x)"), "'a b$(x)'");
        assert_eq!(quote("it's"), r"'it'\''s'");
        assert_eq!(quote("a\nb"), "'a'\"$lg_break\"'b'");
    }

    #[test]
    fn a_secret_is_in_the_line() {
        let bytes = command(&Command::new(["login"]).env("TOKEN", "s3cret")).unwrap();
        assert!(String::from_utf8(bytes).unwrap().contains("export TOKEN='s3cret'"));
    }

    #[test]
    fn what_no_program_could_be_given_is_refused() {
        assert!(command(&Command::new(["a\0b"])).is_err());
        assert!(command(&Command::new(Vec::<String>::new())).is_err());
        for name in ["", "1A", "A B", "A;touch x", "A=B", "A\n"] {
            assert!(command(&Command::new(["env"]).env(name, "x")).is_err(), "{name:?}");
        }
        assert!(Line::new().path("/folder/").is_err());
    }
}
