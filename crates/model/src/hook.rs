//! Programs of the user's own that run once in a deployment, in the new release: migrations before the switch, and what is
//! to be done behind it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Millis, Template, quoted};

/// Longest time of a hook that names none.
pub const HOOK_TIMEOUT_DEFAULT: Millis = Millis::from_secs(600);
/// Longest time that a hook may name, in seconds: a day.
pub const HOOK_SECONDS_MAX: u64 = 86_400;

/// Of a long command so many characters are shown.
const SHOWN_CHARS_MAX: usize = 80;

/// The hooks of a service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hooks {
    /// Before any slot takes traffic with the new release. `None`: nothing runs then.
    pub before_switch: Option<Hook>,
    /// When the new release has the traffic on all hosts and has passed its gates, and before the old one is stopped. `None`:
    /// nothing runs then.
    pub after_switch: Option<Hook>,
}

/// One program, run once in a deployment, on one host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Hook {
    /// No shell reads it. Not empty.
    pub argv: Vec<Template>,
    /// Longest time from its beginning to its end; then it is ended.
    pub timeout: Millis,
    /// Where it was begun by somebody who was cut off and nothing of it is to be found, it is run again; else the run goes
    /// back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub repeat: bool,
    /// That it failed is only told, and undoes nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub only_warns: bool,
}

/// When a hook runs.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum HookMoment {
    /// Before any slot takes traffic with the new release.
    BeforeSwitch,
    /// When the new release has the traffic on all hosts, before the run is settled.
    AfterSwitch,
}

/// What is no [`HookMoment`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no hook called that")]
pub struct InvalidHookMoment;

impl HookMoment {
    /// As in `lockgate.yaml`, in labels and in names of files.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            HookMoment::BeforeSwitch => "before_switch",
            HookMoment::AfterSwitch => "after_switch",
        }
    }
}

impl fmt::Display for HookMoment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for HookMoment {
    type Err = InvalidHookMoment;

    fn from_str(text: &str) -> Result<Self, InvalidHookMoment> {
        let all = [HookMoment::BeforeSwitch, HookMoment::AfterSwitch];
        all.into_iter().find(|moment| moment.as_str() == text).ok_or(InvalidHookMoment)
    }
}

/// The program and its arguments as they are written, on one line and cut where they are long.
impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let argv: Vec<&str> = self.argv.iter().map(Template::as_str).collect();
        f.write_str(&quoted(&argv.join(" "), SHOWN_CHARS_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_command_is_shown_in_short_and_on_one_line() {
        let script = format!("set -e\n./migrate {}", "x".repeat(200));
        let argv = ["sh", "-c", &script].map(|part| Template::new(part).unwrap()).to_vec();
        let hook = Hook { argv, timeout: HOOK_TIMEOUT_DEFAULT, repeat: false, only_warns: false };
        let shown = hook.to_string();
        assert!(shown.starts_with("sh -c set -e\\n./migrate xxx") && shown.chars().count() <= 81, "{shown}");
    }

    #[test]
    fn a_moment_is_read_as_it_is_written() {
        for moment in [HookMoment::BeforeSwitch, HookMoment::AfterSwitch] {
            assert_eq!(moment.as_str().parse(), Ok(moment));
            assert_eq!(serde_json::to_string(&moment).unwrap(), format!("\"{moment}\""));
        }
        assert_eq!("before".parse::<HookMoment>(), Err(InvalidHookMoment));
    }
}
