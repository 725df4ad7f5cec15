//! Gates.

use lockgate_model::{
    CommandGate, EnvironmentName, Gate, GateKind, GateTarget, HttpGate, Millis, Sampling, Template,
};

use super::named::environment;
use super::reader::{Reader, reference};
use crate::at::{At, Either, Whole, Words};
use crate::raw;

const SAMPLES: u32 = 5;
const SAMPLES_MAX: u32 = 1000;
const INTERVAL: Millis = Millis(200);
/// A gate is asked while a run holds its lease; what takes longer is no gate of a run.
const SPAN_SECONDS_MAX: u64 = 3_600;
const SPAN_SECONDS_MIN: u64 = 1;
const EVERY: Millis = Millis::from_secs(2);
const EVERY_MIN: Millis = Millis(100);
/// Looks at one path within a span.
const LOOKS_MAX: u32 = 10_000;
const REQUEST_TIMEOUT: Millis = Millis::from_secs(5);
const COMMAND_TIMEOUT: Millis = Millis::from_secs(600);
const PASS: [i32; 1] = [0];
/// `EX_TEMPFAIL` of sysexits.h.
const NOT_YET: [i32; 1] = [75];

pub fn resolve(
    reader: &mut Reader<'_>,
    sources: &[At<raw::Gate>],
    here: &EnvironmentName,
    environments: &[&str],
) -> Vec<Gate> {
    let mut gates: Vec<Gate> = Vec::new();
    for source in sources {
        if source.value.soak.is_some() && source.value.http.is_none() && source.value.command.is_none() {
            continue;
        }
        let Some((kind, default)) = kind(reader, source, here, environments) else { continue };
        let name = match &source.value.name {
            Some(name) => reader.line("`name`", name),
            None => Some(unused(default, &gates)),
        };
        let Some(name) = name else { continue };
        if gates.iter().any(|gate| gate.name == name) {
            let hint = "give each its own `name:`";
            reader.conflict(source.place, "two gates here have the same name", hint);
        }
        gates.push(Gate { name, kind });
    }
    gates
}

/// The default name, with a number when it is taken.
fn unused(name: String, gates: &[Gate]) -> String {
    let taken = |name: &str| gates.iter().any(|gate| gate.name == name);
    if !taken(&name) {
        return name;
    }
    // One of the first `len + 2` numbers is free.
    let numbered = (2..gates.len() + 3).map(|number| format!("{name} {number}")).find(|name| !taken(name));
    numbered.unwrap_or(name)
}

fn kind(
    reader: &mut Reader<'_>,
    source: &At<raw::Gate>,
    here: &EnvironmentName,
    environments: &[&str],
) -> Option<(GateKind, String)> {
    match (&source.value.http, &source.value.command, &source.value.soak) {
        (Some(http), None, None) => self::http(reader, http, here, environments),
        (None, Some(command), None) => self::command(reader, command),
        _ => {
            reader.invalid(
                source.place,
                "a gate is either `http`, `command` or `soak`",
                "write one list item for each",
            );
            None
        }
    }
}

fn http(
    reader: &mut Reader<'_>,
    source: &At<raw::Http>,
    here: &EnvironmentName,
    environments: &[&str],
) -> Option<(GateKind, String)> {
    let raw = &source.value;
    let what = if raw.span.is_some() { "stability" } else { "http" };
    let (target, name) = match (&raw.environment, &raw.url) {
        (Some(_), Some(url)) => {
            reader.conflict(url.place, "`in` and `url` exclude each other", "keep one of them");
            return None;
        }
        (Some(name), None) => {
            let name = environment(reader, name, environments)?;
            let shown = format!("{what} in {name}");
            (if &name == here { GateTarget::Here } else { GateTarget::Environment(name) }, shown)
        }
        (None, Some(url)) => {
            let url = reader.url("`url`", url)?;
            let host = url.split('/').nth(2).unwrap_or_default().to_owned();
            (GateTarget::Url(url), format!("{what} at {host}"))
        }
        (None, None) => (GateTarget::Here, what.to_owned()),
    };
    let body = raw.body.as_ref().and_then(|body| Some((reader.text(body)?, body.place)));
    if let Some((text, place)) = &body
        && Template::new(text.clone())
            .is_ok_and(|body| ["tag", "digest", "slot"].iter().any(|hole| body.names(hole)))
    {
        let hint = "the service's `verify: { path: …, body: \"{tag}\" }` tells releases apart";
        reader.invalid(*place, "a gate's `body` has no placeholders", hint);
    }
    let gate = HttpGate {
        target,
        paths: reader.url_paths("path", &raw.paths),
        status: reader.status("`status`", raw.status.as_ref()),
        body: body.map(|(text, _)| text),
        latency_p95: raw
            .latency_p95
            .as_ref()
            .map(|span| reader.span("`latency_p95`", Some(span), Millis(1), Millis(1))),
        sampling: sampling(reader, raw),
        timeout: reader.span("`timeout`", raw.timeout.as_ref(), Millis(1), REQUEST_TIMEOUT),
    };
    Some((GateKind::Http(gate), name))
}

