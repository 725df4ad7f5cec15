//! The key and the host keys come from the configuration, and nothing of the key lies on a disk.

use std::path::{Path, PathBuf};
use std::process::{Child, Command as Program, Stdio};
use std::time::{Duration, Instant};

use lockgate_model::{FailureKind, HostId, Secret, Ssh as Settings};
use lockgate_ports::{Command, Host, PortError};
use lockgate_ssh::Ssh;

use crate::sshd::Sshd;

/// Longest wait for something that must come true.
const CONDITION_SECONDS_MAX: u64 = 10;

/// A machine without any configuration of ssh, as CI's.
fn settings(sshd: &Sshd, key: &str) -> Settings {
    Settings {
        options: ["-F", "/dev/null", "-o", "IdentityAgent=none"].map(str::to_owned).into(),
        key: Some(Secret::new(std::fs::read_to_string(file(sshd, key)).unwrap())),
        known_hosts: Some(std::fs::read_to_string(sshd.known_hosts()).unwrap()),
        ..Settings::default()
    }
}

fn file(sshd: &Sshd, name: &str) -> PathBuf {
    sshd.known_hosts().with_file_name(name)
}

async fn tried(sshd: &Sshd, settings: &Settings) -> Result<(), PortError> {
    Ssh::new(sshd.id(), settings).exec(&Command::new(["true"])).await.map(drop)
}

