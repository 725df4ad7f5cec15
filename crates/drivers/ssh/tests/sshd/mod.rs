//! A real sshd on loopback with keys of its own, that ends with the test.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use lockgate_model::{HostId, Ssh as Settings};
use lockgate_ssh::Ssh;

const SSHD: &str = "/usr/sbin/sshd";
/// Longest wait for sshd to listen.
const START_SECONDS_MAX: u64 = 10;
/// Ports tried: another process may take one between choosing and listening.
const PORTS_MAX: u32 = 5;

pub struct Sshd {
    pub port: u16,
    folder: tempfile::TempDir,
    process: Child,
}

impl Sshd {
    /// `None`, said on stderr, where sshd is not installed.
    pub fn start() -> Option<Sshd> {
        Sshd::start_with("", "")
    }

    /// With `extra` lines of `sshd_config` and more variables (`NAME=value …`) in every session.
    pub fn start_with(extra: &str, environment: &str) -> Option<Sshd> {
        if !installed(SSHD) || !installed("/usr/bin/ssh-keygen") || !installed("/usr/bin/ssh") {
            return skip("sshd, ssh and ssh-keygen are");
        }
        // sshd as root wants its privilege separation folder; as another user it does without.
        std::fs::create_dir_all("/run/sshd").ok();
        let folder = tempfile::Builder::new().prefix("lockgate-sshd-").tempdir().unwrap();
        for key in ["host_key", "id", "other_id"] {
            make_key(&folder.path().join(key));
        }
        std::fs::copy(folder.path().join("id.pub"), folder.path().join("authorized_keys")).unwrap();
        // A bash that sshd starts reads ~/.bashrc unless it believes to run within another: the tester's own start-up files
        // are no part of the test.
        let extra = format!("SetEnv SHLVL=2 {environment}\n{extra}");
        for _ in 0..PORTS_MAX {
            let port = free_port();
            if let Some(process) = listen(folder.path(), port, &extra) {
                let sshd = Sshd { port, folder, process };
                sshd.know_host_key("host_key");
                sshd.write_client_config("id");
                return Some(sshd);
            }
        }
        panic!(
            "sshd did not start: {}",
            std::fs::read_to_string(folder.path().join("sshd.log")).unwrap_or_default()
        );
    }

    /// An empty folder for the test's own files.
    pub fn work(&self) -> String {
        let work = self.folder.path().join("work");
        std::fs::create_dir_all(&work).unwrap();
        work.canonicalize().unwrap().to_str().unwrap().to_owned()
    }

    pub fn id(&self) -> HostId {
        HostId::new(format!("ssh://127.0.0.1:{}", self.port)).unwrap()
    }

    pub fn settings(&self) -> Settings {
        let config = self.folder.path().join("client_config").to_str().unwrap().to_owned();
        Settings { options: vec!["-F".into(), config], ..Settings::default() }
    }

    pub fn host(&self) -> Ssh {
        Ssh::new(self.id(), &self.settings())
    }

    pub fn known_hosts(&self) -> PathBuf {
        self.folder.path().join("known_hosts")
    }

    /// Makes `known_hosts` say that this is the host's key (a file name of the fixture).
    pub fn know_host_key(&self, key: &str) {
        let key = std::fs::read_to_string(self.folder.path().join(format!("{key}.pub"))).unwrap();
        std::fs::write(self.known_hosts(), format!("[127.0.0.1]:{} {key}", self.port)).unwrap();
    }

    /// The user's `ssh_config`, with one of the fixture's keys and an alias `box`.
    pub fn write_client_config(&self, key: &str) {
        let folder = self.folder.path().display();
        let text = format!(
            "Host box\n  HostName 127.0.0.1\n  Port {}\nHost *\n  IdentityFile {folder}/{key}\n  IdentitiesOnly yes\n  \
             IdentityAgent none\n  UserKnownHostsFile {folder}/known_hosts\n  GlobalKnownHostsFile /dev/null\n",
            self.port
        );
        std::fs::write(self.folder.path().join("client_config"), text).unwrap();
    }

    /// How often something stands in sshd's log.
    pub fn logged(&self, what: &str) -> usize {
        std::fs::read_to_string(self.folder.path().join("sshd.log")).unwrap().matches(what).count()
    }

    /// The client's configuration for `box`, reached through `jump`. Both have the same keys, for `jump` takes them over.
    pub fn jump_over(&self, jump: &Sshd) {
        let (ours, theirs) = (self.folder.path(), jump.folder.path());
        let id = std::fs::read(ours.join("id.pub")).unwrap();
        std::fs::write(theirs.join("authorized_keys"), id).unwrap();
        let known =
            [self, jump].map(|sshd| std::fs::read_to_string(sshd.known_hosts()).unwrap().trim().to_owned());
        std::fs::write(self.known_hosts(), known.join("\n") + "\n").unwrap();
        let config = ours.join("client_config");
        let rest = std::fs::read_to_string(&config).unwrap();
        let jump = format!("Host box\n  ProxyJump ssh://127.0.0.1:{}\n", jump.port);
        std::fs::write(config, jump + &rest).unwrap();
    }

    /// How many connections are open.
    pub fn connections(&self) -> usize {
        children(self.process.id()).len()
    }

    /// Ends every open connection the hard way and says how many there were.
    pub fn cut_connections(&self) -> usize {
        let sessions = children(self.process.id());
        for session in &sessions {
            kill(*session);
        }
        sessions.len()
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let sessions = children(self.process.id());
        self.process.kill().ok();
        self.process.wait().ok();
        sessions.into_iter().for_each(kill);
    }
}

fn installed(path: &str) -> bool {
    Path::new(path).exists()
}

/// Says why a test does not run.
pub fn skip<T>(what: &str) -> Option<T> {
    assert!(
        std::env::var_os("LOCKGATE_TEST_REQUIRE_ALL").is_none_or(|value| value != "1"),
        "{what} not installed"
    );
    eprintln!("skipped: {what} not installed");
    None
}

fn make_key(path: &Path) {
    let made =
        Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path).status().unwrap();
    assert!(made.success(), "ssh-keygen");
}

pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn listen(folder: &Path, port: u16, extra: &str) -> Option<Child> {
    let shown = folder.display();
    let config = format!(
        "Port {port}\nListenAddress 127.0.0.1\nHostKey {shown}/host_key\nAuthorizedKeysFile {shown}/authorized_keys\n\
         PidFile none\nUsePAM no\nStrictModes no\nPermitRootLogin prohibit-password\nPasswordAuthentication no\n\
         MaxStartups 100\nLogLevel VERBOSE\n{extra}\n"
    );
    let path = folder.join("sshd_config");
    std::fs::write(&path, config).unwrap();
    std::fs::set_permissions(folder.join("host_key"), std::fs::Permissions::from_mode(0o600)).unwrap();
    let log = folder.join("sshd.log");
    let mut sshd = Command::new(SSHD);
    sshd.args(["-D", "-f"]).arg(&path).arg("-E").arg(log).stdin(Stdio::null());
    let mut process = sshd.spawn().unwrap();
    let bound = Instant::now() + Duration::from_secs(START_SECONDS_MAX);
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        if process.try_wait().unwrap().is_some() || Instant::now() > bound {
            process.kill().ok();
            process.wait().unwrap();
            return None;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Some(process)
}

fn children(parent: u32) -> Vec<u32> {
    let processes = std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    processes.filter(|pid| parent_of(*pid) == Some(parent)).collect()
}

fn parent_of(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok()
}

fn kill(pid: u32) {
    Command::new("kill").args(["-9", &pid.to_string()]).stderr(Stdio::null()).status().unwrap();
}
