//! The units' text.

use std::fmt::Write as _;

use lockgate_model::ListenAt;

use super::daemon::{Daemon, Starts};

/// Longest start until it listens.
const START_SECONDS_MAX: u32 = 60;
/// Longest stop: what is under way is left within a few seconds, and answers are finished.
const STOP_SECONDS_MAX: u32 = 60;
/// Pause before it is started again.
const RESTART_SECONDS: u32 = 1;
const DESCRIPTORS_MAX: u32 = 65_536;
const BACKLOG_MAX: u32 = 4_096;

/// What nothing of Lockgate's needs. Each one also keeps it from what is started by it, which is the proxy at most.
const WALLS: &str = "\
NoNewPrivileges=yes
CapabilityBoundingSet=CAP_CHOWN CAP_DAC_OVERRIDE CAP_DAC_READ_SEARCH CAP_FOWNER CAP_KILL CAP_NET_BIND_SERVICE CAP_SYS_PTRACE
ProtectSystem=strict
ProtectHome=read-only
PrivateTmp=yes
PrivateDevices=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM
";

impl Daemon {
    /// The unit that runs `lockgate serve`. `environment` is the file with its variables.
    pub fn service(&self, environment: &str) -> String {
        let unit = self.unit();
        let docker = if self.runs_containers { " docker.service" } else { "" };
        let group = self.group.iter().map(|group| format!("SupplementaryGroups={group}\n"));
        let group: String = group.collect();
        format!(
            "\
# Written by `lockgate setup --daemon`. Changes of your own belong into `systemctl edit {unit}`, which stays when this is written anew.
[Unit]
Description=Lockgate: signed deployments of {project}
Wants=network-online.target
After=network-online.target{docker}
Requires={unit}.socket
After={unit}.socket
# It is tried for as long as it takes: nothing else deploys, and nothing else brings back what a reboot took down.
StartLimitIntervalSec=0

[Service]
Type=notify
ExecStart={command}
# A new version, or another lockgate.yaml: calls that wait go on waiting, which a restart ends with 503.
ExecReload={command} --upgrade
WorkingDirectory={root}
User={user}
{group}EnvironmentFile={environment}
TimeoutStartSec={START_SECONDS_MAX}s
TimeoutStopSec={STOP_SECONDS_MAX}s
Restart=on-failure
RestartSec={RESTART_SECONDS}s
# A configuration that is wrong does not get right by itself.
RestartPreventExitStatus=2
# What it started goes on without it: the proxy, services, and what a run has under way, which the next one takes over.
KillMode=process
OOMPolicy=continue
LimitNOFILE={DESCRIPTORS_MAX}
{walls}
[Install]
WantedBy=multi-user.target
",
            project = specifiers(&self.project),
            command = [&self.program, "-c", &self.config, "serve"].map(argument).join(" "),
            root = specifiers(&self.root),
            user = self.user,
            environment = specifiers(environment),
            walls = self.walls(),
        )
    }

    /// The unit that listens, also while the other one is started again.
    pub fn socket(&self) -> String {
        let unit = self.unit();
        let mut listen = String::new();
        for at in &self.listen {
            let at = match at {
                ListenAt::Tcp(address) => address.to_string(),
                ListenAt::Unix(path) => specifiers(&path.to_string_lossy()),
            };
            let _ = writeln!(listen, "ListenStream={at}");
        }
        if self.listen.iter().any(|at| matches!(at, ListenAt::Unix(_))) {
            let _ = writeln!(listen, "SocketUser={}\nSocketMode=0660", self.user);
        }
        format!(
            "\
# Written by `lockgate setup --daemon`. It listens for {unit}.service, also while that is started again: no call is refused.
[Unit]
Description=Lockgate: where deployments of {project} are called

[Socket]
{listen}Backlog={BACKLOG_MAX}
NoDelay=yes

[Install]
WantedBy=sockets.target
",
            project = specifiers(&self.project),
        )
    }

