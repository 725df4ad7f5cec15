//! Tags, logins and pulls against a real registry.

mod support;

use std::process::Command;

use lockgate_compose::Compose;
use lockgate_model::{Digest, FailureKind, Release, Slot};
use lockgate_ports::{CheckState, Runtime};
use support::{Registry, World, docker, free_port, ready, skip, tag};

#[tokio::test]
async fn a_missing_tag_names_the_image_and_a_missing_registry_is_unreachable() {
    if !ready(None) {
        return;
    }
    let world = World::new();
    world.publish("v1");
    let compose = world.compose(world.folders());
    let missing = compose.resolve(&tag("v2")).await.unwrap_err();
    assert_eq!(missing.kind, FailureKind::NotFound, "{missing}");
    assert!(
        missing.message.contains(&format!("{}:v2", world.repository())) && !missing.hints().is_empty(),
        "{missing}"
    );

    let mut options = world.options(world.folders());
    options.service.image = Some(format!("127.0.0.1:{}/{}/web", free_port(), world.name));
    let compose = Compose::new(options);
    let unreachable = compose.resolve(&tag("v1")).await.unwrap_err();
    assert_eq!(unreachable.kind, FailureKind::Unreachable, "{unreachable}");
}

#[tokio::test]
async fn a_copy_on_the_host_does_not_stand_in_for_an_unreachable_registry() {
    if !ready(None) {
        return;
    }
    let world = World::new();
    world.publish("v1");
    docker(&["pull", "--quiet", &format!("{}:v1", world.repository())]);
    let compose = world.compose(world.folders());
    assert_eq!(compose.resolve(&tag("v1")).await.unwrap().commit.as_deref(), Some("commit-v1"));
    docker(&["tag", &format!("{}:v1", world.repository()), &format!("127.0.0.1:1/{}/web:v1", world.name)]);
    let mut options = world.options(world.folders());
    options.service.image = Some(format!("127.0.0.1:1/{}/web", world.name));
    let error = Compose::new(options).resolve(&tag("v1")).await.unwrap_err();
    assert_eq!(error.kind, FailureKind::Unreachable, "{error}");
    assert!(error.hints().to_string().contains("only the registry can say"), "{error:?}");
}

#[tokio::test]
async fn an_image_built_on_the_host_is_deployed_by_its_id() {
    if !ready(None) {
        return;
    }
    for parts in ["local", ""] {
        deploys_a_local_build(parts).await;
    }
}

async fn deploys_a_local_build(parts: &str) {
    let world = World::new();
    let repository = format!("{}/{parts}", world.name).trim_end_matches('/').to_owned();
    world.build(&repository, "v1");
    let mut options = world.options(world.folders());
    options.service.image = Some(repository);
    let compose = Compose::new(options);
    let release = compose.resolve(&tag("v1")).await.unwrap();
    assert_eq!(release.commit.as_deref(), Some("commit-v1"));
    compose.fetch(&release).await.unwrap();
    compose.start(Slot::Blue, &release).await.unwrap();
    let seen = compose.slots().await.unwrap();
    assert_eq!(seen[0].release.as_ref(), Some(&release));
    let body = world.body(seen[0].endpoint.as_ref().unwrap(), "/").await;
    assert_eq!(body, format!("{} v1\n", world.name));
}

