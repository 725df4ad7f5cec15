//! What somebody asks for.

use serde::{Deserialize, Serialize};

use crate::{Artifact, Digest, EnvironmentName, Failure, Gates, HostId, Release, RunId, ServiceName, Tag};

/// Something that changes what is live: a deployment or a rollback of one service in one environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Want {
    /// What is to change.
    pub service: ServiceName,
    /// `None`: the only one that is deployed to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<EnvironmentName>,
    /// Hosts that are left out by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skip: Vec<HostId>,
    /// Only by the plan that has this digest ([`crate::Planned::digest`]), which somebody has agreed to: another plan is
    /// refused, and so is a run that was cut off and would have to be brought to its end first. `None`: by whatever plan is
    /// right when it begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exactly: Option<Digest>,
    /// The id that the run has, if one begins: whoever asked has named it before (a delivery), so that it begins at most
    /// once. A run of that name that has begun before, whoever began it, is not begun again: see
    /// [`crate::Refusal::BegunBefore`]. `None`: a new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// What is to be live. In JSON its fields stand beside the others.
    #[serde(flatten)]
    pub aim: Aim,
}

/// What is to be live.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "want")]
pub enum Aim {
    /// A release, by its tag.
    Deploy {
        /// What somebody called the release; it is resolved to a digest once.
        tag: Tag,
        /// Which gates it passes.
        #[serde(default = "all")]
        gates: Gates,
        /// Although it is live.
        #[serde(default)]
        again: bool,
        /// What whoever has just built it says of it. `None`: the tag says all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        artifact: Option<Box<Artifact>>,
    },
    /// What is live in the environment that promotions come from: these very bytes (P5), once its gates are open.
    Promote {
        /// Where it is live.
        from: EnvironmentName,
        /// The bytes, under the tag that they have there.
        release: Box<Release>,
    },
    /// A release's tag or digest (or its beginning, at least 7 hex digits) from the hosts' list; `None` is the previous.
    Rollback {
        /// Tag, digest, or the digest's beginning. `None`: the previous one.
        #[serde(default)]
        release: Option<String>,
    },
}

/// Bringing to an end what was left: see [`crate::Leftover`], in this order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resume {
    /// What was left.
    pub service: ServiceName,
    /// As of a [`Want`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<EnvironmentName>,
    /// Hosts that are left out by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skip: Vec<HostId>,
    /// `None`: all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only: Option<crate::Leftover>,
}

fn all() -> Gates {
    Gates::All
}

impl Want {
    /// With all gates.
    #[must_use]
    pub fn deploy(service: ServiceName, tag: Tag) -> Self {
        let aim = Aim::Deploy { tag, gates: Gates::All, again: false, artifact: None };
        Self { service, environment: None, skip: Vec::new(), exactly: None, run: None, aim }
    }

    /// To what was live before.
    #[must_use]
    pub fn rollback(service: ServiceName) -> Self {
        let aim = Aim::Rollback { release: None };
        Self { service, environment: None, skip: Vec::new(), exactly: None, run: None, aim }
    }

    /// The same in this environment.
    #[must_use]
    pub fn in_environment(self, name: EnvironmentName) -> Self {
        Self { environment: Some(name), ..self }
    }

    /// Under this name or not at all.
    #[must_use]
    pub fn named(self, run: RunId) -> Self {
        Self { run: Some(run), ..self }
    }

    /// That these bytes, which are live in `from`, are live in `to` as well.
    #[must_use]
    pub fn promote(from: EnvironmentName, to: EnvironmentName, release: Release) -> Self {
        let service = release.service.clone();
        let aim = Aim::Promote { from, release: Box::new(release) };
        Self { service, environment: Some(to), skip: Vec::new(), exactly: None, run: None, aim }
    }

    /// By this plan or not at all.
    #[must_use]
    pub fn exactly(self, plan: Digest) -> Self {
        Self { exactly: Some(plan), ..self }
    }
}

impl Resume {
    /// Of all that was left.
    #[must_use]
    pub fn of(service: ServiceName) -> Self {
        Self { service, environment: None, skip: Vec::new(), only: None }
    }
}

