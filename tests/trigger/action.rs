//! The script of the action, as a runner calls it.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::double::{Double, Manner};
use crate::support::project::run;

use super::{FOREIGN, SECRET, SHA};

const LIVE_ALREADY: &str = r#"{"run":null,"status":"live_already","release":{"tag":"v2","digest":"sha256:1111111111111111111111111111111111111111111111111111111111111111"},"dark_ms":null,"logs":[],"error":null}"#;

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../action/run.sh").canonicalize().unwrap()
}

/// With inputs as action.yml hands them over.
fn action(folder: &Path, inputs: &[(&str, &str)]) -> Command {
    let mut command = Command::new("bash");
    command.arg(script()).current_dir(folder);
    for name in FOREIGN {
        command.env_remove(name);
    }
    command.env("LOCKGATE_WEBHOOK_SECRET", SECRET).env("RUNNER_TEMP", folder).env("INPUT_SHA", SHA);
    for (name, value) in inputs {
        command.env(format!("INPUT_{name}"), value);
    }
    command
}

fn program(folder: &Path, name: &str, text: &str) -> PathBuf {
    let file = folder.join(name);
    std::fs::write(&file, text).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    file
}

fn sha256(file: &Path) -> String {
    let output = Command::new("sha256sum").arg(file).output().unwrap();
    String::from_utf8(output.stdout).unwrap()[..64].to_owned()
}

#[test]
fn a_local_program_is_run_and_its_answer_is_the_step_s() {
    let double = Double::start(Manner::Answers("200 OK\r\ncontent-type: application/json", LIVE_ALREADY));
    let folder = tempfile::tempdir().unwrap();
    let url = format!("http://{}/deploy", double.address);
    let binary = env!("CARGO_BIN_EXE_lockgate");
    let inputs = [("URL", url.as_str()), ("BINARY", binary), ("SERVICE", "web"), ("FORCE", "true")];
    let said = run(action(folder.path(), &inputs)).expect(0);
    said.says(&["nothing to do: v2 (111111111111) is live already"]);
    let body = double.bodies().remove(0);
    assert!(body.contains("\"service\":\"web\"") && body.contains("\"force\":true"), "{body}");
}

#[test]
fn an_input_is_a_value_and_never_a_part_of_the_script_or_an_option() {
    let folder = tempfile::tempdir().unwrap();
    let shows =
        program(folder.path(), "shows", "#!/bin/sh\nfor argument; do printf '<%s>' \"$argument\"; done\n");
    let inputs = [
        ("BINARY", shows.to_str().unwrap()),
        ("SERVICE", "--force $(touch evil) `touch evil`; touch evil"),
        ("URL", "--help"),
        ("WAIT", "1m\nx"),
        ("COMMITTED_AT", ""),
    ];
    let said = run(action(folder.path(), &inputs)).expect(0);
    let wanted = format!(
        "<trigger><--sha={SHA}><--timeout=1h><--service=--force $(touch evil) `touch evil`; touch evil><--wait=1m\nx><--><--help>"
    );
    assert_eq!(said.stdout, wanted);
    assert!(!folder.path().join("evil").exists());
    for (name, value, says) in [
        ("FORCE", "yes", "force: is neither true nor false"),
        ("COMMAND", "rm", "command: is none that this version knows"),
    ] {
        let all = [&inputs[..1], &[(name, value)]].concat();
        run(action(folder.path(), &all)).expect(2).says(&["::error title=Lockgate::", says]);
    }
}

#[test]
fn certificates_come_as_a_file_or_as_their_text() {
    let folder = tempfile::tempdir().unwrap();
    let shows = program(
        folder.path(),
        "shows",
        "#!/bin/sh\nfor argument; do case $argument in --cacert=*) cat \"${argument#--cacert=}\";; esac; done\n",
    );
    let pem = "-----BEGIN CERTIFICATE-----\n$(touch evil)\n-----END CERTIFICATE-----";
    std::fs::write(folder.path().join("ca.pem"), "of a file\n").unwrap();
    let binary = ("BINARY", shows.to_str().unwrap());
    let text = run(action(folder.path(), &[binary, ("CACERT_PEM", pem)])).expect(0);
    assert_eq!(text.stdout, format!("{pem}\n"));
    let file = run(action(folder.path(), &[binary, ("CACERT", "ca.pem")])).expect(0);
    assert_eq!(file.stdout, "of a file\n");
    let none = run(action(folder.path(), &[binary, ("CACERT_PEM", "")])).expect(0);
    assert_eq!(none.stdout, "");
    let both = [binary, ("CACERT", "ca.pem"), ("CACERT_PEM", pem)];
    run(action(folder.path(), &both)).expect(2).says(&["cacert: and cacert-pem: came together"]);
}

#[test]
fn what_has_another_checksum_is_not_run() {
    let folder = tempfile::tempdir().unwrap();
    let evil = program(folder.path(), "evil", "#!/bin/sh\ntouch \"$RUNNER_TEMP/ran\"\n");
    let right = sha256(&evil);
    let wrong = right.replace(right.chars().next().unwrap(), "0").replace('1', "2");
    let with = |sum: &str| run(action(folder.path(), &[("BINARY", evil.to_str().unwrap()), ("SHA256", sum)]));
    with(&wrong)
        .expect(2)
        .says(&[&format!("the program's SHA-256 is {right} and not {wrong}, so it was not run")]);
    with("abc").expect(2).says(&["sha256 is no checksum"]);
    assert!(!folder.path().join("ran").exists());
    with(&right).expect(0);
    assert!(folder.path().join("ran").exists());
    run(action(folder.path(), &[("BINARY", "none")])).expect(2).says(&["binary: names no file"]);
}

/// What fetches is a double that copies a file and keeps what it was asked for.
#[test]
fn a_download_is_compared_before_it_is_run_and_comes_by_https_alone() {
    let folder = tempfile::tempdir().unwrap();
    let release = program(folder.path(), "release", "#!/bin/sh\nprintf 'ran %s' \"$1\"\n");
    let bin = folder.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    program(
        &bin,
        "curl",
        "#!/bin/sh\necho \"$*\" >>\"$RUNNER_TEMP/asked\"\nwhile [ \"$1\" != --output ]; do shift; done\ncp \"$RUNNER_TEMP/release\" \"$2\"\n",
    );
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let with = |inputs: &[(&str, &str)]| {
        let mut command = action(folder.path(), inputs);
        command.env("PATH", &path);
        run(command)
    };
    let url = ("DOWNLOAD_URL", "https://releases.example/lockgate");
    let (right, zeros) = (sha256(&release), "0".repeat(64));
    let said = with(&[url, ("SHA256", &right)]).expect(0);
    assert_eq!(said.stdout, "ran trigger");
    let asked = std::fs::read_to_string(folder.path().join("asked")).unwrap();
    assert!(
        asked.contains("--proto =https --proto-redir =https") && asked.contains("--max-filesize"),
        "{asked}"
    );
    with(&[url, ("SHA256", &zeros)]).expect(2).says(&["so it was not run"]);
    with(&[url]).expect(2).says(&["download-url: came without sha256:"]);
    with(&[("DOWNLOAD_URL", "http://releases.example/x"), ("SHA256", &right)])
        .expect(2)
        .says(&["download-url: is no https:// address"]);
    with(&[]).expect(2).says(&["this version of the action names no release"]);
}
