//! What somebody asks for in words, as a face hears it: names are looked up in the project, and what makes no sense here is
//! refused before anything is looked at. The same for the command line and for an agent's tools.

use lockgate_model::{
    Aim, CheckWant, Digest, Environment, EnvironmentName, Gates, HistoryFilter, InvalidName, LogsWant,
    Moment, Project, Refusal, Service, ServiceName, Slot, Tag, Want,
};

use crate::lookup;

/// Every service, as system A's script has it; unless there is one of that name.
const ALL: &str = "all";

/// One who asks.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// In which names are looked up.
    pub project: &'a Project,
    /// `None`: the only one that is deployed to.
    pub environment: Option<&'a str>,
}

/// Which deployment.
#[derive(Debug, Clone, Copy)]
pub struct Deployment<'a> {
    /// One of the project's.
    pub service: &'a str,
    /// The image's.
    pub tag: &'a str,
    /// Which gates it passes.
    pub gates: Gates,
    /// Although it is live.
    pub again: bool,
    /// Hosts that are left out by name.
    pub skip: &'a [String],
}

/// Which past runs.
#[derive(Debug, Clone, Copy, Default)]
pub struct Past<'a> {
    /// `None`: of any.
    pub service: Option<&'a str>,
    /// Whole. `None`: of any bytes.
    pub digest: Option<&'a str>,
    /// A run's id: older ones than this. `None`: from the newest on.
    pub before: Option<&'a str>,
    /// At most so many.
    pub limit: u32,
}

impl<'a> Asked<'a> {
    /// The environment that is meant.
    ///
    /// # Errors
    /// `Usage`, with those that there are.
    pub fn environment(&self) -> Result<&'a Environment, Refusal> {
        lookup::environment(self.project, self.environment)
    }

    /// The service of this name.
    ///
    /// # Errors
    /// `Usage`, with those that there are.
    pub fn service(&self, name: &str) -> Result<&'a Service, Refusal> {
        lookup::service(self.project, name)
    }

    /// A deployment.
    ///
    /// # Errors
    /// `Usage`.
    pub fn deploy(&self, asked: &Deployment<'_>) -> Result<Want, Refusal> {
        let tag = tag_of(asked.tag).map_err(|error| {
            Refusal::usage(
                error.to_string(),
                "name the image's tag, such as v1.2.3, or its whole digest: sha256:…",
            )
        })?;
        let aim = Aim::Deploy { tag, gates: asked.gates, again: asked.again, artifact: None };
        self.wanted(asked.service, aim, asked.skip)
    }

    /// A rollback. `release`: a tag or a digest's first digits; `None` is the one before.
    ///
    /// # Errors
    /// `Usage`.
    pub fn rollback(&self, service: &str, release: Option<&str>, skip: &[String]) -> Result<Want, Refusal> {
        if let Some(named) = release {
            let named = named.strip_prefix("sha256:").unwrap_or(named);
            Tag::new(named).map_err(|error| {
                Refusal::usage(
                    error.to_string(),
                    "name a tag, or a digest's first digits; `lockgate history` lists releases",
                )
            })?;
        }
        self.wanted(service, Aim::Rollback { release: release.map(str::to_owned) }, skip)
    }

    fn wanted(&self, service: &str, aim: Aim, skip: &[String]) -> Result<Want, Refusal> {
        let environment = lookup::deployable(self.project, self.environment)?;
        Ok(Want {
            service: self.service(service)?.name.clone(),
            environment: Some(environment.name.clone()),
            skip: lookup::skipped(environment, skip.iter().map(String::as_str))?,
            exactly: None,
            run: None,
            aim,
        })
    }

    /// Gates alone.
    ///
    /// # Errors
    /// `Usage`.
    pub fn check(&self, service: &str, moment: Moment) -> Result<CheckWant, Refusal> {
        let service = self.service(service)?.name.clone();
        Ok(CheckWant { service, environment: Some(self.environment()?.name.clone()), moment })
    }

    /// Of which services; `None` is all of them.
    ///
    /// # Errors
    /// `Usage`.
    pub fn status(&self, service: Option<&str>) -> Result<(Option<ServiceName>, EnvironmentName), Refusal> {
        let environment = self.environment()?.name.clone();
        let named = service.filter(|name| *name != ALL || self.service(ALL).is_ok());
        let service = named.map(|name| self.service(name)).transpose()?;
        Ok((service.map(|service| service.name.clone()), environment))
    }

    /// Past runs; where no environment was asked for, of all of them.
    ///
    /// # Errors
    /// `Usage`.
    pub fn history(&self, asked: &Past<'_>) -> Result<HistoryFilter, Refusal> {
        let service = asked.service.map(|name| self.service(name)).transpose()?;
        let environment = self.environment.map(|_| self.environment()).transpose()?;
        let digest = asked.digest.map(|text| {
            Digest::new(text).map_err(|invalid| {
                Refusal::usage(invalid.to_string(), "`lockgate history --format json` shows digests whole")
            })
        });
        let before = asked.before.map(|text| {
            text.parse().map_err(|_| {
                let hint = "`lockgate history` shows them in its last column";
                Refusal::usage(format!("{text:?} is no run's id"), hint)
            })
        });
        Ok(HistoryFilter {
            service: service.map(|service| service.name.clone()),
            environment: environment.map(|environment| environment.name.clone()),
            digest: digest.transpose()?,
            before: before.transpose()?,
            limit: asked.limit,
        })
    }

    /// A slot's last lines. `slot`: `None` is the live one.
    ///
    /// # Errors
    /// `Usage`.
    pub fn logs(&self, service: &str, slot: Option<&str>, lines: u32) -> Result<LogsWant, Refusal> {
        let slot: Option<Slot> = slot.map(str::parse).transpose().map_err(|error: InvalidName| {
            Refusal::usage(
                error.to_string(),
                "--slot blue or --slot green; --slot main where the strategy is recreate",
            )
        })?;
        let service = self.service(service)?.name.clone();
        Ok(LogsWant { service, environment: Some(self.environment()?.name.clone()), slot, lines })
    }
}

/// A tag; or the digest in `sha256:…` or `image@sha256:…`, whose 64 hex digits are in the place of one.
fn tag_of(named: &str) -> Result<Tag, InvalidName> {
    let digest = named.rsplit_once('@').map_or(named, |(_, digest)| digest);
    match Digest::new(digest) {
        Ok(digest) => Tag::new(digest.as_str().trim_start_matches("sha256:")),
        Err(_) => Tag::new(named),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_alone_names_a_release() {
        let hex = "1f".repeat(32);
        for named in [format!("sha256:{hex}"), format!("ghcr.io/acme/web@sha256:{hex}"), hex.clone()] {
            assert_eq!(tag_of(&named).unwrap().as_str(), hex, "{named}");
        }
        assert_eq!(tag_of("v1.2.3").unwrap().as_str(), "v1.2.3");
        for refused in ["sha256:1f", "web@v1", "web:v1", ""] {
            assert!(tag_of(refused).is_err(), "{refused}");
        }
    }
}
