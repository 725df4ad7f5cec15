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
/// Exit code of [`SWAP`] when the lock was not had in time: nothing was done.
pub(crate) const LOCKED: i32 = 75;
/// How the line begins that says who holds the lock.
pub(crate) const LOCKED_BY: &str = "lockgate-locked-by ";
/// Exit code of [`SWAP`] when the file held something else.
pub(crate) const NOT_SWAPPED: i32 = 76;
/// What [`EXEC`] says as its last error line when the program could not be started; `cwd` or `program` follows.
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
            Script::Write => "write",
            Script::Swap => "swap",
            Script::Names => "names",
            Script::Remove => "remove",
            Script::Space => "space",
            Script::Probe => "probe",
        }
    }
}

/// The worker's own part, after the scripts.
///
/// It keeps the session as 3 (input), 5 and 6 (outputs). A script gets its content through a pipe. One that succeeds has
/// read all of it; what a failed one left is read to the end, for it would be taken for requests. Where that is not
/// possible the worker kills itself. `lg_me` is the user who acts, asked for once.
///
/// `exec` runs in a process group of its own, so that to kill one command hits nothing that an earlier one left running.
/// Where there is no `setsid` it shares the worker's group, and the worker is used no more. It has pipes instead of the
/// session's outputs, for what it leaves running may still write when the next request is on: the end comes, as with a
/// session of its own, when everybody has closed them. `TMOUT` would end a bash that waits for requests.
const WORK: &str = r#"
lg_mark() {
  printf "\n%s %s %s\n" "$lg_nonce" "$1" "$2"; printf "\n%s %s %s\n" "$lg_nonce" "$1" "$2" >&2;
};
lg_start() {
  if [ "$lg_own" = 1 ]; then setsid sh -c "$lg_exec" sh "$lg_size" "$$";
  else ( set -- "$lg_size" "$$"; eval "$lg_exec" ); fi;
};
lg_command() {
  lg_code=$(
    exec 7>&1;
    {
      { lg_start <&3 3<&- 5>&- 6>&- 7>&- 8>&-; echo "$?" >&7; } 2>&1 >&8 8>&- |
      cat >&6 3<&- 5>&- 7>&- 8>&-;
    } 8>&1 |
    cat >&5 3<&- 6>&- 7>&-
  );
};
lg_script() { ( exec 3<&- 5>&- 6>&-; LC_ALL=C; export LC_ALL; eval "$lg_line"; "lg_$lg_name" ); };
lg_file() {
  IFS= read -r lg_line <&3 || exit 99;
  case "$lg_name" in write|swap) [ -n "$lg_me" ] || lg_me=$(id -u);; esac;
  if [ "$lg_size" -eq 0 ]; then
    lg_script;
    lg_code=$?;
  else
    { head -c "$lg_size" <&3 || kill -s KILL "$$"; } |
    { lg_script; lg_code=$?; [ "$lg_code" -eq 0 ] || cat >/dev/null; exit "$lg_code"; };
    lg_code=$?;
  fi;
};
unset TMOUT;
exec 3<&0 5>&1 6>&2 </dev/null;
lg_me=; lg_own=0;
if command -v setsid >/dev/null 2>&1; then lg_own=1; fi;
while IFS=" " read -r lg_nonce lg_name lg_size <&3; do
  lg_mark start "$lg_own";
  case "$lg_name" in exec) lg_command;; *) lg_file;; esac;
  [ -n "$lg_code" ] || exit 1;
  lg_mark end "$lg_code";
done
"#;

/// Runs a command and watches the session. `$1` is the size of the input, `$2` the worker's process id.
///
/// The watcher reads what is left of the session. Its end means that nobody waits for the command any more, so it kills
/// the process group, which is this shell's (see [`WORK`]). Without input for the command the watcher is a plain
/// background process. With input it must not read before all of that has been passed on, so it is what passes it on,
/// and says its process id as the first line (`$PPID` of a child, for `$$` stays the first shell's in a subshell). It
/// waits with the shell's own `read` and is waited for: no process that reads the session outlives the command.
const EXEC: &str = r#"
lg_size=$1; lg_worker=$2;
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
  lg_code=$?; kill -s KILL "$lg_watch"; wait "$lg_watch"; exit "$lg_code";
