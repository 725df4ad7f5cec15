//! What `doctor` looks at on a machine reached over SSH.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use lockgate_model::Millis;
use lockgate_ports::{Check, Host, Output};

use crate::host::{Ssh, clock};
use crate::script::{Line, Script};
use crate::session::{Again, Call};

/// Programs that the scripts call.
const PROGRAMS: &str = "cat chmod date df flock head id ls mkdir mv rm setsid sha256sum sleep sync wc";
/// Clocks further apart than this are worth a word: certificates, logs and schedules disagree. Leases do not, they
/// only ever use the host's own clock.
const CLOCK_SECONDS_MAX: u64 = 2;
/// A round trip longer than this makes every step slow.
const ROUND_TRIP_MILLIS_MAX: u128 = 500;
const PROBE_TIMEOUT: Millis = Millis::from_secs(20);
const OUTPUT_BYTES_MAX: usize = 64 * 1024;

pub(crate) async fn check(host: &Ssh) -> Vec<Check> {
    let what = format!("ssh {}", host.id());
    // The first one connects; the second measures what a step will cost.
    let start = Instant::now();
    let first = match probe(host).await {
        Ok(output) => output,
        Err(check) => return vec![check],
    };
    let opened = start.elapsed();
    if !first.ok() {
        let seen = format!("a small script ended with {}: {}", first.code, first.stderr_text().trim());
        return vec![Check::bad(
            what,
            seen,
            format!("see what its shell has against it: ssh {} sh", host.id()),
        )];
    }
    let (start, before) = (Instant::now(), since_epoch());
    let second = match probe(host).await {
        Ok(output) => output,
        Err(check) => return vec![check],
    };
    let trip = start.elapsed();
    let text = second.stdout_text();
    let system = text.lines().nth(1).unwrap_or("unknown system");
    vec![
        Check::ok(what, format!("{system}, connected in {} ms", opened.as_millis())),
        round_trip(trip),
        programs(&text),
        clocks(&second, before + trip / 2),
    ]
}

async fn probe(host: &Ssh) -> Result<Output, Check> {
    let what = format!("ssh {}", host.id());
    let bad = |error: lockgate_ports::PortError| {
        let mend = error.hints().joined().unwrap_or_else(|| what.clone());
        Check::bad(what.clone(), error.to_string(), mend)
    };
    let line = Line::new().set("programs", PROGRAMS).map_err(bad)?.end();
    let call = Call {
        script: Script::Probe,
        line: &line,
        content: &[],
        again: Again::Safe,
        timeout: PROBE_TIMEOUT,
        output_bytes_max: OUTPUT_BYTES_MAX,
    };
    host.call(&call).await.map_err(bad)
}

fn round_trip(trip: Duration) -> Check {
    let seen = format!("{:.1} ms for a small script", trip.as_secs_f64() * 1000.0);
    if trip.as_millis() > ROUND_TRIP_MILLIS_MAX {
        Check::warn("round trip", seen, "see what slows it: the network, or the login shell's start-up files")
    } else {
        Check::ok("round trip", seen)
    }
}

/// The lines after clock and system name what is missing.
fn programs(text: &str) -> Check {
    let missing: Vec<&str> = text.lines().skip(2).collect();
    if missing.is_empty() {
        Check::ok("programs", PROGRAMS)
    } else if missing == ["setsid"] {
        let seen = "no setsid: every command opens a session of its own, which is slower";
        Check::warn("programs", seen, "install util-linux on the host")
    } else {
        Check::bad(
            "programs",
            format!("missing: {}", missing.join(", ")),
            "install coreutils and util-linux, or busybox with these applets, on the host",
        )
    }
}

fn clocks(output: &Output, here: Duration) -> Check {
    let there = match clock(&output.stdout) {
        Ok(there) => there.0,
        Err(error) => return Check::bad("clock", error.to_string(), error.hints().to_string()),
    };
    let offset = there - i64::try_from(here.as_millis()).unwrap_or(i64::MAX);
    let seen = format!("{offset:+} ms from this machine's");
    if offset.unsigned_abs() > CLOCK_SECONDS_MAX * 1000 {
        Check::warn("clock", seen, "turn on time synchronisation on both machines (timedatectl set-ntp true)")
    } else {
        Check::ok("clock", seen)
    }
}

fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
