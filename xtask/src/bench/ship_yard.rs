//! What `ship` is measured on: a registry with a login, a host behind an sshd, and repositories with a small app.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;

use super::http::{self, Request};
use super::place::{self, Programs, Stage};
use super::project::Project;
use super::ssh::Machine;

const USER: &str = "ann";
/// Of the registry, on this machine's loopback and only while the benchmark lasts.
const PASSWORD: &str = "bench-password";
/// Where Lockgate finds it.
const PASSWORD_VARIABLE: &str = "BENCH_REGISTRY_PASSWORD";
/// As a person has it in their settings.
const GIT_SETTINGS: [&str; 8] = [
    "-c",
    "user.name=Kim Bench",
    "-c",
    "user.email=kim@bench.example",
    "-c",
    "init.defaultBranch=main",
    "-c",
    "gc.auto=0",
];
/// By hand: system C's way.
const BY_HAND: &str = include_str!("sh/ship.sh");
/// The questions of `lockgate ship` where nothing has changed.
const GIT_QUESTIONS: [&str; 5] = [
    "log -1 --format=%H%x00%an%x00%s%x00%ct HEAD --",
    "rev-parse --is-shallow-repository --show-prefix",
    "for-each-ref --points-at=HEAD --format=%(refname:lstrip=2) refs/tags",
    "ls-files -z -- :(top,literal).gitmodules",
    "status --porcelain=v2 --branch -z --untracked-files=normal",
];

/// Engine and registry. Prints the path of a static `hello`.
const SCRIPT: &str = r#"
port=$1 dir=$2 user=$3 prefix=$4
need docker docker-registry htpasswd
dockerd_up >&2
htpasswd_file "$dir/htpasswd" "$user" <"$dir/password"
registry_up "$port" "$dir/registry" "$dir/htpasswd"
mkdir -p "$dir/docker"
DOCKER_CONFIG=$dir/docker docker login --username "$user" --password-stdin "127.0.0.1:$port" <"$dir/password" >/dev/null 2>&1
images_rm() {
  docker images --digests --format '{{.Repository}}:{{.Tag}} {{.Repository}}@{{.Digest}}' "127.0.0.1:$port/*" \
    | tr ' ' '\n' | { grep -v '<none>' || true; } | sort -u | xargs -r docker image rm -f >/dev/null 2>&1 || true
  docker images --format '{{.Repository}}:{{.Tag}}' | { grep "^lockgate.internal/keep/$prefix-" || true; } \
    | xargs -r docker image rm >/dev/null 2>&1 || true
}
on_exit images_rm
hello_binary
"#;

/// As long as it lives.
pub struct Yard {
    pub machine: Machine,
    programs: Programs,
    /// `127.0.0.1:PORT`.
    registry: String,
    hello: PathBuf,
    /// How the names of projects, containers and folders here begin.
    prefix: String,
    dir: TempDir,
    _stage: Stage,
}

impl Yard {
    pub fn start(programs: &Programs) -> Result<Self> {
        let (dir, port) = (place::folder()?, place::free_port()?);
        let prefix = format!("bench-ship-{}", std::process::id());
        for folder in ["host/root", "no-login"] {
            std::fs::create_dir_all(dir.path().join(folder))?;
        }
        std::fs::write(dir.path().join("password"), PASSWORD)?;
        let text = dir.path().to_str().context("a folder that is no text")?.to_owned();
        // What the host's Docker keeps of logins is kept here.
        let machine = Machine::with(programs, &[&format!("SetEnv HOME={text}/host/root")])?;
        let stage = Stage::start(programs, SCRIPT, &[&port.to_string(), &text, USER, &prefix])?;
        let hello = stage.said.last().context("there is no hello")?.trim().into();
        let registry = format!("127.0.0.1:{port}");
        Ok(Self { machine, programs: programs.clone(), registry, hello, prefix, dir, _stage: stage })
    }

    /// On the host; below it is what it has of this benchmark.
    fn host(&self) -> String {
        self.dir.path().join("host").display().to_string()
    }

