//! Behind the built-in proxy, addresses change their owner: an engine deals them anew, and `restart: always` brings old
//! releases back. Nobody ever gets another's page.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::a::here::Here;
use crate::support::{http, processes, wait_for};

/// How soon a container that runs again elsewhere is followed.
const FOLLOWED_MILLIS_MAX: u128 = 1_000;
/// The engine starts containers again one after another, after it answers.
const BACK_SECONDS_MAX: u64 = 20;
/// Between two requests of a visitor.
const PAUSE_MILLIS: u64 = 5;
/// Answers of a proxy that sends a request nowhere.
const NOBODY: &str = "nobody";

/// Two services behind one proxy, on one network, with addresses as the engine deals them.
pub struct Owned {
    pub here: Here,
    pub port: u16,
}

impl Owned {
    /// `None`, said so, where a part is missing. `web` has v1 live and `api` v2.
    pub fn start() -> Option<Owned> {
        let owned = Self::bare(&["web", "api"], "")?;
        owned.here.run("deploy web v1").expect(0);
        owned.here.run("deploy api v2").expect(0);
        Some(owned)
    }

    /// Nothing deployed. `more` are lines of each Compose service, indented by four.
    pub fn bare(services: &[&str], more: &str) -> Option<Owned> {
        let here = Here::start()?;
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let [project, root, registry] = ["project", "root", "registry"].map(|key| here.told(key).to_owned());
        let mut yaml = format!("project: {project}\nservices:\n");
        for service in services {
            yaml += &format!(
                "  {service}: {{ image: \"{registry}/web\", port: 5000, health: {{ path: /health, timeout: 20s }} }}\n"
            );
            for slot in ["blue", "green"] {
                let file = format!(
                    "services:\n  {service}:\n    image: {registry}/web:v1\n    restart: always\n    networks: [edge]\n{more}\
                     networks: {{ edge: {{ external: true, name: {project} }} }}\n"
                );
                here.write(&format!("apps/{service}/{slot}/docker-compose.yml"), &file);
            }
        }
        yaml += &format!(
            "environments:\n  prod:\n    runtime: {{ compose: {{ dir: \"{root}/apps/{{service}}/{{slot}}\", project: \
             \"{project}-{{service}}-{{slot}}\" }} }}\n    router: {{ builtin: {{ listen: \"127.0.0.1:{port}\", hosts: [\
             \"{{service}}.example\"] }} }}\n    drain: 5s\n"
        );
        here.configure(&yaml);
        Some(Owned { here, port })
    }

    /// Who answers a request for a service: a release, or nobody.
    pub fn answers(&self, service: &str) -> String {
        answers(self.port, service)
    }

    fn admin(&self, path: &str) -> serde_json::Value {
        let socket = self.here.folder().join(".lockgate/proxy/admin.sock");
        http::unix(&socket).unwrap().send("GET", path, &[], b"").unwrap().json()
    }

    /// A service's route as its proxy has it.
    pub fn route(&self, service: &str) -> serde_json::Value {
        self.admin(&format!("/v1/routes/{}-prod-{service}", self.here.told("project")))
    }

    fn container(&self, service: &str) -> String {
        let label = format!("label=lockgate.service={service}");
        self.here.docker(&["ps", "-aq", "--no-trunc", "--filter", &label])
    }

    fn address(&self, container: &str) -> String {
        let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
        self.here.docker(&["inspect", "-f", format, container])
    }

    #[track_caller]
    fn expect_followed(&self, service: &str, release: &str) {
        let begun = Instant::now();
        while self.answers(service) != release {
            assert!(
                begun.elapsed().as_millis() < FOLLOWED_MILLIS_MAX,
                "{service}: {}",
                self.answers(service)
            );
            std::thread::sleep(Duration::from_millis(PAUSE_MILLIS));
        }
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        processes::end_all(self.here.folder());
    }
}

fn answers(port: u16, service: &str) -> String {
    let host = format!("{service}.example");
    let asked = http::tcp(port)
        .and_then(|mut client| client.send("GET", "/", &[("host", &host), ("connection", "close")], b""));
    match asked {
        Ok(answer) if answer.status == 200 => answer.release().to_owned(),
        Ok(answer) => {
            // Never the error of an app, and never anything but 503 of a proxy that knows nobody.
            assert_eq!(answer.header("x-release"), None, "{}", answer.text());
            NOBODY.to_owned()
        }
        Err(_) => NOBODY.to_owned(),
    }
}

/// Asks a service all the time and notes who answered.
pub struct Visitor {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<BTreeMap<String, u64>>,
}

