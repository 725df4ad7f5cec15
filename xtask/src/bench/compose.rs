//! Compose and Caddy, with the image on the host: to traffic, beside the same calls by hand.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::Options;
use super::http::{self, Address};
use super::place::{self, Programs, Stage};
use super::project::Project;
use super::report::Report;
use super::stats::{Samples, number};

const TITLE: &str = "Compose and Caddy, to traffic";
const TARGET_RATIO: f64 = 1.15;
const SOCKET: &str = "/var/run/docker.sock";
const POLL: Duration = Duration::from_millis(1);
const SLOTS: [&str; 2] = ["blue", "green"];
pub const TAGS: [&str; 2] = ["v1", "v2"];

const MEANING: &str = "A real Docker Engine, a real registry and Caddy in a container on the slots' network; the images are on the host \
already. By hand: `compose up -d` of the other slot, asking the engine for its address, polling until the first healthy \
answer, `PATCH` of Caddy's upstreams: to traffic; then stopping the old slot. Lockgate: from the start of the process to the end of \
the switch, which has asking the registry what the tag means, looking at the host, planning, the lease and the journal in it, and to \
the end of the command. Both in turn, each with its own slots. A slot must pass its health check twice, 5 ms apart. By hand \
`docker compose` is typed, as everybody does; Lockgate calls the plugin's program itself, which saves the 35 to 40 ms that docker's CLI \
takes to find it.";

/// The stage's script: images, network, Caddy. Prints Caddy's address.
const SCRIPT: &str = r#"
port=$1 dir=$2 name=$3
need docker caddy
dockerd_up >&2
registry_up "$port" "$dir/registry"
for tag in v1 v2; do
  hello_push "127.0.0.1:$port/bench" "$tag" >&2
  on_exit docker image rm -f "127.0.0.1:$port/bench:$tag"
done
docker network create "$name" >&2
on_exit docker network rm "$name"
claims_rm() {
  docker image ls --format '{{.Repository}}:{{.Tag}}' | { grep "^lockgate.internal/keep/$name/" || true; } | xargs -r docker image rm
}
on_exit claims_rm
mkdir -p "$dir/image"
caddy=$(command -v caddy)
ldd "$caddy" | grep -o '/[^ ]*' | while read -r file; do cp --parents -L "$file" "$dir/image"; done
cp "$caddy" "$dir/image/caddy"
printf 'FROM scratch\nCOPY . /\nENTRYPOINT ["/caddy"]\n' >"$dir/image/Dockerfile"
docker build -q -t "$name-caddy" "$dir/image" >&2
on_exit docker image rm -f "$name-caddy"
docker run -d --name "$name" --network "$name" -v "$dir/caddy.json:/caddy.json:ro" "$name-caddy" run --config /caddy.json >&2
on_exit docker rm -f "$name"
docker inspect --format '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' "$name"
"#;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cli {
    V2,
    V1,
}

impl Cli {
    fn name(self) -> &'static str {
        match self {
            Cli::V2 => "v2",
            Cli::V1 => "v1",
        }
    }

    pub fn there(self) -> bool {
        let mut command = match self {
            Cli::V2 => Command::new("docker"),
            Cli::V1 => Command::new("docker-compose"),
        };
        if self == Cli::V2 {
            command.arg("compose");
        }
        command.args(["version", "--short"]).output().is_ok_and(|output| output.status.success())
    }

    fn command(self) -> Command {
        let mut command = Command::new(if self == Cli::V2 { "docker" } else { "docker-compose" });
        if self == Cli::V2 {
            command.arg("compose");
        }
        command
    }

    /// Of a project's only container.
    fn container(self, project: &str, service: &str) -> String {
        match self {
            Cli::V2 => format!("{project}-{service}-1"),
            Cli::V1 => format!("{project}_{service}_1"),
        }
    }
}

