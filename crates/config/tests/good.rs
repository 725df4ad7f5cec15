//! What a file means: defaults, variables, and every key of the format.

mod common;

use common::{FULL, FULL_ENV, good, parse_with, with};
use lockgate_model::{
    CaddySwitch, ComposeLayout, Cron, DockerHealth, Gate, GateKind, GateTarget, Health, HostId, Millis,
    NginxSwitch, NotifyAbout, NotifyTo, Pick, Project, RegistryHost, Router, Runtime, Sampling, Schedule,
    ServiceName, Slot, SmtpSecurity, StatusRange, Strategy, Template, Timestamp, Wave, Zone,
};

/// The sketch for system A in the design, without `schedule`.
const SKETCH: &str = r#"
project: lockn
services:
  lockn-logger:
    image: ghcr.io/lockn-ai/lockn-logger
    port: 5000
    health: { path: /health, timeout: 60s }
    critical_paths: [/, /metrics]
environments:
  test: { url: https://test.lockn.ai }               # only checked, never deployed to
  prod:
    url: https://lockn.ai
    hosts: ["${DEPLOY_HOST}"]                        # ssh destination; absent: this machine
    strategy: blue-green
    runtime: { compose: { dir: "/srv/apps/{service}/{slot}" } }
    router: { caddy: { admin: "http://127.0.0.1:2019", id: "{service}_upstream", dial: "{service}-{slot}:5000" } }
    before: [ { http: { in: test } } ]               # regression
    after: [ { http: { latency_p95: 500ms } } ]      # smoke
notify:
  - slack: { webhook: "${SLACK_WEBHOOK_URL}" }
"#;

fn environment<'a>(project: &'a Project, name: &str) -> &'a lockgate_model::Environment {
    project.environments.iter().find(|environment| environment.name.as_str() == name).unwrap()
}

fn slots<'a>(project: &'a Project, name: &str) -> &'a lockgate_model::SlotDelivery {
    environment(project, name).slots().expect("it is deployed to")
}

#[test]
fn the_sketch_of_the_design_is_what_it_says() {
    let project = parse_with(SKETCH, &FULL_ENV).unwrap();
    let names: Vec<&str> = project.environments.iter().map(|environment| environment.name.as_str()).collect();
    assert_eq!(names, ["test", "prod"], "the order of the file");
    assert!(environment(&project, "test").hosts().is_empty(), "only checked");
    let prod = environment(&project, "prod");
    assert_eq!(prod.hosts(), [HostId::new("ops@app1").unwrap()]);
    let GateKind::Http(before) = &prod.before[0].kind else { panic!() };
    assert!(matches!(&before.target, GateTarget::Environment(name) if name.as_str() == "test"));
    let few = Sampling::Count { samples: 5, interval: Millis(200) };
    assert_eq!((before.sampling, before.timeout), (few, Millis(5000)));
    let GateKind::Http(after) = &prod.after[0].kind else { panic!() };
    assert_eq!((after.target.clone(), after.latency_p95), (GateTarget::Here, Some(Millis(500))));
    assert_eq!(prod.before[0].name, "http in test");
    assert_eq!(project.notify.len(), 1);
}

fn sketch_with(schedule: &str) -> String {
    SKETCH.replace("    after:", &format!("    schedule: {schedule}\n    after:"))
}

#[test]
fn the_schedule_of_the_sketch_is_each_day_at_five_where_it_runs() {
    let text = sketch_with("{ cron: \"0 5 * * *\", deploy: latest-semver }");
    let project = parse_with(&text, &FULL_ENV).unwrap();
    let schedules = &environment(&project, "prod").schedules;
    assert_eq!(schedules.keys().map(|name| name.as_str()).collect::<Vec<_>>(), ["lockn-logger"]);
    let wanted = Schedule {
        cron: Cron::new("0 5 * * *").unwrap(),
        zone: None,
        deploy: Pick::LatestSemver,
        pre_releases: false,
        catch_up: Millis::from_secs(3600),
    };
    assert_eq!(schedules.values().next(), Some(&wanted));
    assert!(environment(&project, "test").schedules.is_empty());
}