impl Visitor {
    pub fn of(port: u16, service: &'static str) -> Visitor {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut seen = BTreeMap::new();
            while !stopped.load(Ordering::Relaxed) {
                *seen.entry(answers(port, service)).or_default() += 1;
                std::thread::sleep(Duration::from_millis(PAUSE_MILLIS));
            }
            seen
        });
        Visitor { stop, thread }
    }

    pub fn seen(self) -> BTreeMap<String, u64> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }

    /// Only this release has answered, or nobody.
    #[track_caller]
    fn expect_only(self, release: &str) {
        let seen = self.seen();
        assert!(
            seen.contains_key(release) && seen.keys().all(|who| who == release || who == NOBODY),
            "{seen:?}"
        );
    }
}

#[test]
fn containers_that_change_places_are_followed_within_a_second_and_nobody_gets_anothers_page() {
    let Some(owned) = Owned::start() else { return };
    let here = &owned.here;
    let (web, api) = (owned.container("web"), owned.container("api"));
    let (was_web, was_api) = (owned.address(&web), owned.address(&api));
    let visitors = [Visitor::of(owned.port, "web"), Visitor::of(owned.port, "api")];
    here.docker(&["stop", "-t", "5", &web, &api]);
    wait_for("nobody to answer for them", 5, || {
        (owned.answers("web") == NOBODY && owned.answers("api") == NOBODY).then_some(())
    });
    here.run("status web").expect(1);
    here.docker(&["start", &api]);
    owned.expect_followed("api", "v2");
    assert_eq!(owned.answers("web"), NOBODY, "its old address is another's");
    here.docker(&["start", &web]);
    owned.expect_followed("web", "v1");
    assert_eq!((owned.address(&web), owned.address(&api)), (was_api, was_web), "the engine dealt them anew");
    let [web_seen, api_seen] = visitors;
    web_seen.expect_only("v1");
    api_seen.expect_only("v2");
    here.run("status").expect(0);
    here.run("doctor").expect(0);
    // One that somebody makes anew by hand is another container, of the same Compose service in the same folder.
    here.docker(&["rm", "-f", &web]);
    let name = format!("{}-web-blue", here.told("project"));
    let file = format!("{}/apps/web/blue/docker-compose.yml", here.told("root"));
    here.docker(&["compose", "-p", &name, "-f", &file, "up", "-d", "--quiet-pull"]);
    owned.expect_followed("web", "v1");
    here.run("deploy web v2").expect(0);
    owned.expect_followed("web", "v2");
}

#[test]
fn an_engine_that_restarts_leads_nobody_astray_and_brings_no_old_release_to_users() {
    let Some(owned) = Owned::start() else { return };
    let here = &owned.here;
    here.engine_down();
    here.engine_up_without_live_restore();
    here.run("deploy web v2").expect(0);
    let visitors = [Visitor::of(owned.port, "web"), Visitor::of(owned.port, "api")];
    here.engine_down();
    wait_for("nobody to answer for them", 5, || (owned.answers("web") == NOBODY).then_some(()));
    here.engine_up_without_live_restore();
    wait_for("both to be back", BACK_SECONDS_MAX, || {
        (owned.answers("web") == "v2" && owned.answers("api") == "v2").then_some(())
    });
    // `restart: always` has brought the old release back beside them.
    let running = here.docker(&["ps", "-q", "--filter", "label=lockgate.service=web"]);
    assert_eq!(running.lines().count(), 2, "{running}");
    // A proxy that was started meanwhile does not trust what it stored either.
    let pid = owned.admin("/v1/status")["pid"].as_i64().unwrap();
    processes::send(i32::try_from(pid).unwrap(), rustix::process::Signal::KILL);
    here.run("resume web").expect(0);
    owned.expect_followed("web", "v2");
    owned.expect_followed("api", "v2");
    let [web_seen, api_seen] = visitors;
    web_seen.expect_only("v2");
    api_seen.expect_only("v2");
    here.run("status").expect(0);
}

/// With live-restore an engine that is away takes nothing from anybody.
#[test]
fn while_the_engine_is_down_its_containers_are_trusted_as_long_as_they_live() {
    let Some(owned) = Owned::start() else { return };
    let here = &owned.here;
    let visitor = Visitor::of(owned.port, "web");
    here.engine_down();
    assert_eq!(owned.answers("web"), "v1");
    here.engine_up();
    assert_eq!(owned.answers("web"), "v1");
    let seen = visitor.seen();
    assert_eq!(seen.keys().collect::<Vec<_>>(), ["v1"], "{seen:?}");
}
