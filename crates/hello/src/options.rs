//! What `hello` can be told, by environment variable or by flag (`DIE_AFTER_MS=50` or `--die-after-ms 50`).
//! A flag wins over the variable; an empty variable counts as absent, because compose files pass those on.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

/// No knob may delay for longer than this; a typo shouldn't make a process that hangs for a year.
const DELAY_MS_MAX: u64 = 3_600_000;

/// Everything `hello` can be told. [`HelloOptions::default`] is a well-behaved app on 0.0.0.0:8080.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HelloOptions {
    /// Address to listen on.
    pub host: IpAddr,
    /// Port it was told; 0 lets the system choose, and the ready line says which.
    pub port: u16,
    /// Listens here instead of on `port`: the app that ignores what it was told.
    pub listen_port: Option<u16>,
    /// Release label; printable ASCII, since it travels in a header.
    pub version: String,
    /// Slot label; printable ASCII.
    pub slot: Option<String>,
    /// Delay before listening.
    pub boot: Duration,
    /// `/health` answers 503 until this long after listening began.
    pub healthy_after: Duration,
    /// `/health` always answers 503.
    pub unhealthy: bool,
    /// Ends with exit code 1 this long after it became healthy.
    pub die_after: Option<Duration>,
    /// `/health` alternates 200 and 503, beginning with 200.
    pub flap: bool,
    /// Exact paths that answer 500.
    pub fail_paths: BTreeSet<String>,
    /// Delay before every answer except `/health`.
    pub latency: Duration,
    /// SIGTERM is logged and ignored.
    pub ignore_term: bool,
    /// How long requests in flight may take to finish after SIGTERM.
    pub shutdown: Duration,
    /// Prints an error and ends with exit code 1 at once.
    pub crash: bool,
    /// Doesn't serve: asks the app on this port for its health, and ends with exit code 0 when it is well.
    pub probe: bool,
}

impl Default for HelloOptions {
    fn default() -> Self {
        Self {
            host: IpAddr::from([0, 0, 0, 0]),
            port: 8080,
            listen_port: None,
            version: "dev".into(),
            slot: None,
            boot: Duration::ZERO,
            healthy_after: Duration::ZERO,
            unhealthy: false,
            die_after: None,
            flap: false,
            fail_paths: BTreeSet::new(),
            latency: Duration::ZERO,
            ignore_term: false,
            shutdown: Duration::from_secs(10),
            crash: false,
            probe: false,
        }
    }
}

/// A knob has a value it can't take, or a flag isn't one of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptionsError(String);

impl fmt::Display for OptionsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (hint: hello --help lists the options)", self.0)
    }
}

impl std::error::Error for OptionsError {}

/// Name of the environment variable, whether its flag needs no value, and what it does.
const KNOBS: [(&str, bool, &str); 16] = [
    ("HOST", false, "address to listen on (default 0.0.0.0)"),
    ("PORT", false, "port to listen on (default 8080; 0: any free one)"),
    ("LISTEN_PORT", false, "listen here instead of on PORT"),
    ("VERSION", false, "release label, in x-release and at /version (default dev)"),
    ("SLOT", false, "slot label, in x-slot"),
    ("BOOT_MS", false, "delay before listening"),
    ("HEALTHY_AFTER_MS", false, "/health answers 503 for this long"),
    ("UNHEALTHY", true, "/health always answers 503"),
    ("DIE_AFTER_MS", false, "exit 1 this long after becoming healthy"),
    ("FLAP", true, "/health alternates 200 and 503"),
    ("FAIL_PATHS", false, "comma-separated paths that answer 500"),
    ("LATENCY_MS", false, "delay before every answer except /health"),
    ("IGNORE_TERM", true, "ignore SIGTERM"),
    ("SHUTDOWN_MS", false, "bound on finishing requests after SIGTERM (default 10000)"),
    ("CRASH", true, "print an error and exit 1 at once"),
    ("PROBE", true, "don't serve, but exit 0 when the app on PORT is healthy, else 1"),
];

/// The text of `hello --help`.
pub fn usage() -> String {
    let mut text = String::from("hello: a tiny HTTP app to deploy. Each option is a variable or a flag.\n\n");
    for (name, _, what) in KNOBS {
        text.push_str(&format!("  {name:<18}--{:<18}{what}\n", flag_of(name)));
    }
    text
}