#[test]
fn a_service_changes_its_schedule_and_is_left_out_of_one_that_names_others() {
    let service = |text: &str| SKETCH.replace("environments:", &format!("{text}\nenvironments:"));
    let more = service(
        "    schedule: { cron: \"@hourly\", pre_releases: true }\n  api: { image: ghcr.io/lockn-ai/api, port: 80 }",
    );
    let with = |schedule: &str| {
        let text = more.replace("    after:", &format!("    schedule: {schedule}\n    after:"));
        let project = parse_with(&text, &FULL_ENV).unwrap_or_else(|error| panic!("{}", error.plain()));
        let of = |(name, schedule): (&lockgate_model::ServiceName, &Schedule)| {
            let zone = schedule.zone.as_ref().map_or("here", |zone| zone.name());
            format!("{name}: {} {zone} {} {}", schedule.cron, schedule.pre_releases, schedule.catch_up)
        };
        environment(&project, "prod").schedules.iter().map(of).collect::<Vec<_>>()
    };
    assert_eq!(
        with("{ cron: \"0  5 * * *\", deploy: latest-semver, time_zone: europe/berlin, catch_up: 90s }"),
        ["api: 0 5 * * * Europe/Berlin false 1m30s", "lockn-logger: @hourly Europe/Berlin true 1m30s"]
    );
    assert_eq!(
        with("{ cron: \"0 5 * * *\", deploy: latest-semver, services: [api] }"),
        ["api: 0 5 * * * here false 1h0m"]
    );
}

/// Summer begins by the rules of the zone, whether this machine has any time zones or not.
#[test]
fn a_time_zone_has_its_rules() {
    let text = sketch_with("{ cron: \"0 5 * * *\", deploy: latest-semver, time_zone: Europe/Berlin }");
    let project = parse_with(&text, &FULL_ENV).unwrap();
    let schedule = environment(&project, "prod").schedules.values().next().unwrap();
    let zone = schedule.zone.as_ref().unwrap();
    // 2026-03-28T12:00:00Z
    let mut at = Timestamp(1_774_699_200_000);
    let mut ticks = Vec::new();
    for _ in 0..2 {
        at = schedule.next_after(&Zone::utc(), at).unwrap();
        ticks.push(zone.rfc3339(at));
    }
    assert_eq!(ticks, ["2026-03-29T05:00:00+02:00", "2026-03-30T05:00:00+02:00"]);
    assert_eq!(zone.rfc3339(Timestamp(1_774_699_200_000)), "2026-03-28T13:00:00+01:00");
}

