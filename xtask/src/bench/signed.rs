//! System B's swap: a signed call to `lockgate serve`, from its first byte to the answer, beside the same swap by hand.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lockgate_signature::{GITHUB_HEADER, SigningSecret};
use tempfile::TempDir;

use super::Options;
use super::crowd::Crowd;
use super::http::{self, Address, Request};
use super::load::{Load, Tally};
use super::place::{self, Programs, Running, Stage};
use super::project::Project;
use super::report::Report;
use super::stats::{Samples, number};

const NAME: &str = "signed";
const TITLE: &str = "System B's swap: a signed call, to its answer";
const ANSWER_RATIO_MAX: f64 = 1.3;
const DARK_RATIO_MAX: f64 = 1.1;
const SWAPS: u32 = 10;
/// Before what is compared is measured, each once.
const WARM_UP: u32 = 1;
const SECRET: &str = "a secret for the benchmark";
const POLL: Duration = Duration::from_millis(1);
/// Between two questions of the one who measures how long nothing answers.
const LOOK: Duration = Duration::from_millis(2);
/// Of the load around a swap behind the proxy.
const PAUSE: Duration = Duration::from_millis(50);

const MEANING: &str = "A Docker Engine, a registry on this machine, a tiny app with a fixed `container_name`, a port of the host and \
`${IMAGE_TAG}`, as system B has it; every swap is to an image that the host does not have yet. By hand: `docker compose pull`, `stop`, \
`up -d --no-deps` with `IMAGE_TAG`, then asking `/health` each millisecond until it answers. Lockgate: a call signed as GitHub signs, on \
a new connection over loopback without TLS, until its answer is there: signature, the delivery written down, lease, plan, pull, stop, start, \
two good health checks, journal, pruning. Both in turn, each with images of its own. Dark is the longest time without an answer that \
somebody sees who asks every 2 ms. Behind the built-in proxy the app has no port of the host, and ten clients ask all the time. \
(The service that system B's own team wrote took 6.5 to 6.7 s for it and was dark for 1.3 s, on this machine.)";

/// The stage's script: a registry and so many releases for each of three.
const SCRIPT: &str = r#"
port=$1 dir=$2 releases=$3
need docker docker-registry
dockerd_up >&2
registry_up "$port" "$dir/registry"
images_rm() {
  docker images --digests --format '{{.Repository}}:{{.Tag}} {{.Repository}}@{{.Digest}}' "127.0.0.1:$port/*" \
    | tr ' ' '\n' | { grep -v '<none>' || true; } | sort -u | xargs -r docker image rm -f >/dev/null 2>&1
  docker images --format '{{.Repository}}:{{.Tag}}' | { grep "^lockgate.internal/keep/signed-$port-" || true; } \
    | xargs -r docker image rm -f >/dev/null 2>&1
}
on_exit images_rm
for who in hand ours held; do
  for ((number = 0; number <= releases; number++)); do
    tag=$(printf '%s-%s' "$who" "$number" | sha1sum | cut -d ' ' -f 1)
    hello_push "127.0.0.1:$port/$who" "$tag" "WHO=$who" >/dev/null
    docker image rm "127.0.0.1:$port/$who:$tag" >/dev/null
    echo "$who $tag"
  done
done
"#;

/// One service with its Compose file, and what was pushed for it.
struct Place {
    /// Its processes end with it.
    project: Project,
    name: String,
    tags: Vec<String>,
    /// Where users reach it.
    public: Address,
}

impl Place {
    /// `port`: of the host, where the container has one.
    fn new(programs: &Programs, scene: &Scene, who: &str, port: Option<u16>, public: u16) -> Result<Self> {
        let project = Project::new(programs, "")?;
        let name = format!("signed-{}-{who}", scene.registry);
        let ports = port.map(|port| format!("\n    ports: [\"127.0.0.1:{port}:8080\"]")).unwrap_or_default();
        std::fs::write(
            project.path().join("docker-compose.yml"),
            format!(
                "version: \"3.8\"\nservices:\n  app:\n    image: 127.0.0.1:{}/{who}:${{IMAGE_TAG}}\n    container_name: {name}{ports}\n",
                scene.registry
            ),
        )?;
        let tags = scene.tags(who);
        ensure!(tags.len() > 1, "nothing was pushed for {who}");
        Ok(Self { project, name, tags, public: place::local(public) })
    }

    fn path(&self) -> &Path {
        self.project.path()
    }