/// A handful, or with `for` over a time.
fn sampling(reader: &mut Reader<'_>, raw: &raw::Http) -> Sampling {
    let Some(given) = &raw.span else {
        let alone = [
            ("every", raw.every.as_ref().map(|one| one.place)),
            ("failures", raw.failures.as_ref().map(|one| one.place)),
        ];
        for (key, place) in alone {
            if let Some(place) = place {
                let hint = "add `for: 1m`, or write `samples` and `interval` for a handful of requests";
                reader.conflict(place, format!("`{key}` says nothing without `for`"), hint);
            }
        }
        return Sampling::Count {
            samples: reader.whole("`samples`", raw.samples.as_ref(), 1, SAMPLES_MAX, SAMPLES),
            interval: reader.span("`interval`", raw.interval.as_ref(), Millis(0), INTERVAL),
        };
    };
    let instead = [
        (
            "samples",
            raw.samples.as_ref().map(|one| one.place),
            "remove it: `for` and `every` say how many there are",
        ),
        ("interval", raw.interval.as_ref().map(|one| one.place), "with `for` write `every` instead"),
    ];
    for (key, place, hint) in instead {
        if let Some(place) = place {
            reader.conflict(place, format!("`{key}` and `for` exclude each other"), hint);
        }
    }
    let least = Millis::from_secs(SPAN_SECONDS_MIN);
    let most = Millis::from_secs(SPAN_SECONDS_MAX);
    let Some(span) = reader.span_within("`for`", given, least, most) else {
        return Sampling::Span { span: least, every: least, failures: 0 };
    };
    let every = reader.span("`every`", raw.every.as_ref(), EVERY_MIN, EVERY.min(span));
    let place = raw.every.as_ref().map_or(given.place, |every| every.place);
    let looks = Sampling::Span { span, every, failures: 0 }.looks();
    if every > span {
        let message = format!("`every` {every} is longer than `for` {span}");
        reader.invalid(place, message, format!("write {span} or less, so that there are two looks at least"));
    } else if looks > LOOKS_MAX {
        let message = format!("{looks} requests for each path are too many: at most {LOOKS_MAX}");
        let enough = Millis(span.0.div_ceil(u64::from(LOOKS_MAX) - 1));
        reader.invalid(place, message, format!("write `every: {enough}` or more, or a shorter `for`"));
    }
    // One has to be good.
    let failures = reader.whole("`failures`", raw.failures.as_ref(), 0, looks.saturating_sub(1), 0);
    Sampling::Span { span, every, failures }
}

fn command(reader: &mut Reader<'_>, source: &At<Either<raw::Command>>) -> Option<(GateKind, String)> {
    let (what, run, raw) = match &source.value {
        Either::Short(line) => {
            ("`command`", At { value: Words::Line(line.clone()), place: source.place }, None)
        }
        Either::Full(raw) => ("`run`", raw.run.clone(), Some(raw)),
    };
    if let Some(place) = reference(&run) {
        let message = format!("{what} of a gate cannot have `${{…}}`: its arguments are shown and kept");
        let hint = "the command has the environment of this one: write `$NAME` in a script, as in `sh -c '… \"$NAME\"'`";
        reader.invalid(place, message, hint);
        return None;
    }
    let argv = reader.argv(what, &run)?;
    let pass = codes(reader, "`pass`", raw.and_then(|raw| raw.pass.as_ref()), &PASS);
    let not_yet = codes(reader, "`not_yet`", raw.and_then(|raw| raw.not_yet.as_ref()), &NOT_YET);
    // The default steps aside when the user gives 75 another meaning.
    let given = raw.is_some_and(|raw| raw.not_yet.is_some());
    let not_yet: Vec<i32> = not_yet.into_iter().filter(|code| given || !pass.contains(code)).collect();
    if let Some(code) = pass.iter().find(|code| not_yet.contains(code)) {
        let message = format!("exit code {code} cannot both pass and say not yet");
        reader.conflict(source.place, message, "keep it in one of `pass` and `not_yet`");
    }
    let timeout = raw.and_then(|raw| raw.timeout.as_ref());
    let timeout = reader.span("`timeout`", timeout, Millis(1), COMMAND_TIMEOUT);
    let program = argv.first().map_or("", Template::as_str);
    let name = format!("command {}", program.rsplit('/').next().unwrap_or(program));
    Some((GateKind::Command(CommandGate { argv, timeout, pass, not_yet }), name))
}

fn codes(
    reader: &mut Reader<'_>,
    what: &str,
    source: Option<&At<Vec<At<Whole>>>>,
    default: &[i32],
) -> Vec<i32> {
    match source {
        None => default.to_vec(),
        Some(list) => list.value.iter().map(|code| reader.whole(what, Some(code), 0, 255, 0)).collect(),
    }
}
