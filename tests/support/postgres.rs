//! A PostgreSQL server of a test's own: real, as an unprivileged user, with a folder of its own, on a Unix socket there. It is
//! ended when it is dropped, and by the kernel when the test is killed.
#![allow(dead_code, reason = "each of the test binaries uses its part")]

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Where Debian keeps each version's programs.
const VERSIONS: &str = "/usr/lib/postgresql";
/// Who runs it when the tests run as root, for which PostgreSQL refuses to start.
const USER: &str = "postgres";
const START_SECONDS_MAX: u64 = 60;
const STOP_SECONDS_MAX: u64 = 20;
const LOOK_MILLIS: u64 = 10;
/// Somebody else may take a port between our look and the server's start.
const PORT_TRIES: u32 = 20;
/// Of the user `lockgate`, over TCP.
pub const PASSWORD: &str = "s3cr3t/pass@word";

pub struct Postgres {
    programs: PathBuf,
    folder: tempfile::TempDir,
    settings: Vec<String>,
    /// `None` while it is stopped.
    server: Option<Child>,
    port: u16,
}

impl Postgres {
    /// With the database `lockgate` in it. `None` where there is none installed.
    pub fn start() -> Option<Postgres> {
        let mut postgres = Self::make()?;
        postgres.settings = vec!["listen_addresses=".into()];
        postgres.serve();
        postgres.psql("postgres", "CREATE DATABASE lockgate");
        Some(postgres)
    }

    /// Also on a port of 127.0.0.1, with TLS by a certificate for `localhost` of an authority of its own.
    pub fn start_with_tls() -> Option<Postgres> {
        let mut postgres = Self::make()?;
        postgres.make_certificate();
        postgres.settings = vec!["listen_addresses=127.0.0.1".into(), "ssl=on".into()];
        for _ in 0..PORT_TRIES {
            postgres.port = free_port();
            if postgres.try_serve() {
                postgres.psql("postgres", "CREATE DATABASE lockgate");
                return Some(postgres);
            }
        }
        panic!("no port was free:\n{}", postgres.log());
    }

    fn make() -> Option<Postgres> {
        let Some(programs) = programs() else {
            assert!(
                std::env::var_os("LOCKGATE_TEST_REQUIRE_ALL").is_none(),
                "there is no PostgreSQL here, and everything is required"
            );
            eprintln!("skipped: there is no PostgreSQL here");
            return None;
        };
        // Short, for the socket lies in it.
        let folder = tempfile::Builder::new().prefix("lgpg").tempdir_in("/tmp").unwrap();
        let made = Postgres { programs, folder, settings: Vec::new(), server: None, port: 5432 };
        std::fs::write(made.path("password"), PASSWORD).unwrap();
        std::fs::set_permissions(made.path("password"), std::fs::Permissions::from_mode(0o644)).unwrap();
        if rustix::process::geteuid().is_root() {
            chown(made.folder.path(), Some(id_of("-u")), Some(id_of("-g"))).unwrap();
        }
        let mut initdb = made.command("initdb", &[]);
        initdb.arg("-D").arg(made.path("data")).arg("--pwfile").arg(made.path("password"));
        initdb.args(["-U", "lockgate", "-E", "UTF8", "--locale", "C.UTF-8", "--no-sync"]);
        initdb.args(["--auth-local", "trust", "--auth-host", "scram-sha-256"]);
        succeed(&mut initdb);
        Some(made)
    }

    fn make_certificate(&self) {
        let path = |name: &str| self.path(name).display().to_string();
        let (authority, key) = (path("authority.pem"), path("authority.key"));
        std::fs::write(path("extensions"), "subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE\n")
            .unwrap();
        let make = |words: &str, more: &[&str]| {
            succeed(Command::new("openssl").args(words.split(' ')).args(more));
        };
        let keys = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
        make(
            &format!("req -x509 {keys} -days 2 -subj /CN=lockgate-test"),
            &["-keyout", &key, "-out", &authority],
        );
        let (server, request) = (path("data/server.key"), path("request"));
        make(&format!("req -new {keys} -subj /CN=localhost"), &["-keyout", &server, "-out", &request]);
        let certificate = path("data/server.crt");
        let of = [
            "-extfile",
            &path("extensions"),
            "-in",
            &request,
            "-CA",
            &authority,
            "-CAkey",
            &key,
            "-out",
            &certificate,
        ];
        make("x509 -req -days 2 -CAcreateserial", &of);
        for file in ["data/server.key", "data/server.crt"] {
            std::fs::set_permissions(self.path(file), std::fs::Permissions::from_mode(0o600)).unwrap();
            if rustix::process::geteuid().is_root() {
                chown(self.path(file), Some(id_of("-u")), Some(id_of("-g"))).unwrap();
            }
        }
    }

