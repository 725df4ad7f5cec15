//! `lockgate init github-actions`.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::project::run;
use crate::support::ran::Ran;
use crate::support::skipped;

/// Where `scripts/setup` puts check-jsonschema and actionlint.
pub(super) const PYTHON_LIBRARIES: &str = "/usr/local/share/lockgate-test/python-workflows";
const ACTION: &str = "acme/lockgate@0123456789abcdef0123456789abcdef01234567";

pub(super) fn init(folder: &Path, args: &str) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lockgate"));
    command.current_dir(folder).args(["init", "github-actions"]).args(args.split_whitespace());
    command.env_remove("LOCKGATE_ENV").env_remove("LOCKGATE_SAFE_DIRECTORY");
    run(command)
}

/// A repository with a folder in it.
pub(super) fn repository() -> (tempfile::TempDir, PathBuf, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join(".git")).unwrap();
    let within = folder.path().join("web");
    std::fs::create_dir(&within).unwrap();
    let target = folder.path().join(".github/workflows/deploy.yml");
    (folder, within, target)
}

/// The scripts of a workflow or an action.
pub(super) fn scripts(text: &str) -> String {
    let mut found = String::new();
    let mut within = None;
    for line in text.lines() {
        let indent = line.len() - line.trim_start().len();
        let goes_on = within.is_some_and(|run| indent > run);
        if let Some(script) = line.trim_start().trim_start_matches("- ").strip_prefix("run:") {
            within = Some(indent);
            found += script;
        } else if goes_on {
            found += line;
        } else {
            within = None;
        }
        found.push('\n');
    }
    found
}

#[test]
fn it_is_written_into_the_repository_once_and_never_over_another_one() {
    let (_folder, within, target) = repository();
    init(&within, "--service web").expect(0).says(&["wrote ", "set the variables and secrets"]);
    let written = std::fs::read_to_string(&target).unwrap();
    assert_eq!(init(&within, "--service web --print").expect(0).stdout, written);
    init(&within, "--service web").expect(0).says(&["is there already, and says just this"]);

    let own = written.replace("timeout-minutes: 90", "timeout-minutes: 5\u{1b}[2J");
    std::fs::write(&target, &own).unwrap();
    let refused = init(&within, "--service web").expect(2).says(&["was left as it is", "--print"]);
    assert!(
        refused.stdout.contains("-    timeout-minutes: 5\\x1b[2J\n+    timeout-minutes: 90\n"),
        "{refused}"
    );
    assert_eq!(std::fs::read_to_string(&target).unwrap(), own);
}

/// On the machine of the daemon, say, where lockgate.yaml lies.
#[test]
fn where_there_is_no_repository_that_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let said = init(folder.path(), "--service web").expect(0);
    assert!(said.stderr.contains("is in no git repository") && said.stderr.contains("hint: "), "{said}");
    assert!(folder.path().join(".github/workflows/deploy.yml").exists());
    let (_folder, within, _) = repository();
    let said = init(&within, "--service web").expect(0);
    assert!(!said.stderr.contains("repository, and"), "{said}");
}

/// The script that it has, as a runner runs it: what fetches is a double, and so is what is fetched.
#[test]
fn the_certificates_of_the_settings_are_handed_to_the_program() {
    let (folder, within, _) = repository();
    let text = init(&within, "--service web --print").expect(0).stdout;
    let script: String = text
        .lines()
        .skip_while(|line| line.trim() != "run: |")
        .skip(1)
        .map(|line| format!("{}\n", line.trim_start_matches("          ")))
        .collect();
    let bin = folder.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    let program = |name: &str, text: &str| {
        use std::os::unix::fs::PermissionsExt;
        let file = bin.join(name);
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    };
    program(
        "curl",
        "#!/bin/sh\nprintf '#!/bin/sh\\nprintf \"<%%s>\" \"$@\"\\n' >\"$RUNNER_TEMP/lockgate\"\n",
    );
    program("sha256sum", "#!/bin/sh\ncat >/dev/null\n");
    let with = |cacert: &str| {
        let mut bash = Command::new("bash");
        // As runners call it.
        bash.args(["--noprofile", "--norc", "-eo", "pipefail", "-c", &script]);
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
        bash.env("PATH", path).env("RUNNER_TEMP", folder.path()).env("CACERT", cacert);
        bash.env("LOCKGATE_URL", "https://shop.example/deploy").env("COMMITTED_AT", "");
        bash.env("PROGRAM_URL", "").env("PROGRAM_SHA256", "");
        run(bash).expect(0).stdout
    };
    let fixed = "<trigger><--service=web><--committed-at=><--wait=10m>";
    assert_eq!(with(""), format!("{fixed}<--><https://shop.example/deploy>"));
    let file = folder.path().join("cacert.pem");
    let wanted = format!("{fixed}<--cacert={}><--><https://shop.example/deploy>", file.display());
    assert_eq!(with("two\nlines"), wanted);
    assert_eq!(std::fs::read_to_string(file).unwrap(), "two\nlines\n");
}

