//! buildx, and depot by an executable that records what it was given and forwards it to buildx.

use std::os::unix::fs::PermissionsExt;

use super::yard::{Setup, Yard};

/// Stands for `depot` (<https://depot.dev/docs/cli/reference>, `depot build`: the options of `docker buildx build`, and `--push`),
/// which cannot be had here: writes down its arguments and whether it has its token, and has buildx do the work.
const DEPOT: &str = "#!/bin/sh\nprintf '%s\\n' \"$@\" >\"$RECORD/argv\"\necho \"token=${DEPOT_TOKEN:+set} \
                     project=$DEPOT_PROJECT_ID arg=$GREETING\" >\"$RECORD/env\"\nexec docker buildx \"$@\"\n";

#[test]
fn buildx_pushes_as_it_builds_and_its_digest_is_what_is_deployed() {
    let setup = Setup {
        service: "    build: { with: buildx, platforms: [linux/amd64], tags: [\"{sha}\", latest], args: { GREETING: hello } }\n"
            .into(),
        ..Setup::default()
    };
    let Some(yard) = Yard::start(&setup) else { return };
    let first = yard.git(&["rev-parse", "HEAD"]);
    let ran = yard.run("ship").expect(0).says(&["with buildx", "✓ push"]);
    assert!(!ran.stderr.contains("GREETING=hello"), "{ran}");
    let digest = yard.in_registry(&first).unwrap();
    assert_eq!(
        (yard.live()["digest"].as_str(), yard.in_registry("latest").as_ref()),
        (Some(&*digest), Some(&digest))
    );
    // Several platforms need another builder than Docker's own, which is said with what makes one.
    let config = std::fs::read_to_string(yard.path("lockgate.yaml")).unwrap();
    let several = config.replace("[linux/amd64]", "[linux/amd64, linux/arm64]");
    let second = yard.change("lockgate.yaml", &several, "Two platforms");
    yard.run("ship").expect(1).says(&["✗ build", "docker buildx create --use"]);
    assert_eq!((yard.in_registry(&second), yard.live()["commit"].as_str()), (None, Some(&*first)));
}

#[test]
fn depot_gets_what_buildx_gets_with_its_own_token_and_secrets_in_no_argument() {
    let setup = Setup {
        service: "    build: { with: depot, tags: [\"{sha}\"], args: { GREETING: \"${SHOP_GREETING}\" } }\n"
            .into(),
        ..Setup::default()
    };
    let Some(yard) = Yard::start(&setup) else { return };
    let first = yard.git(&["rev-parse", "HEAD"]);
    let bin = yard.path(".lockgate/bin");
    std::fs::create_dir_all(&bin).unwrap();
    std::fs::write(bin.join("depot"), DEPOT).unwrap();
    std::fs::set_permissions(bin.join("depot"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let ship = |with_depot: bool| {
        let mut command = yard.command("ship");
        command.env("SHOP_GREETING", "hunter2-greets").env("RECORD", &bin);
        command.env("DEPOT_TOKEN", "depot-token-hunter2").env("DEPOT_PROJECT_ID", "p1");
        if with_depot {
            command.env("PATH", format!("{}:{}", bin.display(), std::env::var("PATH").unwrap()));
        }
        crate::support::project::run(command)
    };
    ship(false).expect(1).says(&["depot", "is depot installed and on PATH?"]);
    let ran = ship(true).expect(0).says(&["with depot"]);
    assert!(!format!("{ran}").contains("hunter2"), "{ran}");
    let argv = std::fs::read_to_string(bin.join("argv")).unwrap();
    let argv = argv.split_whitespace().collect::<Vec<_>>().join(" ");
    // Who built it is for whoever deploys it elsewhere.
    let by =
        format!("build --progress plain --tag {}:{first} --label lockgate.builder=depot, ", yard.image());
    let then = format!(" --label org.opencontainers.image.revision={first} --build-arg GREETING");
    assert!(argv.starts_with(&by) && argv.contains(&then), "{argv}");
    assert!(argv.contains("--push") && !argv.contains("hunter2"), "{argv}");
    let env = std::fs::read_to_string(bin.join("env")).unwrap();
    assert_eq!(env, "token=set project=p1 arg=hunter2-greets\n");
    assert_eq!(yard.live()["digest"].as_str(), yard.in_registry(&first).as_deref());
}
