//! The switch that is a file, against the newest Caddy.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use async_trait::async_trait;
use lockgate_caddy::{CaddyOptions, EitherSwitch, FileOptions};
use lockgate_model::{CaddySwitch, FailureKind, Slot, Split};
use lockgate_ports::conformance::router::{HeldRequest, RouterFixture, suite};
use lockgate_ports::{Check, CheckState, Request, Router, Upstream};

use crate::hooked::Hooked;
use crate::support::{MOMENT, NEW, OLD, Program, SITE, Setup, World, caddy_is_there, new_caddy_is_there};

/// `nobody` of every Linux.
const NOBODY: u32 = 65534;

/// A Caddy whose configuration goes by a file, and the driver that is to find that out.
pub struct FileWorld {
    pub world: World,
    pub either: EitherSwitch,
    /// `active_color` is in it, and nothing else.
    pub dir: tempfile::TempDir,
}

/// How a [`FileWorld`] differs from the usual one.
#[derive(Default)]
pub struct Kind {
    switch: Option<CaddySwitch>,
    /// No admin API: the Caddyfile is adapted.
    silent: bool,
    /// Nor is its file known to anybody; where it serves is.
    hidden: bool,
    /// Nobody says which file is Caddy's.
    guessed: bool,
    /// Its file is JSON.
    json: bool,
    /// The newest where it is absent.
    program: Option<Program>,
}

impl FileWorld {
    /// `site`: what stands in the site's block; `FILE`, `BLUE` and `GREEN` are filled in.
    pub async fn new(kind: Kind, site: &str) -> FileWorld {
        let setup = Setup::new().await;
        let slots = setup.apps.each_ref().map(|app| app.address);
        Self::of(setup, kind, site, slots).await
    }

    /// With other apps in blue and green.
    pub async fn with_slots(kind: Kind, site: &str, slots: [SocketAddr; 2]) -> FileWorld {
        Self::of(Setup::new().await, kind, site, slots).await
    }

    async fn of(setup: Setup, kind: Kind, site: &str, slots: [SocketAddr; 2]) -> FileWorld {
        let [blue, green] = slots.map(|slot| slot.to_string());
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
        let file = dir.path().join("active_color").to_str().unwrap().to_owned();
        let site = site.replace("FILE", &file).replace("BLUE", &blue).replace("GREEN", &green);
        let mut config = setup.caddyfile(&site);
        if kind.silent {
            config = config.replacen(&format!("admin {}", setup.admin), "admin off", 1);
        }
        let program = kind.program.unwrap_or(NEW);
        let site_url = kind.hidden.then(|| format!("http://{}", setup.site));
        let caddy = CaddyOptions {
            ask: site_url,
            host: Arc::new(Hooked::with_programs(std::path::Path::new(program.path).parent().unwrap())),
            dial: [(Slot::Blue, blue), (Slot::Green, green)].into(),
            ..setup.options()
        };
        let world = setup.run_program(program, &config, "caddyfile", caddy.clone()).await;
        let mut path = world.process.dir.path().join("config").to_str().unwrap().to_owned();
        if kind.json {
            path.push_str(".json");
            std::fs::write(&path, adapted(program.path, world.process.dir.path())).unwrap();
        }
        if kind.hidden {
            path.push_str(".elsewhere");
        }
        let options = FileOptions {
            switch: kind.switch,
            seen_as: file.clone(),
            active_color: file,
            config: (!kind.guessed).then_some(path),
        };
        let either = EitherSwitch::new(caddy, options).unwrap();
        FileWorld { world, either, dir }
    }

    fn file(&self) -> std::path::PathBuf {
        self.dir.path().join("active_color")
    }

    pub async fn switch(&self, slot: Slot) -> Result<(), lockgate_ports::PortError> {
        let version = self.either.route().await?.version;
        self.either.set(&Split::all_to(self.upstream(slot)), &version).await
    }

