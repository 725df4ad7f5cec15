//! Asking gates: HTTP answers and programs' exit codes, each verdict with its evidence (P6).

use std::borrow::Cow;
use std::time::Duration;

use lockgate_model::{
    CommandGate, Evidence, Failure, FailureKind, Gate, GateKind, GateTarget, GateVerdict, HttpGate,
    Judgement, Millis, Release, Seen, Vars, without_query,
};
use lockgate_ports::{Answer, Check, Command, PortError, Request};

use crate::Conductor;
use crate::identity::SERVER_ERROR_MIN;

/// Output lines of a failed command in the error.
const LOG_LINES: usize = 20;
/// For looking whether a program is there.
const LOOK_SECONDS_MAX: u64 = 10;

/// # Errors
/// `GateFailed` or `GateNotYet`, with the evidence.
pub(crate) async fn ask(
    conductor: &Conductor,
    gate: &Gate,
    release: Option<&Release>,
) -> Result<Seen, Failure> {
    let (verdict, logs) = match &gate.kind {
        GateKind::Http(http) => (ask_http(conductor, &gate.name, http).await, Vec::new()),
        GateKind::Command(command) => ask_command(conductor, &gate.name, command, release).await?,
    };
    let (kind, says) = match verdict.judgement {
        Judgement::Pass => return Ok(verdict.evidence),
        Judgement::Fail => (FailureKind::GateFailed, "failed"),
        Judgement::NotYet => (FailureKind::GateNotYet, "says not yet"),
    };
    let first = verdict.evidence.iter().find(|one| !one.ok);
    let because = first.map_or("it saw nothing".to_owned(), |one| {
        format!("{}: {}, wanted {}", one.check, one.seen, one.wanted)
    });
    Err(Failure::new(kind, format!("gate {:?} {says}: {because}", verdict.gate))
        .evidence(verdict.evidence)
        .logs(logs))
}

/// Where the samples are taken.
enum Place<'a> {
    Url(&'a str),
    Host(&'a lockgate_ports::HostPorts),
}

async fn ask_http(conductor: &Conductor, name: &str, gate: &HttpGate) -> GateVerdict {
    let places: Vec<Place<'_>> = match &gate.target {
        GateTarget::Url(url) => vec![Place::Url(url)],
        GateTarget::Here => conductor.hosts.values().map(Place::Host).collect(),
        GateTarget::Hosts(hosts) => {
            hosts.iter().filter_map(|host| conductor.hosts.get(host)).map(Place::Host).collect()
        }
        // The plan resolves these to a URL; one that is left has none, so there is nothing to look at.
        GateTarget::Environment(_) => Vec::new(),
    };
    let samples = places.iter().map(|place| sample(conductor, place, gate));
    let evidence = futures_util::future::join_all(samples).await.into_iter().flatten().collect();
    GateVerdict::judge(name, evidence)
}

/// Takes the samples path by path in rounds, so that they are spread over the time.
async fn sample(conductor: &Conductor, place: &Place<'_>, gate: &HttpGate) -> Vec<Evidence> {
    let mut seen: Vec<Vec<Result<Answer, PortError>>> = vec![Vec::new(); gate.paths.len()];
    for round in 0..gate.samples {
        if round > 0 {
            tokio::time::sleep(gate.interval.duration()).await;
        }
        for (path, answers) in gate.paths.iter().zip(&mut seen) {
            answers.push(get(conductor, place, path, gate.timeout).await);
        }
        // It has failed, and every further sample keeps a bad release live.
        if seen.iter().filter_map(|answers| answers.last()).any(|answer| objection(answer, gate).is_some()) {
            break;
        }
    }
    gate.paths.iter().zip(&seen).flat_map(|(path, answers)| judge(place, path, answers, gate)).collect()
}

async fn get(
    conductor: &Conductor,
    place: &Place<'_>,
    path: &str,
    timeout: Millis,
) -> Result<Answer, PortError> {
    match place {
        Place::Url(url) => {
            let url = format!("{}{path}", url.trim_end_matches('/'));
            conductor.prober.send(&Request::get(url, timeout)).await
        }
        Place::Host(ports) => {
            ports.router.ask(&Request::get(path, timeout)).await.map(|answer| answer.answer)
        }
    }
}