#[tokio::test]
async fn a_registry_that_wants_a_login_is_unauthorized_until_the_host_has_one() {
    if !ready(None) {
        return;
    }
    let output = Command::new("htpasswd").args(["-Bbn", "ann", "pa:ss"]).output();
    let Ok(users) = output else { return skip("htpasswd") };
    let world = World::with(|dir| {
        let path = dir.join("users");
        std::fs::write(&path, &users.stdout).unwrap();
        Registry::start(dir, Some(&path))
    });
    let empty = world.path("no login");
    let login = world.path("login");
    let reference = world.build(&world.repository(), "v1");
    let mut child = Command::new("docker")
        .arg("--config")
        .arg(&login)
        .args(["login", "-u", "ann", "--password-stdin", &world.registry.address])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"pa:ss").unwrap();
    assert!(child.wait().unwrap().success());
    docker(&["--config", login.to_str().unwrap(), "push", "--quiet", &reference]);
    docker(&["rmi", &reference]);

    let without = world.compose(world.folders()).docker_config(empty.to_str().unwrap());
    let error = without.resolve(&tag("v1")).await.unwrap_err();
    assert_eq!(error.kind, FailureKind::Unauthorized, "{error}");
    assert!(
        error.hints().to_string().contains(&format!("docker login {}", world.registry.address)),
        "{error:?}"
    );

    let config = serde_json::json!({ "credHelpers": { &world.registry.address: "lockgate-no-such-helper" } });
    world.write("helper/config.json", &config.to_string());
    let helped = world.compose(world.folders()).docker_config(world.path("helper").to_str().unwrap());
    let error = helped.resolve(&tag("v1")).await.unwrap_err();
    assert_eq!(error.kind, FailureKind::Unauthorized, "{error}");
    assert!(error.message.contains("docker-credential-lockgate-no-such-helper"), "{error:?}");

    let with = world.compose(world.folders()).docker_config(login.to_str().unwrap());
    let release = with.resolve(&tag("v1")).await.unwrap();
    let refused = without.fetch(&release).await.unwrap_err();
    assert_eq!(refused.kind, FailureKind::Unauthorized, "{refused}");
    with.fetch(&release).await.unwrap();
    let login = async |compose: &Compose| {
        let checks = compose.check().await;
        checks.into_iter().find(|check| check.what == "registry login").unwrap()
    };
    let seen = login(&with).await;
    assert!(seen.state == CheckState::Ok && seen.seen.contains("with the login"), "{seen:?}");
    let seen = login(&without).await;
    assert_eq!(seen.state, CheckState::Bad, "{seen:?}");
    assert!(seen.mend.as_ref().unwrap().contains("docker login"), "{seen:?}");
}

#[tokio::test]
async fn a_pull_that_would_fill_the_disk_or_finds_nothing_is_refused() {
    if !ready(None) {
        return;
    }
    let world = World::new();
    world.publish("v1");
    let mut options = world.options(world.folders());
    options.disk_free_mib = u64::MAX;
    let compose = Compose::new(options);
    let release = compose.resolve(&tag("v1")).await.unwrap();
    let full = compose.fetch(&release).await.unwrap_err();
    assert_eq!(full.kind, FailureKind::DiskFull, "{full}");

    let nowhere = Digest::new(format!("sha256:{}", "0".repeat(64))).unwrap();
    let missing =
        world.compose(world.folders()).fetch(&Release { digest: nowhere, ..release }).await.unwrap_err();
    assert_eq!(missing.kind, FailureKind::NotFound, "{missing}");
}

#[tokio::test]
async fn pruning_spares_what_another_environment_wants_and_what_is_not_ours() {
    if !ready(None) {
        return;
    }
    let world = World::new();
    for name in ["v1", "v2", "v3"] {
        world.publish(name);
    }
    let prod = world.compose(world.folders());
    let mut options = world.options(world.folders());
    options.environment = lockgate_model::EnvironmentName::new("staging").unwrap();
    let staging = Compose::new(options);
    let mut releases = Vec::new();
    for name in ["v1", "v2", "v3"] {
        let release = staging.resolve(&tag(name)).await.unwrap();
        staging.fetch(&release).await.unwrap();
        releases.push(release);
    }
    prod.fetch(&releases[0]).await.unwrap();
    let by_hand = world.build(&world.repository(), "by-hand");

    let removed = staging.prune(&releases[2..]).await.unwrap();
    assert_eq!(removed, [releases[1].reference().unwrap()], "v1 is production's, v3 is kept");
    let here = docker(&["images", "--digests", "--format", "{{.Digest}}", &world.repository()]);
    assert!(
        here.contains(releases[0].digest.as_str()) && here.contains(releases[2].digest.as_str()),
        "{here}"
    );
    docker(&["image", "inspect", &by_hand]);

    let removed = prod.prune(&[]).await.unwrap();
    assert_eq!(removed, [releases[0].reference().unwrap()], "nobody else wants v1 any more");
    assert_eq!(prod.prune(&[]).await.unwrap(), Vec::<String>::new());
}
