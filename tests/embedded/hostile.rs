//! Names that want to be more than names, and secrets that must not be told.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::support::double::{Double, Manner};
use crate::support::project::{Project, Setup, run};

const NAMES: [&str; 12] = [
    "../../etc/passwd",
    "..",
    "/etc/passwd",
    "v1;touch pwned",
    "$(touch pwned)",
    "`touch pwned`",
    "v1\ntouch pwned",
    "v1 v2",
    "v1|cat",
    "{slot}",
    "v\u{0}1",
    "",
];

#[test]
fn names_that_are_no_names_are_refused_and_nothing_is_made() {
    let project = Project::new();
    let places: [&[&str]; 7] = [
        &["deploy", "web", "NAME"],
        &["deploy", "NAME", "v1"],
        &["plan", "web", "NAME"],
        &["rollback", "web", "NAME"],
        &["logs", "web", "--slot", "NAME"],
        &["status", "NAME"],
        &["--env", "NAME", "deploy", "web", "v1"],
    ];
    for place in places {
        for name in NAMES.iter().filter(|name| !name.contains('\0')) {
            let args = place.iter().map(|arg| if *arg == "NAME" { *name } else { *arg });
            let ran = run(project.command(args)).expect(2);
            assert!(ran.stderr.contains("error"), "{ran}");
        }
    }
    for flag in ["--config=/etc/passwd", "--format=xml", "--upgrade", "-x"] {
        run(project.command(["deploy", "web", flag])).expect(2);
        run(project.command(["deploy", "web", "--", flag])).expect(2);
    }
    assert!(!project.path("host").exists(), "no state was made");
    assert!(!project.path("m1/.lockgate").exists(), "no journal was made");
    assert!(!project.path("m1/pwned").exists() && !project.path("pwned").exists());
}

#[test]
fn names_in_the_configuration_that_are_no_names_are_refused() {
    for name in NAMES.iter().filter(|name| !name.is_empty()) {
        let quoted = serde_json::Value::from(*name).to_string();
        let templates = [
            format!(
                "project: {quoted}\nservices: {{ web: {{ command: [a] }} }}\nenvironments: {{ prod: {{ runtime: process }} }}\n"
            ),
            format!(
                "project: shop\nservices: {{ {quoted}: {{ command: [a] }} }}\nenvironments: {{ prod: {{ runtime: process }} }}\n"
            ),
            format!(
                "project: shop\nservices: {{ web: {{ command: [a] }} }}\nenvironments: {{ {quoted}: {{ runtime: process }} }}\n"
            ),
            format!(
                "project: shop\nservices: {{ web: {{ command: [a] }} }}\nenvironments: {{ prod: {{ runtime: process, hosts: [{quoted}, \"-oProxyCommand=x\"] }} }}\n"
            ),
        ];
        for config in templates {
            let project = Project::empty();
            std::fs::write(project.path("lockgate.yaml"), &config).unwrap();
            let ran = project.run("deploy web v1").expect(2);
            assert!(ran.stderr.contains("lockgate.yaml:"), "{config}{ran}");
        }
    }
}

#[test]
fn a_command_is_never_read_by_a_shell() {
    let project = Project::new();
    let config = std::fs::read_to_string(project.path("m1/lockgate.yaml")).unwrap();
    let root = project.root().display().to_string();
    let hostile =
        format!("\"{root}/app-{{tag}}\", \"; touch {root}/pwned\", \"$(touch {root}/pwned)\", \"a\\nb\"");
    let config = config.replace(&format!("\"{root}/app-{{tag}}\""), &hostile);
    std::fs::write(project.path("m1/lockgate.yaml"), config).unwrap();
    project.deploy("v1");
    assert!(!project.path("pwned").exists());
}

