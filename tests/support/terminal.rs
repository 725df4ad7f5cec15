//! A command at a real terminal: a pty of this machine, made by `script` of util-linux.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};

use super::{skipped, wait_for};

/// No command at a terminal takes longer.
const SECONDS_MAX: u64 = 60;

/// Ended when dropped.
pub struct Terminal {
    child: Child,
    keys: ChildStdin,
    folder: tempfile::TempDir,
}

impl Terminal {
    /// Starts the command with a terminal of that size. `None`, said so, where `script` is not there.
    pub fn start(command: &Command, rows: u16, columns: u16) -> Option<Terminal> {
        if Command::new("script").arg("--version").output().is_err() {
            skipped("script is not there");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        let words = shell_words::join(words.map(|word| word.to_str().unwrap()));
        let tty = folder.path().join("tty");
        let typed = format!("stty rows {rows} cols {columns}; tty >{}; exec {words}", tty.display());
        let mut script = Command::new("script");
        script.args(["-q", "-e", "-c", &typed, "/dev/null"]).env("SHELL", "/bin/sh");
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => script.env(name, value),
                None => script.env_remove(name),
            };
        }
        script.current_dir(command.get_current_dir().unwrap()).stdin(Stdio::piped());
        script.stdout(File::create(folder.path().join("shown")).unwrap()).stderr(Stdio::null());
        let mut child = script.spawn().unwrap();
        let keys = child.stdin.take().unwrap();
        Some(Terminal { child, keys, folder })
    }

    pub fn shown(&self) -> String {
        let shown = std::fs::read(self.folder.path().join("shown")).unwrap();
        String::from_utf8_lossy(&shown).replace('\r', "")
    }

    #[track_caller]
    pub fn wait_until_shown(&self, text: &str) {
        wait_for(text, SECONDS_MAX, || self.shown().contains(text).then_some(()));
    }

    /// As if somebody pressed them.
    pub fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
        self.keys.flush().unwrap();
    }

    pub fn resize(&self, rows: u16, columns: u16) {
        let tty: PathBuf = std::fs::read_to_string(self.folder.path().join("tty")).unwrap().trim().into();
        let mut stty = Command::new("stty");
        stty.arg("-F").arg(tty).args(["rows", &rows.to_string(), "cols", &columns.to_string()]);
        assert!(stty.status().unwrap().success());
    }

    /// The command's exit code, and all that was shown.
    #[track_caller]
    pub fn end(&mut self) -> (Option<i32>, String) {
        let child = &mut self.child;
        let status = wait_for("the command at the terminal", SECONDS_MAX, || child.try_wait().unwrap());
        (status.code(), self.shown())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Its pty goes with it, which hangs up what runs there.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A program that looks at its terminal, reads a line, tells each new size, and ends with 7 at Ctrl-C.
pub const LOOKS: &str = "[ -t 0 ] && [ -t 1 ] && [ -t 2 ] && echo terminal; stty size; read -r line; echo \"read $line\"; \
                         trap 'stty size' WINCH; trap 'echo interrupted; exit 7' INT; echo ready; while :; do sleep 0.05; done";

/// What is typed and wanted of [`LOOKS`] at a terminal of 33 by 77.
#[track_caller]
pub fn expect_looks(terminal: &mut Terminal) {
    terminal.wait_until_shown("33 77");
    terminal.press("a line\n");
    terminal.wait_until_shown("ready");
    terminal.resize(40, 90);
    terminal.wait_until_shown("40 90");
    terminal.press("\x03");
    let (code, shown) = terminal.end();
    assert_eq!(code, Some(7), "{shown}");
    assert!(shown.contains("terminal\n") && shown.contains("read a line\n"), "{shown}");
    assert!(shown.contains("interrupted"), "{shown}");
}