    async fn answer(&self, path: &str) -> String {
        let seen = self.either.ask(&Request::get(path, MOMENT).header("host", SITE)).await.unwrap();
        assert_eq!(seen.answer.status, 200, "{}", seen.answer.text());
        seen.answer.text()
    }

    async fn check(&self, what: &str) -> Check {
        let checks = self.either.check().await;
        let found = checks.iter().find(|check| check.what == what).cloned();
        found.unwrap_or_else(|| panic!("nothing is said of {what}: {checks:?}"))
    }
}

#[async_trait]
impl RouterFixture for FileWorld {
    fn router(&self) -> &dyn Router {
        &self.either
    }

    fn upstream(&self, slot: Slot) -> Upstream {
        self.world.upstream(slot)
    }

    async fn hold_request(&self) -> Box<dyn HeldRequest> {
        self.world.hold_request().await
    }
}

pub const HANDLES: &str = "@green vars {file.FILE} green\nhandle @green {\n reverse_proxy GREEN\n}\nhandle {\n reverse_proxy BLUE\n}\n";

/// The configuration that Caddy runs, whatever the switches did.
async fn unchanged(world: &FileWorld, before: &serde_json::Value) {
    assert_eq!(world.world.process.config().await, *before, "Caddy's configuration is never changed");
}

#[tokio::test]
async fn the_suite_passes_by_a_file_that_caddys_configuration_goes_by() {
    if !new_caddy_is_there() {
        return;
    }
    let world = FileWorld::new(Kind::default(), HANDLES).await;
    assert!(world.either.goes_by_active_color().await.unwrap(), "it is found without being configured");
    let before = world.world.process.config().await;
    suite(&world).await;
    unchanged(&world, &before).await;
    assert!(!world.file().exists(), "withdrawing puts back that there was no file");
}

#[tokio::test]
async fn the_suite_passes_by_a_file_with_matchers_on_the_proxies_themselves() {
    if !new_caddy_is_there() {
        return;
    }
    let site = "@green vars {file.FILE} green\n@blue not vars {file.FILE} green\nreverse_proxy @green GREEN\nreverse_proxy @blue BLUE\n";
    let kind = Kind { switch: Some(CaddySwitch::File), ..Kind::default() };
    suite(&FileWorld::new(kind, site).await).await;
}

/// Caddy keeps no idle connection to a slot there, so those that are open are the requests in flight.
#[tokio::test]
async fn the_suite_passes_by_a_file_without_an_admin_api() {
    if !new_caddy_is_there() {
        return;
    }
    let without =
        |dial: &str| format!("reverse_proxy {dial} {{\n transport http {{\n keepalive off\n }}\n }}");
    let site = HANDLES
        .replace("reverse_proxy GREEN", &without("GREEN"))
        .replace("reverse_proxy BLUE", &without("BLUE"));
    let world = FileWorld::new(Kind { silent: true, ..Kind::default() }, &site).await;
    let remarks = world.either.remarks().await.join("\n");
    assert!(remarks.contains("until Caddy holds no connection to it"), "{remarks}");
    suite(&world).await;
}

/// The Caddyfile of Debian's package is no word about a Caddy that was started with another one and is away for a moment.
#[tokio::test]
async fn a_caddy_that_is_away_for_a_moment_is_judged_by_what_it_says_when_it_is_back() {
    if !new_caddy_is_there() {
        return;
    }
    for switch in [None, Some(CaddySwitch::File)] {
        for asked_before in [true, false] {
            let mut world = FileWorld::new(Kind { switch, guessed: true, ..Kind::default() }, HANDLES).await;
            if asked_before {
                world.switch(Slot::Green).await.unwrap();
            }
            world.world.process.stop();
            for _ in 0..2 {
                let error = world.either.route().await.unwrap_err();
                assert_eq!(error.kind, FailureKind::Unreachable, "{switch:?} {asked_before}: {error}");
            }
            world.world.process.restart(&[]).await;
            world.switch(Slot::Blue).await.unwrap();
            assert_eq!(world.answer("/slot").await, "blue", "{switch:?} {asked_before}");
        }
    }
}

