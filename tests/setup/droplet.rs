//! A host behind a real sshd on this machine, reached as CI does: with a key and host keys from variables, and no `~/.ssh`.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::support::project::{Running, run};
use crate::support::ran::Ran;
use crate::support::{processes, skipped, wait_for};

const SSHD: &str = "/usr/sbin/sshd";
const UP_SECONDS_MAX: u64 = 20;
/// Ports tried: another process may take one between choosing and listening.
const PORTS_MAX: u32 = 5;

pub struct Droplet {
    /// Removed when dropped, after all that works in it has been ended.
    dir: tempfile::TempDir,
    pub port: u16,
    sshd: Option<Child>,
    /// In front of the PATH of a login; `None`: sshd's own.
    programs: Option<PathBuf>,
    /// For the command beside those that every one gets.
    variables: Vec<(String, String)>,
}

impl Droplet {
    /// `environment`: lines of the environment, without indentation; `service`: of the service. `HOST` is the folder that the
    /// host may fill, `PORT` sshd's port. `None`, said so, where a part is missing.
    pub fn new(service: &str, environment: &str) -> Option<Droplet> {
        if !Path::new(SSHD).exists() {
            skipped("sshd is not there");
            return None;
        }
        std::fs::create_dir_all("/run/sshd").unwrap();
        let dir = tempfile::Builder::new().prefix("ld").tempdir_in("/tmp").unwrap();
        for folder in ["host", "project", "t"] {
            std::fs::create_dir(dir.path().join(folder)).unwrap();
        }
        for key in ["host_key", "id"] {
            let key = dir.path().join(key);
            let made =
                Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(key).status();
            assert!(made.unwrap().success(), "ssh-keygen");
        }
        std::fs::copy(dir.path().join("id.pub"), dir.path().join("authorized_keys")).unwrap();
        let droplet = Droplet { dir, port: free_port(), sshd: None, programs: None, variables: Vec::new() };
        droplet.configure(service, environment);
        Some(droplet)
    }

    /// Writes lockgate.yaml.
    pub fn configure(&self, service: &str, environment: &str) {
        let indented = |text: &str| text.lines().map(|line| format!("    {line}\n")).collect::<String>();
        let text = format!(
            "project: monarch\nservices:\n  monarch:\n    image: registry.example.com/acme/monarch\n{}environments:\n  prod:\n    hosts: [\"ssh://127.0.0.1:PORT\"]\n    strategy: recreate\n{}ssh: {{ key: \"${{SSH_PRIVATE_KEY}}\", known_hosts: \"${{KNOWN_HOSTS}}\", options: [-F, /dev/null] }}\n",
            indented(service),
            indented(environment)
        );
        let text = text
            .replace("HOST/", &format!("{}/", self.host("").display()))
            .replace("PORT", &self.port.to_string());
        std::fs::write(self.project("lockgate.yaml"), text).unwrap();
    }

    /// A file of the host.
    pub fn host(&self, name: &str) -> PathBuf {
        self.folder("host", name)
    }

    /// A file beside lockgate.yaml.
    pub fn project(&self, name: &str) -> PathBuf {
        self.folder("project", name)
    }

    fn folder(&self, folder: &str, name: &str) -> PathBuf {
        let folder = self.dir.path().join(folder);
        if name.is_empty() { folder } else { folder.join(name) }
    }

    pub fn root(&self) -> &Path {
        self.dir.path()
    }

    pub fn set(&mut self, name: &str, value: &str) {
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    /// A login finds programs in this folder of the host, and the usual ones, and puts new ones nowhere else. Before it boots.
    pub fn finds_programs_in(&mut self, folder: &str) {
        self.programs = Some(self.host(folder));
    }

    /// sshd listens from now on.
    pub fn boots(&mut self) {
        for _ in 0..PORTS_MAX {
            let root = self.root().display();
            let path =
                self.programs.as_ref().map(|folder| format!(" PATH={}:/usr/bin:/bin", folder.display()));
            let path = path.unwrap_or_default();
            let config = format!(
                "Port {}\nListenAddress 127.0.0.1\nHostKey {root}/host_key\nAuthorizedKeysFile {root}/authorized_keys\nPidFile none\n\
                 UsePAM no\nStrictModes no\nPermitRootLogin prohibit-password\nPasswordAuthentication no\nSetEnv SHLVL=2{path}\n",
                self.port
            );
            std::fs::write(self.root().join("sshd_config"), config).unwrap();
            let mut sshd = Command::new(SSHD);
            sshd.args(["-D", "-f"])
                .arg(self.root().join("sshd_config"))
                .arg("-E")
                .arg(self.root().join("sshd.log"));
            let mut child = sshd.stdin(Stdio::null()).current_dir(self.root()).spawn().unwrap();
            let is_up = wait_for("sshd to listen", UP_SECONDS_MAX, || {
                match std::net::TcpStream::connect(("127.0.0.1", self.port)) {
                    Ok(_) => Some(true),
                    Err(_) => child.try_wait().unwrap().map(|_| false),
                }
            });
            if is_up {
                self.sshd = Some(child);
                return;
            }
            self.port = free_port();
        }
        panic!("sshd did not start");
    }

    pub fn command(&self, args: &str) -> Command {
        let read = |name: &str| std::fs::read_to_string(self.root().join(name)).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_lockgate"));
        command.args(args.split_whitespace()).stdin(Stdio::null()).current_dir(self.project(""));
        command.env("TMPDIR", self.root().join("t"));
        command.env("SSH_PRIVATE_KEY", read("id").trim_end());
        command.env("KNOWN_HOSTS", format!("[127.0.0.1]:{} {}", self.port, read("host_key.pub")));
        for name in
            ["LOCKGATE_ENV", "LOCKGATE_LOG", "SLACK_WEBHOOK_URL", "NO_COLOR", "SSH_AUTH_SOCK", "DEPLOY_HOST"]
        {
            command.env_remove(name);
        }
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    pub fn run(&self, args: &str) -> Ran {
        run(self.command(args))
    }

    pub fn start(&self, args: &str) -> Running {
        Running::start(self.command(args))
    }

    /// Without what is another one each time.
    pub fn shown(&self, text: &str) -> String {
        let text = text.replace(&self.host("").display().to_string(), "HOST");
        let text = text.replace(&format!("127.0.0.1:{}", self.port), "127.0.0.1:PORT");
        // Columns are as wide as paths and ports are long.
        let cells = |line: &str| {
            line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect::<Vec<_>>().join("  ")
        };
        text.lines().map(cells).collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Droplet {
    fn drop(&mut self) {
        if let Some(mut sshd) = self.sshd.take() {
            sshd.kill().ok();
            sshd.wait().ok();
        }
        processes::end_all(self.dir.path());
    }
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