#[test]
fn every_key_arrives_in_the_model() {
    let project = parse_with(FULL, &FULL_ENV).unwrap_or_else(|error| panic!("{}", error.plain()));
    let service = project.services.values().next().unwrap();
    let argv: Vec<&str> = service.command.iter().map(|word| word.as_str()).collect();
    assert_eq!(argv, ["./server", "--flag", "{tag}", "s3 cr;et"], "a variable stays one argument");
    assert_eq!(service.env["KEY"].reveal(), "s3 cr;et");
    assert_eq!(service.health.http().unwrap().status, StatusRange { from: 200, to: 399 });
    assert_eq!(
        (service.health.http().unwrap().timeout, service.health.http().unwrap().passes),
        (Millis(90_000), 3)
    );
    let sent: Vec<_> = service.health.http().unwrap().headers.iter().collect();
    assert_eq!(format!("{sent:?}"), r#"[("host", "a.lockn.ai"), ("x-probe", "1")]"#);
    assert_eq!(service.urls.len(), 2);
    let verify = service.verify.as_ref().unwrap();
    assert_eq!(verify.header.as_ref().unwrap().0, "X-Release");

    let prod = environment(&project, "prod");
    assert_eq!(prod.from.as_ref().unwrap().as_str(), "test");
    assert_eq!(
        slots(&project, "prod").waves,
        [Wave::Hosts(1), Wave::Percent(25), Wave::Rest],
        "a final rest is implied"
    );
    assert_eq!(
        (
            slots(&project, "prod").drain,
            slots(&project, "prod").keep_warm,
            slots(&project, "prod").stop_grace
        ),
        (Millis(60_000), Millis(600_000), Some(Millis(20_000)))
    );
    assert_eq!((slots(&project, "prod").keep_releases, slots(&project, "prod").disk_free_mib), (3, 1024));
    let schedule = prod.schedules.values().next().unwrap();
    let zone = schedule.zone.as_ref().unwrap().name();
    assert_eq!((schedule.cron.as_str(), zone, schedule.pre_releases), ("30 4 * * mon-fri", "UTC", true));
    assert_eq!(schedule.catch_up, Millis(7_200_000));
    assert_eq!(prod.after[0].name, "smoke");
    let GateKind::Command(command) = &prod.after[1].kind else { panic!() };
    assert_eq!(
        command.argv.iter().map(|word| word.as_str()).collect::<Vec<_>>(),
        ["pytest", "-q", "tests/smoke all"]
    );
    assert_eq!(
        (command.timeout, &command.pass[..], &command.not_yet[..]),
        (Millis(300_000), &[0][..], &[75, 5][..])
    );
    let Router::Caddy(caddy) = &slots(&project, "prod").router else { panic!() };
    assert_eq!(caddy.snippet.as_ref().unwrap().as_str(), "/etc/caddy/{service}.caddy");

    let Runtime::Compose(compose) = &slots(&project, "edge").runtime else { panic!() };
    assert!(
        matches!(&compose.layout, ComposeLayout::File(file) if file.as_str() == "/srv/edge/compose.yaml")
    );
    let Router::Builtin(builtin) = &slots(&project, "edge").router else { panic!() };
    assert_eq!((builtin.hosts.len(), builtin.path.as_deref()), (2, Some("/api")));

    assert!(
        matches!(&project.notify[0].to, NotifyTo::Slack { channel: None, .. }),
        "an empty channel is none"
    );
    let NotifyTo::Webhook { headers, .. } = &project.notify[1].to else { panic!() };
    assert_eq!(headers["Authorization"].reveal(), "Bearer s3 cr;et");
    let login = &project.registries[&RegistryHost::new("ghcr.io").unwrap()];
    assert_eq!((login.user.as_str(), login.password.reveal()), ("ann", "s3 cr;et"));
    assert_eq!(project.ssh.options, ["-i", "my key"]);
    assert_eq!((project.ssh.port, project.ssh.accept_new_host_keys), (Some(2222), true));
}

#[test]
fn a_login_for_a_registry_is_optional_where_its_password_is_empty() {
    let text = with("command: ./server", "runtime: process")
        + "registries:\n  docker.io: { user: \"${HUB_USER:-}\", password: \"${HUB_PASSWORD:-}\" }\n  \"127.0.0.1:5000\": { user: ann, password: \" p w \" }\n";
    let logins = |env: &[(&str, &str)]| parse_with(&text, env).unwrap().registries;
    let hub = RegistryHost::docker_hub();
    assert_eq!(logins(&[]).keys().map(RegistryHost::as_str).collect::<Vec<_>>(), ["127.0.0.1:5000"]);
    let set = logins(&[("HUB_USER", "bob"), ("HUB_PASSWORD", "hunter2")]);
    assert_eq!((set[&hub].user.as_str(), set[&hub].password.reveal()), ("bob", "hunter2"));
    let here = RegistryHost::new("127.0.0.1:5000").unwrap();
    assert_eq!(set[&here].password.reveal(), " p w ", "blanks are a part of a password");
    let error = parse_with(&text, &[("HUB_PASSWORD", "hunter2")]).unwrap_err();
    assert!(error.message().contains("the user is empty") && !error.plain().contains("hunter2"), "{error}");
    assert!(good(&with("command: ./server", "runtime: process")).registries.is_empty());
}

#[test]
fn defaults_are_those_the_schema_names() {
    let project = good(&with("command: ./server", "runtime: process"));
    let service = project.services.values().next().unwrap();
    assert_eq!(
        (
            service.health.http().unwrap().path.as_str(),
            service.health.http().unwrap().timeout,
            service.health.http().unwrap().passes
        ),
        ("/health", Millis(60_000), 2)
    );
    assert_eq!((service.health.http().unwrap().status, service.port), (StatusRange::OK, None));
    let prod = environment(&project, "prod");
    assert_eq!(prod.hosts(), [HostId::local()]);
    assert_eq!(slots(&project, "prod").waves, [Wave::Hosts(1), Wave::Percent(25), Wave::Rest]);
    assert_eq!(
        (
            slots(&project, "prod").drain,
            slots(&project, "prod").keep_warm,
            slots(&project, "prod").stop_grace
        ),
        (Millis(30_000), Millis(0), None)
    );
    assert_eq!((slots(&project, "prod").keep_releases, slots(&project, "prod").disk_free_mib), (5, 500));
    let Router::Builtin(router) = &slots(&project, "prod").router else {
        panic!("a runtime without router gets the built-in one")
    };
    assert_eq!(router.listen, "127.0.0.1:8080");
    assert!(project.notify.is_empty() && project.ssh.options.is_empty() && project.ssh.port.is_none());

    let project = good(&with("image: acme/web\nport: 5000", "runtime: compose\nrouter: caddy"));
    let Router::Caddy(caddy) = &slots(&project, "prod").router else { panic!() };
    assert_eq!(caddy.admin, "http://127.0.0.1:2019");
    assert_eq!(caddy.id.as_ref().unwrap().as_str(), "{service}_upstream");
    assert_eq!(caddy.dial.as_str(), "{service}-{slot}:{port}");
    let Runtime::Compose(compose) = &slots(&project, "prod").runtime else { panic!() };
    assert!(
        matches!(&compose.layout, ComposeLayout::Folders(dir) if dir.as_str() == "/srv/apps/{service}/{slot}")
    );
}

#[test]
fn nginx_dials_groups_on_a_host_and_names_in_a_container() {
    let nginx = |router: &str| {
        let project =
            good(&with("image: acme/web\nport: 5000", &format!("runtime: compose\nrouter: {router}")));
        let Router::Nginx(nginx) = &slots(&project, "prod").router else { panic!("{router}") };
        nginx.clone()
    };
    assert_eq!(nginx("nginx").dial.as_str(), "{service}_{slot}");
    assert_eq!(nginx("nginx").switch, NginxSwitch::File);
    assert_eq!(nginx("{ nginx: { switch: reload } }").switch, NginxSwitch::Reload);
    let inside =
        nginx("{ nginx: { switch: file, container: edge, marker: '/markers/{service}/green_is_live' } }");
    assert_eq!(inside.dial.as_str(), "{service}-{slot}:{port}");
    assert_eq!(inside.container.unwrap().as_str(), "edge");
    assert_eq!(inside.marker.unwrap().as_str(), "/markers/{service}/green_is_live");
    let set = nginx("{ nginx: { dial: 'app.{slot}:81', config: /etc/n.conf, ask: 'http://127.0.0.1:81' } }");
    assert_eq!((set.dial.as_str(), set.config.unwrap().as_str()), ("app.{slot}:81", "/etc/n.conf"));
    assert_eq!(set.ask.unwrap().as_str(), "http://127.0.0.1:81");
    let without_port = with("image: acme/web", "runtime: compose\nrouter: nginx");
    assert!(matches!(slots(&good(&without_port), "prod").router, Router::Nginx(_)), "a group needs no port");
}

#[test]
fn the_variables_of_system_a_are_understood() {
    let env = [
        ("DEPLOY_HOST", "ops@app1"),
        ("DEPLOY_SSH_OPTS", "-i 'my key'"),
        ("DEPLOY_SSH_PORT", "2222"),
        ("DEPLOY_COMPOSE_DIR", "/data/apps/"),
        ("DEPLOY_CADDY_API", "http://127.0.0.1:2999"),
        ("DEPLOY_TIMEOUT", "90"),
        ("SLACK_WEBHOOK_URL", "https://hooks.slack.example/x"),
        ("SLACK_CHANNEL", "#deploys"),
        ("REGISTRY_URL", "https://ghcr.io/acme/"),
    ];
    let project = parse_with(&with("port: 5000", "runtime: compose\nrouter: caddy"), &env).unwrap();
    let service = project.services.values().next().unwrap();
    assert_eq!(
        (service.image.as_deref(), service.health.http().unwrap().timeout),
        (Some("ghcr.io/acme/web"), Millis(90_000))
    );
    let prod = environment(&project, "prod");
    assert_eq!(prod.hosts(), [HostId::new("ops@app1").unwrap()]);
    assert!(
        environment(&project, "test").hosts().is_empty(),
        "DEPLOY_HOST does not make a checked environment a deployed one"
    );
    let Runtime::Compose(compose) = &slots(&project, "prod").runtime else { panic!() };
    assert!(
        matches!(&compose.layout, ComposeLayout::Folders(dir) if dir.as_str() == "/data/apps/{service}/{slot}")
    );
    let Router::Caddy(caddy) = &slots(&project, "prod").router else { panic!() };
    assert_eq!(caddy.admin, "http://127.0.0.1:2999");
    assert_eq!(
        (&project.ssh.options[..], project.ssh.port),
        (&["-i".to_owned(), "my key".to_owned()][..], Some(2222))
    );
    assert!(
        matches!(&told(&project)[..], [NotifyTo::Slack { channel: Some(channel), .. }] if channel == "#deploys")
    );
    // What the file says comes first.
    let text = with("port: 5000\nhealth: { timeout: 5s }", "runtime: compose\nrouter: caddy\nhosts: [local]");
    let project = parse_with(&format!("{text}notify: []\nssh: {{ port: 22 }}\n"), &env).unwrap();
    assert_eq!(project.services.values().next().unwrap().health.http().unwrap().timeout, Millis(5000));
    assert_eq!(environment(&project, "prod").hosts(), [HostId::local()]);
    assert!(project.notify.is_empty());
    assert_eq!((project.ssh.port, project.ssh.options.len()), (Some(22), 2));
}

#[test]
fn what_a_variable_holds_is_never_yaml() {
    let text = with(
        "command: ./server\nenv: { KEY: \"${EVIL}\", PLAIN: \"$${EVIL}\", NUMBER: 1.50, WORD: yes }",
        "runtime: process",
    );
    let evil = "x\"}\n  other: { command: rm }\n{slot} ${HOME} $(id) `id` --flag ../..";
    let project = parse_with(&text, &[("EVIL", evil)]).unwrap_or_else(|error| panic!("{}", error.plain()));
    assert_eq!(project.services.len(), 1);
    let env = &project.services.values().next().unwrap().env;
    assert_eq!(env["KEY"].reveal(), evil, "carried verbatim");
    let rest = ["PLAIN", "NUMBER", "WORD"].map(|key| env[key].reveal());
    assert_eq!(rest, ["${EVIL}", "1.50", "yes"], "text stays as it is written");
}

#[test]
fn numbers_and_flags_are_text_as_they_are_written() {
    let env = "env: { A: 1.50, B: 0x1F, C: 007, D: TRUE, E: .inf, F: 12e4567, G: -0, H: &h 1_000, I: *h, J: !!int \"5\" }";
    let project =
        good(&with(&format!("command: ./server\n{env}\ncwd: &c 010\nimage: *c"), "runtime: process"));
    let service = project.services.values().next().unwrap();
    let values: Vec<&str> = service.env.values().map(|value| value.reveal()).collect();
    assert_eq!(values, ["1.50", "0x1F", "007", "TRUE", ".inf", "12e4567", "-0", "1_000", "1_000", "5"]);
    assert_eq!(service.image.as_deref(), Some("010"));
}

/// System A's regression and smoke: health and critical paths, latency, and stability.
#[test]
fn stability_is_a_gate_that_looks_for_a_time() {
    let gates = concat!(
        "runtime: process\nrouter: builtin\n",
        "before: [ { http: { in: test } }, { http: { in: test, for: 1m, every: 5s, failures: 2 } } ]\n",
        "after: [ { http: { for: 1m } }, { http: { for: 1s, latency_p95: 1s } }, { name: calm, http: { for: 1h } } ]"
    );
    let project = good(&with("command: ./server", gates));
    let prod = environment(&project, "prod");
    let told = |gates: &[Gate]| -> Vec<String> {
        let one = |gate: &Gate| {
            let GateKind::Http(http) = &gate.kind else { panic!() };
            format!("{}: {} {} looks", gate.name, http.sampling, http.sampling.looks())
        };
        gates.iter().map(one).collect()
    };
    assert_eq!(
        told(&prod.before),
        ["http in test:  5 looks", "stability in test: for 1m, every 5s, 2 failures allowed 13 looks"]
    );
    assert_eq!(
        told(&prod.after),
        [
            "stability: for 1m, every 2s 31 looks",
            "stability 2: for 1s, every 1s 2 looks",
            "calm: for 1h0m, every 2s 1801 looks"
        ]
    );
}

#[test]
fn short_forms_mean_their_long_ones() {
    let project = good(&with(
        "command: [./server, \"two words\"]\nhealth: /up",
        "runtime: process\nrouter: builtin\nafter: [ { command: make smoke } ]",
    ));
    let service = project.services.values().next().unwrap();
    assert_eq!((service.health.http().unwrap().path.as_str(), service.command.len()), ("/up", 2));
    let GateKind::Command(command) = &environment(&project, "prod").after[0].kind else { panic!() };
    assert_eq!((command.argv.len(), command.timeout, &command.not_yet[..]), (2, Millis(600_000), &[75][..]));
    assert_eq!(environment(&project, "prod").after[0].name, "command make");
    let project =
        good(&with("command: x", "runtime: { process: {} }\nafter: [ { http: {} }, { http: {} } ]"));
    let names: Vec<&str> =
        environment(&project, "prod").after.iter().map(|gate| gate.name.as_str()).collect();
    assert_eq!(names, ["http", "http 2"]);
    let project = good(&with("image: a/b\nport: 80", "runtime: compose\nrouter: { caddy: { id: \"\" } }"));
    let Router::Caddy(caddy) = &slots(&project, "prod").router else { panic!() };
    assert!(caddy.id.is_none(), "an empty id means: found by its dial");
}

#[test]
fn what_switches_caddy_is_found_out_unless_it_is_said() {
    let caddy = |keys: &str| {
        let project = good(&with(
            "image: a/b\nport: 80",
            &format!("runtime: compose\nrouter: {{ caddy: {{ {keys} }} }}"),
        ));
        let Router::Caddy(caddy) = &slots(&project, "prod").router else { panic!() };
        caddy.clone()
    };
    assert_eq!(caddy("id: x").switch, None);
    assert_eq!(caddy("switch: admin").switch, Some(CaddySwitch::Admin));
    let file = caddy(
        "switch: file, active_color: '/switch/{service}/active_color', config: '/etc/caddy/{service}.json'",
    );
    let text = |path: &Option<Template>| path.as_ref().unwrap().as_str().to_owned();
    assert_eq!(file.switch, Some(CaddySwitch::File));
    assert_eq!(text(&file.active_color), "/switch/{service}/active_color");
    assert_eq!(text(&file.config), "/etc/caddy/{service}.json");
}

#[test]
fn what_the_builtin_proxy_is_told_about_its_route() {
    let router = "runtime: process\nrouter: { builtin: { response_timeout: 5m, stall_timeout: 2m, trusted_proxies: [10.0.0.0/8, 127.0.0.1, '::1'] } }";
    let project = good(&with("command: ./server", router));
    let Router::Builtin(router) = &slots(&project, "prod").router else { panic!() };
    assert_eq!(router.response_timeout, Some(Millis(300_000)));
    assert_eq!(router.stall_timeout, Some(Millis(120_000)));
    let networks: Vec<String> = router.trusted_proxies.iter().map(ToString::to_string).collect();
    assert_eq!(networks, ["10.0.0.0/8", "127.0.0.1/32", "::1/128"]);
}

#[test]
fn services_and_environments_side_by_side_need_routes_of_their_own() {
    good(
        "project: p\nservices:\n  a: { image: i/a, port: 5000 }\n  b: { image: i/b, port: 5001 }\nenvironments:\n  \
         prod: { runtime: compose, router: caddy }\n",
    );
    good(
        "project: p\nservices: { a: { command: x }, b: { command: x } }\nenvironments:\n  prod:\n    runtime: process\n    \
         router: { builtin: { host: \"{service}.{environment}.test\" } }\n  stage:\n    runtime: process\n    \
         router: { builtin: { host: \"{service}.{environment}.test\" } }\n",
    );
}

#[test]
fn the_file_is_found_in_the_folders_above() {
    let folder = tempfile::tempdir().unwrap();
    let deep = folder.path().join("a/b");
    std::fs::create_dir_all(&deep).unwrap();
    let file = folder.path().join("lockgate.yml");
    std::fs::write(&file, with("command: x", "runtime: process")).unwrap();
    assert_eq!(lockgate_config::find(&deep), Some(file.clone()));
    let loaded = lockgate_config::load(&file, &|_| None).unwrap();
    assert_eq!((loaded.project.root.as_path(), loaded.path), (folder.path(), file));
    std::fs::create_dir(deep.join("lockgate.yaml")).unwrap();
    assert_eq!(lockgate_config::find(&deep), Some(folder.path().join("lockgate.yml")), "a folder is no file");
}

fn told(project: &Project) -> Vec<NotifyTo> {
    project.notify.iter().map(|notify| notify.to.clone()).collect()
}

#[test]
fn who_is_told_by_mail_on_github_or_with_a_signature_and_of_what() {
    let text = with("command: ./server", "runtime: process");
    let notify = r#"notify:
  - email: { smtp: "smtps://mail.example.com", user: lee, password: "${P}", from: "Deploys <d@example.com>", to: [t@example.com] }
    on: [rolled_back, failed, critical]
    environments: [prod]
  - github: { token: "${GITHUB_TOKEN:-}" }
  - webhook: { url: "https://hooks.example.com/x", secret: "${S}" }
"#;
    let env = [
        ("P", "hunter2"),
        ("GITHUB_TOKEN", "ghs_1"),
        ("GITHUB_REPOSITORY", "acme/web"),
        ("S", "0123456789abcdef"),
    ];
    let project = parse_with(&format!("{text}{notify}"), &env).unwrap();
    let to = told(&project);
    let [NotifyTo::Email(email), NotifyTo::GitHub { repository, api, .. }, NotifyTo::Webhook { secret, .. }] =
        &to[..]
    else {
        panic!("{to:?}")
    };
    assert_eq!(
        (email.host.as_str(), email.port, email.security),
        ("mail.example.com", 465, SmtpSecurity::Tls)
    );
    assert_eq!(email.to, ["t@example.com"]);
    assert_eq!((repository.as_str(), api.as_str()), ("acme/web", "https://api.github.com"));
    assert_eq!(secret.as_ref().unwrap().reveal(), "0123456789abcdef");
    let about = &project.notify[0].about;
    assert_eq!(about.kinds.as_ref().unwrap().len(), 3);
    assert_eq!(about.environments.as_ref().unwrap().first().unwrap().as_str(), "prod");
    assert_eq!(project.notify[1].about, NotifyAbout::default());
    let nobody = "notify: [{ github: { token: \"${GITHUB_TOKEN:-}\" } }, { email: { smtp: \"${SMTP:-}\", from: a@b, to: [c@d] } }]\n";
    assert!(parse_with(&format!("{text}{nobody}"), &[]).unwrap().notify.is_empty());
}

/// The channel needs the token: where both are set, a bot writes there, and the webhook, which has a channel of its own, is
/// not asked.
#[test]
fn a_slack_bot_comes_from_the_file_or_from_variables() {
    let text = with("command: ./server", "runtime: process");
    let bot = |text: &str, env: &[(&str, &str)]| match told(&parse_with(text, env).unwrap()).as_slice() {
        [NotifyTo::SlackBot { token, channel, api }] => {
            (token.reveal().to_owned(), channel.clone(), api.clone())
        }
        other => panic!("{other:?}"),
    };
    let slack = "https://slack.com/api/";
    let here = |keys: &str| format!("{text}notify: [{{ slack: {{ {keys} }} }}]\n");
    assert_eq!(
        bot(&here("token: \"${T}\", channel: \"#deploys\""), &[("T", "xoxb-1")]),
        ("xoxb-1".into(), "#deploys".into(), slack.into())
    );
    let env = [("T", "xoxb-1"), ("C", "C024BE91L"), ("SLACK_API_URL", "http://127.0.0.1:9/api")];
    let keys = "token: \"${T}\", channel: \"${C}\"";
    assert_eq!(
        bot(&here(keys), &env),
        ("xoxb-1".into(), "C024BE91L".into(), "http://127.0.0.1:9/api/".into())
    );
    let gov = here("token: x, channel: y, api: \"https://slack-gov.com/api\"");
    assert_eq!(bot(&gov, &env).2, "https://slack-gov.com/api/", "what the file says comes first");

    let token = ("SLACK_BOT_TOKEN", "xoxb-2");
    let channel = ("SLACK_CHANNEL", "#deploys");
    let webhook = ("SLACK_WEBHOOK_URL", "https://hooks.slack.example/x");
    assert_eq!(bot(&text, &[token, channel]), ("xoxb-2".into(), "#deploys".into(), slack.into()));
    assert_eq!(bot(&text, &[token, channel, webhook]).1, "#deploys");
    assert!(matches!(
        told(&parse_with(&text, &[token, webhook]).unwrap()).as_slice(),
        [NotifyTo::Slack { channel: None, .. }]
    ));
    assert!(parse_with(&text, &[token]).unwrap().notify.is_empty(), "a token alone may be another program's");
    assert!(parse_with(&here("token: \"${T:-}\", channel: x"), &[]).unwrap().notify.is_empty());
}

/// `${NAME:-}` makes a notifier optional on each machine.
#[test]
fn an_empty_webhook_is_nobody_to_tell() {
    let text = with("command: ./server", "runtime: process")
        + "notify:\n  - slack: { webhook: \"${SLACK:-}\" }\n  - webhook: { url: \"${HOOK:-}\", headers: { Authorization: \"${TOKEN}\" } }\n";
    assert!(parse_with(&text, &[]).unwrap().notify.is_empty(), "not even what is sent along is asked for");
    let env = [("SLACK", "https://hooks.slack.example/T0"), ("HOOK", "https://h"), ("TOKEN", "t")];
    assert_eq!(parse_with(&text, &env).unwrap().notify.len(), 2);
    assert!(parse_with(&text, &[("SLACK", ""), ("HOOK", " ")]).unwrap().notify.is_empty());

    let error = parse_with(&text.replace(":-}", "}"), &[]).unwrap_err();
    assert_eq!(error.message(), "the variable SLACK is not set");
    assert_eq!(error.hint(), Some("export SLACK=…, or write ${SLACK:-} to tell nobody where it is not set"));
}

#[test]
fn recreate_has_one_slot_and_needs_neither_a_router_nor_a_slots_name() {
    let project = good(
        "project: kelvin\nservices:\n  app: { image: ghcr.io/acme/kelvin, port: 8000 }\nenvironments:\n  prod:\n    strategy: recreate\n    runtime: { compose: { file: /srv/kelvin/docker-compose.yml, service: app } }\n  waits: { hosts: [a], strategy: recreate, runtime: compose, router: builtin }\n  dir: { hosts: [b], strategy: recreate, runtime: { compose: { dir: /opt/monarch } }, router: none }\n",
    );
    let prod = slots(&project, "prod");
    assert_eq!((prod.strategy, prod.strategy.slots()), (Strategy::Recreate, [Slot::Main].as_slice()));
    assert!(matches!(prod.router, Router::None), "recreate's default");
    let Runtime::Compose(compose) = &prod.runtime else { panic!() };
    assert_eq!(compose.service.as_ref().unwrap().as_str(), "app");
    assert!(matches!(slots(&project, "waits").router, Router::Builtin(_)));
    let Runtime::Compose(compose) = &slots(&project, "waits").runtime else { panic!() };
    assert!(matches!(&compose.layout, ComposeLayout::Folders(dir) if dir.as_str() == "/srv/apps/{service}"));
    let Runtime::Compose(compose) = &slots(&project, "dir").runtime else { panic!() };
    assert!(matches!(&compose.layout, ComposeLayout::Folders(dir) if dir.as_str() == "/opt/monarch"));
}

/// The sketch for system B in the design, without `serve`.
#[test]
fn the_sketch_of_system_b_is_what_it_says() {
    let project = good(
        r#"
# B: one container, a signed endpoint
project: kelvin
services:
  app: { image: ghcr.io/acme/kelvin, health: docker }           # Docker's own health status; or a path
environments:
  prod:
    strategy: recreate
    runtime: { compose: { file: /srv/kelvin/docker-compose.yml, service: app } }
    router: none                                                # recreate's default; or builtin, which holds requests meanwhile
"#,
    );
    let app = &project.services[&ServiceName::new("app").unwrap()];
    assert!(matches!(app.health, Health::Docker(DockerHealth { timeout: None, .. })));
    let prod = slots(&project, "prod");
    assert_eq!(prod.hosts.iter().map(HostId::is_local).collect::<Vec<_>>(), [true], "this machine");
    assert!(matches!(prod.router, Router::None));
}

#[test]
fn a_process_of_one_slot_has_the_services_own_port() {
    let project = good(
        "project: p\nservices:\n  web: { command: ./server, port: 8000 }\nenvironments:\n  prod: { strategy: recreate, runtime: process }\n",
    );
    assert!(matches!(slots(&project, "prod").router, Router::None));
}

#[test]
fn a_worker_has_no_router_and_no_port() {
    let project = good(
        "project: p\nservices:\n  jobs: { command: ./work }\nenvironments:\n  prod: { runtime: process, router: none, after: [{ command: ./smoke }, { http: { url: 'https://a' } }] }\n",
    );
    assert_eq!(slots(&project, "prod").strategy, Strategy::BlueGreen);
    assert!(matches!(slots(&project, "prod").router, Router::None));
}

#[test]
fn a_health_check_is_a_path_a_command_or_the_containers_own() {
    let health = |text: &str| {
        let project = good(&with(&format!("image: acme/web\nport: 80\nhealth: {text}"), "runtime: compose"));
        project.services.into_values().next().unwrap().health
    };
    let docker = |timeout, passes| Health::Docker(DockerHealth { timeout, passes });
    assert_eq!(health("docker"), docker(None, 1), "as long as the HEALTHCHECK itself may take");
    assert_eq!(health("{ docker: true, timeout: 90s, passes: 3 }"), docker(Some(Millis(90_000)), 3));
    let Health::Command(command) = health("{ command: './ready --slot {slot}', timeout: 5s }") else {
        panic!()
    };
    let argv: Vec<&str> = command.argv.iter().map(|word| word.as_str()).collect();
    assert_eq!(
        (argv, command.timeout, command.passes),
        (vec!["./ready", "--slot", "{slot}"], Millis(5000), 2)
    );
    assert_eq!(health("/up").http().unwrap().path, "/up");
}

#[test]
fn an_engine_can_be_named_for_an_environments_hosts() {
    for text in ["unix:///run/user/1000/docker.sock", "/run/docker.sock", "tcp://10.0.0.5:2376"] {
        let runtime = format!("runtime: {{ compose: {{ docker_host: \"{text}\" }} }}");
        let project = good(&with("image: a/b\nport: 80", &runtime));
        let Runtime::Compose(compose) = &slots(&project, "prod").runtime else { panic!() };
        assert_eq!(compose.docker_host.as_deref(), Some(text));
    }
}

#[test]
fn what_is_shipped_has_defaults_and_a_test_is_the_shell_s_own() {
    let ship = |keys: &str| {
        let text = with(&format!("image: ghcr.io/acme/web\nport: 5000\n{keys}"), "runtime: compose");
        good(&text).services.into_values().next().unwrap().ship
    };
    let plain = ship("");
    assert_eq!((plain.watch.len(), plain.test, plain.build.context.as_str()), (0, None, "."));
    assert_eq!(plain.build.tags[0].as_str(), "{sha}");
    let short = ship("test: 'pytest \"${DIR:-tests}\" $X'\nbuild: ./web");
    let test = short.test.unwrap();
    assert_eq!((test.run.as_str(), test.allow_failure), ("pytest \"${DIR:-tests}\" $X", false));
    assert_eq!(test.timeout, Millis::from_secs(1800));
    assert_eq!(short.build.context, "./web");
    let full = ship(
        "watch: [\"**/*.py\", /.github/**]\ntest: { run: 'true', allow_failure: true, timeout: 5m }\n\
         build: { with: buildx, platforms: [linux/amd64, linux/arm/v7], tags: [\"v-{sha:.8}\", \"{git_tag}\"], file: D, args: { A: b } }",
    );
    assert_eq!(full.watch, ["**/*.py", "/.github/**"]);
    assert!(full.test.is_some_and(|test| test.allow_failure && test.timeout == Millis::from_secs(300)));
    assert_eq!(full.build.platforms, ["linux/amd64", "linux/arm/v7"]);
    assert_eq!((full.build.with.as_str(), full.build.file.as_deref()), ("buildx", Some("D")));
    assert_eq!(full.build.args["A"].reveal(), "b");
    assert!(!format!("{:?}", full.build).contains("\"b\""), "arguments may be secret");
}
