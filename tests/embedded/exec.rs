//! `exec`: a person's own program where the app runs.

use std::io::Write;
use std::process::Stdio;

use crate::support::project::{Project, Setup};
use crate::support::terminal::{LOOKS, Terminal, expect_looks};

fn setup() -> Setup {
    Setup { service: "    env: { TOKEN: s3cret-0ne }\n".into(), ..Setup::default() }
}

#[test]
fn a_program_has_the_live_slots_environment_and_passes_its_exit_code_on() {
    let project = Project::with(&setup());
    project.run("exec web -- true").expect(125).says(&["nothing of web is live"]);
    project.deploy("v1");
    project.deploy("v2");
    let script = "cat; echo \"$1|$TOKEN|$LOCKGATE_TAG|${PORT:+port}|$(pwd)\"; exit 42";
    for (flag, port) in [(None, "port"), (Some("--new"), "")] {
        let args = ["exec", "web"].into_iter().chain(flag);
        let args = args.chain(["--", "sh", "-c", script, "sh", "a 'b' $HOME"]);
        let mut command = project.command(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(b"fed in\n").unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(42), "{flag:?}");
        let root = std::fs::canonicalize(project.root()).unwrap();
        let wanted = format!("fed in\na 'b' $HOME|s3cret-0ne|v2|{port}|{}\n", root.display());
        assert_eq!(String::from_utf8(output.stdout).unwrap(), wanted, "{flag:?}");
    }
    project.expect_settled("v2");
}

#[test]
fn what_exec_itself_cannot_do_has_a_code_of_its_own() {
    let project = Project::new();
    project.deploy("v1");
    project.run("exec webb -- true").expect(125).says(&["webb"]);
    project.run("exec web --host web9 -- true").expect(125).says(&["has no host web9"]);
    project.run("exec web").expect(125).says(&["COMMAND"]);
    project.run("exec web -- ./no-such-program").expect(125).says(&["no-such-program"]);
    project.run("exec web -- false").expect(1);
    project.run("exec --help").expect(0);
}

#[test]
fn a_program_has_the_persons_terminal_with_its_size_and_its_keys() {
    let project = Project::new();
    project.deploy("v1");
    for flag in [None, Some("--new")] {
        let args = ["exec", "web"].into_iter().chain(flag).chain(["--", "sh", "-c", LOOKS]);
        let Some(mut terminal) = Terminal::start(&project.command(args), 33, 77) else { return };
        expect_looks(&mut terminal);
    }
    // And none where the person has none.
    let mut command = project.command(["exec", "web", "--", "sh", "-c", "[ -t 0 ] || [ -t 1 ] || exit 5"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    assert_eq!(command.output().unwrap().status.code(), Some(5));
    project.expect_settled("v1");
}