/// One service in two slots behind one of Caddy's servers.
pub struct Service {
    pub name: String,
    /// Caddy's port for it.
    pub port: u16,
    pub project: Project,
    cli: Cli,
    live: usize,
}

pub struct Docker {
    /// Its address on the network.
    pub caddy: String,
    repository: String,
    network: String,
}

/// Registry, images, network and Caddy, as long as it lives.
pub struct Scene {
    pub docker: Docker,
    _stage: Stage,
    _dir: TempDir,
}

impl Scene {
    /// `services`: each with Caddy's port for it.
    pub fn start(programs: &Programs, services: &[(String, u16)]) -> Result<Self> {
        let name = format!("lockgate-bench-{}", std::process::id());
        let (dir, registry) = (place::folder()?, place::free_port()?);
        let text = dir.path().to_str().context("a folder that is no text")?.to_owned();
        std::fs::write(dir.path().join("caddy.json"), serde_json::to_vec(&caddy_config(services))?)?;
        let stage = Stage::start(programs, SCRIPT, &[&registry.to_string(), &text, &name])?;
        let docker = Docker {
            caddy: stage.said.last().context("Caddy has no address")?.trim().to_owned(),
            repository: format!("127.0.0.1:{registry}/bench"),
            network: name,
        };
        place::wait_until("caddy", POLL, || http::call(&docker.admin(), "GET", "/config/", None).is_ok())?;
        Ok(Self { docker, _stage: stage, _dir: dir })
    }
}

impl Docker {
    fn admin(&self) -> Address {
        Address::Tcp(format!("{}:2019", self.caddy))
    }
}

impl Service {
    /// `over`: the host and the configuration of `ssh` to deploy with; this machine when `None`.
    pub fn new(
        programs: &Programs,
        docker: &Docker,
        cli: Cli,
        name: String,
        port: u16,
        over: Option<(String, String)>,
    ) -> Result<Self> {
        let mut project = Project::new(programs, "")?;
        let (hosts, dir, ssh) = match over {
            None => (String::new(), String::new(), String::new()),
            Some((host, config)) => (
                format!("hosts: [\"{host}\"]"),
                format!("{}/", project.path().display()),
                format!("ssh: {{ options: [\"-F\", \"{config}\"] }}"),
            ),
        };
        let config = format!(
            r#"project: {}
services:
  {name}:
    image: {}
    port: 8080
    health: {{ path: /health, timeout: 30s }}
environments:
  prod:
    {hosts}
    runtime: {{ compose: {{ dir: "{dir}{{slot}}" }} }}
    router: {{ caddy: {{ admin: "http://{}:2019", id: "{name}", dial: "{name}-{{slot}}:8080", ask: "http://{}:{port}" }} }}
{ssh}
"#,
            docker.network, docker.repository, docker.caddy, docker.caddy
        );
        std::fs::write(project.path().join("lockgate.yaml"), config)?;
        for slot in SLOTS {
            let dir = project.path().join(slot);
            std::fs::create_dir(&dir)?;
            std::fs::write(
                dir.join("docker-compose.yml"),
                format!(
                    "version: \"3.8\"\nservices:\n  {name}:\n    image: {}:${{TAG:-v1}}\n    networks: {{ edge: {{ aliases: [{name}-{slot}] }} }}\n\
                     networks:\n  edge: {{ external: true, name: {} }}\n",
                    docker.repository, docker.network
                ),
            )?;
        }
        if cli == Cli::V1 {
            // Lockgate prefers the plugin, so for it there is none; the engine it asks through its socket.
            let programs = project.path().join("programs");
            std::fs::create_dir(&programs)?;
            std::fs::write(programs.join("docker"), "#!/bin/sh\nexit 1\n")?;
            std::fs::set_permissions(programs.join("docker"), std::fs::Permissions::from_mode(0o755))?;
            let path = format!("{}:{}", programs.display(), std::env::var("PATH")?);
            project.env.push(("PATH".to_owned(), path));
        }
        Ok(Self { name, port, project, cli, live: 1 })
    }

