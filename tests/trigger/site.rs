//! A project with a daemon that takes calls.

use std::process::Command;

use super::{SECRET, trigger};
use crate::support::certificate::{self, Certificate};
use crate::support::project::{Project, Running, Setup, run};
use crate::support::ran::Ran;

pub const OLDER: &str = "1111111111111111111111111111111111111111";
pub const NEWER: &str = "2222222222222222222222222222222222222222";
pub const BAD: &str = "3333333333333333333333333333333333333333";
pub const ABSENT: &str = "4444444444444444444444444444444444444444";

/// A project with a daemon, which is ended before the project's folder is.
pub struct Site {
    pub daemon: Option<Running>,
    pub project: Project,
    /// Its folder has the certificate, and its port is the daemon's.
    beside: Project,
    certificate: Certificate,
}

impl Site {
    pub fn with(setup: Setup) -> Site {
        let beside = Project::empty();
        let certificate = certificate::here(beside.root());
        let end = format!(
            "serve:\n  listen: \"127.0.0.1:{}\"\n  tls: {{ cert: {}, key: {} }}\n  endpoints:\n    /deploy: {{ environment: prod, services: [web], secrets: [{SECRET}] }}\n",
            beside.port,
            certificate.cert.display(),
            certificate.key.display(),
        );
        let project = Project::with(&Setup { end, ..setup });
        for sha in [OLDER, NEWER] {
            project.release(sha, "");
        }
        let mut site = Site { daemon: None, project, beside, certificate };
        site.serve();
        site
    }

    pub fn serve(&mut self) {
        let daemon = self.project.start("serve");
        daemon.wait_until_printed("listening at https://127.0.0.1:");
        self.daemon = Some(daemon);
    }

    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}/deploy", self.beside.port)
    }

    pub fn call(&self, sha: &str, args: &str) -> Command {
        let (url, cacert) = (self.url(), self.certificate.authority.display().to_string());
        let fixed = [url.as_str(), "--sha", sha, "--cacert", cacert.as_str()];
        let all: Vec<&str> = fixed.into_iter().chain(args.split_whitespace()).collect();
        trigger(self.project.root(), &all, &[("WEBHOOK_SECRET", SECRET)])
    }

    pub fn trigger(&self, sha: &str, args: &str) -> Ran {
        run(self.call(sha, args))
    }
}
