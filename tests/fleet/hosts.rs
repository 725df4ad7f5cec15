//! Hosts on this machine: each sshd lives in a network namespace and a mount namespace of its own, so that all hosts have
//! the same addresses and paths and none sees another's. ssh reaches one by a program that enters its network.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::Signal;
use serde_json::Value;

use crate::support::project::{Running, run};
use crate::support::ran::Ran;
use crate::support::{app, processes, skipped, wait_for};

/// Where each host's sshd and proxy listen, in its own network.
const SSH_PORT: u16 = 22;
const PROXY_PORT: u16 = 8080;
/// Longest wait for a host to come up.
const UP_SECONDS_MAX: u64 = 20;

pub struct Fleet {
    /// Removed when dropped, after all that works in it has been ended.
    dir: tempfile::TempDir,
    pub hosts: Vec<Host>,
}

pub struct Host {
    pub id: String,
    /// Its files, as this machine sees them.
    files: PathBuf,
    /// `None` while it has no power.
    sshd: Option<Child>,
}

impl Fleet {
    /// Hosts `web1`, `web2` …, on which nothing is deployed yet. `None`, said so, where a part is missing.
    pub fn start(count: usize) -> Option<Fleet> {
        if !Command::new("unshare").args(["--net", "--mount", "iptables", "-L", "-n"]).output().is_ok_and(
            |ran| {
                ran.status.success()
                    && Path::new("/usr/sbin/sshd").exists()
                    && Path::new("/usr/bin/curl").exists()
            },
        ) {
            skipped("unshare and iptables, for root, sshd or curl are not there");
            return None;
        }
        // sshd as root wants its privilege separation folder.
        std::fs::create_dir_all("/run/sshd").unwrap();
        // Short, for the proxies' sockets lie in it.
        let dir = tempfile::Builder::new().prefix("lf").tempdir_in("/tmp").unwrap();
        let root = dir.path();
        for folder in ["host", "t", "m1", "m2"] {
            std::fs::create_dir(root.join(folder)).unwrap();
        }
        for key in ["host_key", "id"] {
            let key = root.join(key);
            let made =
                Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(key).status();
            assert!(made.unwrap().success(), "ssh-keygen");
        }
        std::fs::copy(root.join("id.pub"), root.join("authorized_keys")).unwrap();
        let mut fleet = Fleet { hosts: Vec::new(), dir };
        fleet.write_sshd_config();
        for number in 1..=count {
            let id = format!("web{number}");
            let files = fleet.path(format!("files-{id}"));
            std::fs::create_dir(&files).unwrap();
            fleet.hosts.push(Host { id, files, sshd: None });
        }
        for machine in ["m1", "m2"] {
            std::fs::write(fleet.path(machine).join("lockgate.yaml"), fleet.config()).unwrap();
        }
        fleet.write_known_hosts();
        (0..count).for_each(|index| fleet.power_on(index));
        ["v1", "v2", "v3"].iter().for_each(|tag| fleet.release(tag));
        Some(fleet)
    }

    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Its files are as they were; nothing runs there but sshd.
    pub fn power_on(&mut self, index: usize) {
        let (root, id) = (self.dir.path().to_owned(), self.hosts[index].id.clone());
        let script = "mount --make-rprivate / && mount --bind \"$1\" \"$2\" && ip link set lo up && exec /usr/sbin/sshd -D -f \"$3\" -E \"$4\"";
        let sshd = Command::new("unshare")
            .args(["--net", "--mount", "sh", "-c", script, "sh"])
            .args([&self.hosts[index].files, &root.join("host"), &root.join("sshd_config")])
            .arg(root.join(format!("sshd-{id}.log")))
            .current_dir(&root)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let pid = sshd.id();
        let reach = format!(
            "#!/bin/bash\nexec nsenter --target {pid} --net bash -c 'exec 3<>/dev/tcp/127.0.0.1/{SSH_PORT} || exit 1; cat <&3 & cat >&3; kill $!'\n"
        );
        let path = root.join(format!("reach-{id}"));
        std::fs::write(&path, reach).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        self.hosts[index].sshd = Some(sshd);
        wait_for("sshd to listen", UP_SECONDS_MAX, || {
            let mut probe = self.hosts[index].within(&["bash", "-c"]);
            probe.arg(format!("exec 3<>/dev/tcp/127.0.0.1/{SSH_PORT}")).stderr(Stdio::null());
            probe.status().unwrap().success().then_some(())
        });
    }

