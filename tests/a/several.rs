//! A slot with several containers, by `deploy.replicas` and by `scale`: all are probed, verified, used, drained and counted.

use crate::a::here::Here;
use crate::a::owned::{Owned, Visitor};

const CONTAINERS: usize = 3;

fn running(owned: &Owned, slot: &str) -> Vec<String> {
    let label = format!("label=lockgate.slot={slot}");
    owned.here.docker(&["ps", "-q", "--filter", &label]).lines().map(str::to_owned).collect()
}

#[test]
fn all_of_a_slots_containers_serve_and_one_that_dies_costs_nothing_and_is_told_of() {
    for more in ["    deploy: { replicas: 3 }\n", "    scale: 3\n"] {
        let Some(owned) = Owned::bare(&["web"], more) else { return };
        let here = &owned.here;
        here.run("deploy web v1").expect(0);
        assert_eq!(running(&owned, "blue").len(), CONTAINERS);
        let visitor = Visitor::of(owned.port, "web");
        here.run("deploy web v2").expect(0);
        assert_eq!((running(&owned, "blue").len(), running(&owned, "green").len()), (0, CONTAINERS));
        let seen = visitor.seen();
        assert_eq!(seen.keys().collect::<Vec<_>>(), ["v1", "v2"], "{seen:?}");
        here.run("deploy web v2").expect(0).says(&["nothing to do"]);
        let status = here.run("status web --format json").expect(0).last();
        let replicas = status["hosts"]["local"]["slots"]["green"]["replicas"].as_array().unwrap();
        assert_eq!(replicas.len(), CONTAINERS, "{status:#}");
        let visitor = Visitor::of(owned.port, "web");
        let route = owned.route("web");
        let replicas = route["replicas"].as_array().unwrap();
        assert!(
            replicas.len() == CONTAINERS && replicas.iter().all(|one| one["trusted"] == true),
            "{route:#}"
        );
        let one = running(&owned, "green").swap_remove(0);
        here.docker(&["stop", "-t", "5", &one]);
        let told = here.run("status web").expect(1);
        told.says(&["2 of the 3 containers of what is live run"]);
        here.run("doctor").expect(1).says(&["2 of its 3 containers run"]);
        let seen = visitor.seen();
        assert_eq!(seen.keys().collect::<Vec<_>>(), ["v2"], "the others serve: {seen:?}");
    }
}

/// Caddy dials a name; which of its containers answered, nobody could say.
#[test]
fn a_router_that_cannot_be_asked_about_each_container_is_refused_before_anything_is_changed() {
    let Some(here) = Here::start() else { return };
    let file = format!(
        "services:\n  web:\n    image: {}/web:v1\n    deploy: {{ replicas: 2 }}\n    networks: [edge]\n\
         networks: {{ edge: {{ external: true, name: {} }} }}\n",
        here.registry,
        here.told("project")
    );
    for slot in ["blue", "green"] {
        here.write(&format!("apps/web/{slot}/docker-compose.yml"), &file);
    }
    for command in ["plan web v1", "deploy web v1"] {
        here.run(command).expect(1).says(&[
            "wants 2 containers",
            "caddy cannot be asked",
            "router: { builtin: … }",
        ]);
    }
    assert_eq!(here.docker(&["ps", "-aq"]), "");
    here.run("doctor").expect(1).says(&["wants 2 containers"]);
}
