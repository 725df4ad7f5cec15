//! Values go from the environment, from files and from programs into the host's `.env`, and nowhere else.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use super::droplet::Droplet;
use super::{ENVIRONMENT, bare, is_ready, mode};
use crate::support::files::holding;
use crate::support::skipped;

/// In a variable, with what every reader takes for something else.
const CANARY: &str = "c4nary-1 '\"\\ $HOME $$ #x `y`";
/// What the password manager's double prints.
const OF_OP: &str = "c4nary-2";
const OF_FILE: &str = "-----BEGIN X-----\nc4nary-3\n-----END X-----\n";
const SERVICE: &str = "env: { VALKEY_HOST: \"${VALKEY_HOST}\", TOKEN: \"${TOKEN}\", OP: { command: \"./op read op://shop/token\" }, CERT: { file: cert.pem } }";

fn with_variables() -> Option<Droplet> {
    let mut droplet = bare(SERVICE)?;
    droplet.set("VALKEY_HOST", "valkey.internal");
    droplet.set("TOKEN", CANARY);
    fs::write(droplet.project("cert.pem"), OF_FILE).unwrap();
    // A double of 1Password's `op`: it records its arguments and replays what it was told to print.
    let script = format!("#!/bin/sh\necho \"$*\" >>\"$0.argv\"\necho {OF_OP}\n");
    fs::write(droplet.project("op"), script).unwrap();
    fs::set_permissions(droplet.project("op"), fs::Permissions::from_mode(0o755)).unwrap();
    is_ready(&droplet);
    droplet.boots();
    Some(droplet)
}

/// What a Compose makes of the `.env` on the host: by `env_file`, and by `${NAME}`.
fn read_by(program: &[&str], droplet: &Droplet) -> Option<[Value; 2]> {
    let names = ["VALKEY_HOST", "TOKEN", "OP", "CERT"];
    let filled: serde_json::Map<String, Value> =
        names.iter().map(|name| ((*name).to_owned(), json!(format!("${{{name}}}")))).collect();
    let one = |service: Value| {
        let file = droplet.host("opt/monarch/read.json");
        fs::write(&file, json!({ "version": "3.8", "services": { "s": service } }).to_string()).unwrap();
        let mut command = Command::new(program[0]);
        command
            .args(&program[1..])
            .args(["-f", "read.json", "config"])
            .current_dir(droplet.host("opt/monarch"));
        let output = command.stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{program:?}: {}", String::from_utf8_lossy(&output.stderr));
        let document: Value = serde_saphyr::from_slice(&output.stdout).unwrap();
        document["services"]["s"]["environment"].clone()
    };
    let has = Command::new(program[0]).args(&program[1..]).arg("version").output();
    if !has.is_ok_and(|output| output.status.success()) {
        skipped(&format!("{program:?} is not there"));
        return None;
    }
    Some([
        one(json!({ "image": "x", "env_file": ".env" })),
        one(json!({ "image": "x", "environment": filled })),
    ])
}

#[test]
fn values_are_in_the_file_and_nowhere_else_and_arrive_as_they_are_in_both_composes() {
    let Some(droplet) = with_variables() else { return };
    let ended = Arc::new(AtomicBool::new(false));
    let watcher = std::thread::spawn({
        let ended = ended.clone();
        move || {
            let mut seen = Vec::new();
            while !ended.load(Ordering::Relaxed) {
                seen.extend(command_lines().into_iter().filter(|argv| argv.contains("c4nary")));
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            seen
        }
    });
    let mut said = droplet.run("setup --dry-run").expect(0).to_string();
    said.push_str(&droplet.run("setup -vvv").expect(0).says(&["made variables"]).to_string());
    said.push_str(&droplet.run("setup --format json").expect(0).to_string());
    ended.store(true, Ordering::Relaxed);
    let argv = watcher.join().unwrap();
    assert!(argv.is_empty(), "in a command line: {argv:?}");
    assert!(!said.contains("c4nary"), "{said}");
    let file = droplet.host("opt/monarch/.env");
    assert_eq!(mode(&file), 0o600);
    assert!(fs::read_to_string(&file).unwrap().starts_with("# Written by lockgate for monarch/prod"));
    let env = vec![file.display().to_string()];
    assert_eq!(holding(droplet.root(), "c4nary-1"), env);
    assert_eq!(holding(droplet.root(), OF_OP).len(), 2, "beside the double itself");
    assert_eq!(holding(droplet.root(), "c4nary-3").len(), 2, "beside the file that it comes from");
    assert_eq!(fs::read_to_string(droplet.project("op.argv")).unwrap(), "read op://shop/token\n".repeat(3));
    let wanted =
        [("VALKEY_HOST", "valkey.internal"), ("TOKEN", CANARY), ("OP", OF_OP), ("CERT", OF_FILE.trim_end())];
    for program in [&["docker", "compose"][..], &["docker-compose"]] {
        for read in read_by(program, &droplet).into_iter().flatten() {
            for (name, value) in wanted {
                // Its document has each dollar sign twice.
                let seen = read[name].as_str().unwrap_or_default().replace("$$", "$");
                assert_eq!(seen, value, "{name} by {program:?}");
            }
        }
    }
}

fn command_lines() -> Vec<String> {
    let entries = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let read = entries.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    read.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).collect()
}