    fn compose(&self, tag: &str, args: &[&str]) -> Result<()> {
        let mut command = Command::new("docker");
        command.arg("compose").args(args).current_dir(self.path()).env("IMAGE_TAG", tag);
        place::run(&mut command).map(drop)
    }

    /// All of it, and how long nothing answered.
    fn by_hand(&self, tag: &str) -> Result<(Duration, Duration)> {
        let watch = Watch::start(&self.public);
        let start = Instant::now();
        self.compose(tag, &["pull", "app"])?;
        self.compose(tag, &["stop", "app"])?;
        self.compose(tag, &["up", "-d", "--no-deps", "app"])?;
        place::wait_until("the app", POLL, || place::healthy(&self.public))?;
        Ok((start.elapsed(), watch.stop()?))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Err(error) = self.compose("none", &["down", "-t", "1"]) {
            eprintln!("bench: {} could not be taken down: {error:#}", self.name);
        }
    }
}

/// A daemon that deploys one place.
struct Daemon {
    place: Place,
    calls: Address,
    secret: SigningSecret,
    _process: Running,
}

impl Daemon {
    fn start(scene: &Scene, place: Place, router: &str) -> Result<Self> {
        let port = place::free_port()?;
        let config = format!(
            "project: {}\nservices:\n  app: {{ image: 127.0.0.1:{}/{}, port: 8080, health: /health }}\nenvironments:\n  prod:\n    \
             strategy: recreate\n    runtime: {{ compose: {{ file: docker-compose.yml, service: app }} }}\n    router: {router}\n    \
             keep_releases: 2\nserve:\n  listen: 127.0.0.1:{port}\n  endpoints: {{ /deploy: {{ environment: prod, secrets: [\"{SECRET}\"] }} }}\n",
            place.name,
            scene.registry,
            place.name.rsplit('-').next().unwrap_or_default(),
        );
        std::fs::write(place.path().join("lockgate.yaml"), config)?;
        let (process, calls) = place.project.serve(port)?;
        let secret = SigningSecret::new(SECRET)?;
        Ok(Self { place, calls, secret, _process: process })
    }

    /// Signed beforehand: what a client does is not measured.
    fn call(&self, tag: &str) -> Result<Duration> {
        let body = format!("{{\"image_sha\":\"{tag}\"}}");
        let signature = self.secret.sign_github(body.as_bytes());
        let headers = [("content-type", "application/json"), (GITHUB_HEADER, signature.as_str())];
        let request = Request { method: "POST", path: "/deploy", headers: &headers, body: body.as_bytes() };
        let start = Instant::now();
        let answer = http::send(&self.calls, &request)?;
        let took = start.elapsed();
        ensure!(
            answer.status == 200,
            "answered {}: {}",
            answer.status,
            String::from_utf8_lossy(&answer.body)
        );
        Ok(took)
    }

    fn watched(&self, tag: &str) -> Result<(Duration, Duration)> {
        let watch = Watch::start(&self.place.public);
        let took = self.call(tag)?;
        Ok((took, watch.stop()?))
    }
}

/// One who asks all the time: the longest time between two answers with none in between.
struct Watch(Crowd<Duration>);

impl Watch {
    fn start(address: &Address) -> Self {
        let address = address.clone();
        Self(Crowd::start([((), 1)], move |(), stop| look(&address, stop)))
    }

    fn stop(self) -> Result<Duration> {
        Ok(self.0.stop()?.into_iter().max().unwrap_or_default())
    }
}

fn look(address: &Address, stop: &AtomicBool) -> Duration {
    let (mut longest, mut good, mut failed) = (Duration::ZERO, Instant::now(), false);
    loop {
        let is_over = stop.load(Ordering::Relaxed);
        match http::send(address, &Request::get("/")) {
            Ok(answer) if answer.status == 200 => {
                longest = if std::mem::take(&mut failed) { longest.max(good.elapsed()) } else { longest };
                good = Instant::now();
                if is_over {
                    return longest;
                }
            }
            _ => failed = true,
        }
        thread::sleep(LOOK);
    }
}

struct Scene {
    registry: u16,
    stage: Stage,
    _dir: TempDir,
}

impl Scene {
    fn start(programs: &Programs, releases: u32) -> Result<Self> {
        let (dir, registry) = (place::folder()?, place::free_port()?);
        let text = dir.path().to_str().context("a folder that is no text")?.to_owned();
        let stage = Stage::start(programs, SCRIPT, &[&registry.to_string(), &text, &releases.to_string()])?;
        Ok(Self { registry, stage, _dir: dir })
    }