    fn compose_project(&self, slot: usize) -> String {
        format!("{}-{}", self.name, SLOTS[slot])
    }

    /// To traffic, and to the old slot stopped.
    fn by_hand(&mut self, docker: &Docker, tag: &str) -> Result<(Duration, Duration)> {
        let engine = Address::Unix(SOCKET.into());
        let (old, new) = (self.live, 1 - self.live);
        let start = Instant::now();
        let project = self.compose_project(new);
        place::run(
            self.cli
                .command()
                .args(["-f", "docker-compose.yml", "-p", &project, "up", "-d", "--no-deps", &self.name])
                .current_dir(self.project.path().join(SLOTS[new]))
                .env("TAG", tag),
        )?;
        let container = self.cli.container(&project, &self.name);
        let seen = http::call(&engine, "GET", &format!("/containers/{container}/json"), None)?;
        let networks = seen["NetworkSettings"]["Networks"].as_object().context("no networks")?;
        let ip = networks.values().find_map(|network| network["IPAddress"].as_str()).context("no address")?;
        let address = Address::Tcp(format!("{ip}:8080"));
        place::wait_until("the slot", POLL, || place::healthy(&address))?;
        let upstreams = json!([{ "dial": format!("{}-{}:8080", self.name, SLOTS[new]) }]);
        http::call(&docker.admin(), "PATCH", &format!("/id/{}/upstreams", self.name), Some(&upstreams))?;
        let to_traffic = start.elapsed();
        let container = self.cli.container(&self.compose_project(old), &self.name);
        let stop = http::Request { method: "POST", ..http::Request::get("") };
        let stopped = http::send(
            &engine,
            &http::Request { path: &format!("/containers/{container}/stop?t=10"), ..stop },
        )?;
        ensure!(matches!(stopped.status, 204 | 304 | 404), "stop was answered {}", stopped.status);
        self.live = new;
        Ok((to_traffic, start.elapsed()))
    }

    fn lockgate(&self, tag: &str) -> Result<Seen> {
        let timeline = self.project.lockgate(&["deploy", &self.name, tag])?;
        let step = |name: &str| -> Result<Duration> {
            let steps = timeline.steps()?;
            let found = steps.into_iter().find(|(action, _)| action == name);
            found.map(|(_, took)| took).with_context(|| format!("no step {name}"))
        };
        Ok(Seen {
            before: timeline.at("run_started")?,
            fetch: step("fetch")?,
            start: step("start")?,
            healthy: step("await_healthy")?,
            switch: step("switch")?,
            verify: step("verify")?,
            to_traffic: timeline.done("switch")?,
            total: timeline.total,
        })
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        for slot in 0..SLOTS.len() {
            let container = self.cli.container(&self.compose_project(slot), &self.name);
            if let Err(error) = Command::new("docker").args(["rm", "-f", &container]).output() {
                eprintln!("bench: {container} could not be removed: {error}");
            }
        }
    }
}

struct Seen {
    before: Duration,
    fetch: Duration,
    start: Duration,
    healthy: Duration,
    switch: Duration,
    verify: Duration,
    to_traffic: Duration,
    total: Duration,
}

