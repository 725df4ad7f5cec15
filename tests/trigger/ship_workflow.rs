//! `lockgate init github-actions` where CI ships by itself: system C.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::workflow::{PYTHON_LIBRARIES, are_workflows, init, is_pinned, repository, scripts};
use crate::support::project::run;
use crate::support::skipped;

/// No variable that it names is set where a workflow is made.
const CONFIG: &str = r#"project: monarch
services:
  monarch:
    image: registry.example.com/acme/monarch
    port: 8000
    watch: ["src/**", Dockerfile]
    test: "env | sort >\"$RECORD\"; test -s src/words.txt"
    build: { tags: ["{sha}", latest] }
    env: { VALKEY_HOST: "${VALKEY_HOST}" }
environments:
  prod:
    hosts: ["root@${DROPLET_HOST}"]
    strategy: recreate
    runtime: { compose: { dir: /opt/monarch } }
registries:
  registry.example.com: { user: "${DOCKER_USERNAME}", password: "${DOCKER_PASSWORD}" }
ssh: { key: "${SSH_PRIVATE_KEY:-}", known_hosts: "${KNOWN_HOSTS:-}" }
notify: [{ slack: { webhook: "${SLACK_WEBHOOK_URL:-}" } }]
"#;

fn written(within: &Path, config: &str) {
    std::fs::write(within.join("lockgate.yaml"), config).unwrap();
}

#[test]
fn a_configuration_that_ci_ships_gets_a_workflow_and_the_list_of_its_secrets() {
    let (folder, within, _) = repository();
    written(&within, CONFIG);
    let target = folder.path().join(".github/workflows/ship.yml");
    let said = init(&within, "").expect(0).says(&[
        "wrote ",
        "  gh secret set DROPLET_HOST ",
        "  gh secret set SSH_PRIVATE_KEY < ~/.ssh/KEY ",
        "  ssh-keyscan HOST | gh secret set KNOWN_HOSTS ",
        "# the password, or a token, for registry.example.com",
        "# may be left out: the URL of an incoming webhook of Slack",
        "  gh variable set LOCKGATE_PROGRAM_SHA256 ",
    ]);
    assert!(!said.stderr.contains("warning"), "{said}");
    let text = std::fs::read_to_string(&target).unwrap();
    assert_eq!(init(&within, "--print").expect(0).stdout, text);
    init(&within, "").expect(0).says(&["is there already, and says just this", "gh secret set DROPLET_HOST"]);
    for wanted in [
        "working-directory: web",
        "      - \"web/src/**\"",
        "run: lockgate ship --job deploy",
        "needs: test",
        "needs: build",
    ] {
        assert!(text.contains(wanted), "{wanted}\n{text}");
    }
    std::fs::write(&target, "own\n").unwrap();
    init(&within, "").expect(2).says(&["was left as it is", "-own"]);
    assert_eq!(std::fs::read_to_string(&target).unwrap(), "own\n");

    std::fs::remove_file(&target).unwrap();
    let json = init(&within, "--format json").expect(0).last();
    let names: Vec<&str> =
        json["secrets"].as_array().unwrap().iter().filter_map(|one| one["name"].as_str()).collect();
    assert_eq!(
        names,
        [
            "DOCKER_PASSWORD",
            "DOCKER_USERNAME",
            "DROPLET_HOST",
            "KNOWN_HOSTS",
            "RECORD",
            "SSH_PRIVATE_KEY",
            "VALKEY_HOST",
            "SLACK_WEBHOOK_URL"
        ]
    );
    assert_eq!(json["secrets"][7]["optional"], true);
}