else
  {
    sh -c "echo \$PPID"; head -c "$lg_size" || kill -s KILL "$lg_worker";
    exec >/dev/null; while read -r lg_rest; do :; done; lg_kill;
  } <&3 3<&- 4>&- |
  { read -r lg_watch; lg_run; lg_code=$?; cat >/dev/null; kill -s KILL "$lg_watch"; exit "$lg_code"; };
fi
"#;

/// What several scripts do. The clock in milliseconds; removing what writes of this file that were killed left; the
/// content into a temporary file beside the file, all of which must have come, and onto the disk; its renaming. Nobody else
/// can know the temporary file's name before it is there. Who holds the lock, as [`LOCKED_BY`] and a process id, its state
/// and its program's name, each empty where it is not known.
const SHARED: &str = r#"
lg_clock() {
  lg_now=$(date +%s%3N 2>/dev/null);
  case "$lg_now" in ""|*[!0-9]*) lg_now=$(date +%s)000;; esac;
  echo "$lg_now";
};
lg_left() {
  for lg_old in "$lg_folder/.$lg_file_name".*.tmp; do
    case "$lg_old" in "$lg_folder/.$lg_file_name".*[!0-9a-f.]*.tmp) continue;; esac;
    [ -f "$lg_old" ] && [ ! -L "$lg_old" ] && [ -O "$lg_old" ] || continue;
    find "$lg_old" -prune -type f -mmin "+$lg_minutes" -exec rm -f -- {} ";" 2>/dev/null;
  done;
};
lg_receive() {
  [ -d "$lg_folder" ] || ( umask go-w; mkdir -p -- "$lg_folder" ) || exit 1;
  if [ -d "$lg_path" ]; then echo "$lg_path: Is a directory" >&2; exit 1; fi;
  [ -z "$lg_strict" ] || lg_ours "$lg_folder" "$lg_folder"/*.json "$lg_path" "$lg_path.lock" || exit 77;
  umask "$1";
  lg_left;
  lg_new="$lg_folder/.$lg_file_name.$lg_nonce.tmp";
  trap "rm -f -- \"\$lg_new\"" EXIT;
  cat >"$lg_new" || exit 1;
  [ "$(wc -c <"$lg_new")" -eq "$lg_size" ] || exit 99;
  [ -z "$lg_mode" ] || chmod "$lg_mode" "$lg_new" || exit 1;
  sync "$lg_new" 2>/dev/null || sync;
};
lg_settle() {
  mv -f -- "$lg_new" "$lg_path" || exit 1;
  exec 9>&-;
  sync "$lg_folder" 2>/dev/null || sync;
  exit 0;
};
lg_holder() {
  [ -r /proc/locks ] || return 0;
  set -- $(ls -di -- "$lg_path.lock" 2>/dev/null);
  while read -r lg_n lg_kind lg_x lg_m lg_pid lg_at lg_rest; do
    case "$lg_kind $lg_at" in "FLOCK "*":$1") ;; *) continue;; esac;
    [ "$lg_pid" -gt 0 ] 2>/dev/null || continue;
    lg_state=; lg_program=;
    while read -r lg_word lg_value lg_rest; do
      case "$lg_word" in State:) lg_state=$lg_value;; Name:) lg_program=$lg_value;; esac;
    done 2>/dev/null <"/proc/$lg_pid/status" || :;
    printf "lockgate-locked-by %s %s %s\n" "$lg_pid" "$lg_state" "$lg_program" >&2;
    return;
  done </proc/locks;
};
"#;

/// Says the clock in milliseconds on a line of its own, then the file, and one byte more than may be read.
const READ: &str = r#"
lg_clock;
[ -z "$lg_strict" ] || lg_quick "$lg_folder" "$lg_path" || exit 77;
if [ -e "$lg_path" ] && [ ! -f "$lg_path" ] && [ ! -d "$lg_path" ]; then
  LC_ALL=C ls -ldnL -- "$lg_path" | lg_judge ""; exit 77;
fi;
exec head -c "$lg_max" -- "$lg_path"
"#;

const WRITE: &str = r#"
lg_receive 077;
lg_settle
"#;

/// As [`WRITE`], under `flock(2)` and only when the file's digest is the one expected. The input has come and lies on the
/// disk before the lock is taken, so neither a slow network nor a slow disk nor an orchestrator that is stopped holds it.
/// `-w` and `-E` are util-linux's: busybox is asked again and again.
const SWAP: &str = r#"
lg_mode=; lg_receive 022;
command -v flock >/dev/null || { echo "flock: command not found" >&2; exit 1; };
[ -e "$lg_path.lock" ] || ( umask 077; : >>"$lg_path.lock" ) || exit 1;
exec 9>>"$lg_path.lock" || exit 1;
flock -x -w "$lg_wait" -E 75 9 2>/dev/null;
case $? in
  0) ;;
  75) lg_holder; exit 75;;
  *) lg_try=0; until flock -x -n 9; do
       lg_try=$((lg_try+1)); [ "$lg_try" -lt $((lg_wait*50)) ] || { lg_holder; exit 75; }; sleep 0.02;
     done;;
esac;
lg_seen=none;
if [ -e "$lg_path" ]; then
  lg_seen=$(sha256sum <"$lg_path") || exit 1;
  lg_seen="${lg_seen%% *}";
fi;
[ "$lg_seen" = "$lg_expected" ] || exit 76;
lg_settle
"#;

/// Says the names of files, each on a line of its own.
const NAMES: &str = r#"
[ -d "$lg_path" ] || exit 0;
unset CDPATH; cd -- "$lg_path/." || exit 1;
for lg_one in "$lg_prefix"*; do
  case "$lg_one" in *[[:cntrl:]]*) continue;; esac;
  if [ -f "$lg_one" ] && [ ! -L "$lg_one" ]; then printf "%s\n" "$lg_one"; fi;
done | head -n "$lg_max"
"#;

const REMOVE: &str = r#"
[ -e "$lg_path" ] || [ -L "$lg_path" ] || [ ! -d "$lg_folder" ] || [ ! -x "$lg_folder" ] || exit 0;
rm -f -- "$lg_path" || exit 1;
sync "$lg_folder" 2>/dev/null; exit 0
"#;

/// `df` of the path or its nearest existing parent.
const SPACE: &str = r#"
while [ ! -e "$lg_path" ]; do
  case "$lg_path" in
    */*) lg_path="${lg_path%/*}"; [ -n "$lg_path" ] || lg_path=/;;
    *) lg_path=.;;
  esac;
