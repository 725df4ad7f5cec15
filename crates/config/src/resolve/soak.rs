//! Soaks: what must have been seen of a release before it is promoted.

use lockgate_model::{EnvironmentName, Millis, Monitor, PrometheusMonitor, Secret, Soak, Within};

use super::named::environment;
use super::reader::{Reader, quote};
use crate::at::{At, Number, Span};
use crate::error::Place;
use crate::{raw, raw_soak};

const COVERAGE: u8 = 90;
const SPAN_MIN: Millis = Millis::from_secs(1);
const SPAN_MAX: Millis = Millis::from_secs(7 * 24 * 3_600);
const EVERY: Millis = Millis::from_secs(60);
const EVERY_MIN: Millis = Millis::from_secs(1);
/// Looks in a soak's time where `every` is left out: fewer say little.
const LOOKS_MIN: u64 = 10;
/// Below the 11,000 for each series that Prometheus gives at most.
const LOOKS_MAX: u64 = 10_000;
const TIMEOUT: Millis = Millis::from_secs(10);
const TIMEOUT_MAX: Millis = Millis::from_secs(30);
const QUERY_CHARS_MAX: usize = 4_000;

/// Those of the gates of `before` that are soaks.
pub fn resolve(
    reader: &mut Reader<'_>,
    sources: &[At<raw::Gate>],
    from: Option<&EnvironmentName>,
    environments: &[&str],
) -> Vec<Soak> {
    let mut soaks: Vec<Soak> = Vec::new();
    for source in sources {
        let Some(raw) = &source.value.soak else { continue };
        let Some((soak, from)) = one(reader, raw, from, environments) else { continue };
        let name = match &source.value.name {
            Some(name) => reader.line("`name`", name),
            None => Some(format!("soak in {from}")),
        };
        let Some(name) = name else { continue };
        if soaks.iter().any(|known| known.name == name) {
            reader.conflict(source.place, "two gates here have the same name", "give each its own `name:`");
        }
        soaks.push(Soak { name, ..soak });
    }
    soaks
}

/// Reports those among the gates of `after`.
pub fn refuse(reader: &mut Reader<'_>, sources: &[At<raw::Gate>]) {
    for source in sources {
        if let Some(soak) = &source.value.soak {
            let message = "a soak looks at what was live before it came here";
            reader.invalid(soak.place, message, "write it below `before`");
        }
    }
}

fn one(
    reader: &mut Reader<'_>,
    source: &At<raw_soak::Soak>,
    from: Option<&EnvironmentName>,
    environments: &[&str],
) -> Option<(Soak, EnvironmentName)> {
    let raw = &source.value;
    let span = reader.span_within("`for`", &raw.span, SPAN_MIN, SPAN_MAX);
    let coverage = reader.whole("`coverage`", raw.coverage.as_ref(), 1, 100, COVERAGE);
    let named = match &raw.environment {
        Some(name) => Some((environment(reader, name, environments)?, name.place)),
        None => None,
    };
    let Some(from) = from else {
        let message = "a soak looks at the environment that promotions come from";
        reader.invalid(source.place, message, "give this environment `from:`");
        return None;
    };
    if let Some((name, place)) = named
        && name != *from
    {
        let message = format!("promotions come from `{from}`, and the soak is in `{name}`");
        reader.conflict(place, message, format!("write `in: {from}`, or leave it out"));
        return None;
    }
    let span = span?;
    let Some(prometheus) = &raw.prometheus else {
        let message = "nobody watches: time alone proves nothing";
        reader.invalid(source.place, message, "add `prometheus: { query: …, max: … }`");
        return None;
    };
    let monitor = Monitor::Prometheus(self::prometheus(reader, prometheus, span)?);
    Some((Soak { name: String::new(), span, coverage, monitor }, from.clone()))
}

fn prometheus(
    reader: &mut Reader<'_>,
    source: &At<raw_soak::Prometheus>,
    span: Millis,
) -> Option<PrometheusMonitor> {
    let raw = &source.value;
    let url = match &raw.url {
        Some(url) => reader.secret_url("`url`", url),
        None => {
            let text = At { value: "${PROMETHEUS_URL}".to_owned(), place: source.place };
            reader.secret_url("the variable PROMETHEUS_URL", &text)
        }
    };
    let token = raw.token.as_ref().and_then(|token| super::notify::token(reader, token));
    let query = query(reader, &raw.query);
    let good = good(reader, source, raw.max.as_ref(), raw.min.as_ref());
    let every = every(reader, raw.every.as_ref(), source.place, span);
    let timeout = match &raw.timeout {
        Some(timeout) => reader.span_within("`timeout`", timeout, Millis(1), TIMEOUT_MAX)?,
        None => TIMEOUT,
    };
    let url = Secret::new(url?.trim_end_matches('/'));
    Some(PrometheusMonitor { url, token, query: query?, good: good?, every: every?, timeout })
}

fn query(reader: &mut Reader<'_>, source: &At<String>) -> Option<String> {
    let text = reader.text(source)?;
    let is_empty = text.trim().is_empty();
    if is_empty || text.chars().count() > QUERY_CHARS_MAX {
        let what = if is_empty {
            "is empty".to_owned()
        } else {
            format!("is longer than {QUERY_CHARS_MAX} characters")
        };
        reader.invalid(
            source.place,
            format!("`query` {what}"),
            "write PromQL that gives one number a moment",
        );
        return None;
    }
    Some(text)
}

fn good(
    reader: &mut Reader<'_>,
    source: &At<raw_soak::Prometheus>,
    max: Option<&At<Number>>,
    min: Option<&At<Number>>,
) -> Option<Within> {
    if max.is_none() && min.is_none() {
        let message = "every value would be good";
        reader.invalid(source.place, message, "add `max:`, the most that is good, or `min:`, the least");
        return None;
    }
    let max_at = max.map(|max| (reader.number("`max`", max), max));
    let min_at = min.map(|min| reader.number("`min`", min));
    let within = Within { min: min_at.flatten(), max: max_at.and_then(|(max, _)| max) };
    if let (Some(least), Some(most), Some(source)) = (within.min, within.max, max)
        && least > most
    {
        let message = format!("`max` {} is less than `min`, so that nothing would be good", quote(source));
        reader.conflict(source.place, message, "exchange them");
        return None;
    }
    let is_read = max.is_some() == within.max.is_some() && min.is_some() == within.min.is_some();
    is_read.then_some(within)
}

fn every(reader: &mut Reader<'_>, source: Option<&At<Span>>, place: Place, span: Millis) -> Option<Millis> {
    let every = match source {
        Some(source) => reader.span_within("`every`", source, EVERY_MIN, span.max(EVERY_MIN))?,
        None => Millis((span.0 / LOOKS_MIN).clamp(EVERY_MIN.0, EVERY.0)),
    };
    let looks = span.0 / every.0;
    if looks > LOOKS_MAX {
        let least = Millis(span.0.div_ceil(LOOKS_MAX));
        let message = format!("{looks} looks are too many: at most {LOOKS_MAX}");
        let place = source.map_or(place, |source| source.place);
        reader.invalid(place, message, format!("write `every: {least}` or more"));
        return None;
    }
    Some(every)
}