#[derive(Default)]
struct Figures {
    hand: Samples,
    hand_total: Samples,
    ours: Samples,
    ours_total: Samples,
    parts: [(&'static str, Samples); 6],
}

pub fn bench(programs: &Programs, options: &Options) -> Result<Report> {
    let clis: Vec<Cli> = [Cli::V2, Cli::V1].into_iter().filter(|cli| cli.there()).collect();
    for program in ["docker", "caddy", "docker-registry"] {
        if !place::installed(program) {
            return Ok(Report::skipped("compose", TITLE, format!("{program} is not installed")));
        }
    }
    if clis.is_empty() {
        return Ok(Report::skipped("compose", TITLE, "Docker Compose is not installed"));
    }
    let services = clis.iter().flat_map(|cli| ["hand", "ours"].map(|who| format!("{who}-{}", cli.name())));
    let services: Vec<(String, u16)> = services.zip(8001..).collect();
    let scene = Scene::start(programs, &services)?;
    let docker = &scene.docker;
    let mut report = Report::new("compose", TITLE);
    report.meaning = MEANING.to_owned();
    report.header = vec!["what", "ms, median / worst", "over by hand, ms", "ratio"];
    for (pair, cli) in services.chunks(2).zip(&clis) {
        let make =
            |(name, port): &(String, u16)| Service::new(programs, docker, *cli, name.clone(), *port, None);
        let figures = measure(make(&pair[0])?, &make(&pair[1])?, docker, options)?;
        tell(&mut report, *cli, &figures);
    }
    Ok(report)
}

fn measure(mut hand: Service, ours: &Service, docker: &Docker, options: &Options) -> Result<Figures> {
    let mut figures = Figures::default();
    let names = ["before the first event", "fetch", "start", "await_healthy", "switch", "verify"];
    figures.parts = names.map(|name| (name, Samples::default()));
    for tag in TAGS {
        hand.by_hand(docker, tag)?;
        ours.lockgate(tag)?;
    }
    for round in 0..options.repetitions(10) {
        let tag = TAGS[round as usize % 2];
        let (to_traffic, total) = hand.by_hand(docker, tag)?;
        figures.hand.push(to_traffic);
        figures.hand_total.push(total);
        let seen = ours.lockgate(tag)?;
        figures.ours.push(seen.to_traffic);
        figures.ours_total.push(seen.total);
        let parts = [seen.before, seen.fetch, seen.start, seen.healthy, seen.switch, seen.verify];
        for ((_, samples), part) in figures.parts.iter_mut().zip(parts) {
            samples.push(part);
        }
    }
    ensure!(
        place::healthy(&Address::Tcp(format!("{}:{}", docker.caddy, ours.port))),
        "nothing answers through Caddy"
    );
    Ok(figures)
}

fn tell(report: &mut Report, cli: Cli, figures: &Figures) {
    let cli = cli.name();
    let ratio = |ours: &Samples, hand: &Samples| ours.median() / hand.median();
    let mut row = |what: &str, hand: &Samples, ours: &Samples| {
        report.row([&format!("{cli}: by hand, {what}"), &hand.shown(), "–", "1"]);
        let ratio = number(ratio(ours, hand));
        report.row([&format!("{cli}: Lockgate, {what}"), &ours.shown(), &ours.minus(hand).shown(), &ratio]);
    };
    row("to traffic", &figures.hand, &figures.ours);
    row("old slot stopped", &figures.hand_total, &figures.ours_total);
    for (what, samples) in &figures.parts {
        report.row([&format!("{cli}: of it, {what}"), &samples.shown(), "", ""]);
    }
    let seen = ratio(&figures.ours, &figures.hand);
    report.target(
        &format!("Compose {cli}, to traffic"),
        "≤ 1.15 ×",
        format!("{} ×", number(seen)),
        seen <= TARGET_RATIO,
    );
}

fn caddy_config(services: &[(String, u16)]) -> Value {
    let server = |name: &str, port: u16| {
        json!({
            "listen": [format!(":{port}")],
            "automatic_https": { "disable": true },
            "routes": [{ "handle": [{
                "@id": name, "handler": "reverse_proxy", "upstreams": [{ "dial": format!("{name}-green:8080") }],
            }] }],
        })
    };
    let servers: serde_json::Map<String, Value> =
        services.iter().map(|(name, port)| (name.clone(), server(name, *port))).collect();
    json!({
        "admin": { "listen": ":2019" },
        "logging": { "logs": { "default": { "level": "ERROR" } } },
        "apps": { "http": { "servers": servers } },
    })
}