impl Aim {
    /// As it was typed, where something was.
    #[must_use]
    pub fn asked(&self) -> Option<String> {
        match self {
            Aim::Deploy { tag, .. } => Some(tag.to_string()),
            Aim::Promote { release, .. } => Some(release.tag.to_string()),
            Aim::Rollback { release } => release.clone(),
        }
    }

    /// What whoever has just built the release says of it. `None`: the tag says all, or there is none.
    #[must_use]
    pub fn artifact(&self) -> Option<&Artifact> {
        match self {
            Aim::Deploy { artifact, .. } => artifact.as_deref(),
            Aim::Promote { .. } | Aim::Rollback { .. } => None,
        }
    }

    /// What failed before and was allowed to: see [`Artifact::allowed`].
    #[must_use]
    pub fn allowed(&self) -> &[Failure] {
        self.artifact().map(|artifact| artifact.allowed.as_slice()).unwrap_or_default()
    }

    /// The command that asks for it, without these hosts.
    #[must_use]
    pub fn typed(&self, service: &ServiceName, environment: &EnvironmentName, without: &[HostId]) -> String {
        let mut typed = match self {
            Aim::Promote { .. } => "lockgate ".to_owned(),
            Aim::Deploy { .. } | Aim::Rollback { .. } => format!("lockgate --env {environment} "),
        };
        match self {
            Aim::Promote { from, .. } => {
                typed.push_str(&format!("promote {service} --from {from} --to {environment}"));
            }
            Aim::Deploy { tag, gates, again, .. } => {
                typed.push_str(&format!("deploy {service} {tag}"));
                typed.push_str(if *gates == Gates::None { " --only-swap" } else { "" });
                typed.push_str(if *again { " --again" } else { "" });
            }
            Aim::Rollback { release } => {
                typed.push_str(&format!("rollback {service}"));
                typed.extend(release.iter().map(|release| format!(" {release}")));
            }
        }
        typed.extend(without.iter().map(|host| format!(" --skip {host}")));
        typed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn web() -> ServiceName {
        ServiceName::new("web").unwrap()
    }

    #[test]
    fn the_command_that_goes_on_without_hosts_has_all_that_was_typed() {
        let prod = EnvironmentName::new("prod").unwrap();
        let typed = |aim: &Aim, without: &[&str]| {
            let hosts: Vec<HostId> = without.iter().map(|name| HostId::new(*name).unwrap()).collect();
            aim.typed(&web(), &prod, &hosts)
        };
        let tag = Tag::new("v2").unwrap();
        let deploy = Aim::Deploy { tag: tag.clone(), gates: Gates::All, again: false, artifact: None };
        assert_eq!(typed(&deploy, &["web3"]), "lockgate --env prod deploy web v2 --skip web3");
        let all = Aim::Deploy { tag, gates: Gates::None, again: true, artifact: None };
        assert_eq!(
            typed(&all, &["web1", "web3"]),
            "lockgate --env prod deploy web v2 --only-swap --again --skip web1 --skip web3"
        );
        assert_eq!(typed(&Aim::Rollback { release: None }, &[]), "lockgate --env prod rollback web");
        let named = Aim::Rollback { release: Some("v1".into()) };
        assert_eq!(typed(&named, &["web3"]), "lockgate --env prod rollback web v1 --skip web3");
    }

    #[test]
    fn a_want_needs_only_what_has_no_default() {
        let read: Want = serde_json::from_str(r#"{"want":"deploy","service":"web","tag":"v2"}"#).unwrap();
        assert_eq!(read, Want::deploy(web(), Tag::new("v2").unwrap()));
        let read: Want = serde_json::from_str(r#"{"want":"rollback","service":"web"}"#).unwrap();
        assert_eq!(read, Want::rollback(web()));
        let whole = Want {
            environment: Some(EnvironmentName::new("prod").unwrap()),
            skip: vec![HostId::new("web2").unwrap()],
            ..Want::deploy(web(), Tag::new("v2").unwrap())
        };
        let again: Want = serde_json::from_str(&serde_json::to_string(&whole).unwrap()).unwrap();
        assert_eq!(again, whole);
        for bad in [
            r#"{"want":"deploy","service":"web"}"#,
            r#"{"want":"deploy","service":"web","tag":"--again"}"#,
            r#"{"want":"explode","service":"web"}"#,
        ] {
            assert!(serde_json::from_str::<Want>(bad).is_err(), "{bad}");
        }
    }
}