    fn tags(&self, who: &str) -> Vec<String> {
        let pairs = self.stage.said.iter().filter_map(|line| line.split_once(' '));
        pairs.filter(|(one, _)| *one == who).map(|(_, tag)| tag.trim().to_owned()).collect()
    }
}

#[derive(Default)]
struct Figures {
    hand: Samples,
    hand_dark: Samples,
    ours: Samples,
    ours_dark: Samples,
    held: Samples,
}

pub fn bench(programs: &Programs, options: &Options) -> Result<Report> {
    for program in ["docker", "docker-registry"] {
        if !place::installed(program) {
            return Ok(Report::skipped(NAME, TITLE, format!("{program} is not installed")));
        }
    }
    let swaps = options.repetitions(SWAPS);
    let scene = Scene::start(programs, swaps + WARM_UP)?;
    let ports = [place::free_port()?, place::free_port()?, place::free_port()?];
    let hand = Place::new(programs, &scene, "hand", Some(ports[0]), ports[0])?;
    let ours = Place::new(programs, &scene, "ours", Some(ports[1]), ports[1])?;
    let held = Place::new(programs, &scene, "held", None, ports[2])?;
    let ours = Daemon::start(&scene, ours, "none")?;
    let held =
        Daemon::start(&scene, held, &format!("{{ builtin: {{ listen: \"127.0.0.1:{}\" }} }}", ports[2]))?;
    let mut figures = Figures::default();
    let warm = WARM_UP as usize + 1;
    for round in 0..hand.tags.len() {
        // The first release has nothing to be swapped with.
        if round == 0 {
            hand.compose(&hand.tags[0], &["up", "-d", "--no-deps", "app"])?;
            place::wait_until("the app", POLL, || place::healthy(&hand.public))?;
            ours.call(&ours.place.tags[0])?;
            continue;
        }
        let (by_hand, by_hand_dark) = hand.by_hand(&hand.tags[round])?;
        let (took, dark) = ours.watched(&ours.place.tags[round])?;
        if round >= warm {
            figures.hand.push(by_hand);
            figures.hand_dark.push(by_hand_dark);
            figures.ours.push(took);
            figures.ours_dark.push(dark);
        }
    }
    let tally = behind_the_proxy(&held, &mut figures)?;
    Ok(told(&figures, &tally))
}

fn behind_the_proxy(held: &Daemon, figures: &mut Figures) -> Result<Tally> {
    let (first, rest) = held.place.tags.split_first().context("no releases")?;
    held.call(first)?;
    let load = Load::start(&held.place.public);
    thread::sleep(PAUSE);
    for tag in rest {
        figures.held.push(held.call(tag)?);
        thread::sleep(PAUSE);
    }
    let tally = load.stop()?;
    ensure!(tally.by_release.len() > rest.len(), "a release never answered: {:?}", tally.by_release);
    Ok(tally)
}

fn told(figures: &Figures, tally: &Tally) -> Report {
    let mut report = Report::new(NAME, TITLE);
    report.meaning = MEANING.to_owned();
    report.header = vec!["what", "ms, median / worst", "over by hand, ms", "ratio"];
    let Figures { hand, hand_dark, ours, ours_dark, held } = figures;
    let mut pair = |what: &str, hand: &Samples, ours: &Samples, wanted: f64| {
        let ratio = ours.over(hand).median();
        report.row([&format!("by hand, {what}"), &hand.shown(), "–", "1"]);
        report.row([&format!("Lockgate, {what}"), &ours.shown(), &ours.minus(hand).shown(), &number(ratio)]);
        report.target(what, format!("≤ {wanted} ×"), format!("{} ×", number(ratio)), ratio <= wanted);
    };
    pair("to a finished answer", hand, ours, ANSWER_RATIO_MAX);
    pair("dark, without a router", hand_dark, ours_dark, DARK_RATIO_MAX);
    report.row(["Lockgate behind the built-in proxy, to a finished answer", &held.shown(), "", ""]);
    let wrong = tally.all_wrong();
    report.target(
        "behind the built-in proxy, failed requests and resets",
        "0",
        wrong.to_string(),
        wrong == 0,
    );
    report.note(format!("Behind the built-in proxy {} requests were sent during the swaps.", tally.requests));
    for failure in &tally.failures {
        report.note(format!("behind the built-in proxy: {failure}"));
    }
    report
}
