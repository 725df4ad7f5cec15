//! Command lines: pure.

use lockgate_model::BuildTool;
use lockgate_ports::{Building, Command};

/// What builds the image; where the tool pushes as it builds, that too.
pub(crate) fn build(tool: BuildTool, what: &Building) -> Command {
    let program: &[&str] = match tool {
        BuildTool::Docker => &["docker", "build"],
        BuildTool::Buildx => &["docker", "buildx", "build", "--progress", "plain"],
        BuildTool::Depot => &["depot", "build", "--progress", "plain"],
    };
    let mut command = Command::new(program.iter().copied()).arg("--tag").arg(what.name());
    for (name, value) in &what.labels {
        command = command.arg("--label").arg(format!("{name}={value}"));
    }
    for (name, value) in &what.args {
        // Without a value it is the variable's of this name.
        command = command.arg("--build-arg").arg(name).env(name, value.reveal());
    }
    if !what.platforms.is_empty() {
        command = command.arg("--platform").arg(what.platforms.join(","));
    }
    if let Some(file) = &what.file {
        command = command.arg("--file").arg(file);
    }
    match (tool, what.pushes) {
        (BuildTool::Docker, _) => {}
        (BuildTool::Buildx | BuildTool::Depot, true) => command = command.arg("--push"),
        (BuildTool::Buildx | BuildTool::Depot, false) => command = command.arg("--load"),
    }
    command.arg(&what.context).timeout(what.timeout)
}

pub(crate) fn push(what: &Building) -> Command {
    Command::new(["docker", "push"]).arg(what.name()).timeout(what.timeout)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use lockgate_model::{Millis, Secret, Tag};

    use super::*;

    fn building() -> Building {
        Building {
            image: "ghcr.io/acme/web".into(),
            tag: Tag::new("v1").unwrap(),
            context: "/work".into(),
            file: Some("/work/Dockerfile.prod".into()),
            args: BTreeMap::from([("TOKEN".to_owned(), Secret::new("hunter2"))]),
            platforms: vec!["linux/amd64".into(), "linux/arm64".into()],
            labels: BTreeMap::from([("org.opencontainers.image.revision".to_owned(), "abc".to_owned())]),
            pushes: true,
            timeout: Millis::from_secs(60),
        }
    }

    #[test]
    fn each_tool_gets_the_same_image_and_no_secret_in_its_arguments() {
        let said = "--tag ghcr.io/acme/web:v1 --label org.opencontainers.image.revision=abc --build-arg TOKEN \
                    --platform linux/amd64,linux/arm64 --file /work/Dockerfile.prod";
        let plain = "--progress plain";
        for (tool, wanted) in [
            (BuildTool::Docker, format!("docker build {said} /work")),
            (BuildTool::Buildx, format!("docker buildx build {plain} {said} --push /work")),
            (BuildTool::Depot, format!("depot build {plain} {said} --push /work")),
        ] {
            let command = build(tool, &building());
            assert_eq!(command.argv.join(" "), wanted);
            assert_eq!(command.env["TOKEN"], "hunter2");
        }
        let stays = Building { pushes: false, ..building() };
        assert!(build(BuildTool::Buildx, &stays).argv.contains(&"--load".to_owned()));
        assert_eq!(push(&building()).argv.join(" "), "docker push ghcr.io/acme/web:v1");
    }
}