done;
exec df -Pk -- "$lg_path"
"#;

/// For `doctor`: the clock, the system, and a line for every program that is missing.
const PROBE: &str = r#"
lg_clock; uname -sr;
for lg_program in $lg_programs; do
  command -v "$lg_program" >/dev/null || echo "$lg_program";
done
"#;

/// The worker as the one line that [`COMMAND_LINE`] reads.
pub(crate) fn program() -> String {
    let (exec, ours, shared) = (quote(&one_line(EXEC)), one_line(SHELL), one_line(SHARED));
    let mut text = format!("lg_exec={exec}; {ours} {shared} ");
    for (script, body) in [
        (Script::Read, READ),
        (Script::Write, WRITE),
        (Script::Swap, SWAP),
        (Script::Names, NAMES),
        (Script::Remove, REMOVE),
        (Script::Space, SPACE),
        (Script::Probe, PROBE),
    ] {
        text.push_str(&format!("lg_{}() {{ {}; }}; ", script.name(), one_line(body)));
    }
    text.push_str(&one_line(WORK));
    text.push('\n');
    text
}

/// A script's lines, joined.
fn one_line(script: &str) -> String {
    let line: Vec<&str> = script.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    line.join(" ")
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

/// The line that [`EXEC`] reads.
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
        for script in [EXEC, SHELL, SHARED, READ, WRITE, SWAP, NAMES, REMOVE, SPACE, PROBE, WORK] {
            assert!(!script.contains('#'), "a comment would swallow the rest of the line: {script}");
        }
        assert!(!EXEC.contains('\''), "a single quote would need another backslash");
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