    /// With its first commit. `over_ssh`: deployed to the host, else to this machine.
    pub fn repository(&self, who: &str, over_ssh: bool) -> Result<Repository> {
        let name = format!("{}-{who}", self.prefix);
        let mut project = Project::new(&self.programs, "")?;
        let own = |folder: &str| self.dir.path().join(folder).display().to_string();
        project.env.push(("DOCKER_CONFIG".to_owned(), own("no-login")));
        project.env.push((PASSWORD_VARIABLE.to_owned(), PASSWORD.to_owned()));
        let repository = Repository {
            image: format!("{}/{who}", self.registry),
            folder: format!("{}/{name}", self.host()),
            port: place::free_port()?,
            login: own("docker"),
            name,
            project,
        };
        let write = |file: &str, text: &str| std::fs::write(repository.project.path().join(file), text);
        std::fs::copy(&self.hello, repository.project.path().join("hello"))?;
        write("lockgate.yaml", &repository.config(self, over_ssh.then(|| self.machine.config())))?;
        write("docker-compose.yml", &repository.compose(over_ssh))?;
        write(
            "Dockerfile",
            "FROM scratch\nCOPY hello /hello\nCOPY src /src\nENV PORT=5000\nENTRYPOINT [\"/hello\"]\n",
        )?;
        write(".dockerignore", ".git\n.lockgate\n")?;
        write(".gitignore", "slow.yaml\n")?;
        repository.git(&["init", "-q"])?;
        repository.commit(0)?;
        if over_ssh {
            std::fs::create_dir_all(&repository.folder)?;
        }
        Ok(repository)
    }

    /// A configuration of that repository by which the host is reached through this port of loopback; its name.
    pub fn through(&self, repository: &Repository, port: u16) -> Result<&'static str> {
        let config = self.machine.through(port)?;
        let text = repository.config(self, Some(config));
        std::fs::write(repository.project.path().join("slow.yaml"), text)?;
        Ok("slow.yaml")
    }
}

/// A clone with an app that is shipped from it. What was started of it is removed at the end.
pub struct Repository {
    pub project: Project,
    name: String,
    image: String,
    /// On the host.
    folder: String,
    /// Where the app answers.
    port: u16,
    /// The folder with Docker's login, for who types by hand.
    login: String,
}

impl Repository {
    /// `ssh`: the file of `ssh -F` with the host; this machine when `None`.
    fn config(&self, yard: &Yard, ssh: Option<String>) -> String {
        let Self { name, image, folder, .. } = self;
        let registry = &yard.registry;
        let (place, runtime, end) = match ssh {
            None => (
                String::new(),
                "{ compose: { file: docker-compose.yml, service: web } }".to_owned(),
                String::new(),
            ),
            Some(config) => (
                format!("    hosts: [\"{}\"]\n", yard.machine.name()),
                format!("{{ compose: {{ dir: \"{folder}\", upload: docker-compose.yml }} }}"),
                format!("ssh: {{ options: [\"-F\", \"{config}\"] }}\n"),
            ),
        };
        format!(
            "project: {name}\nservices:\n  web:\n    image: {image}\n    port: 5000\n    health: {{ path: /health, timeout: 30s }}\n    \
             watch: [\"src/**\", Dockerfile]\n    test: \"true\"\n    build: {{ tags: [\"{{sha}}\", latest] }}\n    \
             env: {{ GREETING: \"hello there\" }}\nenvironments:\n  prod:\n{place}    strategy: recreate\n    runtime: {runtime}\n    router: none\n\
             registries:\n  \"{registry}\": {{ user: {USER}, password: \"${{{PASSWORD_VARIABLE}}}\" }}\n{end}"
        )
    }

    fn compose(&self, has_variables: bool) -> String {
        let Self { name, image, port, .. } = self;
        let variables = if has_variables { "    env_file: .env\n" } else { "" };
        format!(
            "services:\n  web:\n    image: {image}:${{IMAGE_TAG:-none}}\n    container_name: {name}\n    ports: [\"127.0.0.1:{port}:5000\"]\n\
             {variables}    environment: {{ VERSION: \"${{IMAGE_TAG:-}}\" }}\n"
        )
    }

    fn git(&self, args: &[&str]) -> Result<String> {
        place::run(self.git_command().args(args))
    }

    fn git_command(&self) -> Command {
        let mut command = Command::new("git");
        command.args(GIT_SETTINGS).current_dir(self.project.path()).env("GIT_CONFIG_GLOBAL", "/dev/null");
        command
    }

