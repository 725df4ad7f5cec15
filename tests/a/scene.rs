//! Real parts on this machine, as a script sets them up: it tells of them in one line of JSON, and takes them down when
//! its input ends.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::support::skipped;

/// What every script starts; a fleet's hosts have an sshd besides.
const PROGRAMS: [&str; 8] =
    ["docker", "dockerd", "docker-registry", "caddy", "unshare", "iptables", "jq", "curl"];

pub struct Scene {
    /// What the script says of the parts; its first comment lists the keys.
    pub told: Value,
    script: Child,
}

impl Scene {
    /// Starts a script of this folder. `None`, said so, where a part is missing.
    pub fn start(name: &str, args: &[String], programs: &[&str]) -> Option<Scene> {
        Self::start_in("tests/a", name, args, programs)
    }

    /// Starts a script of another folder.
    pub fn start_in(folder: &str, name: &str, args: &[String], programs: &[&str]) -> Option<Scene> {
        if let Some(missing) = PROGRAMS.iter().chain(programs).find(|program| !is_there(program)) {
            skipped(&format!("{missing} is not installed"));
            return None;
        }
        if !is_root() {
            skipped("only root can start a Docker Engine");
            return None;
        }
        let mut script = Command::new("bash")
            .arg(of_repository(folder).join(name))
            .args(args)
            // The images want the static `hello`, which is built beside this test's own binaries.
            .env("CARGO_TARGET_DIR", target_folder())
            .env_remove("DOCKER_HOST")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(script.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let told = serde_json::from_str(&line);
        let told = told.unwrap_or_else(|_| panic!("{name} says above what went wrong"));
        Some(Scene { told, script })
    }

    /// # Panics
    /// The script does not tell it, or not as a text.
    #[track_caller]
    pub fn text(&self, key: &str) -> &str {
        text(&self.told[key])
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        drop(self.script.stdin.take());
        // Its own functions bound every wait.
        if let Err(error) = self.script.wait() {
            eprintln!("a scene's script could not be waited for: {error}");
        }
    }
}

#[track_caller]
pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

pub fn of_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

fn target_folder() -> &'static Path {
    let folder = Path::new(env!("CARGO_BIN_EXE_lockgate")).parent().and_then(Path::parent);
    folder.expect("the binary lies in a profile's folder of the target folder")
}

fn is_there(program: &str) -> bool {
    let folders = std::env::var("PATH").unwrap_or_default() + ":/usr/local/sbin:/usr/sbin:/sbin";
    folders.split(':').any(|folder| Path::new(folder).join(program).is_file())
}

fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output().unwrap();
    output.stdout == b"0\n"
}
