//! A configuration that is wrong says file, line and what to do, and nothing is touched.

use crate::support::project::{Project, Setup};

fn wrong(config: &str, line: u32, wanted: &[&str]) {
    let project = Project::empty();
    std::fs::write(project.path("lockgate.yaml"), config).unwrap();
    let place = format!("lockgate.yaml:{line}:");
    for command in ["plan web v1", "deploy web v1", "status", "resume", "doctor"] {
        project.run(command).expect(2).says(&[&place]).says(wanted);
    }
    let error = project.run("deploy web v1 --format json").expect(2).last();
    assert_eq!(error["event"], "error", "{error:#}");
    assert_eq!(error["error"]["line"], line, "{error:#}");
    assert_eq!(error["exit"], 2, "{error:#}");
    assert!(!project.path(".lockgate").exists(), "nothing was touched");
}

const SERVICE: &str = "project: shop\nservices:\n  web:\n    command: [./app]\n";

#[test]
fn an_unknown_key_is_answered_with_the_one_that_was_meant() {
    let config = format!("{SERVICE}    helth: /up\nenvironments:\n  prod: {{ runtime: process }}\n");
    wrong(&config, 5, &["helth", "health"]);
}

#[test]
fn a_value_of_the_wrong_type_is_pointed_at() {
    let config = format!("{SERVICE}    port: [5000]\nenvironments:\n  prod: {{ runtime: process }}\n");
    wrong(&config, 5, &["expected text or a number"]);
    let config = format!("{SERVICE}environments:\n  prod:\n    runtime: process\n    drain: soon\n");
    wrong(&config, 8, &["soon", "60s"]);
}

#[test]
fn every_problem_is_told_with_its_kind() {
    let config =
        format!("{SERVICE}    helth: /up\nenvironments:\n  prod: {{ runtime: process, drian: 1s }}\n");
    let project = Project::empty();
    std::fs::write(project.path("lockgate.yaml"), config).unwrap();
    let ran = project.run("status --format json").expect(2).says(&[
        "error: unknown key: ",
        "lockgate.yaml:5:5: unknown key `helth`\n  hint: did you mean `health`?\nerror: unknown key: ",
        "lockgate.yaml:7:29: unknown key `drian`",
    ]);
    let problems = ran.last()["error"]["problems"].clone();
    assert_eq!(problems.as_array().map(Vec::len), Some(2), "{problems:#}");
    assert_eq!((&problems[1]["kind"], &problems[1]["line"]), (&"unknown_key".into(), &7.into()));
    std::fs::write(project.path("lockgate.yaml"), "# nothing yet\n").unwrap();
    let empty = "remove it, and `lockgate init` writes one";
    project.run("status").expect(2).says(&["error: missing key: ", "the file is empty", empty]);
    std::fs::remove_file(project.path("lockgate.yaml")).unwrap();
    project.run("init").expect(0);
}

#[test]
fn a_missing_variable_is_named() {
    let config = format!(
        "{SERVICE}    env:\n      TOKEN: \"${{LOCKGATE_E2E_MISSING}}\"\nenvironments:\n  prod: {{ runtime: process }}\n"
    );
    wrong(&config, 6, &["LOCKGATE_E2E_MISSING"]);
}

#[test]
fn two_services_on_one_route_are_refused() {
    let config = format!(
        "{SERVICE}  api:\n    command: [./api]\nenvironments:\n  prod:\n    runtime: process\n    router: {{ builtin: {{ listen: \"127.0.0.1:8080\" }} }}\n"
    );
    let project = Project::empty();
    std::fs::write(project.path("lockgate.yaml"), config).unwrap();
    project.run("plan web v1").expect(2).says(&["lockgate.yaml:", "web", "api", "hint"]);
}

#[test]
fn a_process_service_with_a_port_is_told_how_ports_are_chosen() {
    let config = format!("{SERVICE}    port: 5000\nenvironments:\n  prod: {{ runtime: process }}\n");
    wrong(&config, 3, &["port", "PORT"]);
}

