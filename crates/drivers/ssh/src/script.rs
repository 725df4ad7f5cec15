//! All that is ever run on the other side, and the one place where text is quoted for a shell.
//!
//! Each script is a constant that goes into the remote command line in single quotes, without any of its own and on one
//! line, so that every login shell (sh, bash, zsh, fish, csh) hands it to `sh` as it is. It then reads one line of
//! assignments that [`Line`] quoted. `read -r` takes byte by byte, so what follows the line is left for the programs.

use std::collections::BTreeMap;

use lockgate_model::FailureKind;
use lockgate_ports::{Command, PortError};

/// Exit code of a script that did not get its whole line: nothing was done.
pub(crate) const NO_LINE: i32 = 99;
/// Exit code of [`SWAP`] when the lock was not had in time: nothing was done.
pub(crate) const LOCKED: i32 = 75;
/// Exit code of [`SWAP`] when the file held something else.
pub(crate) const NOT_SWAPPED: i32 = 76;
/// What [`EXEC`] says as its last error line when the program could not be started; `cwd` or `program` follows.
pub(crate) const NOT_STARTED: &str = "lockgate-not-started:";
/// What stands for the digest of a missing file.
pub(crate) const NO_FILE: &str = "none";

/// Runs a command and watches the session.
///
/// The watcher reads what is left of the input. Its end means that nobody waits for the command any more, so it kills
/// the process group, which is this shell's: sshd makes a session for every command, and where it did not, `-$$` names
/// no group and nothing else is hit. Without input for the command the watcher is a plain background process. With
/// input it must not read before all of that has been passed on, so it is what passes it on, and says its process id
/// as the first line (`$PPID` of a child, for `$$` stays the first shell's in a subshell).
pub(crate) const EXEC: &str = r#"
IFS= read -r lg_size || exit 99;
IFS= read -r lg_line || exit 99;
exec 3<&0 </dev/null 4>&2 2>/dev/null;
lg_kill() { trap "" TERM; kill -s TERM -- "-$$"; sleep 2; kill -s KILL -- "-$$"; };
lg_run() { (
  exec 2>&4 3<&- 4>&-;
  lg_why=line; trap "echo lockgate-not-started:\$lg_why >&2" EXIT;
  eval "$lg_line";
  exec "$@"
); };
if [ "$lg_size" -eq 0 ]; then
  { while read -r lg_rest; do :; done; lg_kill; } <&3 >/dev/null 4>&- 3<&- &
  lg_watch=$!;
  lg_run;
  lg_code=$?; kill -s KILL "$lg_watch"; exit "$lg_code";
else
  { sh -c "echo \$PPID"; head -c "$lg_size"; exec >/dev/null; cat; lg_kill; } <&3 3<&- 4>&- |
  { read -r lg_watch; lg_run; lg_code=$?; kill -s KILL "$lg_watch"; exit "$lg_code"; };
fi
"#;

/// Says the clock in milliseconds on a line of its own, then the file, and one byte more than may be read.
pub(crate) const READ: &str = r#"
LC_ALL=C; export LC_ALL;
IFS= read -r lg_line || exit 99; eval "$lg_line";
lg_now=$(date +%s%3N 2>/dev/null);
case "$lg_now" in ""|*[!0-9]*) lg_now=$(date +%s)000;; esac;
echo "$lg_now";
exec head -c "$lg_max" -- "$lg_path"
"#;

/// The input goes to a temporary file beside it; all of it must have come before it is renamed.
pub(crate) const WRITE: &str = r#"
LC_ALL=C; export LC_ALL;
IFS= read -r lg_line || exit 99; eval "$lg_line";
[ -d "$lg_folder" ] || mkdir -p -- "$lg_folder" || exit 1;
if [ -d "$lg_path" ]; then echo "$lg_path: Is a directory" >&2; exit 1; fi;
umask 077;
lg_new="$lg_folder/.$lg_name.$$.tmp";
trap "rm -f -- \"\$lg_new\"" EXIT;
cat >"$lg_new" || exit 1;
[ "$(wc -c <"$lg_new")" -eq "$lg_size" ] || exit 99;
chmod "$lg_mode" "$lg_new" || exit 1;
sync "$lg_new" 2>/dev/null || sync;
mv -f -- "$lg_new" "$lg_path" || exit 1;
sync "$lg_folder" 2>/dev/null || sync;
exit 0
"#;

/// As [`WRITE`], under `flock(2)` and only when the file's digest is the one expected. The input has come before the
/// lock is taken, so a slow network does not hold it. `-w` and `-E` are util-linux's: busybox is asked again and again.
pub(crate) const SWAP: &str = r#"
LC_ALL=C; export LC_ALL;
IFS= read -r lg_line || exit 99; eval "$lg_line";
[ -d "$lg_folder" ] || mkdir -p -- "$lg_folder" || exit 1;
if [ -d "$lg_path" ]; then echo "$lg_path: Is a directory" >&2; exit 1; fi;
umask 022;
lg_new="$lg_folder/.$lg_name.$$.tmp";
trap "rm -f -- \"\$lg_new\"" EXIT;
cat >"$lg_new" || exit 1;
[ "$(wc -c <"$lg_new")" -eq "$lg_size" ] || exit 99;
command -v flock >/dev/null || { echo "flock: command not found" >&2; exit 1; };
exec 9>>"$lg_path.lock" || exit 1;
flock -x -w "$lg_wait" -E 75 9 2>/dev/null;
case $? in
  0) ;;
  75) exit 75;;
  *) lg_try=0; until flock -x -n 9; do
       lg_try=$((lg_try+1)); [ "$lg_try" -lt $((lg_wait*50)) ] || exit 75; sleep 0.02;
     done;;