/// As git does: somebody else's lockgate.yaml above us could make us run anything.
#[test]
fn a_configuration_of_another_owner_is_refused_until_it_is_allowed_or_named() {
    let project = Project::new();
    let below = project.path("m1/below/deeper");
    std::fs::create_dir_all(&below).unwrap();
    let (folder, file) = (project.path("m1"), project.path("m1/lockgate.yaml"));
    let home = project.path("home");
    std::fs::create_dir(&home).unwrap();
    let status = || {
        let mut command = project.command(["status", "web"]);
        command.current_dir(&below).env("HOME", &home).env_remove("XDG_CONFIG_HOME").env_remove("SUDO_UID");
        command
    };
    run(status()).expect(0);
    let mode =
        |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    for (path, wide, plain) in [(&folder, 0o777, 0o755), (&file, 0o666, 0o644)] {
        mode(path, wide);
        let ran = run(status()).expect(2).says(&["can be written by every user", "chmod go-w"]);
        assert!(ran.stderr.contains(&path.display().to_string()), "{ran}");
        mode(path, plain);
    }
    if folder.metadata().unwrap().uid() != 0 {
        eprintln!("skipped: only root can give files away");
        return;
    }
    for path in [&folder, &file] {
        std::os::unix::fs::chown(path, Some(65534), None).unwrap();
        for args in ["status web", "deploy web v1", "plan web v1", "doctor", "resume", "history"] {
            let mut command = project.command(args.split(' '));
            command
                .current_dir(&below)
                .env("HOME", &home)
                .env_remove("XDG_CONFIG_HOME")
                .env_remove("SUDO_UID");
            run(command).expect(2).says(&["uid 65534", "safe-directories"]);
        }
        let mut command = status();
        command.env("SUDO_UID", "65534");
        run(command).expect(0);
        let mut command = status();
        command.env("LOCKGATE_SAFE_DIRECTORY", format!("/nowhere:{}", folder.display()));
        run(command).expect(0);
        let mut command = status();
        command.args(["-c", file.to_str().unwrap()]);
        run(command).expect(0);
        let told = run(status()).expect(2).stderr;
        let typed = told.split('`').find(|part| part.contains("mkdir")).expect("what to type");
        let mut shell = std::process::Command::new("sh");
        assert!(shell.args(["-c", typed]).status().unwrap().success(), "{typed}");
        run(status()).expect(0);
        std::fs::remove_dir_all(home.join(".config")).unwrap();
        std::os::unix::fs::chown(path, Some(0), None).unwrap();
    }
    assert!(!project.path("host").exists(), "no state was made");
}

#[test]
fn a_fifo_in_the_place_of_the_configuration_is_told_of_at_once() {
    let project = Project::new();
    std::fs::remove_file(project.path("m1/lockgate.yaml")).unwrap();
    let made = std::process::Command::new("mkfifo").arg(project.path("m1/lockgate.yaml")).status().unwrap();
    assert!(made.success());
    project.run("status").expect(2).says(&["is not a file"]);
}

/// Nothing is signalled by such a number: the app that runs, and everybody else, stays.
#[test]
fn state_that_others_wrote_or_may_write_is_not_acted_on() {
    let project = Project::new();
    project.deploy("v1");
    let run = project.path("host/prod/web/run");
    let mode = |name: &str| run.join(name).metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("blue.log"), mode("")), (0o600, 0o755));
    for folder in [run.clone(), project.path("host/prod/web/.lockgate")] {
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o777)).unwrap();
        project.run("deploy web v2").expect(1).says(&["can be written by every user", "chmod go-w"]);
        project.run("doctor").expect(1).says(&["can be written by every user", "chmod go-w"]);
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let lock = project.path("host/prod/web/.lockgate/lease.json.lock");
    std::fs::remove_file(&lock).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&lock).status().unwrap().success());
    project.run("deploy web v2").expect(1).says(&["is a FIFO"]);
    std::fs::remove_file(&lock).unwrap();
    project.expect_live("v1");
    project.deploy("v2");
    project.expect_settled("v2");
}