/// Neither Caddy nor its file says how it is set up: asking through it is what proves a switch.
#[tokio::test]
async fn a_caddy_of_which_nothing_can_be_read_is_switched_where_that_is_configured() {
    if !new_caddy_is_there() {
        return;
    }
    let kind = || Kind { silent: true, hidden: true, ..Kind::default() };
    let unsure = FileWorld::new(kind(), HANDLES).await;
    let error = unsure.either.route().await.unwrap_err();
    assert_eq!(error.kind, FailureKind::Unreachable, "nobody said that it is a file: {error}");
    assert!(unsure.either.goes_by_active_color().await.is_err(), "and nobody may write it");
    let mut world = FileWorld::new(Kind { switch: Some(CaddySwitch::File), ..kind() }, HANDLES).await;
    for slot in [Slot::Green, Slot::Blue] {
        world.switch(slot).await.unwrap();
        assert_eq!(world.answer("/slot").await, slot.as_str());
    }
    let check = world.check("Caddy's switch").await;
    assert_eq!(check.state, CheckState::Warn, "{check:?}");
    assert!(check.seen.contains("cannot be seen") && check.mend.unwrap().contains("router.caddy.config"));
    world.world.process.stop();
    let error = world.either.route().await.unwrap_err();
    assert_eq!(error.kind, FailureKind::Unreachable, "{error}");
}

#[tokio::test]
async fn a_json_file_is_read_where_there_is_no_admin_api() {
    if !new_caddy_is_there() {
        return;
    }
    let world = FileWorld::new(Kind { silent: true, json: true, ..Kind::default() }, HANDLES).await;
    world.switch(Slot::Green).await.unwrap();
    assert_eq!(world.answer("/slot").await, "green");
    let check = world.check("Caddy's switch").await;
    assert!(check.seen.contains("1 route in ") && check.seen.contains("config.json goes by it"), "{check:?}");
}

#[tokio::test]
async fn several_routes_of_one_service_are_switched_together() {
    if !new_caddy_is_there() {
        return;
    }
    let site = "@green vars {file.FILE} green\nhandle_path /api/* {\n reverse_proxy @green GREEN\n reverse_proxy BLUE\n}\nhandle @green {\n reverse_proxy GREEN\n}\nhandle {\n reverse_proxy BLUE\n}\n";
    let world = FileWorld::new(Kind::default(), site).await;
    for slot in [Slot::Green, Slot::Blue, Slot::Green] {
        world.switch(slot).await.unwrap();
        for path in ["/slot", "/api/slot"] {
            assert_eq!(world.answer(path).await, slot.as_str(), "{path}");
        }
    }
    let check = world.check("Caddy's switch").await;
    assert!(check.seen.contains("2 routes of Caddy's"), "{check:?}");
}

#[tokio::test]
async fn a_missing_file_means_blue_and_its_habit_about_the_line_end_is_kept() {
    if !new_caddy_is_there() {
        return;
    }
    let world = FileWorld::new(Kind::default(), HANDLES).await;
    let route = world.either.route().await.unwrap();
    assert_eq!(route.only(), Some(Slot::Blue));
    assert_eq!(world.answer("/slot").await, "blue");
    world.switch(Slot::Green).await.unwrap();
    assert_eq!(std::fs::read(world.file()).unwrap(), b"green\n");
    std::fs::write(world.file(), "blue").unwrap();
    world.switch(Slot::Green).await.unwrap();
    assert_eq!(std::fs::read(world.file()).unwrap(), b"green", "there was no line end before");
    // As an editor of another system leaves it.
    std::fs::write(world.file(), "green\r\n").unwrap();
    assert_eq!(world.either.route().await.unwrap().only(), Some(Slot::Green));
    assert_eq!(world.answer("/slot").await, "green");
    std::fs::write(world.file(), " green").unwrap();
    assert_eq!(world.either.route().await.unwrap().only(), Some(Slot::Blue));
    assert_eq!(world.answer("/slot").await, "blue");
}