    /// All that runs on it ends at once.
    pub fn power_off(&mut self, index: usize) {
        let Some(mut sshd) = self.hosts[index].sshd.take() else { return };
        let network = network_of(sshd.id()).expect("it runs");
        let entries = std::fs::read_dir("/proc").unwrap();
        let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
        let there: Vec<u32> = pids.filter(|pid| network_of(*pid).as_ref() == Some(&network)).collect();
        there.iter().for_each(|pid| processes::send(i32::try_from(*pid).unwrap(), Signal::KILL));
        sshd.wait().unwrap();
    }

    /// Drops (`-A`) all that comes in on the host's network, or lets it pass again (`-D`).
    pub fn drops(&self, how: &str, index: usize) {
        let ran = self.hosts[index].within(&["iptables", how, "INPUT", "-j", "DROP"]).status().unwrap();
        assert!(ran.success(), "iptables {how}");
    }

    pub fn command<'a>(&self, machine: &str, args: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lockgate"));
        command.args(args).stdin(Stdio::null()).current_dir(self.path(machine));
        // Where ssh's control sockets go.
        command.env("TMPDIR", self.path("t"));
        for name in ["LOCKGATE_ENV", "LOCKGATE_LOG", "SLACK_WEBHOOK_URL", "NO_COLOR"] {
            command.env_remove(name);
        }
        command
    }

    /// Runs `lockgate ARGS`, split at blanks, on the first machine.
    pub fn run(&self, args: &str) -> Ran {
        run(self.command("m1", args.split_whitespace()))
    }

    pub fn run_on(&self, machine: &str, args: &str) -> Ran {
        run(self.command(machine, args.split_whitespace()))
    }

    /// What a hint says: a line that begins with `lockgate`.
    pub fn type_hint(&self, hint: &str) -> Ran {
        let args = hint.strip_prefix("lockgate ").unwrap_or_else(|| panic!("{hint:?} is no command"));
        self.run(args)
    }

    /// A deployment that is at the gate behind the switch, on all hosts.
    pub fn start_and_wait_at_gate(&self, tag: &str) -> Running {
        let running = Running::start(self.command("m1", ["deploy", "web", tag]));
        let at_gate = self.path(format!("at-gate-{tag}"));
        wait_for("the gate to be asked", 40, || at_gate.exists().then_some(()));
        running
    }

    pub fn open_gate(&self) {
        std::fs::write(self.path("open"), "").unwrap();
    }

    pub fn close_gate(&self) {
        std::fs::remove_file(self.path("open")).unwrap();
    }

    /// The object of `status --format json`, which exits with `code`.
    #[track_caller]
    pub fn status(&self, code: i32) -> Value {
        self.run("status web --format json").expect(code).last()
    }

    /// These hosts serve `tag`.
    #[track_caller]
    pub fn expect_live(&self, indices: &[usize], tag: &str) {
        for index in indices {
            let host = &self.hosts[*index];
            assert_eq!(host.serves().as_deref(), Some(tag), "{}", host.id);
        }
    }

    fn release(&self, tag: &str) {
        let hello = app::hello().display();
        let script = format!("#!/bin/sh\nHOST=127.0.0.1 VERSION={tag} SLOT=$LOCKGATE_SLOT exec {hello}\n");
        for host in &self.hosts {
            let path = host.files.join(format!("app-{tag}"));
            std::fs::write(&path, &script).unwrap();
            std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        }
    }

    fn write_sshd_config(&self) {
        let (root, bin) =
            (self.dir.path().display(), Path::new(env!("CARGO_BIN_EXE_lockgate")).parent().unwrap());
        let config = format!(
            "Port {SSH_PORT}\nListenAddress 127.0.0.1\nHostKey {root}/host_key\nAuthorizedKeysFile {root}/authorized_keys\n\
             PidFile none\nUsePAM no\nStrictModes no\nPermitRootLogin prohibit-password\nPasswordAuthentication no\n\
             LogLevel VERBOSE\nSetEnv SHLVL=2 HOME={root}/host PATH={}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n",
            bin.display()
        );
        std::fs::write(self.path("sshd_config"), config).unwrap();
    }

    fn write_known_hosts(&self) {
        let root = self.dir.path().display();
        let key = std::fs::read_to_string(self.path("host_key.pub")).unwrap();
        let lines: String = self.hosts.iter().map(|host| format!("{} {key}", host.id)).collect();
        std::fs::write(self.path("known_hosts"), lines).unwrap();
        let config = format!(
            "Host *\n  ProxyCommand {root}/reach-%h\n  User root\n  IdentityFile {root}/id\n  IdentitiesOnly yes\n  \
             IdentityAgent none\n  UserKnownHostsFile {root}/known_hosts\n  GlobalKnownHostsFile /dev/null\n"
        );
        std::fs::write(self.path("ssh_config"), config).unwrap();
        let gate = format!(
            "#!/bin/sh\n: > {root}/at-gate-$LOCKGATE_TAG\ni=0\nwhile [ ! -e {root}/open ] && [ $i -lt 3000 ]\ndo sleep 0.02; i=$((i+1)); done\n[ -e {root}/open ]\n"
        );
        std::fs::write(self.path("gate"), gate).unwrap();
        std::fs::set_permissions(self.path("gate"), std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .unwrap();
        self.open_gate();
    }

    fn config(&self) -> String {
        let root = self.dir.path().display();
        let ids: Vec<&str> = self.hosts.iter().map(|host| host.id.as_str()).collect();
        format!(
            r#"project: shop
services:
  web:
    command: ["{root}/host/app-{{tag}}"]
    cwd: "{root}/host"
    health: {{ path: /health, timeout: 20s }}
environments:
  prod:
    hosts: [{ids}]
    waves: [rest]
    runtime: {{ process: {{ dir: "{root}/host/lg" }} }}
    router: {{ builtin: {{ listen: "127.0.0.1:{PROXY_PORT}", dir: "{root}/host/proxy" }} }}
    after: [{{ name: wait, command: "{root}/gate" }}]
    drain: 1s
    stop_grace: 2s
ssh: {{ options: [-F, "{root}/ssh_config"] }}
"#,
            ids = ids.join(", ")
        )
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        (0..self.hosts.len()).for_each(|index| self.power_off(index));
        processes::end_all(self.dir.path());
        if std::thread::panicking() && std::env::var_os("LOCKGATE_TEST_KEEP").is_some() {
            self.dir.disable_cleanup(true);
            eprintln!("kept: {}", self.dir.path().display());
        }
    }
}

impl Host {
    /// A program in the host's network.
    fn within(&self, argv: &[&str]) -> Command {
        let pid = self.sshd.as_ref().expect("it has power").id().to_string();
        let mut command = Command::new("nsenter");
        command.args(["--target", &pid, "--net"]).args(argv).stdin(Stdio::null());
        command
    }

    /// Which release answers through the host's router; `None` when none does.
    pub fn serves(&self) -> Option<String> {
        let url = format!("http://127.0.0.1:{PROXY_PORT}/");
        let asked =
            self.within(&["curl", "-s", "-m", "5", "-o", "/dev/null", "-D", "-", &url]).output().unwrap();
        let head = String::from_utf8_lossy(&asked.stdout).to_lowercase();
        head.lines().find_map(|line| line.strip_prefix("x-release:").map(|tag| tag.trim().to_owned()))
    }
}

fn network_of(pid: u32) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/{pid}/ns/net")).ok()
}