/// Its target's mode was changed once.
#[test]
fn a_journal_that_leads_elsewhere_is_told_of_and_what_it_leads_to_left_alone() {
    let project = Project::new();
    project.deploy("v1");
    let (journal, kept, target) = (
        project.path("m1/.lockgate/journal.db"),
        project.path("m1/.lockgate/kept.db"),
        project.path("target"),
    );
    std::fs::rename(&journal, &kept).unwrap();
    std::fs::write(&target, "somebody's").unwrap();
    std::fs::set_permissions(&target, std::fs::Permissions::from_mode(0o644)).unwrap();
    let link = || std::os::unix::fs::symlink(&target, &journal).unwrap();
    let fifo = || assert!(std::process::Command::new("mkfifo").arg(&journal).status().unwrap().success());
    for (put, wanted) in [(&link as &dyn Fn(), "is a symbolic link"), (&fifo, "is a FIFO")] {
        put();
        for command in ["deploy web v2", "history", "doctor"] {
            project.run(command).expect(1).says(&[wanted, "journal.db", "rm "]);
        }
        std::fs::remove_file(&journal).unwrap();
    }
    assert_eq!(target.metadata().unwrap().permissions().mode() & 0o777, 0o644);
    assert_eq!(std::fs::read_to_string(&target).unwrap(), "somebody's");
    std::fs::rename(&kept, &journal).unwrap();
    project.deploy("v2");
}

const SECRET: &str = "s3cr3t-0f-the-sh0p";

#[test]
fn secrets_are_in_no_argument_event_journal_log_or_error() {
    let setup = Setup {
        service: "    env: { API_TOKEN: \"${E2E_SECRET}\" }\n".into(),
        end: "notify:\n  - webhook: { url: \"http://127.0.0.1:9/${E2E_SECRET}\", headers: { authorization: \"${E2E_SECRET}\" } }\n".into(),
        health: "{ timeout: 500ms }",
        ..Setup::default()
    };
    let project = Project::with(&setup);
    project.release("smoke", "FAIL_PATHS=/metrics");
    project.release("sick", "UNHEALTHY=1");
    project.release("crash", "CRASH=1");
    let watcher = Watcher::start();
    let mut said = String::new();
    for tag in ["v1", "smoke", "sick", "crash", "nowhere", "v2"] {
        let mut command = project.command(["deploy", "web", tag, "--format", "json", "-vvv"]);
        command.env("E2E_SECRET", SECRET).env("LOCKGATE_LOG", "trace");
        said.push_str(&run(command).to_string());
    }
    for args in [
        ["plan", "web", "v1"],
        ["status", "web", "-vvv"],
        ["logs", "web", "-vvv"],
        ["rollback", "web", "-vvv"],
    ] {
        let mut command = project.command(args);
        command.env("E2E_SECRET", SECRET);
        said.push_str(&run(command).expect(0).to_string());
    }
    let seen = watcher.stop();
    assert!(seen.is_empty(), "in arguments: {seen:#?}");
    let line = said.lines().find(|line| line.contains(SECRET));
    assert!(line.is_none(), "it was said: {}", line.unwrap_or_default());
    assert!(environ_of_app(&project).contains(SECRET), "the app itself is told");
    let mut files = Vec::new();
    holding(project.root(), &mut files);
    // What a rollback brings back is kept on the host, for its user alone.
    let kept = project.path("host/prod/web/.lockgate/environments.json");
    assert_eq!(files, [kept.display().to_string()], "nowhere else");
    assert_eq!(
        std::os::unix::fs::PermissionsExt::mode(&kept.metadata().unwrap().permissions()) & 0o777,
        0o600
    );
}

/// 1 MiB of control characters, each of which is six in JSON: as much of a log as is ever read.
#[test]
fn an_app_that_ends_with_an_endless_line_locks_nobody_out() {
    let project = Project::with(&Setup { health: "{ timeout: 2s }", ..Setup::default() });
    project.script("app-endless", "#!/bin/sh\nhead -c 1100000 /dev/zero | tr '\\0' '\\1'\nexit 1\n");
    project.deploy("v1");
    let ran = project.run("deploy web endless").expect(1);
    assert!(ran.stderr.len() + ran.stdout.len() < 100_000, "it is not told in full either");
    let record = std::fs::read_to_string(project.path("host/prod/web/.lockgate/lease.json")).unwrap();
    assert!(record.len() < 1_024, "{} bytes in lease.json", record.len());
    project.run("status web").expect(0);
    project.deploy("v2");
    project.expect_settled("v2");
}

