//! A project whose daemon runs, and clients that call it.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use lockgate_signature::SigningSecret;
use rustix::process::Signal;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};

use crate::support::http::{self, Answer, Client};
use crate::support::processes;
use crate::support::project::{Project, Running, Setup};
use crate::support::ran::Ran;
use crate::support::wait_for;

pub const SECRET: &str = "0123456789abcdef0123456789abcdef";
/// A deployment of these tests takes about a second.
const ANSWER_SECONDS_MAX: u64 = 60;

pub type Encrypted = rustls::StreamOwned<rustls::ClientConnection, TcpStream>;

/// A project with `serve:`; its releases are named by commits.
pub struct Served {
    pub project: Project,
}

/// 40 hex digits, one for each digit.
pub fn sha(digit: char) -> String {
    digit.to_string().repeat(40)
}

impl Served {
    /// With TLS, a Unix socket, and releases `aaa…` and `bbb…`. `before`: gates.
    pub fn new(before: &str) -> Self {
        let end = "serve:
  listen: [\"127.0.0.1:0\", \"unix:ROOT/serve.sock\"]
  tls: { cert: ROOT/cert.pem, key: ROOT/key.pem }
  endpoints: { /deploy: { environment: prod, secrets: [\"${WEBHOOK_SECRET}\"] } }
";
        let project = Project::with(&Setup { before: before.into(), end: end.into(), ..Setup::default() });
        let served = Self { project };
        served.put_certificate("first");
        for digit in ['a', 'b', 'c'] {
            served.project.release(&sha(digit), "");
        }
        served
    }

    /// A gate that waits until [`Project::open_gate`].
    pub fn with_gate() -> Self {
        let served = Self::new("[{ name: wait, command: \"ROOT/gate\" }]");
        let root = served.project.root().display();
        let script = format!(
            "#!/bin/sh\n: > {root}/at-gate-$LOCKGATE_TAG\ni=0\nwhile [ ! -e {root}/open ] && [ $i -lt 1500 ]\ndo sleep 0.02; i=$((i+1)); done\n[ -e {root}/open ]\n"
        );
        served.project.script("gate", &script);
        served
    }

    /// A new certificate and key in the place of those before, as a renewal puts them.
    pub fn put_certificate(&self, name: &str) {
        let file = |name: &str| self.project.path(name).to_string_lossy().into_owned();
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"])
            .args(["-subj", &format!("/CN={name}"), "-addext", "subjectAltName=DNS:localhost"])
            .args(["-addext", "basicConstraints=critical,CA:FALSE", "-days", "30"])
            .args(["-keyout", &file("key.new"), "-out", &file("cert.new")])
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        for name in ["key", "cert"] {
            std::fs::rename(file(&format!("{name}.new")), file(&format!("{name}.pem"))).unwrap();
        }
    }

    pub fn certificate(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_file(self.project.path("cert.pem")).unwrap()
    }

    pub fn command(&self, args: &str) -> Command {
        let mut command = self.project.command(args.split_whitespace());
        command.env("WEBHOOK_SECRET", SECRET);
        command
    }

    pub fn run(&self, args: &str) -> Ran {
        crate::support::project::run(self.command(args))
    }

    /// Started, and listening.
    pub fn start(&self) -> Daemon {
        self.start_by(self.command("serve"))
    }

    pub fn start_by(&self, command: Command) -> Daemon {
        let running = Running::start(command);
        running.wait_until_printed("listening at https://127.0.0.1:");
        let said = running.stdout();
        let url = said.split("https://").nth(1).unwrap();
        let address = url.split([',', '\n']).next().unwrap().trim().parse().unwrap();
        Daemon { running, address, socket: self.project.path("serve.sock") }
    }

    /// Processes of the daemon, predecessors among them.
    pub fn processes(&self) -> Vec<processes::Process> {
        let all = processes::below(self.project.root());
        all.into_iter().filter(|process| process.argv.get(1).is_some_and(|word| word == "serve")).collect()
    }

    /// Ends what has no parent here any more.
    pub fn stop_all(&self) {
        self.processes().iter().for_each(|process| process.signal(Signal::TERM));
        wait_for("all daemons to end", 30, || self.processes().is_empty().then_some(()));
    }
}

pub struct Daemon {
    pub running: Running,
    pub address: SocketAddr,
    socket: std::path::PathBuf,
}

impl Daemon {
    /// By the Unix socket.
    pub fn get(&self, path: &str) -> Answer {
        get_by(&self.socket, path)
    }

    pub fn stop(self) -> Ran {
        self.running.signal(Signal::TERM);
        self.running.end()
    }
}

pub fn get_by(socket: &Path, path: &str) -> Answer {
    http::unix(socket).unwrap().send("GET", path, &[("connection", "close")], b"").unwrap()
}

/// By TLS; believes these certificates.
pub fn encrypted(address: SocketAddr, believed: &[CertificateDer<'static>]) -> io::Result<Client<Encrypted>> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in believed {
        roots.add(certificate.clone()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = builder.unwrap().with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let connection = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(ANSWER_SECONDS_MAX)))?;
    stream.set_nodelay(true)?;
    Ok(http::over(rustls::StreamOwned::new(connection, stream)))
}

/// A signed call for a commit of `web`, and its answer.
pub fn deploy(socket: &Path, sha: &str, headers: &[(&str, &str)]) -> io::Result<Answer> {
    let body = format!("{{\"service\":\"web\",\"image_sha\":\"{sha}\"}}");
    let signature = SigningSecret::new(SECRET).unwrap().sign_github(body.as_bytes());
    let stream = std::os::unix::net::UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(Duration::from_secs(ANSWER_SECONDS_MAX)))?;
    let mut all = vec![("x-hub-signature-256", signature.as_str())];
    all.extend(headers);
    http::over(stream).send("POST", "/deploy", &all, body.as_bytes())
}

/// A call in the background.
pub fn deploying(socket: &Path, sha: &str) -> std::thread::JoinHandle<io::Result<Answer>> {
    let (socket, sha) = (socket.to_owned(), sha.to_owned());
    std::thread::spawn(move || deploy(&socket, &sha, &[]))
}