#[test]
fn a_changed_value_is_written_anew_and_somebody_else_s_file_is_left_alone() {
    let Some(mut droplet) = with_variables() else { return };
    droplet.run("setup").expect(0);
    droplet.set("VALKEY_HOST", "other.internal");
    droplet.run("setup").expect(0).says(&["made variables", "; 1 made"]);
    let file = droplet.host("opt/monarch/.env");
    assert!(fs::read_to_string(&file).unwrap().contains("VALKEY_HOST=other.internal"));
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    droplet.run("setup").expect(0).says(&["its mode is 0644", "; 1 made"]);
    assert_eq!(mode(&file), 0o600);
    fs::write(&file, "MINE=1\n").unwrap();
    droplet.run("setup").expect(1).says(&["Lockgate did not write it", "--overwrite-env"]);
    assert_eq!(fs::read_to_string(&file).unwrap(), "MINE=1\n");
    droplet.run("setup --overwrite-env").expect(0).says(&["; 1 made"]);
    assert!(fs::read_to_string(&file).unwrap().starts_with("# Written by lockgate for monarch/prod"));
}

#[test]
fn values_that_nobody_wants_any_more_are_taken_out_of_the_file_that_lockgate_wrote_and_of_no_other() {
    let Some(droplet) = with_variables() else { return };
    droplet.run("setup").expect(0);
    let file = droplet.host("opt/monarch/.env");
    assert!(fs::read_to_string(&file).unwrap().contains("c4nary-1"));
    droplet.configure("", ENVIRONMENT);
    droplet.run("setup --dry-run").expect(0).says(&["opt/monarch/.env", "to be made", "is taken out"]);
    assert!(fs::read_to_string(&file).unwrap().contains("c4nary-1"), "a plan changes nothing");
    droplet.run("setup").expect(0).says(&["made variables", "; 1 made"]);
    // A Compose file may name it still, so it is there.
    let left = fs::read_to_string(&file).unwrap();
    assert!(left.starts_with("# Written by lockgate for monarch/prod"), "{left}");
    assert_eq!((left.lines().count(), mode(&file)), (1, 0o600));
    droplet.run("setup").expect(0).says(&["nothing to do"]);
    // Somebody else's file, another environment's, and none at all.
    for other in ["MINE=1\n", "# Written by lockgate for monarch/staging: x\nA=1\n"] {
        fs::write(&file, other).unwrap();
        droplet.run("setup").expect(0).says(&["nothing to do"]);
        assert_eq!(fs::read_to_string(&file).unwrap(), other);
    }
    fs::remove_file(&file).unwrap();
    droplet.run("setup").expect(0).says(&["nothing to do"]);
    assert!(!file.exists());
}

#[test]
fn what_stands_in_the_place_of_the_file_is_refused() {
    let Some(droplet) = with_variables() else { return };
    let file = droplet.host("opt/monarch/.env");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(droplet.host("precious"), "precious").unwrap();
    symlink(droplet.host("precious"), &file).unwrap();
    droplet.run("setup --overwrite-env").expect(1).says(&["it is a link"]);
    assert_eq!(fs::read_to_string(droplet.host("precious")).unwrap(), "precious");
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    droplet.run("setup --overwrite-env").expect(1).says(&["something is there that is no file"]);
    fs::remove_dir(&file).unwrap();
    fs::write(&file, "").unwrap();
    if std::os::unix::fs::chown(&file, Some(1234), None).is_ok() {
        droplet.run("setup --overwrite-env").expect(1).says(&["it belongs to the user with the number 1234"]);
    }
    assert!(!droplet.host("opt/monarch/docker-compose.yml").exists(), "nothing was made");
}

#[test]
fn what_cannot_be_had_or_written_is_said_before_anything_is_asked_of_the_host() {
    let Some(mut droplet) = with_variables() else { return };
    droplet.set("TOKEN", "both ${NAME} and '");
    droplet.run("setup").expect(2).says(&["TOKEN", "no quoting"]);
    droplet.set("TOKEN", "good");
    fs::write(droplet.project("op"), "#!/bin/sh\necho c4nary-2\necho 'not signed in' >&2\nexit 1\n").unwrap();
    let ran = droplet
        .run("setup")
        .expect(1)
        .says(&["the value of OP, in `env` of monarch", "exit code 1: not signed in"]);
    assert!(!ran.to_string().contains("c4nary"), "{ran}");
    fs::remove_file(droplet.project("cert.pem")).unwrap();
    droplet.run("setup").expect(1).says(&["the value of CERT", "cert.pem is not there"]);
    // A command that only looks needs none of them.
    droplet.configure(SERVICE, ENVIRONMENT);
    droplet.run("history").expect(0);
    assert!(!droplet.host("opt/monarch").exists());
}