fn judge(
    place: &Place<'_>,
    path: &str,
    answers: &[Result<Answer, PortError>],
    gate: &HttpGate,
) -> Vec<Evidence> {
    let at = match place {
        Place::Url(url) => without_query(&format!("{}{path}", url.trim_end_matches('/'))),
        Place::Host(ports) => {
            format!("{} through {} on {}", without_query(path), ports.router.name(), ports.id)
        }
    };
    let bad = answers.iter().find_map(|answer| objection(answer, gate));
    let body = gate.body.as_ref().map(|text| format!(" with {text:?} in the body")).unwrap_or_default();
    let mut evidence = vec![Evidence {
        check: format!("GET {at}"),
        wanted: format!("{}{body}, {} times", gate.status, gate.samples),
        ok: bad.is_none() && !answers.is_empty(),
        seen: bad.unwrap_or_else(|| format!("{} good answers", answers.len())),
    }];
    if let Some(limit) = gate.latency_p95 {
        evidence.push(latency(&at, answers, limit));
    }
    evidence
}

/// What is wrong with one sample.
fn objection(answer: &Result<Answer, PortError>, gate: &HttpGate) -> Option<String> {
    match answer {
        Ok(answer) if !gate.status.contains(answer.status) => Some(answer.status.to_string()),
        Ok(answer) => {
            let lacks = gate.body.as_ref().is_some_and(|wanted| !answer.text().contains(wanted.as_str()));
            lacks.then(|| "a body without it".to_owned())
        }
        Err(error) => Some(error.to_string()),
    }
}

/// The 95th percentile by nearest rank. Without an answer there is no latency, and no data is not a pass.
fn latency(at: &str, answers: &[Result<Answer, PortError>], limit: Millis) -> Evidence {
    let mut spans: Vec<Duration> = answers.iter().flatten().map(|answer| answer.elapsed).collect();
    spans.sort_unstable();
    let rank = (spans.len() * 95).div_ceil(100);
    let p95 = rank.checked_sub(1).map(|index| spans[index]);
    Evidence {
        check: format!("p95 latency of GET {at}"),
        wanted: format!("at most {limit}"),
        seen: p95.map_or("no answer".to_owned(), |p95| format!("{:.1}ms", p95.as_secs_f64() * 1000.0)),
        ok: p95.is_some_and(|p95| p95 <= limit.duration()),
    }
}

async fn ask_command(
    conductor: &Conductor,
    name: &str,
    gate: &CommandGate,
    release: Option<&Release>,
) -> Result<(GateVerdict, Vec<String>), Failure> {
    let subject = &conductor.subject;
    let vars = Vars {
        service: Some(&subject.service),
        environment: Some(&subject.environment),
        slot: None,
        port: None,
        tag: release.map(|release| &release.tag),
        digest: release.map(|release| &release.digest),
    };
    let argv: Result<Vec<String>, _> = gate.argv.iter().map(|part| part.fill(&vars)).collect();
    let argv = argv.map_err(|error| Failure::new(FailureKind::Refused, format!("gate {name:?}: {error}")))?;
    let program = argv.first().cloned().unwrap_or_default();
    let mut command = Command::new(argv)
        .env("LOCKGATE_SERVICE", subject.service.as_str())
        .env("LOCKGATE_ENVIRONMENT", subject.environment.as_str())
        .timeout(gate.timeout);
    if let Some(release) = release {
        command =
            command.env("LOCKGATE_TAG", release.tag.as_str()).env("LOCKGATE_DIGEST", release.digest.as_str());
    }
    let evidence = |seen: String, ok| Evidence {
        check: format!("exit code of {program}"),
        wanted: gate.pass.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or "),
        seen,
        ok,
    };
    Ok(match conductor.runner.run(&command).await {
        Ok(output) if gate.pass.contains(&output.code) => {
            (GateVerdict::judge(name, vec![evidence(output.code.to_string(), true)]), Vec::new())
        }
        Ok(output) => {
            let seen = vec![evidence(output.code.to_string(), false)];
            let verdict = match gate.not_yet.contains(&output.code) {
                true => GateVerdict::not_yet(name, seen),
                false => GateVerdict::judge(name, seen),
            };
            (verdict, conductor.mask.hide_all(tail(&output)))
        }
        // It could not look.
        Err(error) => {
            let said = conductor.mask.hide(error.message);
            let seen = Evidence { check: format!("run {program}"), ..evidence(said, false) };
            (GateVerdict::judge(name, vec![seen]), Vec::new())
        }
    })
}

/// Whether the programs of command gates are there, where the gates will run them, and whether anybody answers at the
/// URLs of the others.
pub(crate) async fn check(conductor: &Conductor, gates: &[Gate]) -> Vec<Check> {
    let mut checks = Vec::new();
    for gate in gates {
        let what = format!("gate {}", gate.name);
        checks.extend(match &gate.kind {
            GateKind::Command(command) => check_program(conductor, what, command).await,
            GateKind::Http(http) => check_url(conductor, what, http).await,
        });
    }
    checks
}