#[tokio::test]
async fn a_restart_and_a_reload_of_caddy_leave_the_traffic_where_it_is() {
    if !new_caddy_is_there() {
        return;
    }
    let mut world = FileWorld::new(Kind::default(), HANDLES).await;
    world.switch(Slot::Green).await.unwrap();
    world.world.process.reload().await;
    assert_eq!(world.answer("/slot").await, "green");
    world.world.process.restart(&[]).await;
    assert_eq!(world.answer("/slot").await, "green");
    world.world.process.stop();
    let error = world.either.route().await.unwrap_err();
    assert_eq!(error.kind, FailureKind::Unreachable, "a file says nothing of a Caddy that is gone: {error}");
}

/// It stands where Caddy's user may not look: it goes to blue, and nobody is told by the file.
#[tokio::test]
async fn a_file_that_caddy_cannot_read_is_found_by_asking_and_by_its_rights() {
    if !new_caddy_is_there() || !is_root() {
        return;
    }
    let world = FileWorld::new(Kind::default(), HANDLES).await;
    world.switch(Slot::Green).await.unwrap();
    let well = world.check("the switch as Caddy reads it").await;
    assert_eq!(well.state, CheckState::Ok, "{well:?}");
    world.either.in_force(Slot::Green).await.unwrap();
    let nobody = || Kind { program: Some(Program { user: Some(NOBODY), ..NEW }), ..Kind::default() };
    let world = FileWorld::new(nobody(), HANDLES).await;
    world.switch(Slot::Green).await.unwrap();
    assert_eq!(world.answer("/slot").await, "blue", "what is wrong here");
    let found = world.check("the switch as Caddy reads it").await;
    assert_eq!(found.state, CheckState::Bad, "{found:?}");
    assert!(found.seen.contains("(user 65534) cannot read"), "{found:?}");
    assert!(found.mend.unwrap().contains("chmod o+x"));
    let refused = world.either.in_force(Slot::Green).await.unwrap_err();
    assert!(
        refused.message.contains("cannot read") && refused.hints().to_string().contains("verify"),
        "{refused}"
    );

    // With the slot named in the answers it is the asking that finds it.
    let named = HANDLES
        .replace("reverse_proxy GREEN", "reverse_proxy GREEN {\n header_down X-Lockgate-Slot green\n }")
        .replace("reverse_proxy BLUE", "reverse_proxy BLUE {\n header_down X-Lockgate-Slot blue\n }");
    let world = FileWorld::new(nobody(), &named).await;
    world.switch(Slot::Green).await.unwrap();
    let answer = world.either.ask(&Request::get("/slot", MOMENT)).await.unwrap();
    assert_eq!(answer.slot, Some(Slot::Blue));
    let found = world.check("the switch as Caddy reads it").await;
    assert_eq!(found.state, CheckState::Bad, "{found:?}");
    assert!(found.seen.contains("the file leads to green, and blue answers through Caddy"), "{found:?}");
}

#[tokio::test]
async fn a_caddy_without_file_placeholders_is_refused_with_the_way_out() {
    if !caddy_is_there() {
        return;
    }
    let world = FileWorld::new(Kind { program: Some(OLD), ..Kind::default() }, HANDLES).await;
    let refused = world.either.route().await.unwrap_err();
    assert_eq!(refused.kind, FailureKind::Refused);
    assert!(refused.message.contains("Caddy 2.6.2 has no `{file.…}`"), "{refused}");
    let hint = refused.hints().to_string();
    assert!(hint.contains("2.8 or later") && hint.contains("switch: admin"), "{hint}");
    let check = world.check("Caddy's version").await;
    assert_eq!(check.state, CheckState::Bad, "{check:?}");
}

