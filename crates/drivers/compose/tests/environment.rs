//! What a container runs with: read back from it, compared with today's files, and given to it again.

mod support;

use lockgate_compose::{Compose, ComposeCli};
use lockgate_model::{Release, Secret, Slot};
use lockgate_ports::{Runtime, Variables};
use support::{World, docker, ready, tag};

/// A file for each slot that sets variables in every way: from `.env`, from an `env_file`, by itself.
fn write_files(world: &World, dot_env: &str, of_file: &str) {
    for slot in ["blue", "green"] {
        let folder = format!("srv apps/{}/{slot}", world.name);
        let content = format!(
            "services:\n  {0}:\n    image: {1}:${{IMAGE_TAG}}\n    env_file: [app.env]\n    environment:\n      \
             FROM_DOT_ENV: ${{VALUE}}\n      COLOR: {slot}\n      {2}\n",
            world.name,
            world.repository(),
            if dot_env.contains("MORE") { "MORE: x" } else { "LESS: \"1\"" },
        );
        world.write(&format!("{folder}/docker-compose.yml"), &content);
        world.write(&format!("{folder}/.env"), dot_env);
        world.write(&format!("{folder}/app.env"), of_file);
    }
}

fn compose(world: &World, cli: ComposeCli, token: &str) -> Compose {
    let mut options = world.options(world.folders_as_they_are());
    options.service.env.insert("TOKEN".into(), Secret::new(token));
    Compose::new(options).compose_cli(cli)
}

fn shown(variables: &Variables) -> Vec<(&str, &str)> {
    variables.iter().map(|(name, value)| (name.as_str(), value.reveal())).collect()
}

async fn comes_back(cli: ComposeCli) {
    if !ready(Some(cli)) {
        return;
    }
    let world = World::new();
    world.publish_with("v1", &["ENV OF_IMAGE=1", "ENV LANG=C"]);
    write_files(&world, "VALUE=a$$b\n", "FROM_FILE=one\nLANG=C\n");
    let before = compose(&world, cli, "p$1 \"q\"");
    let release: Release = before.resolve(&tag("v1")).await.unwrap();
    before.fetch(&release).await.unwrap();
    before.start(Slot::Blue, &release).await.unwrap();
    let own = before.environment(Slot::Blue).await.unwrap().unwrap();
    let value = own["FROM_DOT_ENV"].reveal().to_owned();
    assert_eq!(
        shown(&own),
        [
            ("COLOR", "blue"),
            ("FROM_DOT_ENV", value.as_str()),
            ("FROM_FILE", "one"),
            ("LESS", "1"),
            ("TOKEN", "p$1 \"q\""),
        ]
    );
    let today = before.todays_environment(Slot::Blue, &release).await.unwrap();
    assert_eq!(shown(&today), shown(&own), "nothing has changed since");

    // The files and the configuration change, and what ran before is started again.
    write_files(&world, "VALUE=c\nMORE=1\n", "FROM_FILE=two\nLANG=C\n");
    let after = compose(&world, cli, "other");
    let today = after.todays_environment(Slot::Blue, &release).await.unwrap();
    assert_eq!((today["FROM_FILE"].reveal(), today["MORE"].reveal()), ("two", "x"));
    after.stop(Slot::Blue, lockgate_model::Millis(0)).await.unwrap();
    after.start(Slot::Green, &release).await.unwrap();
    assert_eq!(after.environment(Slot::Green).await.unwrap().unwrap()["TOKEN"].reveal(), "other");
    after.start_with(Slot::Blue, &release, &own).await.unwrap();
    let again = after.environment(Slot::Blue).await.unwrap().unwrap();
    // `.env` names it too, so Compose gives it that value: see the driver's words on what it cannot take away.
    let mut wanted = own.clone();
    if let Some(more) = again.get("MORE") {
        wanted.insert("MORE".into(), more.clone());
    }
    assert_eq!(shown(&again), shown(&wanted));
    let id = docker(&[
        "ps",
        "-q",
        "--filter",
        &format!("label=lockgate.service={}", world.name),
        "--filter",
        "label=lockgate.slot=blue",
    ]);
    assert!(docker(&["inspect", "-f", "{{.Config.Env}}", &id]).contains("LOCKGATE_SLOT=blue"));
}

#[tokio::test]
async fn a_release_comes_back_with_its_own_environment_with_compose_v2() {
    comes_back(ComposeCli::Plugin).await;
}

#[tokio::test]
async fn a_release_comes_back_with_its_own_environment_with_compose_v1() {
    comes_back(ComposeCli::Standalone).await;
}