esac;
lg_seen=none;
if [ -e "$lg_path" ]; then
  lg_seen=$(sha256sum <"$lg_path") || exit 1;
  lg_seen="${lg_seen%% *}";
fi;
[ "$lg_seen" = "$lg_expected" ] || exit 76;
sync "$lg_new" 2>/dev/null || sync;
mv -f -- "$lg_new" "$lg_path" || exit 1;
sync "$lg_folder" 2>/dev/null || sync;
exit 0
"#;

pub(crate) const REMOVE: &str = r#"
LC_ALL=C; export LC_ALL;
IFS= read -r lg_line || exit 99; eval "$lg_line";
[ -e "$lg_path" ] || [ -L "$lg_path" ] || [ ! -d "$lg_folder" ] || [ ! -x "$lg_folder" ] || exit 0;
rm -f -- "$lg_path" || exit 1;
sync "$lg_folder" 2>/dev/null; exit 0
"#;

/// `df` of the path or its nearest existing parent.
pub(crate) const SPACE: &str = r#"
LC_ALL=C; export LC_ALL;
IFS= read -r lg_line || exit 99; eval "$lg_line";
while [ ! -e "$lg_path" ]; do
  case "$lg_path" in
    */*) lg_path="${lg_path%/*}"; [ -n "$lg_path" ] || lg_path=/;;
    *) lg_path=.;;
  esac;
done;
exec df -Pk -- "$lg_path"
"#;

/// For `doctor`: the clock, the system, and a line for every program that is missing.
pub(crate) const PROBE: &str = r#"
LC_ALL=C; export LC_ALL;
IFS= read -r lg_line || exit 99; eval "$lg_line";
lg_now=$(date +%s%3N 2>/dev/null);
case "$lg_now" in ""|*[!0-9]*) lg_now=$(date +%s)000;; esac;
echo "$lg_now"; uname -sr;
for lg_program in $lg_programs; do
  command -v "$lg_program" >/dev/null || echo "$lg_program";
done
"#;

/// The remote command line of a script.
pub(crate) fn command_line(script: &str) -> String {
    let line: Vec<&str> = script.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    format!("exec sh -c '{}'", line.join(" "))
}

/// Text as one word of a POSIX shell, without a line break: each is the variable that [`Line`] sets first.
pub(crate) fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''").replace('\n', "'\"$lg_break\"'"))
}

/// The line of assignments a script reads first.
pub(crate) struct Line(String);

impl Line {
    pub(crate) fn new() -> Line {
        Line("lg_break=$(printf \"\\n.\"); lg_break=${lg_break%.}; ".to_owned())
    }

    /// # Errors
    /// `Other` when the text has a NUL, which no argument, variable or path can hold.
    pub(crate) fn set(mut self, name: &str, text: &str) -> Result<Line, PortError> {
        self.0.push_str(&format!("lg_{name}={}; ", checked(text)?));
        Ok(self)
    }

    /// `lg_path`, and its `lg_folder` and `lg_name`.
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
        self.set("path", path)?.set("folder", folder)?.set("name", name)
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

/// What [`EXEC`] reads: the size of the input, the line, the input.
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
    let mut bytes = format!("{}\n{line}\n", command.stdin.len()).into_bytes();
    bytes.extend_from_slice(&command.stdin);
    Ok(bytes)
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
    fn scripts_survive_every_login_shell() {
        for script in [EXEC, READ, WRITE, SWAP, REMOVE, SPACE, PROBE] {
            assert!(!script.contains('\''), "a single quote would end the script: {script}");
            assert!(!script.contains(r"\\"), "fish reads a double backslash as one: {script}");
            assert!(!script.contains('#'), "a comment would swallow the rest of the line: {script}");
            assert!(!command_line(script).contains('\n'));
        }
    }

    #[test]
    fn values_are_quoted_as_one_word_on_one_line() {
        assert_eq!(quote(""), "''");
        assert_eq!(quote("a b$(x)"), "'a b$(x)'");
        assert_eq!(quote("it's"), r"'it'\''s'");
        assert_eq!(quote("a\nb"), "'a'\"$lg_break\"'b'");
    }

    #[test]
    fn a_secret_is_in_the_input_and_not_in_the_command_line() {
        let bytes = command(&Command::new(["login"]).env("TOKEN", "s3cret")).unwrap();
        assert!(String::from_utf8(bytes).unwrap().contains("export TOKEN='s3cret'"));
        assert!(!command_line(EXEC).contains("s3cret"));
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