#[tokio::test]
async fn where_no_route_goes_by_the_file_it_is_refused_or_recommended_with_what_to_paste() {
    if !new_caddy_is_there() {
        return;
    }
    let kind = Kind { switch: Some(CaddySwitch::File), ..Kind::default() };
    let world = FileWorld::new(kind, "reverse_proxy BLUE").await;
    let refused = world.either.route().await.unwrap_err();
    assert_eq!(refused.kind, FailureKind::Refused);
    let file = world.file().to_str().unwrap().to_owned();
    assert!(refused.hints().to_string().contains(&format!("@green vars {{file.{file}}} green")), "{refused}");

    let world = FileWorld::new(Kind::default(), "reverse_proxy BLUE").await;
    assert!(!world.either.goes_by_active_color().await.unwrap());
    let check = world.check("what a switch costs").await;
    assert_eq!(check.state, CheckState::Warn);
    assert!(check.seen.contains("kept connections") && check.seen.contains("WebSockets"), "{check:?}");
    // What is recommended works as it stands.
    let mend = check.mend.unwrap();
    let (_, pasted) = mend.split_once("in the Caddyfile:\n").unwrap();
    let (caddyfile, json) = pasted.split_once("\nor as routes of its JSON:\n").unwrap();
    let json = json.split_once("\n(a Caddy").unwrap().0;
    let other = FileWorld::new(Kind::default(), &recommended(caddyfile, &world)).await;
    suite(&other).await;
    assert_eq!(other.either.ask(&Request::get("/slot", MOMENT)).await.unwrap().slot, Some(Slot::Blue));
    let routes: serde_json::Value = serde_json::from_str(&format!("[{json}]")).unwrap();
    assert_eq!(routes.as_array().map(Vec::len), Some(2));
    let put = "/config/apps/http/servers/srv0/routes";
    let seen = other.world.process.admin("PATCH", put, &recommended_json(&routes, &world, &other)).await;
    assert_eq!(seen.status, 200, "{}", seen.text());
    suite(&other).await;
}

/// With another world's file and slots.
fn recommended(text: &str, of: &FileWorld) -> String {
    text.replace(of.file().to_str().unwrap(), "FILE")
        .replace(&of.world.app(Slot::Blue).address.to_string(), "BLUE")
        .replace(&of.world.app(Slot::Green).address.to_string(), "GREEN")
}

fn recommended_json(routes: &serde_json::Value, of: &FileWorld, other: &FileWorld) -> serde_json::Value {
    let text = recommended(&routes.to_string(), of)
        .replace("FILE", other.file().to_str().unwrap())
        .replace("BLUE", &other.world.app(Slot::Blue).address.to_string())
        .replace("GREEN", &other.world.app(Slot::Green).address.to_string());
    serde_json::from_str(&text).unwrap()
}

#[tokio::test]
async fn a_route_that_does_not_follow_the_file_is_refused_before_anything_is_switched() {
    if !new_caddy_is_there() {
        return;
    }
    let site = HANDLES.replacen("handle {", "handle /api/* {\n reverse_proxy BLUE\n}\nhandle {", 1);
    let world = FileWorld::new(Kind::default(), &site).await;
    let refused = world.either.route().await.unwrap_err();
    assert_eq!(refused.kind, FailureKind::Refused);
    assert!(refused.message.contains("whatever the file says"), "{refused}");
    assert!(world.switch(Slot::Green).await.is_err());
    assert!(!world.file().exists(), "nothing was switched");
}

/// What `caddy adapt` makes of the Caddyfile in the folder.
fn adapted(caddy: &str, dir: &std::path::Path) -> Vec<u8> {
    let mut adapt = std::process::Command::new(caddy);
    let output = adapt.args(["adapt", "--adapter", "caddyfile", "--config"]).arg(dir.join("config")).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn is_root() -> bool {
    // As the kernel says it of this process.
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let root =
        status.lines().any(|line| line.starts_with("Uid:") && line.split_whitespace().nth(1) == Some("0"));
    if !root {
        assert!(std::env::var("LOCKGATE_TEST_REQUIRE_ALL").is_err(), "this wants root");
        eprintln!("skipped: only root can start a Caddy as somebody else");
    }
    root
}