    /// Another version of the app, as a commit.
    pub fn commit(&self, version: u32) -> Result<()> {
        let folder = self.project.path().join("src");
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join("version"), format!("{version} of {}\n", self.name))?;
        self.git(&["add", "-A"])?;
        self.git(&["commit", "-q", "-m", &format!("Version {version}")]).map(drop)
    }

    /// `lockgate ARGS`, to its end.
    pub fn lockgate(&self, args: &[&str], wanted: &str) -> Result<Duration> {
        let mut command = self.project.command(args);
        let began = Instant::now();
        let output = command.output()?;
        let took = began.elapsed();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        ensure!(
            output.status.success() && said.contains(wanted),
            "{command:?} ended with {}:\n{said}",
            output.status
        );
        Ok(took)
    }

    /// The host has what the script takes for given.
    pub fn prepared_by_hand(&self) -> Result<()> {
        Ok(std::fs::write(format!("{}/.env", self.folder), "GREETING='hello there'\n")?)
    }

    pub fn by_hand(&self, machine: &Machine) -> Result<Duration> {
        let mut command = Command::new("sh");
        let port = self.port.to_string();
        command.args([
            "-c",
            BY_HAND,
            "sh",
            &self.image,
            &self.folder,
            &port,
            &machine.config(),
            &machine.name(),
        ]);
        command.current_dir(self.project.path()).env("DOCKER_CONFIG", &self.login).env_remove("DOCKER_HOST");
        let began = Instant::now();
        place::run(&mut command)?;
        Ok(began.elapsed())
    }

    /// `lockgate ship` of a commit that is not live yet, to its end, and how long each of its jobs took.
    pub fn ship(&self) -> Result<(Duration, BTreeMap<String, Duration>)> {
        let mut command = self.project.command(&["ship", "--format", "json"]);
        let began = Instant::now();
        let said = place::run(&mut command)?;
        let took = began.elapsed();
        let lines = said.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
        let ended = lines.iter().filter(|line| line["event"] == "job_ended");
        let jobs = ended.filter_map(|line| {
            Some((line["job"].as_str()?.to_owned(), Duration::from_millis(line["ms"].as_u64()?)))
        });
        Ok((took, jobs.collect()))
    }

    /// What `lockgate ship` asks git where nothing has changed: one question after the other, or all at once as it does.
    pub fn ask_git(&self, at_once: bool) -> Result<Duration> {
        let began = Instant::now();
        let start = |question: &&str| {
            let mut command = self.git_command();
            command.args(question.split(' ')).stdout(std::process::Stdio::null()).spawn()
        };
        let end = |mut child: std::process::Child| {
            let status = child.wait()?;
            ensure!(status.success(), "git ended with {status}");
            anyhow::Ok(())
        };
        if at_once {
            let all: Vec<_> = GIT_QUESTIONS.iter().map(start).collect::<Result<_, _>>()?;
            all.into_iter().try_for_each(end)?;
        } else {
            GIT_QUESTIONS.iter().try_for_each(|question| end(start(question)?))?;
        }
        Ok(began.elapsed())
    }

    /// The commit that is checked out is what answers.
    pub fn expect_live(&self) -> Result<()> {
        let head = self.git(&["rev-parse", "HEAD"])?;
        let answer = http::send(&place::local(self.port), &Request::get("/version"))?;
        let seen = String::from_utf8_lossy(&answer.body).into_owned();
        ensure!(seen.trim() == head.trim(), "{seen:?} answers, not {head:?}");
        Ok(())
    }
}

impl Drop for Repository {
    fn drop(&mut self) {
        let docker = |args: &[&str]| Command::new("docker").args(args).output();
        let networks = docker(&[
            "inspect",
            "-f",
            "{{range $name, $_ := .NetworkSettings.Networks}}{{$name}} {{end}}",
            &self.name,
        ]);
        let removed = docker(&["rm", "-f", "-v", &self.name]);
        let names = networks.as_ref().map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
        for network in names.iter().flat_map(|names| names.split_whitespace()) {
            if let Err(error) = docker(&["network", "rm", network]) {
                eprintln!("bench: the network {network} could not be removed: {error}");
            }
        }
        if let Err(error) = removed {
            eprintln!("bench: {} could not be removed: {error}", self.name);
        }
    }
}
