//! A request whose signature is valid, and what the configuration says about it.

use hyper::HeaderMap;
use lockgate_model::{CommitSha, DeployStatus, Endpoint, Project, Requester, Service, Tag, Timestamp};
use lockgate_signature::Signed;

use super::refused::{Refused, shown};

/// A request whose signature is valid.
pub struct SignedCall<'a> {
    pub endpoint: &'a Endpoint,
    pub project: &'a Project,
    pub headers: &'a HeaderMap,
    pub signed: &'a Signed,
    pub body: &'a [u8],
    /// The peer's address, whatever a header says of it.
    pub from: &'a str,
}

/// What to deploy, by whichever form of the body.
pub struct Wanted<'a> {
    pub service: &'a Service,
    pub tag: Tag,
    pub sha: CommitSha,
    pub committed_at: Option<Timestamp>,
    pub sent_at: Option<Timestamp>,
    pub force: bool,
    pub requester: Requester,
}

impl<'a> SignedCall<'a> {
    /// The service of this name, which the endpoint deploys. `None`: the only one that it deploys.
    pub fn service(&self, name: Option<&str>) -> Result<&'a Service, Refused> {
        let names = || self.endpoint.services.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ");
        let found = match (name, self.endpoint.services.as_slice()) {
            (Some(name), all) => all.iter().find(|one| one.as_str() == name),
            (None, [only]) => Some(only),
            (None, _) => {
                return Err(Refused::bad(
                    "the endpoint has several services, and the call names none",
                    format!("add `service`: {}", names()),
                ));
            }
        };
        found.and_then(|name| self.project.services.get(name)).ok_or_else(|| Refused {
            status: DeployStatus::NotFound,
            message: format!("{} deploys no service {}", self.endpoint.path, shown(name.unwrap_or_default())),
            hint: format!("services here: {}", names()),
        })
    }

    /// The tag of the commit's image.
    pub fn tag(&self, sha: &CommitSha) -> Result<Tag, Refused> {
        self.endpoint.tag.fill(sha.as_str()).map_err(|bad| {
            Refused::bad(
                format!("the endpoint's `tag` makes none of this commit: {}", bad.reason),
                "mend `tag` of the endpoint in lockgate.yaml",
            )
        })
    }
}