    fn walls(&self) -> String {
        let low_port = match self.starts {
            Starts::Programs => {
                return "TasksMax=infinity\n\
                        # No walls: services of the runtime `process` are started from here and would have them around themselves.\n"
                    .to_owned();
            }
            Starts::Proxy { low_port } => low_port,
            Starts::Nothing => false,
        };
        let mut walls = String::from("\n# Walls. It writes to these folders and to no other.\n");
        for folder in &self.writes {
            let _ = writeln!(walls, "ReadWritePaths=-{}", quoted(folder));
        }
        walls.push_str(WALLS);
        if low_port {
            walls.push_str("# The proxy listens below 1024.\nAmbientCapabilities=CAP_NET_BIND_SERVICE\n");
        }
        walls
    }
}

/// `%` begins a specifier.
fn specifiers(text: &str) -> String {
    text.replace('%', "%%")
}

/// One word of a command: see systemd.service(5), where `$` begins a variable.
fn argument(text: &str) -> String {
    quoted(&text.replace('$', "$$"))
}

fn quoted(text: &str) -> String {
    let text = specifiers(text);
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@=,~%$".contains(c);
    match text.chars().all(is_plain) && !text.is_empty() {
        true => text,
        false => format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn daemon() -> Daemon {
        Daemon {
            project: "kelvin".into(),
            program: "/usr/local/bin/lockgate".into(),
            config: "/srv/kelvin/lockgate.yaml".into(),
            root: "/srv/kelvin".into(),
            user: "root".into(),
            group: None,
            listen: vec![ListenAt::Tcp("0.0.0.0:8443".parse().unwrap())],
            writes: vec!["/srv/kelvin".into()],
            runs_containers: true,
            starts: Starts::Nothing,
        }
    }

    #[test]
    fn the_unit_of_a_project_of_containers_has_walls() {
        insta::assert_snapshot!(daemon().service("/etc/lockgate/kelvin.env"));
    }

    #[test]
    fn the_unit_of_a_project_whose_services_are_processes_has_none() {
        let programs =
            Daemon { user: "deploy".into(), runs_containers: false, starts: Starts::Programs, ..daemon() };
        insta::assert_snapshot!(programs.service("/etc/lockgate/kelvin.env"));
    }

    #[test]
    fn the_socket_listens_where_the_configuration_says() {
        let both = Daemon {
            user: "deploy".into(),
            listen: vec![
                ListenAt::Tcp("[::1]:8443".parse().unwrap()),
                ListenAt::Unix("/run/lockgate/100%.sock".into()),
            ],
            ..daemon()
        };
        insta::assert_snapshot!(both.socket());
    }

    #[test]
    fn odd_paths_are_quoted_and_a_low_port_of_the_proxy_is_allowed() {
        let odd = Daemon {
            config: "/srv/my $50 \"shop\"/100%/lockgate.yaml".into(),
            root: "/srv/my $50 \"shop\"/100%".into(),
            group: Some("docker".into()),
            user: "deploy".into(),
            writes: vec!["/opt/x".into(), "/srv/my $50 \"shop\"/100%".into()],
            starts: Starts::Proxy { low_port: true },
            ..daemon()
        };
        let service = odd.service("/etc/lockgate/kelvin.env");
        for line in [
            "ExecStart=/usr/local/bin/lockgate -c \"/srv/my $$50 \\\"shop\\\"/100%%/lockgate.yaml\" serve",
            "WorkingDirectory=/srv/my $50 \"shop\"/100%%",
            "User=deploy",
            "SupplementaryGroups=docker",
            "ReadWritePaths=-/opt/x",
            "ReadWritePaths=-\"/srv/my $50 \\\"shop\\\"/100%%\"",
            "AmbientCapabilities=CAP_NET_BIND_SERVICE",
        ] {
            assert!(service.lines().any(|one| one == line), "{line}\n---\n{service}");
        }
    }
}
