//! A machine over SSH keeps the promises of the port, with a real sshd.

mod black_hole;
mod identity;
mod sshd;
mod streams;

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use lockgate_local::Local;
use lockgate_model::{FailureKind, HostId, Millis, Ssh as Settings};
use lockgate_ports::conformance::host::increment;
use lockgate_ports::{
    CheckState, Command, Effect, Endpoint, Host, PortError, Request, Swapped, conformance, http, listens,
};
use lockgate_ssh::Ssh;
use sshd::Sshd;

/// Longest wait for something that must come true.
const CONDITION_SECONDS_MAX: u64 = 15;
/// Longest life of a master whose owner was killed: its idle bound and some more.
const MASTER_SECONDS_MAX: u64 = 30;
/// Rounds of a measurement; the median counts.
const ROUNDS: usize = 31;

async fn hello(host: &Ssh) -> Result<String, PortError> {
    host.exec(&Command::new(["echo", "hello"])).await.map(|output| output.stdout_text())
}

async fn refusal(host: &Ssh) -> PortError {
    hello(host).await.expect_err("the connection must not open")
}

#[tokio::test(flavor = "multi_thread")]
async fn ssh_keeps_the_promises_of_a_host() {
    let Some(sshd) = Sshd::start() else { return };
    let host = sshd.host();
    conformance::host::suite(&host, &sshd.work()).await;
    host.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_file_is_sent_in_pieces() {
    let Some(sshd) = Sshd::start() else { return };
    conformance::upload::large(&sshd.host(), &sshd.work()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_only_has_busybox_keeps_them_too() {
    let Some(sshd) = with_busybox() else { return };
    let host = sshd.host();
    let shell = host.exec(&Command::new(["sh", "-c", "readlink -f /proc/$$/exe"])).await.unwrap();
    assert!(shell.stdout_text().contains("busybox"), "the shell there is {}", shell.stdout_text());
    conformance::host::suite(&host, &sshd.work()).await;
    let programs = host.exec(&Command::new(["sh", "-c", "printf %s \"$PATH\""])).await.unwrap().stdout_text();
    std::fs::remove_dir_all(programs).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_without_setsid_spends_a_session_on_each_command_and_kills_it_all_the_same() {
    let (_folder, path) = path_with(&[
        "sh", "cat", "date", "echo", "false", "head", "mkdir", "mv", "pwd", "rm", "sleep", "sync", "true",
        "wc",
    ]);
    let Some(sshd) = Sshd::start_with("", &path) else { return };
    let (host, dir) = (sshd.host(), sshd.work());
    for round in 1..4 {
        let seen =
            host.exec(&Command::new(["sh", "-c", "command -v setsid; cat"]).stdin("in")).await.unwrap();
        assert_eq!(seen.stdout_text(), "in");
        host.read(&format!("{dir}/file")).await.unwrap();
        assert_eq!(
            sshd.logged("Starting session"),
            2 * round,
            "a read leaves its session to the next command"
        );
        assert_eq!(hello(&host).await.unwrap(), "hello\n");
    }
    conformance::host::commands(&host, &dir).await;
    conformance::host::killing(&host, &dir).await;
}

/// A folder with these programs only, and the variable that says so.
fn path_with(programs: &[&str]) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    for program in programs {
        let path = ["/bin", "/usr/bin"].map(|dir| format!("{dir}/{program}"));
        let path = path.into_iter().find(|path| std::path::Path::new(path).exists()).unwrap();
        std::os::unix::fs::symlink(path, folder.path().join(program)).unwrap();
    }
    let variable = format!("PATH={}", folder.path().display());
    (folder, variable)
}

/// An sshd whose sessions find nothing but busybox. Debian's has no `flock`, so where it is missing there is one that
/// takes what busybox's takes: no `-w` and no `-E`.
fn with_busybox() -> Option<Sshd> {
    let programs = std::env::temp_dir().join(format!("lockgate-test-busybox-{}", std::process::id()));
    std::fs::create_dir_all(&programs).unwrap();
    let Ok(list) = std::process::Command::new("busybox").arg("--list").output() else {
        return sshd::skip("busybox is");
    };
    let busybox =
        ["/usr/bin/busybox", "/bin/busybox"].into_iter().find(|path| std::path::Path::new(path).exists())?;
    for applet in String::from_utf8(list.stdout).unwrap().lines() {
        std::os::unix::fs::symlink(busybox, programs.join(applet)).unwrap();
    }
    let flock = programs.join("flock");
    if !flock.exists() {
        let script = "#!/bin/sh\ncase \"$*\" in \"-x -n 9\") exec /usr/bin/flock -x -n 9;; esac\n\
                      echo \"flock: unrecognized option\" >&2; exit 1\n";
        std::fs::write(&flock, script).unwrap();
        std::fs::set_permissions(&flock, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    Sshd::start_with("", &format!("PATH={}", programs.display()))
}

#[tokio::test(flavor = "multi_thread")]
async fn local_and_ssh_swap_the_same_file_without_losing_one() {
    let Some(sshd) = Sshd::start() else { return };
    let (here, there) = (Local::new(), sshd.host());
    let path = format!("{}/counter", sshd.work());
    let rounds = async |host: &dyn Host| {
        for _ in 0..10 {
            increment(host, &path).await;
        }
    };
    tokio::join!(rounds(&here), rounds(&there), rounds(&there), rounds(&here));
    assert_eq!(here.read(&path).await.unwrap().content.as_deref(), Some(b"40".as_slice()));
}

#[tokio::test]
async fn an_unknown_host_key_is_refused_and_accepted_when_asked() {
    let Some(sshd) = Sshd::start() else { return };
    std::fs::write(sshd.known_hosts(), "").unwrap();
    let error = refusal(&sshd.host()).await;
    assert_eq!(error.kind, FailureKind::Unauthorized, "{error}");
    assert!(error.message.contains("not known"), "{error}");
    let wanted = format!("ssh-keyscan -p {} 127.0.0.1", sshd.port);
    assert!(error.hints().to_string().contains(&wanted), "{error:?}");

    let accepting = Ssh::new(sshd.id(), &Settings { accept_new_host_keys: true, ..sshd.settings() });
    assert_eq!(hello(&accepting).await.unwrap(), "hello\n");
    assert_eq!(hello(&sshd.host()).await.unwrap(), "hello\n", "known from now on");

    sshd.know_host_key("other_id");
    for accept_new_host_keys in [false, true] {
        let error =
            refusal(&Ssh::new(sshd.id(), &Settings { accept_new_host_keys, ..sshd.settings() })).await;
        assert_eq!(error.kind, FailureKind::Unauthorized, "{error}");
        assert!(error.message.contains("has changed"), "{error}");
        assert!(error.hints().to_string().contains(&format!("ssh-keygen -R '[127.0.0.1]:{}'", sshd.port)));
    }
}

#[tokio::test]
async fn an_option_cannot_turn_off_the_check_of_host_keys() {
    let Some(sshd) = Sshd::start() else { return };
    std::fs::write(sshd.known_hosts(), "").unwrap();
    let mut settings = sshd.settings();
    settings.options.extend(["-o".into(), "StrictHostKeyChecking=no".into()]);
    assert_eq!(refusal(&Ssh::new(sshd.id(), &settings)).await.kind, FailureKind::Unauthorized);
}

#[tokio::test]
async fn a_wrong_key_is_unauthorized_and_another_one_can_be_given() {
    let Some(sshd) = Sshd::start() else { return };
    sshd.write_client_config("other_id");
    let error = refusal(&sshd.host()).await;
    assert_eq!(error.kind, FailureKind::Unauthorized, "{error}");
    assert!(error.message.contains("does not let us in"), "{error}");
    let mut settings = sshd.settings();
    let key = sshd.known_hosts().with_file_name("id").to_str().unwrap().to_owned();
    settings.options.extend(["-i".into(), key]);
    assert_eq!(hello(&Ssh::new(sshd.id(), &settings)).await.unwrap(), "hello\n");
}

#[tokio::test]
async fn the_users_configuration_and_the_port_count() {
    let Some(sshd) = Sshd::start() else { return };
    assert_eq!(hello(&Ssh::new(HostId::new("box").unwrap(), &sshd.settings())).await.unwrap(), "hello\n");
    let port = Settings { port: Some(sshd.port), ..sshd.settings() };
    assert_eq!(hello(&Ssh::new(HostId::new("127.0.0.1").unwrap(), &port)).await.unwrap(), "hello\n");
}

#[tokio::test]
async fn a_host_behind_a_jump_host_is_reached_through_it() {
    let (Some(sshd), Some(jump)) = (Sshd::start(), Sshd::start()) else { return };
    sshd.jump_over(&jump);
    let host = Ssh::new(HostId::new("box").unwrap(), &sshd.settings());
    for _ in 0..3 {
        assert_eq!(hello(&host).await.unwrap(), "hello\n");
    }
    assert_eq!(jump.logged("Accepted publickey"), 1, "the jump host let us in, once");
    assert_eq!(jump.logged("Starting session"), 0, "nothing runs on the jump host");
    assert_eq!(sshd.logged("Accepted publickey"), 1);
    host.close().await.unwrap();
    until("the jump host's connection has ended", || jump.connections() == 0).await;
}

/// What start-up files may do: take their time, and talk.
fn slow_and_talkative_shell() -> (tempfile::TempDir, String) {
    shell_that_first("sleep 0.3\necho \"last login: today\"\necho \"you have mail\" >&2")
}

/// A login shell with these start-up files, and the line that makes sshd take it.
fn shell_that_first(start_up: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let shell = folder.path().join("shell");
    let script = format!("#!/bin/sh\n{start_up}\nexec sh -c \"$SSH_ORIGINAL_COMMAND\"\n");
    std::fs::write(&shell, script).unwrap();
    std::fs::set_permissions(&shell, std::fs::Permissions::from_mode(0o755)).unwrap();
    let line = format!("ForceCommand {}", shell.display());
    (folder, line)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_made_there_can_be_written_by_nobody_else_whatever_the_umask() {
    let (_folder, shell) = shell_that_first("umask 000");
    let Some(sshd) = Sshd::start_with(&shell, "") else { return };
    let host = sshd.host();
    let umask = host.exec(&Command::new(["sh", "-c", "umask"])).await.unwrap().stdout_text();
    assert_eq!(umask.trim_start_matches('0'), "\n");
    conformance::own::modes(&host, &format!("{}/new", sshd.work())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_start_up_files_run_once_for_many_operations_and_what_they_say_is_not_taken_for_output() {
    let (_folder, shell) = slow_and_talkative_shell();
    let Some(sshd) = Sshd::start_with(&shell, "") else { return };
    let (host, path) = (sshd.host(), format!("{}/file", sshd.work()));
    let start = Instant::now();
    for round in 0..10_u8 {
        host.write(&path, &[round], 0o600).await.unwrap();
        assert_eq!(host.read(&path).await.unwrap().content, Some(vec![round]));
        assert_eq!(host.swap(&path, Some(&[round]), b"swapped").await.unwrap(), Swapped::Yes);
        assert!(host.disk_free_mib(&path).await.unwrap() > 0);
        let output = host.exec(&Command::new(["cat"]).stdin("input")).await.unwrap();
        assert_eq!((output.stdout_text(), output.stderr_text()), ("input".into(), String::new()));
        host.remove(&path).await.unwrap();
    }
    eprintln!("60 operations: {:?}, sessions: {}", start.elapsed(), sshd.logged("Starting session"));
    assert_eq!(sshd.logged("Starting session"), 1);

    // A lease is renewed while a command runs: one session more, which stays.
    let long = Command::new(["sh", "-c", "until [ -e \"$1\" ]; do sleep 0.02; done", "sh", &path]);
    let renew = async {
        for _ in 0..5 {
            assert_eq!(host.read(&path).await.unwrap().content, None);
        }
        host.write(&path, b"", 0o600).await.unwrap();
    };
    let (output, ()) = tokio::join!(host.exec(&long), renew);
    assert!(output.unwrap().ok());
    assert_eq!(sshd.logged("Starting session"), 2);
    assert_eq!(sshd.logged("Accepted publickey"), 1);
}

/// A session each would make the host run its start-up files eight times at once, for looks of milliseconds.
#[tokio::test(flavor = "multi_thread")]
async fn looks_beside_each_other_share_a_session_while_another_one_would_take_longer_to_open() {
    let (_folder, shell) = shell_that_first("sleep 1");
    let Some(sshd) = Sshd::start_with(&shell, "") else { return };
    let (host, path) = (sshd.host(), format!("{}/file", sshd.work()));
    host.write(&path, b"text", 0o600).await.unwrap();
    let two = async || tokio::join!(host.read(&path), host.read(&path));
    let (a, b, c, d) = tokio::join!(two(), two(), two(), two());
    for one in [a, b, c, d].into_iter().flat_map(|(one, other)| [one, other]) {
        assert_eq!(one.unwrap().content, Some(b"text".to_vec()));
    }
    // A machine that is very busy may need another one; not one for each.
    assert!(sshd.logged("Starting session") <= 2, "{}", sshd.logged("Starting session"));
}

#[tokio::test]
async fn a_host_that_runs_nothing_for_us_is_said_so() {
    let Some(sshd) = Sshd::start_with("ForceCommand echo This account is not available.", "") else { return };
    let error = refusal(&sshd.host()).await;
    assert_eq!(error.kind, FailureKind::Unauthorized, "{error}");
    assert!(error.message.contains("This account is not available."), "{error}");
    assert!(error.hints().to_string().contains("ForceCommand"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_command_leaves_running_outlives_a_later_one_that_is_killed() {
    let Some(sshd) = Sshd::start() else { return };
    let (host, dir) = (sshd.host(), sshd.work());
    let leave = Command::new(["sh", "-c", "sleep 300 >/dev/null 2>&1 & echo $!"]);
    let left = host.exec(&leave).await.unwrap().stdout_text();
    let hang = Command::new(["sh", "-c", "echo $$ >pid.new; mv pid.new pid; exec sleep 300"]).cwd(&dir);
    let mut call = Box::pin(host.exec(&hang));
    let file = format!("{dir}/pid");
    tokio::select! {
        result = &mut call => panic!("a command that sleeps ended: {result:?}"),
        () = until("the command runs", || std::path::Path::new(&file).exists()) => {}
    }
    drop(call);
    let pid = std::fs::read_to_string(&file).unwrap();
    until("the dropped command is killed", || !alive(pid.trim())).await;
    assert!(alive(left.trim()), "what an earlier command left running is not of the dropped one's group");
    assert!(host.exec(&Command::new(["kill", left.trim()])).await.unwrap().ok());
    assert_eq!(hello(&host).await.unwrap(), "hello\n");
}

fn alive(pid: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z"))
}

#[tokio::test]
async fn a_content_that_a_script_does_not_read_is_not_taken_for_requests() {
    let Some(sshd) = Sshd::start() else { return };
    let (host, dir) = (sshd.host(), sshd.work());
    let pwned = format!("{dir}/pwned");
    let evil = format!("n exec 0\nset -- touch {pwned}\n").repeat(40_000);
    for _ in 0..3 {
        assert!(host.write(&dir, evil.as_bytes(), 0o600).await.is_err(), "a folder is not overwritten");
        let command = Command::new(["true"]).stdin(evil.as_bytes());
        assert!(host.exec(&command).await.unwrap().ok());
        assert_eq!(hello(&host).await.unwrap(), "hello\n");
    }
    assert!(!std::path::Path::new(&pwned).exists());
    assert_eq!(sshd.logged("Starting session"), 1, "the worker is used again");
}

#[tokio::test]
async fn a_port_where_nothing_listens_is_unreachable() {
    let Some(sshd) = Sshd::start() else { return };
    let id = HostId::new(format!("ssh://127.0.0.1:{}", sshd::free_port())).unwrap();
    let error = refusal(&Ssh::new(id, &sshd.settings())).await;
    assert_eq!(error.kind, FailureKind::Unreachable, "{error}");
    assert!(error.message.contains("refuses connections"), "{error}");
    assert!(!error.outcome_unknown(), "nothing was sent");
}

#[tokio::test]
async fn a_host_that_does_not_answer_is_timed_out() {
    let Some(sshd) = Sshd::start() else { return };
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let id = HostId::new(format!("ssh://127.0.0.1:{}", silent.local_addr().unwrap().port())).unwrap();
    let mut settings = sshd.settings();
    settings.options.extend(["-o".into(), "ConnectTimeout=1".into()]);
    let host = Ssh::new(id, &settings);
    // Who asks meanwhile does not wait for as long again.
    let (one, other) = tokio::join!(refusal(&host), refusal(&host));
    for error in [one, other] {
        assert_eq!((error.kind, error.effect()), (FailureKind::TimedOut, Effect::None), "{error}");
    }
    silent.set_nonblocking(true).unwrap();
    assert_eq!(std::iter::from_fn(|| silent.accept().ok()).count(), 1);
}

#[tokio::test]
async fn a_word_that_is_no_option_does_not_become_the_host() {
    let Some(sshd) = Sshd::start() else { return };
    let settings = Settings { options: vec!["elsewhere".into()], ..sshd.settings() };
    assert_eq!(refusal(&Ssh::new(sshd.id(), &settings)).await.kind, FailureKind::Refused);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_cut_midway_is_unreachable_and_the_next_command_connects_again() {
    let Some(sshd) = Sshd::start() else { return };
    let host = sshd.host();
    let file = format!("{}/pid", sshd.work());
    let command = Command::new(["sh", "-c", "echo $$ >pid; exec sleep 300"]).cwd(sshd.work());
    let cut = async {
        until("the command runs", || std::fs::read_to_string(&file).is_ok_and(|pid| pid.ends_with('\n')))
            .await;
        assert!(sshd.cut_connections() > 0, "there was a connection");
    };
    let (result, ()) = tokio::join!(host.exec(&command), cut);
    let error = result.unwrap_err();
    assert_eq!(error.kind, FailureKind::Unreachable, "{error}");
    assert!(error.outcome_unknown());
    let pid = std::fs::read_to_string(&file).unwrap();
    let stat = format!("/proc/{}/stat", pid.trim());
    until("what nobody waits for is killed", || {
        std::fs::read_to_string(&stat).is_ok_and(|s| s.contains(") Z"))
            || !std::path::Path::new(&stat).exists()
    })
    .await;
    assert_eq!(hello(&host).await.unwrap(), "hello\n");
}

/// A login has the groups that its user had then.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_login_is_made_when_it_is_wanted_and_what_is_under_way_ends_by_the_old_one() {
    let Some(sshd) = Sshd::start() else { return };
    let (host, work) = (sshd.host(), sshd.work());
    let login = async || {
        let output = host.exec(&Command::new(["sh", "-c", "echo \"$SSH_CONNECTION\""])).await.unwrap();
        output.stdout_text()
    };
    let first = login().await;
    assert_eq!(login().await, first);
    let script = format!(
        ": >'{work}/began'; until [ -e '{work}/end' ]; do sleep 0.05; done; echo \"$SSH_CONNECTION\""
    );
    let under_way = Command::new(["sh", "-c", &script]);
    let meanwhile = async {
        until("it to begin", || std::path::Path::new(&format!("{work}/began")).exists()).await;
        host.reconnect().await;
        assert_ne!(login().await, first);
        std::fs::write(format!("{work}/end"), "").unwrap();
    };
    let (ended, ()) = tokio::join!(host.exec(&under_way), meanwhile);
    assert_eq!(ended.unwrap().stdout_text(), first);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_cut_between_two_operations_is_not_noticed() {
    let Some(sshd) = Sshd::start() else { return };
    let host = sshd.host();
    let path = format!("{}/file", sshd.work());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = Endpoint::Tcp(listener.local_addr().unwrap().to_string());
    host.write(&path, b"1", 0o600).await.unwrap();
    for round in 0..7 {
        assert!(sshd.cut_connections() > 0, "there was a connection");
        match round {
            0 => assert_eq!(host.read(&path).await.unwrap().content.as_deref(), Some(b"1".as_slice())),
            1 => assert!(host.disk_free_mib("/").await.unwrap() > 0),
            // These must not be done twice, and are certain not to have been done.
            2 => host.write(&path, b"1", 0o600).await.unwrap(),
            3 => assert_eq!(host.swap(&path, Some(b"1"), b"1").await.unwrap(), Swapped::Yes),
            4 => assert_eq!(hello(&host).await.unwrap(), "hello\n"),
            _ => drop(host.connect(&endpoint, Millis::from_secs(5)).await.unwrap()),
        }
        // A stream may have been opened on a connection just cut: a whole operation shows that there is one again.
        assert_eq!(host.read(&path).await.unwrap().content.as_deref(), Some(b"1".as_slice()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_byte_of_an_output_is_lost_when_the_program_ends_at_once() {
    let Some(sshd) = Sshd::start() else { return };
    let (host, path) = (sshd.host(), format!("{}/file", sshd.work()));
    std::fs::write(&path, vec![b'a'; 50_000]).unwrap();
    let cat = Command::new(["cat", &path]);
    for _ in 0..ROUNDS {
        let (one, two, three) = tokio::join!(host.read(&path), host.read(&path), host.exec(&cat));
        let read = |file: Result<lockgate_ports::HostFile, _>| file.unwrap().content.unwrap().len();
        assert_eq!((read(one), read(two), three.unwrap().stdout.len()), (50_000, 50_000, 50_000));
    }
}

#[tokio::test]
async fn a_full_disk_is_said_so_and_the_old_file_stays() {
    let (Some(sshd), Some(small)) = (Sshd::start(), Small::mount()) else { return };
    let (host, path) = (sshd.host(), format!("{}/file", small.0.path().display()));
    host.write(&path, b"old", 0o600).await.unwrap();
    let large = vec![b'x'; 200_000];
    let error = host.write(&path, &large, 0o600).await.unwrap_err();
    assert_eq!(error.kind, FailureKind::DiskFull, "{error}");
    let error = host.swap(&path, Some(b"old"), &large).await.unwrap_err();
    assert_eq!(error.kind, FailureKind::DiskFull, "{error}");
    assert_eq!(host.read(&path).await.unwrap().content.as_deref(), Some(b"old".as_slice()));
    host.write(&path, b"new", 0o600).await.unwrap();
}

/// A file system of 64 KiB, or `None` where this user may not mount one.
struct Small(tempfile::TempDir);

impl Small {
    fn mount() -> Option<Small> {
        let folder = tempfile::tempdir().unwrap();
        let mut mount = std::process::Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=64k,mode=755", "none"]).arg(folder.path());
        if mount.output().is_ok_and(|output| output.status.success()) {
            return Some(Small(folder));
        }
        assert!(
            std::env::var_os("LOCKGATE_TEST_REQUIRE_ALL").is_none_or(|value| value != "1"),
            "mounting is not allowed"
        );
        eprintln!("skipped: mounting is not allowed");
        None
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        std::process::Command::new("umount").arg(self.0.path()).status().unwrap();
    }
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    until_within(CONDITION_SECONDS_MAX, what, condition).await;
}

async fn until_within(seconds_max: u64, what: &str, condition: impl Fn() -> bool) {
    let bound = Instant::now() + Duration::from_secs(seconds_max);
    while !condition() {
        assert!(Instant::now() < bound, "not within {seconds_max} s: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn more_callers_than_sessions_wait_for_their_turn() {
    let Some(sshd) = Sshd::start_with("MaxSessions 3", "") else { return };
    let host = sshd.host();
    let four = async || tokio::join!(hello(&host), hello(&host), hello(&host), hello(&host));
    let (a, b, c, d, e) = tokio::join!(four(), four(), four(), four(), four());
    for one in [a, b, c, d, e] {
        for result in [one.0, one.1, one.2, one.3] {
            assert_eq!(result.unwrap(), "hello\n");
        }
    }
}

/// Nobody's command is done before others want a session of their own, and sshd refuses them.
#[tokio::test(flavor = "multi_thread")]
async fn callers_whose_sessions_are_refused_take_the_ones_that_become_free() {
    let Some(sshd) = Sshd::start_with("MaxSessions 2", "") else { return };
    let host = sshd.host();
    let slow = Command::new(["sh", "-c", "sleep 0.6; echo hello"]);
    let three = async || tokio::join!(host.exec(&slow), host.exec(&slow), host.exec(&slow));
    hello(&host).await.unwrap();
    let (a, b) = tokio::join!(three(), three());
    for one in [a, b].into_iter().flat_map(|(one, two, three)| [one, two, three]) {
        assert_eq!(one.unwrap().stdout_text(), "hello\n");
    }
    assert!(sshd.logged("no more sessions") > 0, "sshd refused none");
    assert_eq!(sshd.logged("Starting session"), 2);
}

/// As a fleet behind one jump host: sshd turns away those beyond ten that have not authenticated yet.
#[tokio::test(flavor = "multi_thread")]
async fn many_hosts_behind_one_sshd_are_all_reached() {
    let Some(sshd) = Sshd::start_with("MaxStartups 10", "") else { return };
    if std::process::Command::new("busybox").arg("--list").output().is_err() {
        sshd::skip::<()>("busybox is");
        return;
    }
    // From far away an authentication takes a while.
    let far = format!("ProxyCommand=sh -c '{{ sleep 0.5; cat; }} | busybox nc 127.0.0.1 {}'", sshd.port);
    let mut settings = sshd.settings();
    settings.options.extend(["-o".to_owned(), far]);
    let answers = (0..20).map(|_| {
        let host = Ssh::new(sshd.id(), &settings);
        tokio::spawn(async move { hello(&host).await })
    });
    for answer in answers.collect::<Vec<_>>() {
        assert_eq!(answer.await.unwrap().unwrap(), "hello\n");
    }
}

#[tokio::test]
async fn secrets_are_in_no_process_list() {
    let Some(sshd) = Sshd::start() else { return };
    let host = sshd.host();
    let script = "cat /proc/[0-9]*/cmdline | tr \"\\0\" \" \"; echo \"$LOCKGATE_TEST\" | wc -c";
    let secret = "very-secret-".to_owned() + &sshd.port.to_string();
    let command = Command::new(["sh", "-c", script]).env("LOCKGATE_TEST", &secret).stdin(secret.as_bytes());
    let seen = host.exec(&command).await.unwrap().stdout_text();
    assert!(seen.contains("lg_watch"), "the list shows the script of this session");
    assert!(seen.trim_end().ends_with(&(secret.len() + 1).to_string()), "the command has the secret");
    assert!(!seen.contains(&secret));
}

#[tokio::test]
async fn an_answer_comes_through_a_forwarded_socket() {
    let Some(sshd) = Sshd::start() else { return };
    let host = sshd.host();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = Endpoint::Tcp(listener.local_addr().unwrap().to_string());
    let answer = async {
        let (stream, _) = listener.accept().await.unwrap();
        let (mut from, mut to) = stream.into_split();
        tokio::io::AsyncWriteExt::write_all(&mut to, b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
            .await
            .unwrap();
        let mut rest = Vec::new();
        tokio::io::AsyncReadExt::read_to_end(&mut from, &mut rest).await.unwrap();
    };
    let request = http::send(&host, &endpoint, Request::get("/health", Millis::from_secs(5)));
    let (result, ()) = tokio::join!(request, answer);
    assert_eq!(result.unwrap().text(), "ok");
}

#[tokio::test]
async fn closing_and_dropping_leave_nothing_behind() {
    let Some(sshd) = Sshd::start() else { return };
    // Its log then names the port, which tells our folder from those of tests beside this one.
    let mut settings = sshd.settings();
    settings.options.push("-v".into());
    for drops in [false, true] {
        let host = Ssh::new(sshd.id(), &settings);
        hello(&host).await.unwrap();
        let folder = folder_of(&sshd).expect("the folder of the open connection");
        assert_eq!(
            std::fs::metadata(&folder).unwrap().permissions().mode() & 0o777,
            0o700,
            "only for this user"
        );
        if drops {
            drop(host)
        } else {
            host.close().await.unwrap()
        }
        assert!(!folder.exists(), "{} is left behind, dropped: {drops}", folder.display());
        until("the connection has ended", || sshd.connections() == 0).await;
    }
}

/// sshd answers, the login shell does not: what waits for it must not hold the connection.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_whose_shell_never_answers_keeps_no_master() {
    let Some(sshd) = Sshd::start_with("ForceCommand sleep 600", "") else { return };
    for closes in [false, true] {
        let host = sshd.host();
        let asked = Command::new(["true"]).timeout(Millis(300));
        let error = host.exec(&asked).await.expect_err("the shell never answers");
        assert_eq!(error.kind, FailureKind::TimedOut, "{error}");
        assert_eq!(sshd.connections(), 1, "the master waits for the session's end");
        match closes {
            true => host.close().await.unwrap(),
            false => drop(host),
        }
        until("the connection has ended", || sshd.connections() == 0).await;
    }
}

/// Says to this test, started once more as a process to be killed, where to connect.
const HOLD: &str = "LOCKGATE_TEST_SSH_HOLD";

#[tokio::test]
async fn a_killed_process_leaves_a_master_that_goes_and_a_folder_that_the_next_one_removes() {
    if let Some(place) = std::env::var_os(HOLD) {
        let place = place.into_string().unwrap();
        let (id, config) = place.split_once(' ').unwrap();
        let options = ["-v", "-F", config].map(str::to_owned).to_vec();
        let host = Ssh::new(HostId::new(id).unwrap(), &Settings { options, ..Settings::default() });
        host.exec(&Command::new(["sleep", "300"]).timeout(Millis::from_secs(300))).await.unwrap();
        return;
    }
    let Some(sshd) = Sshd::start() else { return };
    let name = "a_killed_process_leaves_a_master_that_goes_and_a_folder_that_the_next_one_removes";
    let mut holder = std::process::Command::new(std::env::current_exe().unwrap());
    let mut holder = holder
        .args(["--exact", name])
        .env(HOLD, format!("{} {}", sshd.id(), sshd.settings().options[1]))
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    until("its command runs", || sshd.logged("Starting session") == 1).await;
    let folder = folder_of(&sshd).expect("the folder of the open connection");
    let living = sshd.host();
    assert_eq!(hello(&living).await.unwrap(), "hello\n");
    assert!(folder.exists(), "its owner lives");
    living.close().await.unwrap();

    holder.kill().unwrap();
    holder.wait().unwrap();
    let next = sshd.host();
    assert_eq!(hello(&next).await.unwrap(), "hello\n");
    assert!(!folder.exists(), "{} is left behind", folder.display());
    next.close().await.unwrap();
    until_within(MASTER_SECONDS_MAX, "the master has gone", || sshd.connections() == 0).await;
}

fn folder_of(sshd: &Sshd) -> Option<std::path::PathBuf> {
    let port = format!("port {}", sshd.port);
    let folders =
        std::fs::read_dir(std::env::temp_dir()).unwrap().filter_map(|entry| Some(entry.ok()?.path()));
    let mut ours =
        folders.filter(|path| std::fs::read_to_string(path.join("log")).is_ok_and(|log| log.contains(&port)));
    ours.next()
}

#[tokio::test]
async fn doctor_finds_a_sound_host_well_and_says_what_is_missing() {
    let Some(sshd) = Sshd::start() else { return };
    let checks = sshd.host().check().await;
    assert!(checks.len() >= 4 && checks.iter().all(|check| check.state == CheckState::Ok), "{checks:#?}");

    let (_bare, path) = path_with(&["sh", "date", "uname", "cat"]);
    let Some(sshd) = Sshd::start_with("", &path) else { return };
    let checks = sshd.host().check().await;
    let programs = checks.iter().find(|check| check.what == "programs").unwrap();
    assert_eq!(programs.state, CheckState::Bad);
    assert!(programs.seen.contains("flock") && !programs.seen.contains("cat"), "{programs:?}");

    std::fs::write(sshd.known_hosts(), "").unwrap();
    let checks = sshd.host().check().await;
    assert_eq!((checks.len(), checks[0].state), (1, CheckState::Bad));
    assert!(checks[0].mend.as_ref().unwrap().contains("ssh-keyscan"));
}

#[tokio::test]
async fn what_an_operation_costs_is_printed_and_bounded() {
    let Some(sshd) = Sshd::start() else { return };
    let (host, path) = (sshd.host(), format!("{}/file", sshd.work()));
    let start = Instant::now();
    host.write(&path, b"x", 0o644).await.unwrap();
    eprintln!("connecting and a write: {:?}", start.elapsed());
    let mut seen = [const { Vec::new() }; 4];
    for _ in 0..ROUNDS {
        let start = Instant::now();
        hello(&host).await.unwrap();
        seen[0].push(start.elapsed());
        let start = Instant::now();
        host.read(&path).await.unwrap();
        seen[1].push(start.elapsed());
        let start = Instant::now();
        host.swap(&path, Some(b"x"), b"x").await.unwrap();
        seen[2].push(start.elapsed());
        let start = Instant::now();
        host.exec(&Command::new(["cat"]).stdin("x")).await.unwrap();
        seen[3].push(start.elapsed());
    }
    for (name, mut times) in ["exec", "read", "swap", "exec with input"].into_iter().zip(seen) {
        times.sort();
        eprintln!("median of {name}: {:?}", times[ROUNDS / 2]);
        assert!(times[ROUNDS / 2] < Duration::from_millis(500), "{name}");
    }
}

/// A stream through SSH opens either way.
#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_nobody_listens_on_is_told_from_one_that_is_taken() {
    let Some(sshd) = Sshd::start() else { return };
    let host = sshd.host();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = Endpoint::Tcp(listener.local_addr().unwrap().to_string());
    let bound = Millis(2_000);
    assert_eq!(listens(&host, &endpoint, bound).await, Ok(true));
    drop(listener);
    assert_eq!(listens(&host, &endpoint, bound).await, Ok(false));
    host.close().await.unwrap();
}
