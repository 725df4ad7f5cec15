//! What a deployment will need of the host.

use lockgate_model::Template;
use lockgate_own::Foreign;
use lockgate_ports::{Check, PortError, STATE_FREE_MIB_MIN};

use crate::command::folder;
use crate::options::ProcessOptions;
use crate::script;

/// Programs that the scripts call, and those that are called on other machines only.
const TOOLS: [&str; 2] = ["tail", "grep"];
const TOOLS_REMOTE: [&str; 3] = ["setsid", "sha256sum", "stat"];

pub(crate) async fn checks(options: &ProcessOptions) -> Vec<Check> {
    match look(options).await {
        Ok(checks) => checks,
        Err(error) => vec![Check::bad("process runtime", error.to_string(), "make the host reachable")],
    }
}

async fn look(options: &ProcessOptions) -> Result<Vec<Check>, PortError> {
    let service = &options.service;
    // What is filled in only at a deployment cannot be looked for now.
    let fixed =
        |template: &Template| (!template.as_str().contains('{')).then(|| template.as_str().to_owned());
    let program = service.command.first().and_then(fixed).unwrap_or_default();
    let cwd = service.cwd.as_ref().map_or(Some(String::new()), fixed);
    let cwd = folder(&options.root, &cwd.unwrap_or_default());
    let mut arguments = vec![options.dir.as_str(), &cwd, &program];
    arguments.extend(TOOLS);
    if !options.host.id().is_local() {
        arguments.extend(TOOLS_REMOTE);
    }
    let mut command = script::command(script::CHECK, arguments);
    if let Some(path) = service.env.get("PATH") {
        command = command.env("PATH", path.reveal());
    }
    let (output, free) = tokio::join!(
        script::run(&*options.host, "check the host", &command),
        options.host.disk_free_mib(&options.dir)
    );
    let (output, is_full) = (output?, free? < STATE_FREE_MIB_MIN);
    let text = output.stdout_text();
    let says = |word: &str| text.lines().any(|line| line == word);
    let missing: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("missing ")).collect();

    let mut checks = Vec::new();
    let mut check = |ok: bool, what: &str, good: String, bad: String, mend: &str| {
        checks.push(if ok { Check::ok(what, good) } else { Check::bad(what, bad, mend) });
    };
    let dir = &options.dir;
    check(
        says("proc"),
        "Linux",
        "/proc is there".into(),
        "no /proc".into(),
        "the process runtime needs Linux",
    );
    let (seen, mend) = match says("dir") {
        true => ("no space left on its disk", "free space there: `df -h` shows how much there is"),
        false => ("cannot be written", "make it, or a folder above it, writable for the deploying user"),
    };
    check(
        says("dir") && !is_full,
        "state folder",
        format!("{dir} can be written"),
        format!("{dir}: {seen}"),
        mend,
    );
    if let Some(Foreign { message, hint }) = Foreign::reported(&output.stderr_text()) {
        check(false, "slots' files", String::new(), message, &hint);
    }
    let mend = "make the folder, or correct cwd";
    check(says("cwd"), "working folder", cwd.clone(), format!("{cwd} cannot be entered"), mend);
    let mend = "install them: util-linux (setsid), coreutils (tail, stat, sha256sum), grep";
    check(
        missing.is_empty(),
        "tools",
        "all there".into(),
        format!("not found: {}", missing.join(", ")),
        mend,
    );
    if !program.is_empty() {
        let mend = "build it or copy it to the host, and mark it executable";
        check(
            says("program"),
            "program",
            program.clone(),
            format!("{program} is not an executable here"),
            mend,
        );
    }
    if !service.command.iter().chain(&service.cwd).any(|part| part.names("tag")) {
        checks.push(Check::warn(
            "command",
            "it does not name {tag}",
            "put {tag} in the program's path, so that the previous release stays there to roll back to",
        ));
    }
    Ok(checks)
}