/// A program whose name is filled in by a deployment cannot be looked for before.
async fn check_program(conductor: &Conductor, what: String, gate: &CommandGate) -> Option<Check> {
    let program = gate.argv.first()?.as_str();
    if program.contains('{') {
        return None;
    }
    let look = Command::new(["sh", "-c", "command -v -- \"$1\"", "sh", program])
        .timeout(Millis::from_secs(LOOK_SECONDS_MAX));
    Some(match conductor.runner.run(&look).await {
        Ok(output) if output.ok() => Check::ok(what, format!("{program} is there")),
        Ok(_) => Check::bad(
            what,
            format!("there is no program {program}"),
            "install it on this machine, or correct `command` of the gate",
        ),
        Err(error) => Check::bad(what, error.to_string(), "see that programs can be run on this machine"),
    })
}

/// Any answer will do: before the first deployment there is nothing behind it, and what is good the gate itself says.
async fn check_url(conductor: &Conductor, what: String, gate: &HttpGate) -> Option<Check> {
    let GateTarget::Url(url) = &gate.target else { return None };
    let (path, timeout) = (gate.paths.first()?, Millis::from_secs(LOOK_SECONDS_MAX));
    let at = without_query(&format!("{}{path}", url.trim_end_matches('/')));
    Some(match get(conductor, &Place::Url(url), path, timeout).await {
        Ok(answer) if answer.status >= SERVER_ERROR_MIN => Check::warn(
            what,
            format!("{at} answers {}", answer.status),
            "the gate would fail now; before the first deployment that is as it should be",
        ),
        Ok(answer) => Check::ok(what, format!("{at} answers {}", answer.status)),
        Err(error) => Check::warn(
            what,
            format!("{at} does not answer this machine: {}", error.message),
            "the gate asks it from here: see that the name leads to the routers and that they listen on that port",
        ),
    })
}

/// What a runner keeps of each stream, from the end, in bytes.
const KEPT_BYTES: usize = 1024 * 1024;

/// Without the word that the beginning was cut off from: half a secret is not known as one.
fn whole(kept: &[u8]) -> Cow<'_, str> {
    let is_cut = kept.len() >= KEPT_BYTES;
    let rest = kept.iter().position(u8::is_ascii_whitespace).map_or(&kept[kept.len()..], |end| &kept[end..]);
    String::from_utf8_lossy(if is_cut { rest } else { kept })
}

fn tail(output: &lockgate_ports::Output) -> Vec<String> {
    let (out, err) = (whole(&output.stdout), whole(&output.stderr));
    let lines: Vec<&str> = out.lines().chain(err.lines()).collect();
    lines[lines.len().saturating_sub(LOG_LINES)..].iter().map(|line| (*line).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use lockgate_model::StatusRange;

    use super::*;

    #[test]
    fn what_a_program_wrote_last_is_told_but_no_half_word() {
        let said = |stdout: &[u8], stderr: &[u8]| {
            tail(&lockgate_ports::Output { code: 1, stdout: stdout.to_vec(), stderr: stderr.to_vec() })
        };
        assert_eq!(said(b"a\n\nb", b"c\n"), ["a", "", "b", "c"]);
        let mut full = b"ter2 and more\nlast\n".to_vec();
        full.splice(0..0, std::iter::repeat_n(b'x', KEPT_BYTES - full.len()));
        assert_eq!(said(&full, b""), [" and more", "last"]);
        assert_eq!(said(&[b'x'; KEPT_BYTES], b"c"), ["c"]);
    }

    #[test]
    fn evidence_has_no_queries() {
        let gate = HttpGate {
            target: GateTarget::Url("https://shop.example/".into()),
            paths: vec!["/health?token=hunter2".into()],
            status: StatusRange::OK,
            body: None,
            latency_p95: Some(Millis(1)),
            samples: 1,
            interval: Millis(0),
            timeout: Millis(1),
        };
        let refused = [Err(PortError::unreachable("nobody listens"))];
        let evidence = judge(&Place::Url("https://shop.example/"), &gate.paths[0], &refused, &gate);
        let checks: Vec<&str> = evidence.iter().map(|one| one.check.as_str()).collect();
        let shown = "GET https://shop.example/health?…";
        assert_eq!(checks, [shown, &format!("p95 latency of {shown}")]);
    }
}