impl HelloOptions {
    /// Reads this process's environment and arguments.
    pub fn from_env_and_args() -> Result<Self, OptionsError> {
        Self::parse(|name| std::env::var(name).ok(), std::env::args().skip(1))
    }

    /// The same from any environment and any arguments (without the program's name).
    pub fn parse(
        variable: impl Fn(&str) -> Option<String>,
        arguments: impl IntoIterator<Item = String>,
    ) -> Result<Self, OptionsError> {
        let mut given: BTreeMap<&'static str, String> =
            KNOBS.iter().filter_map(|(name, ..)| Some((*name, variable(name)?))).collect();
        read_flags(&mut given, arguments)?;
        given.retain(|_, value| !value.is_empty());
        let mut options = Self::default();
        for (name, value) in given {
            options.set(name, &value)?;
        }
        Ok(options)
    }

    /// The port that it really listens on.
    pub fn effective_port(&self) -> u16 {
        self.listen_port.unwrap_or(self.port)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), OptionsError> {
        match name {
            "HOST" => self.host = number(name, value, "an IP address")?,
            "PORT" => self.port = number(name, value, "a port")?,
            "LISTEN_PORT" => self.listen_port = Some(number(name, value, "a port")?),
            "VERSION" => self.version = label(name, value)?,
            "SLOT" => self.slot = Some(label(name, value)?),
            "BOOT_MS" => self.boot = milliseconds(name, value)?,
            "HEALTHY_AFTER_MS" => self.healthy_after = milliseconds(name, value)?,
            "UNHEALTHY" => self.unhealthy = switch(name, value)?,
            "DIE_AFTER_MS" => self.die_after = Some(milliseconds(name, value)?),
            "FLAP" => self.flap = switch(name, value)?,
            "FAIL_PATHS" => self.fail_paths = paths(name, value)?,
            "LATENCY_MS" => self.latency = milliseconds(name, value)?,
            "IGNORE_TERM" => self.ignore_term = switch(name, value)?,
            "SHUTDOWN_MS" => self.shutdown = milliseconds(name, value)?,
            "CRASH" => self.crash = switch(name, value)?,
            "PROBE" => self.probe = switch(name, value)?,
            _ => return Err(OptionsError(format!("unknown option {name}"))),
        }
        Ok(())
    }
}

fn read_flags(
    given: &mut BTreeMap<&'static str, String>,
    arguments: impl IntoIterator<Item = String>,
) -> Result<(), OptionsError> {
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        let (flag, attached) = match argument.split_once('=') {
            Some((flag, value)) => (flag, Some(value.to_owned())),
            None => (argument.as_str(), None),
        };
        let knob = KNOBS.iter().find(|(name, ..)| flag.strip_prefix("--") == Some(flag_of(name).as_str()));
        let Some((name, is_switch, _)) = knob else {
            return Err(OptionsError(format!("unknown argument {argument}")));
        };
        let value = match attached {
            Some(value) => value,
            None if *is_switch => "1".into(),
            None => arguments.next().ok_or_else(|| OptionsError(format!("{flag} needs a value")))?,
        };
        given.insert(name, value);
    }
    Ok(())
}

fn flag_of(name: &str) -> String {
    name.to_ascii_lowercase().replace('_', "-")
}

fn wrong(name: &str, value: &str, wanted: &str) -> OptionsError {
    OptionsError(format!("{name} is {value:?}, wanted {wanted}"))
}

fn number<T: std::str::FromStr>(name: &str, value: &str, wanted: &str) -> Result<T, OptionsError> {
    value.trim().parse().map_err(|_| wrong(name, value, wanted))
}

fn milliseconds(name: &str, value: &str) -> Result<Duration, OptionsError> {
    let wanted = format!("milliseconds from 0 to {DELAY_MS_MAX}");
    match number::<u64>(name, value, &wanted)? {
        ms if ms <= DELAY_MS_MAX => Ok(Duration::from_millis(ms)),
        _ => Err(wrong(name, value, &wanted)),
    }
}

fn switch(name: &str, value: &str) -> Result<bool, OptionsError> {
    match value.trim().to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Ok(true),
        "0" | "false" | "no" | "off" => Ok(false),
        _ => Err(wrong(name, value, "1 or 0")),
    }
}