#[test]
fn what_is_built_is_what_the_configuration_says() {
    let (_folder, within, target) = repository();
    init(&within, "--build").expect(2).says(&["no lockgate.yaml here that says which image", "--image"]);
    let service =
        |name: &str| format!("  {name}: {{ image: ghcr.io/acme/{name}, port: 80, health: /health }}\n");
    let end = "environments:
  prod: {}
";
    let config = |services: &str| format!("project: shop\nservices:\n{services}{end}");
    std::fs::write(within.join("lockgate.yaml"), config(&(service("web") + &service("api")))).unwrap();
    init(&within, "--build").expect(2).says(&["several services with images", "--service"]);
    init(&within, "--build --service api").expect(0);
    let written = std::fs::read_to_string(&target).unwrap();
    assert!(written.contains("tags: ghcr.io/acme/api:${{ github.sha }}\n"), "{written}");
    for (args, says) in [
        ("--image ghcr.io/acme/web", "--build"),
        ("--build --image ghcr.io/acme/web:v1", "a repository without tag"),
        ("--action acme/lockgate@v1", "all 40 digits of a commit"),
        ("--branch ${{x}}", "a branch here is"),
        ("--on tag", "possible values"),
        ("--service ../x", "invalid value"),
    ] {
        init(&within, args).expect(2).says(&[says]);
    }
}

/// Each is pinned by a whole commit.
pub(super) fn is_pinned(text: &str) -> bool {
    let mut uses = text.lines().filter_map(|line| line.trim_start().strip_prefix("- uses: "));
    uses.all(|uses| uses.split_once('@').unwrap().1.chars().take_while(char::is_ascii_hexdigit).count() == 40)
}

/// In a repository's folder.
pub(super) fn are_workflows(folder: &Path, files: &[PathBuf]) {
    tool(folder, "check-jsonschema", &["--builtin-schema", "vendor.github-workflows"], files);
    tool(folder, "actionlint", &[], files);
}

fn tool(folder: &Path, name: &str, args: &[&str], files: &[PathBuf]) {
    let mut command = Command::new(Path::new(PYTHON_LIBRARIES).join("bin").join(name));
    command.env("PYTHONPATH", PYTHON_LIBRARIES).args(args).args(files).current_dir(folder);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{name}: {output:?}");
}

/// By the schema that GitHub's editors use, and by a program that knows more of it.
#[test]
fn what_is_written_is_a_workflow_and_the_action_is_an_action() {
    if !Path::new(PYTHON_LIBRARIES).join("check_jsonschema").exists() {
        return skipped("check-jsonschema and actionlint are not there: scripts/setup installs them");
    }
    let (folder, within, _) = repository();
    let workflows = folder.path().join(".github/workflows");
    std::fs::create_dir_all(&workflows).unwrap();
    let mut files = Vec::new();
    for on in ["push", "merge_queue"] {
        for build in ["", "--build --image ghcr.io/acme/web", "--build --image registry.shop.example/web"] {
            for action in [String::new(), format!("--action {ACTION}")] {
                let args = format!("--on {on} {build} {action} --service web --branch release/2.x --print");
                let text = init(&within, &args).expect(0).stdout;
                assert!(!scripts(&text).contains("${{"), "nothing is a part of a script:\n{text}");
                assert!(is_pinned(&text), "{text}");
                let file = workflows.join(format!("{}.yml", files.len()));
                std::fs::write(&file, text).unwrap();
                files.push(file);
            }
        }
    }
    are_workflows(folder.path(), &files);
    let action = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../action.yml");
    assert!(!scripts(&std::fs::read_to_string(&action).unwrap()).contains("${{"));
    tool(folder.path(), "check-jsonschema", &["--builtin-schema", "vendor.github-actions"], &[action]);

    // They find what is wrong.
    let broken = workflows.join("broken.yml");
    std::fs::write(&broken, "on: push\njobs:\n  a: { runs-on: ubuntu-24.04, steps: [{ nonsense: 1 }] }\n")
        .unwrap();
    let mut command = Command::new(Path::new(PYTHON_LIBRARIES).join("bin/actionlint"));
    let output = command.env("PYTHONPATH", PYTHON_LIBRARIES).arg(&broken).output().unwrap();
    assert!(!output.status.success(), "{output:?}");
}