#[test]
fn an_app_or_gate_that_prints_its_environment_tells_no_secret() {
    let told = Double::start(Manner::Answers("200 OK", "ok"));
    let setup = Setup {
        health: "{ timeout: 2s }",
        service: "    env: { API_TOKEN: \"${E2E_SECRET}\", SWITCH: \"true\" }\n".into(),
        before: "[{ name: talk, command: \"ROOT/talk\" }]".into(),
        end: format!(
            "notify:\n  - slack: {{ webhook: \"http://{0}/slack\" }}\n  - webhook: {{ url: \"http://{0}/hook\" }}\n",
            told.address
        ),
        ..Setup::default()
    };
    let project = Project::with(&setup);
    project.script("app-leaky", "#!/bin/sh\necho boot true\nenv\nexit 1\n");
    project.release("printed", "");
    project.script(
        "talk",
        "#!/bin/sh\n[ $LOCKGATE_TAG != printed ] || { echo boot true; env | grep E2E; exit 1; }\n",
    );
    for (tag, shown) in [("leaky", "API_TOKEN=***"), ("printed", "E2E_SECRET=***")] {
        for format in ["json", "text"] {
            let mut command = project.command(["deploy", "web", tag, "--format", format]);
            command.env("E2E_SECRET", SECRET);
            let said = run(command).expect(1).to_string();
            assert!(said.contains(shown) && said.contains("boot true"), "{said}");
            assert!(!said.contains(SECRET), "{said}");
        }
    }
    let bodies = told.bodies();
    assert!(!bodies.iter().any(|body| body.contains(SECRET)), "{bodies:#?}");
    assert!(
        bodies.iter().any(|body| body.contains("API_TOKEN=***")),
        "the webhook gets log lines: {bodies:#?}"
    );
    // A channel is read by more people than a log is.
    let slack: Vec<&String> = bodies.iter().filter(|body| body.starts_with("{\"text\"")).collect();
    assert!(slack.len() == 8 && !slack.iter().any(|body| body.contains("boot")), "{slack:#?}");
    for folder in ["m1/.lockgate", "host/prod/web/.lockgate"] {
        let mut files = Vec::new();
        holding(&project.path(folder), &mut files);
        assert!(files.is_empty(), "it lies in {files:#?}");
    }
}

fn environ_of_app(project: &Project) -> String {
    let app = project.apps().pop().expect("an app runs");
    String::from_utf8_lossy(&std::fs::read(format!("/proc/{}/environ", app.pid)).unwrap()).into_owned()
}

fn holding(folder: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            holding(&path, found);
        } else if path.is_file() {
            let content = std::fs::read(&path).unwrap();
            if content.windows(SECRET.len()).any(|window| window == SECRET.as_bytes()) {
                found.push(path.display().to_string());
            }
        }
    }
}

/// Looks at the arguments of all processes all the time.
struct Watcher(Arc<AtomicBool>, std::thread::JoinHandle<Vec<String>>);

impl Watcher {
    fn start() -> Watcher {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut found = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                let entries = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
                for entry in entries.filter(|entry| entry.file_name().as_encoded_bytes()[0].is_ascii_digit())
                {
                    let argv = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
                    let argv = String::from_utf8_lossy(&argv);
                    if argv.contains(SECRET) {
                        found.push(argv.into_owned());
                    }
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            found
        });
        Watcher(stop, thread)
    }

    fn stop(self) -> Vec<String> {
        self.0.store(true, Ordering::Relaxed);
        self.1.join().expect("the watcher does not panic")
    }
}
