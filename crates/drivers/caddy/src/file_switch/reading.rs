//! Whether Caddy can read the file: as its own process may.

use lockgate_model::{FailureKind, Millis};
use lockgate_ports::{Command, Endpoint, PortError};

use super::switch::{ANY_PATH, FileSwitch, Looked};

const READER: &str = include_str!("../sh/reader.sh");
/// Longest wait for the look.
const LOOK_SECONDS_MAX: u64 = 10;

/// How an answer says who gave it.
pub(super) const NAMED: &str = "set `verify` to what tells releases apart, or have the slot named: `header_down X-Lockgate-Slot green` in the `reverse_proxy` to green, and blue in the other";

/// What the processes called caddy that serve there make of the file. The numbers are user ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reading {
    /// It has the very content.
    Reads(u32),
    /// Its container was given the file without its folder, so it keeps the one of then.
    Alone(u32),
    /// It has another file there.
    Other(u32),
    /// It may not, or sees no such file.
    Not(u32),
    /// We may not look at it.
    Unknown,
    /// There is no such process that we see.
    Nobody,
}

pub(super) async fn look(switch: &FileSwitch, looked: &Looked) -> Result<Reading, PortError> {
    let port = match switch.data_path(looked, ANY_PATH).map(|path| path.endpoint) {
        Ok(Endpoint::Tcp(address)) => address.rsplit(':').next().unwrap_or("-").to_owned(),
        Ok(Endpoint::Unix(_)) | Err(_) => "-".to_owned(),
    };
    let argv = ["sh", "-c", READER, "reader.sh", &switch.options.seen_as, &port];
    let output = switch.host().exec(&Command::new(argv).timeout(Millis::from_secs(LOOK_SECONDS_MAX))).await?;
    Ok(parse(&output.stdout_text()))
}

/// The worst of several: each of them may be the one that serves.
fn parse(text: &str) -> Reading {
    let one = |line: &str| {
        let (word, uid) = line.split_once(' ')?;
        let uid = uid.trim().parse().ok()?;
        match word {
            "not" => Some((0, Reading::Not(uid))),
            "alone" => Some((1, Reading::Alone(uid))),
            "other" => Some((2, Reading::Other(uid))),
            "unknown" => Some((3, Reading::Unknown)),
            "reads" => Some((4, Reading::Reads(uid))),
            _ => None,
        }
    };
    let worst = text.lines().filter_map(one).min_by_key(|(rank, _)| *rank);
    worst.map_or(Reading::Nobody, |(_, reading)| reading)
}

/// # Errors
/// `Refused` unless Caddy is seen to read what stands in the file.
pub(super) async fn certain(switch: &FileSwitch, looked: &Looked) -> Result<(), PortError> {
    let file = &switch.options.seen_as;
    let why = match look(switch, looked).await? {
        Reading::Reads(_) => return Ok(()),
        Reading::Alone(uid) => {
            format!("Caddy (user {uid}) was given {file} without its folder, so it sees no other one")
        }
        Reading::Other(uid) => format!("Caddy (user {uid}) has another {file} than the host"),
        Reading::Not(uid) => format!("Caddy (user {uid}) cannot read {file}, so it goes to blue"),
        Reading::Unknown => format!("whether Caddy reads {file} cannot be seen"),
        Reading::Nobody => format!("no process called caddy is seen that could read {file}"),
    };
    let message = format!("{why}, and no answer says which slot gave it");
    Err(PortError::new(FailureKind::Refused, message).hint(NAMED))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_processes_the_worst_counts_and_only_known_words_are_read() {
        assert_eq!(parse("reads 0\nnot 33\n"), Reading::Not(33));
        assert_eq!(parse("reads 0\nunknown 33\n"), Reading::Unknown);
        assert_eq!(parse("reads 0\n"), Reading::Reads(0));
        assert_eq!(parse("other 5\n"), Reading::Other(5));
        assert_eq!(parse("reads 5\nalone 6\n"), Reading::Alone(6));
        assert_eq!(parse("hello\nnot x\n"), Reading::Nobody);
    }
}
