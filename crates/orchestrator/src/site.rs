//! One service in one environment, with the ports of all its hosts.

use std::collections::BTreeMap;
use std::sync::Arc;

use lockgate_model::{
    Artifact, Digest, Environment, Failure, FailureKind, HostId, Intent, Link, Mask, Observed, Plan, Probe,
    Project, Release, Secret, Service, Tag,
};
use lockgate_perform::{Conductor, Subject, masked};
use lockgate_ports::{Gates, HostPorts};

/// Everything about one service in one environment that a command may need.
#[derive(Clone)]
pub struct Site {
    /// What the service and the environment are of.
    pub project: Arc<Project>,
    /// As it is configured.
    pub service: Service,
    /// As it is configured, with all its hosts.
    pub environment: Environment,
    /// Those that are used: fewer than the environment has where some are left out. Empty for an environment that is only
    /// checked.
    pub hosts: Vec<HostPorts>,
    /// The drivers of gates, of every kind.
    pub gates: Gates,
    /// What this machine's environment and the configuration hold as secrets, whatever the service: a gate's program has
    /// all of it. Masked wherever something is told.
    pub secrets: Vec<Secret>,
}

impl Site {
    /// The names by which this place is known to the rooms below.
    #[must_use]
    pub fn subject(&self) -> Subject {
        Subject {
            project: self.project.name.clone(),
            service: self.service.name.clone(),
            environment: self.environment.name.clone(),
        }
    }

    /// The same place, without these hosts: nothing is looked up or done there.
    #[must_use]
    pub fn without<'h>(&self, hosts: impl IntoIterator<Item = &'h HostId>) -> Site {
        let mut fewer = self.clone();
        for left_out in hosts {
            fewer.hosts.retain(|ports| ports.id != *left_out);
        }
        fewer
    }

    /// Hosts that the environment has and that are not used, in the configuration's order.
    #[must_use]
    pub fn left_out(&self) -> Vec<HostId> {
        let is_used = |host: &HostId| self.hosts.iter().any(|ports| ports.id == *host);
        self.environment.hosts().iter().filter(|host| !is_used(host)).cloned().collect()
    }

    /// The plan for the hosts that are used.
    ///
    /// # Errors
    /// As [`lockgate_plan::plan`].
    pub(crate) fn plan(&self, intent: &Intent, observed: &Observed) -> Result<Plan, Failure> {
        let without = self.left_out();
        let environment = self.environment.without(&without);
        let plan = lockgate_plan::plan(&self.project, &self.service, &environment, intent, observed)?;
        Ok(Plan { without, ..plan })
    }

    /// Where users reach the service here, to be told. `None` where the configuration does not say, or says something that people
    /// cannot be told, such as a URL with a password in it.
    pub(crate) fn link(&self) -> Option<Link> {
        let url = self.service.urls.get(&self.environment.name).or(self.environment.url.as_ref())?;
        let shown = Mask::of(&self.secrets).hide(url.clone());
        Link::new(shown).ok()
    }

    /// Hides what the service's app may say: the values of its `env`, and all that is masked everywhere.
    pub(crate) fn mask(&self) -> Mask {
        Mask::of(self.service.env.values().chain(&self.secrets))
    }

    /// What performs actions here, with the secrets masked in all that it tells.
    #[must_use]
    pub fn conductor(&self) -> Conductor {
        let told = Mask::of(&self.secrets);
        let mask = self.mask();
        let hosts: BTreeMap<_, _> =
            self.hosts.iter().map(|ports| (ports.id.clone(), masked(ports, &mask))).collect();
        Conductor {
            subject: self.subject(),
            probe: Probe::of(&self.service, &self.environment),
            hosts,
            gates: self.gates.clone(),
            mask,
            told,
        }
    }

    /// The release that was built as this artifact, under this tag: by its own bytes where they are known, whatever the tag
    /// leads to meanwhile.
    ///
    /// # Errors
    /// As [`Site::resolve`], and `Conflict` when other bytes were found than were built.
    pub async fn resolve_artifact(&self, tag: &Tag, artifact: &Artifact) -> Result<Release, Failure> {
        let named = match &artifact.digest {
            Some(digest) => by_digest(digest)?,
            None => tag.clone(),
        };
        let found = self.resolve(&named).await?;
        if let Some(digest) = artifact.digest.as_ref().filter(|digest| **digest != found.digest) {
            let message = format!("{tag} was built as {digest}, and {} was found", found.digest);
            return Err(Failure::new(FailureKind::Conflict, message)
                .hint("the registry has a tag of that name: remove it, and build again"));
        }
        let provenance = Some(Box::new(artifact.provenance.clone().told()));
        let commit = found.commit.or_else(|| artifact.commit.clone());
        Ok(Release { tag: tag.clone(), commit, provenance, ..found })
    }

    /// These very bytes, under the tag that they have (P5): an image is found by its digest, whatever its tag leads to by now, and
    /// a program by its tag.
    ///
    /// # Errors
    /// As [`Site::resolve`], and `Conflict` when other bytes were found.
    pub async fn resolve_bytes(&self, wanted: &Release) -> Result<Release, Failure> {
        let named = match wanted.image {
            Some(_) => by_digest(&wanted.digest)?,
            None => wanted.tag.clone(),
        };
        let found = self.resolve(&named).await?;
        if !found.same_bytes(wanted) {
            let message = format!("{wanted} was wanted, and {} was found", found.digest.short());
            return Err(Failure::new(FailureKind::Conflict, message).hint(
                "what runs as a process is the same only where program and arguments are: images travel better",
            ));
        }
        let commit = wanted.commit.clone().or(found.commit);
        let provenance = wanted.provenance.clone().map(|known| Box::new(known.told()));
        Ok(Release { tag: wanted.tag.clone(), commit, provenance, ..found })
    }

    /// Turns a tag into a release, once, on the first host; every host then gets the digest (P5).
    ///
    /// # Errors
    /// The runtime's, or `Refused` when there is no host.
    pub async fn resolve(&self, tag: &Tag) -> Result<Release, Failure> {
        let first = self.hosts.first().ok_or_else(|| {
            Failure::new(
                FailureKind::Refused,
                format!("environment {} is only checked, never deployed to", self.environment.name),
            )
        })?;
        first.runtime.resolve(tag).await.map_err(|error| Failure::from(error).at(&first.id))
    }
}

/// A digest's digits as a runtime takes them in the place of a tag.
fn by_digest(digest: &Digest) -> Result<Tag, Failure> {
    Tag::new(digest.as_str().trim_start_matches("sha256:"))
        .map_err(|invalid| Failure::new(FailureKind::Other, format!("{digest}: {invalid}")))
}