    /// The authority that a client must believe.
    pub fn authority(&self) -> PathBuf {
        self.path("authority.pem")
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// To the database `name`, over the socket, where everybody is let in.
    pub fn url(&self, name: &str) -> String {
        let folder = self.folder.path().display().to_string().replace('/', "%2F");
        format!("postgres://lockgate@{folder}:{}/{name}", self.port)
    }

    /// Waits until it answers again.
    pub fn serve(&mut self) {
        assert!(self.try_serve(), "PostgreSQL ended at once:\n{}", self.log());
    }

    fn try_serve(&mut self) -> bool {
        let log = std::fs::File::options().create(true).append(true).open(self.path("log")).unwrap();
        // Ended with the thread that starts it, so also when the test is killed.
        let mut postgres = self.command("postgres", &["--pdeathsig", "QUIT"]);
        postgres.arg("-D").arg(self.path("data")).arg("-k").arg(self.folder.path());
        postgres.args(["-p", &self.port.to_string(), "-F"]);
        postgres.args(["-c", "max_connections=30", "-c", "shared_buffers=16MB"]);
        for setting in &self.settings {
            postgres.args(["-c", setting]);
        }
        let mut server =
            postgres.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(START_SECONDS_MAX);
        loop {
            if server.try_wait().unwrap().is_some() {
                return false;
            }
            let mut ready = self.command("pg_isready", &[]);
            ready.arg("-q").arg("-h").arg(self.folder.path()).args(["-p", &self.port.to_string()]);
            if ready.status().unwrap().success() {
                self.server = Some(server);
                return true;
            }
            assert!(Instant::now() < deadline, "PostgreSQL is not up in time:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(LOOK_MILLIS));
        }
    }

    /// Ends it at once, as a crash does, or in order.
    pub fn stop(&mut self, how: rustix::process::Signal) {
        let Some(mut server) = self.server.take() else { return };
        self.signal_to(&server, how);
        let deadline = Instant::now() + Duration::from_secs(STOP_SECONDS_MAX);
        while server.try_wait().unwrap().is_none() {
            if Instant::now() > deadline {
                server.kill().unwrap();
                server.wait().unwrap();
            }
            std::thread::sleep(Duration::from_millis(LOOK_MILLIS));
        }
    }

    fn signal_to(&self, server: &Child, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(server);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// What it answers to SQL, in plain lines.
    pub fn psql(&self, database: &str, sql: &str) -> String {
        let mut psql = self.command("psql", &[]);
        psql.arg("-h").arg(self.folder.path()).args(["-p", &self.port.to_string(), "-U", "lockgate"]);
        psql.args(["-d", database, "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", sql]);
        String::from_utf8(succeed(&mut psql).stdout).unwrap().trim().to_owned()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// One of its programs, as somebody who may run it.
    fn command(&self, program: &str, more: &[&str]) -> Command {
        let mut command = Command::new("setpriv");
        if rustix::process::geteuid().is_root() {
            command.args(["--reuid", USER, "--regid", USER, "--clear-groups"]);
        }
        command.args(more).arg("--").arg(self.programs.join(program));
        command.current_dir(self.folder.path()).env_remove("PGPORT").env_remove("PGHOST");
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.stop(rustix::process::Signal::INT);
    }
}

fn succeed(command: &mut Command) -> Output {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}:\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

fn programs() -> Option<PathBuf> {
    let number = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
    let versions = std::fs::read_dir(VERSIONS).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    let newest =
        versions.filter(|path| path.join("bin/postgres").exists()).max_by_key(|path| number(path))?;
    Some(newest.join("bin"))
}

fn id_of(which: &str) -> u32 {
    let output = succeed(Command::new("id").args([which, USER]));
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
