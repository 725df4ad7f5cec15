//! What `doctor` has found out, as every face tells it.

use lockgate_model::{EnvironmentName, Exit, HostId, Mask, ServiceName};
use lockgate_ports::{Check, CheckState};
use serde::Serialize;

/// One thing that was looked at. It is also what `doctor --format json` prints.
#[derive(Debug, Clone, Serialize)]
pub struct Diagnosed {
    /// The environment that a deployment would need it for.
    pub environment: EnvironmentName,
    /// Where it was looked at.
    pub host: HostId,
    /// `None` for what is not about one service.
    pub service: Option<ServiceName>,
    /// What was looked at, what was seen, and how to mend it.
    pub check: Check,
}

/// What belongs together, in the order in which it was looked at.
#[derive(Debug, Clone, Serialize)]
pub struct Examined {
    /// The environment that a deployment would need it for.
    pub environment: EnvironmentName,
    /// Where it was looked at.
    pub host: HostId,
    /// `None` for what is not about one service.
    pub service: Option<ServiceName>,
    /// What it is about, for people, beside the host's name; may be empty.
    pub title: String,
    /// What was looked at.
    pub checks: Vec<Check>,
}

impl Examined {
    /// One for each check.
    #[must_use]
    pub fn lines(&self) -> Vec<Diagnosed> {
        let line = |check: &Check| Diagnosed {
            environment: self.environment.clone(),
            host: self.host.clone(),
            service: self.service.clone(),
            check: check.clone(),
        };
        self.checks.iter().map(line).collect()
    }

    /// Of all of them: see [`Diagnosed::exit`].
    #[must_use]
    pub fn exit(all: &[Examined]) -> Exit {
        let lines: Vec<Diagnosed> = all.iter().flat_map(Examined::lines).collect();
        Diagnosed::exit(&lines)
    }

    pub(crate) fn mask(&mut self, mask: &Mask) {
        for check in &mut self.checks {
            check.seen = mask.hide(std::mem::take(&mut check.seen));
            check.lines = mask.hide_all(std::mem::take(&mut check.lines));
        }
    }
}

impl Diagnosed {
    /// Of all of them: what can only be better keeps nobody from deploying.
    pub fn exit<'a>(all: impl IntoIterator<Item = &'a Diagnosed>) -> Exit {
        match all.into_iter().any(|one| one.check.state == CheckState::Bad) {
            true => Exit::Failed,
            false => Exit::Succeeded,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn diagnosed(check: Check) -> Diagnosed {
        Diagnosed {
            environment: EnvironmentName::new("prod").unwrap(),
            host: HostId::new("web1").unwrap(),
            service: None,
            check,
        }
    }

    #[test]
    fn only_what_is_bad_keeps_from_deploying() {
        let [ok, warn, bad] = [
            Check::ok("disk", "4 GiB free"),
            Check::warn("kernel", "it may reset connections", "set it"),
            Check::bad("folder", "it cannot be written", "chown it"),
        ]
        .map(diagnosed);
        assert_eq!(Diagnosed::exit([&ok, &warn]).code(), 0);
        assert_eq!(Diagnosed::exit([&ok, &bad, &warn]).code(), 1);
        assert_eq!(
            serde_json::to_value(&bad).unwrap().to_string(),
            r#"{"check":{"mend":"chown it","seen":"it cannot be written","state":"bad","what":"folder"},"environment":"prod","host":"web1","service":null}"#
        );
    }
}