fn label(name: &str, value: &str) -> Result<String, OptionsError> {
    let value = value.trim();
    let printable = value.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    if printable { Ok(value.to_owned()) } else { Err(wrong(name, value, "printable ASCII")) }
}

fn paths(name: &str, value: &str) -> Result<BTreeSet<String>, OptionsError> {
    let paths = value.split(',').map(str::trim).filter(|path| !path.is_empty());
    paths
        .map(|path| {
            if path.starts_with('/') {
                Ok(path.to_owned())
            } else {
                Err(wrong(name, path, "paths that begin with /"))
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(variables: &[(&str, &str)], arguments: &[&str]) -> Result<HelloOptions, OptionsError> {
        let variables: BTreeMap<_, _> = variables.iter().copied().collect();
        HelloOptions::parse(
            |name| variables.get(name).map(|value| (*value).to_owned()),
            arguments.iter().map(|argument| (*argument).to_owned()),
        )
    }

    #[test]
    fn nothing_told_is_a_well_behaved_app() {
        assert_eq!(parse(&[], &[]).unwrap(), HelloOptions::default());
    }

    #[test]
    fn every_knob_is_read_from_the_environment() {
        let options = parse(
            &[
                ("HOST", "127.0.0.1"),
                ("PORT", "81"),
                ("LISTEN_PORT", "82"),
                ("VERSION", "v1.2.3"),
                ("SLOT", "blue"),
                ("BOOT_MS", "1"),
                ("HEALTHY_AFTER_MS", "2"),
                ("UNHEALTHY", "1"),
                ("DIE_AFTER_MS", "3"),
                ("FLAP", "true"),
                ("FAIL_PATHS", "/a, /b"),
                ("LATENCY_MS", "4"),
                ("IGNORE_TERM", "yes"),
                ("SHUTDOWN_MS", "5"),
                ("CRASH", "1"),
                ("PROBE", "1"),
            ],
            &[],
        )
        .unwrap();
        let expected = HelloOptions {
            host: IpAddr::from([127, 0, 0, 1]),
            port: 81,
            listen_port: Some(82),
            version: "v1.2.3".into(),
            slot: Some("blue".into()),
            boot: Duration::from_millis(1),
            healthy_after: Duration::from_millis(2),
            unhealthy: true,
            die_after: Some(Duration::from_millis(3)),
            flap: true,
            fail_paths: ["/a".to_owned(), "/b".to_owned()].into(),
            latency: Duration::from_millis(4),
            ignore_term: true,
            shutdown: Duration::from_millis(5),
            crash: true,
            probe: true,
        };
        assert_eq!(options, expected);
        assert_eq!(options.effective_port(), 82);
    }

    #[test]
    fn a_flag_wins_over_the_environment_and_an_empty_variable_is_absent() {
        let options = parse(
            &[("PORT", "81"), ("SLOT", ""), ("UNHEALTHY", "1")],
            &["--port=90", "--version", "v2", "--unhealthy=0", "--flap"],
        )
        .unwrap();
        assert_eq!((options.port, options.version.as_str(), options.slot), (90, "v2", None));
        assert_eq!((options.unhealthy, options.flap), (false, true));
    }

    #[test]
    fn wrong_values_are_named() {
        for (variables, arguments, part) in [
            (vec![("PORT", "65536")], vec![], "PORT is \"65536\""),
            (vec![("BOOT_MS", "3600001")], vec![], "BOOT_MS"),
            (vec![("FLAP", "maybe")], vec![], "FLAP"),
            (vec![("FAIL_PATHS", "metrics")], vec![], "FAIL_PATHS"),
            (vec![("VERSION", "v1\r\nx: y")], vec![], "VERSION"),
            (vec![], vec!["--colour", "blue"], "unknown argument --colour"),
            (vec![], vec!["--port"], "--port needs a value"),
        ] {
            let message = parse(&variables, &arguments).unwrap_err().to_string();
            assert!(message.contains(part), "{message} should mention {part}");
        }
    }

    #[test]
    fn usage_names_every_knob_once() {
        for (name, ..) in KNOBS {
            assert_eq!(usage().matches(&format!("--{} ", flag_of(name))).count(), 1, "{name}");
        }
    }
}