async fn refused(sshd: &Sshd, settings: &Settings) -> (PortError, String) {
    let error = tried(sshd, settings).await.expect_err("the connection must not open");
    assert_eq!(error.kind, FailureKind::Unauthorized, "{error}");
    let hints = error.hints().to_string();
    (error, hints)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_of_the_configuration_opens_a_connection_and_lies_nowhere() {
    let Some(sshd) = Sshd::start() else { return };
    let settings = settings(&sshd, "id");
    let line = settings.key.as_ref().unwrap().reveal().lines().nth(2).unwrap().to_owned();
    // Its own, so that nobody else's files are looked through.
    let host = Ssh::new(sshd.id(), &settings);
    let seen = tokio::spawn({
        let line = line.clone();
        async move {
            let mut said = Vec::new();
            for _ in 0..200 {
                said.extend(command_lines().into_iter().filter(|argv| argv.contains(&line)));
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            said
        }
    });
    host.exec(&Command::new(["true"])).await.unwrap();
    assert!(seen.await.unwrap().is_empty(), "the key is in a command line");
    // Tests beside this one hold theirs for a moment.
    let bound = Instant::now() + Duration::from_secs(CONDITION_SECONDS_MAX);
    while memory_files().iter().any(|name| name.contains("lockgate-key")) {
        assert!(Instant::now() < bound, "the key is still held: {:?}", memory_files());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mine =
        std::fs::read_dir(std::env::temp_dir()).unwrap().filter_map(Result::ok).map(|entry| entry.path());
    for folder in mine.filter(|path| path.to_string_lossy().contains("lockgate-ssh-")) {
        let found = holding(&folder, &line);
        assert!(found.is_empty(), "the key lies in {found:?}");
    }
    host.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn another_key_is_not_let_in_and_the_hint_says_whose_it_has_to_be() {
    let Some(sshd) = Sshd::start() else { return };
    let (_, hint) = refused(&sshd, &settings(&sshd, "other_id")).await;
    assert!(hint.contains("the public half of `ssh.key`"), "{hint}");
    let mut broken = settings(&sshd, "id");
    let text = broken.key.take().unwrap().reveal().replace("b3BlbnNzaC1rZXktdjE", "b3BlbnNzaC1rZXktdjX");
    broken.key = Some(Secret::new(text));
    let (error, hint) = refused(&sshd, &broken).await;
    assert!(
        error.message.contains("cannot read `ssh.key`") && hint.contains("give it whole"),
        "{error}: {hint}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_host_keys_of_the_configuration_are_believed() {
    let Some(sshd) = Sshd::start() else { return };
    let mut other = settings(&sshd, "id");
    // The one in the user's own file is the right one, and does not count.
    let public = std::fs::read_to_string(file(&sshd, "other_id.pub")).unwrap();
    other.options = vec![
        "-F".into(),
        "/dev/null".into(),
        "-o".into(),
        format!("UserKnownHostsFile={}", sshd.known_hosts().display()),
    ];
    other.known_hosts = Some(format!("[127.0.0.1]:{} {public}", sshd.port));
    let (error, hint) = refused(&sshd, &other).await;
    assert!(error.message.contains("has changed") && hint.contains("`ssh.known_hosts`"), "{error}: {hint}");
    other.known_hosts = Some(format!("elsewhere.example {public}"));
    let (error, hint) = refused(&sshd, &other).await;
    assert!(error.message.contains("is not known"), "{error}");
    assert!(hint.contains(&format!("ssh-keyscan -p {} 127.0.0.1", sshd.port)), "{hint}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_user_of_the_configuration_logs_in_where_the_host_says_nobody() {
    let Some(sshd) = Sshd::start() else { return };
    let output = Program::new("id").arg("-un").output().unwrap();
    let me = String::from_utf8(output.stdout).unwrap().trim().to_owned();
    let with = |user: &str| Settings { user: Some(user.to_owned()), ..settings(&sshd, "id") };
    tried(&sshd, &with(&me)).await.unwrap();
    let (_, hint) = refused(&sshd, &with("no-such-user")).await;
    assert!(hint.contains("authorized_keys of no-such-user"), "{hint}");
    let named = HostId::new(format!("ssh://{me}@127.0.0.1:{}", sshd.port)).unwrap();
    Ssh::new(named, &with("no-such-user")).exec(&Command::new(["true"])).await.unwrap();
}

/// An agent with one key; ends with the test.
struct Agent {
    process: Child,
    socket: PathBuf,
}

impl Agent {
    fn start(sshd: &Sshd) -> Option<Agent> {
        let socket = file(sshd, "agent");
        let mut program = Program::new("ssh-agent");
        let process =
            program.arg("-D").arg("-a").arg(&socket).stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        let Ok(process) = process else { return crate::sshd::skip("ssh-agent is") };
        let agent = Agent { process, socket };
        let bound = Instant::now() + Duration::from_secs(CONDITION_SECONDS_MAX);
        while std::os::unix::net::UnixStream::connect(&agent.socket).is_err() {
            assert!(Instant::now() < bound, "ssh-agent does not listen");
            std::thread::sleep(Duration::from_millis(5));
        }
        let added = Program::new("ssh-add")
            .arg("-q")
            .arg(file(sshd, "id"))
            .env("SSH_AUTH_SOCK", &agent.socket)
            .status();
        assert!(added.unwrap().success(), "ssh-add");
        Some(agent)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_key_an_agent_s_are_shown() {
    let Some(sshd) = Sshd::start() else { return };
    let Some(agent) = Agent::start(&sshd) else { return };
    let with_agent = |socket: &str| Settings {
        options: vec!["-F".into(), "/dev/null".into(), "-o".into(), format!("IdentityAgent={socket}")],
        key: None,
        ..settings(&sshd, "id")
    };
    tried(&sshd, &with_agent(agent.socket.to_str().unwrap())).await.unwrap();
    refused(&sshd, &with_agent("none")).await;
}

/// Of every process that can be seen.
fn command_lines() -> Vec<String> {
    let entries = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    entries
        .filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok())
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .collect()
}

/// Files in memory that this process holds open.
fn memory_files() -> Vec<String> {
    let entries = std::fs::read_dir("/proc/self/fd").unwrap().filter_map(Result::ok);
    let links = entries.filter_map(|entry| std::fs::read_link(entry.path()).ok());
    links.map(|link| link.to_string_lossy().into_owned()).filter(|link| link.contains("memfd:")).collect()
}

fn holding(folder: &Path, text: &str) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let files = entries.filter_map(Result::ok).map(|entry| entry.path()).filter(|path| path.is_file());
    files.filter(|path| std::fs::read_to_string(path).is_ok_and(|content| content.contains(text))).collect()
}