#[test]
fn what_is_no_yaml_is_pointed_at() {
    wrong("project: shop\nservices: {web: {command: [a}\n", 2, &["this is not YAML", "bracket"]);
    let project = Project::empty();
    std::fs::write(project.path("lockgate.yaml"), b"\xff\xfe\x00garbage").unwrap();
    project.run("status").expect(2).says(&["lockgate.yaml"]);
    project.run("status --config /no/such/file.yaml").expect(2).says(&["/no/such/file.yaml"]);
}

#[test]
fn an_environment_that_is_only_checked_is_not_deployed_to() {
    let project = Project::empty();
    let config = "project: shop\nservices:\n  web: { command: \"./app-{tag}\" }\nenvironments:\n  test: { url: \"http://127.0.0.1:1\" }\n  prod: { runtime: process, router: { builtin: { listen: \"127.0.0.1:8080\" } } }\n";
    std::fs::write(project.path("lockgate.yaml"), config).unwrap();
    for command in ["deploy web v1", "plan web v1", "rollback web"] {
        project
            .run(&format!("--env test {command}"))
            .expect(2)
            .says(&["only checked", "choose one with --env: prod"]);
    }
    assert!(!project.path(".lockgate").exists());
}

#[test]
fn a_webhook_that_is_not_set_here_is_no_reason_to_stop() {
    let project = Project::with(&Setup {
        end: "notify:\n  - slack: { webhook: \"${LOCKGATE_E2E_SLACK:-}\" }\n".to_owned(),
        ..Setup::default()
    });
    project.run("status").expect(0);
}

#[test]
fn init_says_which_file_it_cannot_write_and_what_else_to_do() {
    let project = Project::empty();
    std::fs::write(project.path("file"), "").unwrap();
    let ran = project.run("init -c file/lockgate.yaml").expect(1);
    ran.says(&["file/lockgate.yaml cannot be written: Not a directory", "hint:", "lockgate init --print"]);
    project.run("init -c folder/lockgate.yaml").expect(1).says(&["not found: ", "make its folder first"]);
}

#[test]
fn init_imports_a_service_list_and_names_what_it_leaves_out() {
    let project = Project::empty();
    std::fs::create_dir(project.path("shop")).unwrap();
    let list = "services:\n  a: { test_url: https://t, timeout: 5 }\n  b: { prod_url: https://p }\n";
    std::fs::write(project.path("old.yaml"), list).unwrap();
    let left_out = "`timeout` of `a` was left out";
    project
        .run("init --import old.yaml -c shop/lockgate.yaml --env live")
        .expect(0)
        .says(&[left_out, "no test_url for `b`"]);
    let written = std::fs::read_to_string(project.path("shop/lockgate.yaml")).unwrap();
    for wanted in [left_out, "\nproject: shop\n", "live: \"https://p\"", "\n  live:\n"] {
        assert!(written.contains(wanted), "{wanted:?} is not in\n{written}");
    }
    project.run("init --import old.yaml --env test").expect(2).says(&["only checked", "--env"]);
    project.run("init --import old.yaml --env Live").expect(2).says(&["environment name", "--env"]);
    std::fs::write(project.path("old.yaml"), "services:\n  a: {}\n  a: {}\n").unwrap();
    let wanted = ["error: duplicate key: old.yaml:3:3: `a` is here twice", "hint: keep one of them"];
    project.run("init --import old.yaml").expect(2).says(&wanted);
    assert!(!project.path("lockgate.yaml").exists());
}

#[test]
fn nothing_is_no_number_of_lines() {
    let project = Project::new();
    for command in ["history -n 0", "logs web -n 0"] {
        project.run(command).expect(2).says(&["0 is not in 1.."]);
    }
}

#[test]
fn a_host_that_can_not_be_left_out_is_a_usage_error() {
    let project = Project::new();
    for command in ["deploy web v1", "rollback web", "resume", "plan web v1"] {
        let unknown = project.run(&format!("{command} --skip web9")).expect(2);
        let wanted =
            "error: refused: prod has no host \"web9\" that could be left out\n  hint: there are: local\n";
        assert_eq!(unknown.stderr, wanted, "{unknown}");
        let all = project.run(&format!("{command} --skip local --skip local")).expect(2);
        let wanted = "error: refused: without local no host of prod is left\n  hint: there are: local\n";
        assert_eq!(all.stderr, wanted, "{all}");
    }
}
