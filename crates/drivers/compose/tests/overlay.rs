//! Where the values of a service's variables are on the host: in its containers, and in no file that is written here.

mod support;

use std::path::Path;

use lockgate_compose::{Compose, ComposeCli};
use lockgate_model::{HookMoment, Millis, RunId, Secret, Slot};
use lockgate_ports::{OneOff, OneOffId, Runtime, Variables};
use support::{World, docker, ready, tag};

const CANARY: &str = "c4nary $HOME ${HOME} $$ 'q' \"d\" \\ #\nsecond line";

/// Files below the folder that have the text in them.
fn holding(folder: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                folders.push(entry);
            } else if String::from_utf8_lossy(&std::fs::read(&entry).unwrap()).contains(text) {
                found.push(entry.display().to_string());
            }
        }
    }
    found
}

fn environment_of(world: &World, slot: &str) -> String {
    let id = docker(&["ps", "-q", "--filter", &format!("name={}-{slot}", world.name)]);
    docker(&["inspect", "-f", "{{json .Config.Env}}", &id])
}

#[tokio::test]
async fn a_value_is_in_the_container_as_it_is_and_in_no_file_beside_the_compose_file() {
    for cli in [ComposeCli::Plugin, ComposeCli::Standalone] {
        if !ready(Some(cli)) {
            continue;
        }
        let world = World::new();
        world.publish("v1");
        let mut options = world.options(world.folders());
        options.service.env.insert("TOKEN".into(), Secret::new(CANARY));
        let compose = Compose::new(options).compose_cli(cli);
        let v1 = compose.resolve(&tag("v1")).await.unwrap();
        compose.fetch(&v1).await.unwrap();
        compose.start(Slot::Blue, &v1).await.unwrap();
        let wanted = serde_json::to_string(&format!("TOKEN={CANARY}")).unwrap();
        let seen = environment_of(&world, "blue");
        assert!(seen.contains(&wanted), "{cli:?}: {seen}");
        let own = Variables::from([("TOKEN".to_owned(), Secret::new("c4nary of before"))]);
        compose.start_with(Slot::Green, &v1, &own).await.unwrap();
        assert!(environment_of(&world, "green").contains("\"TOKEN=c4nary of before\""), "{cli:?}");
        // It is the same container: what Compose makes of the files is what it was.
        let before = environment_of(&world, "blue");
        compose.start(Slot::Blue, &v1).await.unwrap();
        assert_eq!(environment_of(&world, "blue"), before);

        let run: RunId = "00000000-0000-0000-0000-000000000012".parse().unwrap();
        let id = OneOffId { run, moment: HookMoment::BeforeSwitch };
        let argv = ["/bin/busybox", "sh", "-c", "echo \"$TOKEN\""].map(str::to_owned);
        let one_offs = compose.one_offs().unwrap();
        one_offs.begin(&OneOff { id, slot: Slot::Blue, release: &v1, argv: &argv }).await.unwrap();
        let mut said = Vec::new();
        one_offs.follow(id, &mut |line: lockgate_ports::Line| said.push(line.text)).await.unwrap();
        assert_eq!(said.join("\n"), CANARY, "{cli:?}");
        one_offs.end(id, Millis::from_secs(1)).await.unwrap();
        compose.beside(Slot::Blue, &v1, &argv, false).await.unwrap();
        assert_eq!(holding(&world.path(""), "c4nary"), [""; 0], "{cli:?}");
        let names = holding(&world.path(""), "LOCKGATE_VALUE_0");
        assert!(names.iter().any(|name| name.contains("/override.")), "{names:?}");
        assert!(!names.iter().any(|name| name.contains("/before_switch.")), "it is removed: {names:?}");
    }
}