/// What `init` proposes is what this takes.
#[test]
fn a_folder_with_a_compose_file_and_a_dockerfile_gets_both_files() {
    let (folder, within, _) = repository();
    for (file, text) in [
        (
            "docker-compose.yml",
            "services: { web: { build: ., image: ghcr.io/acme/web, ports: ['80:8000'] } }\n",
        ),
        ("Dockerfile", "FROM python:3.12-slim\nCOPY requirements.txt src /app/\n"),
        ("requirements.txt", "flask\npytest\n"),
        ("test_app.py", ""),
    ] {
        std::fs::write(within.join(file), text).unwrap();
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_lockgate"));
    command.current_dir(&within).arg("init").env_remove("LOCKGATE_ENV");
    run(command).expect(0).says(&["lockgate ship", "lockgate init github-actions"]);
    init(&within, "").expect(0).says(&["gh secret set DROPLET_HOST", "for ghcr.io"]);
    let text = std::fs::read_to_string(folder.path().join(".github/workflows/ship.yml")).unwrap();
    for wanted in
        ["python-version: \"3.12\"", "run: python3 -m pip install -r requirements.txt\n", "- \"web/**/*.py\""]
    {
        assert!(text.contains(wanted), "{wanted}\n{text}");
    }
}

#[test]
fn what_a_configuration_is_chooses_the_workflow_unless_it_is_said() {
    let (folder, within, webhook) = repository();
    let asks_a_daemon = |args: &str| init(&within, args).expect(0).stdout.contains("lockgate\" trigger ");
    written(&within, CONFIG);
    assert!(!asks_a_daemon("--print") && !asks_a_daemon("--print --by ship"));
    for args in ["--print --by serve", "--print --build --image ghcr.io/a/b", "--print --on merge_queue"] {
        assert!(asks_a_daemon(args), "{args}");
    }
    init(&within, "--by ship --build").expect(2).says(&["are for a workflow that asks a `lockgate serve`"]);
    init(&within, "--service web").expect(2).says(&["no service that is built is called web"]);
    init(&within, "--env stage").expect(2).says(&["no environment with hosts is called stage"]);
    init(&within, "--help").expect(0).says(&["lockgate.yaml", "- serve: The workflow asks"]);
    let daemon = "serve: { endpoints: { /deploy: { environment: prod, secrets: [\"${S}\"] } } }\n";
    written(&within, &format!("{CONFIG}{daemon}"));
    assert!(asks_a_daemon("--print") && !asks_a_daemon("--print --by ship"));
    written(&within, &CONFIG.replace("    hosts: [\"root@${DROPLET_HOST}\"]\n", ""));
    assert!(asks_a_daemon("--print"));
    init(&within, "--by ship").expect(2).says(&["no environment in lockgate.yaml has hosts", "DROPLET_HOST"]);
    written(&within, &CONFIG.replace("ssh: {", "# {"));
    init(&within, "--print").expect(0).says(&["warning: CI has no key for hosts", "hint: write `ssh: {"]);
    written(&within, &CONFIG.replace("    watch:", "    wach:"));
    init(&within, "").expect(2).says(&["lockgate.yaml:6:5", "did you mean `watch`?"]);
    std::fs::remove_file(within.join("lockgate.yaml")).unwrap();
    assert!(asks_a_daemon("--print"));
    init(&within, "--by ship").expect(2).says(&["there is no lockgate.yaml here", "lockgate init"]);
    assert!(!webhook.exists() && !folder.path().join(".github").exists());
}

/// By the schema that GitHub's editors use, and by a program that knows more of it.
#[test]
fn what_is_written_is_a_workflow() {
    if !Path::new(PYTHON_LIBRARIES).join("check_jsonschema").exists() {
        return skipped("check-jsonschema and actionlint are not there: scripts/setup installs them");
    }
    let (folder, within, _) = repository();
    std::fs::write(folder.path().join(".gitmodules"), "").unwrap();
    std::fs::write(within.join("requirements.txt"), "flask\n").unwrap();
    let workflows = folder.path().join(".github/workflows");
    std::fs::create_dir_all(&workflows).unwrap();
    let build = "build: { tags: [\"{sha}\", latest] }";
    let mut files: Vec<PathBuf> = Vec::new();
    for (from, to) in [
        ("", ""),
        (build, "build: { with: buildx, platforms: [linux/arm64] }"),
        (build, "build: { with: depot }"),
        ("registry.example.com", "ghcr.io"),
        ("watch: [\"src/**\", Dockerfile]", "watch: [\"**/*.{py,ts}\", \"/[a-z]?+\"]"),
        ("watch: [\"src/**\", Dockerfile]", ""),
        ("slack: { webhook: \"${SLACK_WEBHOOK_URL:-}\" }", "github: { token: \"${GITHUB_TOKEN:-}\" }"),
        ("env | sort", "pytest && uv run x && pnpm test | sort"),
        ("env | sort", "pytest | sort"),
        ("    test: ", "    # "),
    ] {
        written(&within, &CONFIG.replace(from, to));
        let text = init(&within, "--print --branch release/2.x").expect(0).stdout;
        assert!(!scripts(&text).contains("${{"), "nothing is a part of a script:\n{text}");
        assert!(is_pinned(&text), "{text}");
        let file = workflows.join(format!("{}.yml", files.len()));
        std::fs::write(&file, text).unwrap();
        files.push(file);
    }
    are_workflows(folder.path(), &files);
}

/// As a runner runs them, after a push.
#[test]
fn a_job_that_reaches_no_host_runs_without_the_secrets_of_hosts() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path().join("repository");
    std::fs::create_dir_all(here.join("src")).unwrap();
    written(&here, CONFIG);
    std::fs::write(here.join("src/words.txt"), "one\n").unwrap();
    std::fs::write(here.join(".gitignore"), ".lockgate\n").unwrap();
    let git = |args: &[&str]| {
        let mut git = Command::new("git");
        git.current_dir(&here).args(["-c", "user.name=Kim", "-c", "user.email=kim@shop.example"]);
        let output = git.args(args).env("GIT_CONFIG_GLOBAL", "/dev/null").output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    git(&["init", "-q", "-b", "trunk"]);
    let said = init(&here, "").expect(0).says(&["warning: the branch here is trunk", "--branch trunk"]);
    assert!(said.stderr.contains("the workflow is for what is pushed to main"), "{said}");
    git(&["add", "-A"]);
    git(&["commit", "-q", "-m", "Begin"]);
    let event = folder.path().join("event.json");
    let (none, after) = ("0".repeat(40), git(&["rev-parse", "HEAD"]));
    std::fs::write(&event, format!(r#"{{"before":"{none}","after":"{after}"}}"#)).unwrap();
    let record = folder.path().join("record");
    let ship = |job: &str, more: &[(&str, &str)]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lockgate"));
        command.current_dir(&here).args(["ship", "--job", job]).env_clear();
        command.env("PATH", std::env::var("PATH").unwrap()).env("HOME", folder.path());
        command.env("GITHUB_EVENT_NAME", "push").env("GITHUB_EVENT_PATH", &event);
        command.env("RECORD", &record).env("SLACK_WEBHOOK_URL", "").envs(more.iter().copied());
        run(command)
    };
    ship("test", &[]).expect(0).says(&["the test has passed"]);
    let seen = std::fs::read_to_string(&record).unwrap();
    assert!(
        seen.contains("RECORD=") && !seen.contains("DOCKER_") && !seen.contains("SSH_PRIVATE_KEY"),
        "{seen}"
    );
    let said = ship("build", &[("DOCKER_USERNAME", "ci")]).expect(2).says(&["DOCKER_PASSWORD is not set"]);
    for name in ["DROPLET_HOST", "VALKEY_HOST"] {
        assert!(!said.stderr.contains(name), "{said}");
    }
    ship("deploy", &[("DOCKER_USERNAME", "ci"), ("DOCKER_PASSWORD", "x")])
        .expect(2)
        .says(&["DROPLET_HOST is not set", "VALKEY_HOST is not set"]);
}
