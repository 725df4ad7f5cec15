//! The answer to a range query, as Prometheus documents it
//! (<https://prometheus.io/docs/prometheus/latest/querying/api/#format-overview>).

use std::collections::BTreeMap;

use lockgate_model::{BadLook, TOLD_CHARS_MAX, Timestamp, Watched, Within, quoted};
use lockgate_ports::PortError;
use serde::Deserialize;

/// Most series that are read: a query for one service gives a handful.
const SERIES_MAX: usize = 1_000;
/// Longest label set that is told, in characters.
const LABELS_CHARS_MAX: usize = 120;

#[derive(Deserialize)]
struct Document {
    status: String,
    data: Option<Data>,
    error: Option<String>,
    /// Prometheus 2 and 3: something was left out of the answer. (What Prometheus 3 only remarks is in `infos`.)
    #[serde(default)]
    warnings: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    result_type: String,
    #[serde(default)]
    result: serde_json::Value,
}

#[derive(Deserialize)]
struct Series {
    #[serde(default)]
    metric: BTreeMap<String, String>,
    /// Seconds, and the value as text. A native histogram has `histograms` in its place.
    #[serde(default)]
    values: Vec<(f64, String)>,
}

/// What an error's body says, on one line; `None` where it is no document of Prometheus'.
pub(crate) fn error_of(body: &[u8]) -> Option<String> {
    let document: Document = serde_json::from_slice(body).ok()?;
    Some(quoted(&document.error?, TOLD_CHARS_MAX))
}

/// What was seen at the `expected` moments of a range query.
///
/// # Errors
/// `Other` for an answer that is not whole, or not of that form.
pub(crate) fn watched(body: &[u8], expected: u64, good: Within) -> Result<Watched, PortError> {
    let document: Document = serde_json::from_slice(body)
        .map_err(|error| PortError::other(format!("the answer is not Prometheus': {error}")))?;
    if document.status != "success" {
        let said = document.error.unwrap_or(document.status);
        return Err(PortError::other(format!("it could not answer: {}", quoted(&said, TOLD_CHARS_MAX))));
    }
    if let Some(warning) = document.warnings.first() {
        let said = quoted(warning, TOLD_CHARS_MAX);
        return Err(PortError::other(format!("the answer may not be whole: {said}")));
    }
    let data = document.data.ok_or_else(|| PortError::other("the answer has no data"))?;
    if data.result_type != "matrix" {
        let kind = quoted(&data.result_type, TOLD_CHARS_MAX);
        return Err(PortError::other(format!("the answer is a {kind}, not a matrix")));
    }
    let series: Vec<Series> = serde_json::from_value(data.result)
        .map_err(|error| PortError::other(format!("the answer is not Prometheus': {error}")))?;
    if series.len() > SERIES_MAX {
        let message = format!("the query gives {} series, more than {SERIES_MAX}", series.len());
        return Err(
            PortError::other(message).hint("sum them up in the query: `max(…)` or `sum by (job) (…)`")
        );
    }
    counted(&series, expected, good)
}

/// A moment is seen when one series has a number for it, and bad when one of the numbers is.
fn counted(series: &[Series], expected: u64, good: Within) -> Result<Watched, PortError> {
    let mut moments: BTreeMap<i64, Option<String>> = BTreeMap::new();
    for one in series {
        for (seconds, text) in &one.values {
            let value: f64 = text.parse().map_err(|_| {
                PortError::other(format!("{:?} is no value of Prometheus'", quoted(text, LABELS_CHARS_MAX)))
            })?;
            if value.is_nan() {
                continue;
            }
            let moment = moments.entry(millis(*seconds)).or_default();
            if !good.contains(value) {
                moment.get_or_insert_with(|| format!("{value}{}", labels(&one.metric)));
            }
        }
    }
    let bad = moments.values().filter(|saw| saw.is_some()).count();
    let last_bad =
        moments.iter().rev().find_map(|(at, saw)| Some(BadLook { at: Timestamp(*at), saw: saw.clone()? }));
    let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    Ok(Watched { expected, seen: count(moments.len()), bad: count(bad), last_bad })
}

#[expect(clippy::cast_possible_truncation, reason = "`as` saturates, and no time of ours is near the bounds")]
fn millis(seconds: f64) -> i64 {
    (seconds * 1_000.0).round() as i64
}

/// ` {job="web"}`; nothing for a query that leaves no label.
fn labels(metric: &BTreeMap<String, String>) -> String {
    if metric.is_empty() {
        return String::new();
    }
    let pairs: Vec<String> = metric.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    format!(" {{{}}}", quoted(&pairs.join(","), LABELS_CHARS_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: Within = Within { min: None, max: Some(0.01) };

    fn matrix(result: &str) -> String {
        format!(r#"{{"status":"success","data":{{"resultType":"matrix","result":[{result}]}}}}"#)
    }

    #[test]
    fn a_moment_is_seen_by_a_number_and_bad_by_one_outside_of_the_bounds() {
        for (result, wanted) in [
            (String::new(), (0, 0, None)),
            (r#"{"metric":{},"values":[[60,"0"],[120,"0.01"]]}"#.to_owned(), (2, 0, None)),
            (r#"{"metric":{},"values":[[60,"NaN"],[120,"0.01"]]}"#.to_owned(), (1, 0, None)),
            (
                r#"{"metric":{"job":"web"},"values":[[60,"0.2"],[120.5,"0.3"],[180,"0"]]}"#.to_owned(),
                (3, 2, Some((120_500, r#"0.3 {job="web"}"#))),
            ),
            // One of two series is bad at a moment that both have seen.
            (
                r#"{"metric":{"i":"a"},"values":[[60,"0"]]},{"metric":{"i":"b"},"values":[[60,"+Inf"],[90,"0"]]}"#
                    .to_owned(),
                (2, 1, Some((60_000, r#"inf {i="b"}"#))),
            ),
            // A native histogram has no number.
            (r#"{"metric":{},"histograms":[[60,{"count":"1"}]]}"#.to_owned(), (0, 0, None)),
        ] {
            let seen = watched(matrix(&result).as_bytes(), 9, GOOD).unwrap();
            let last = seen.last_bad.as_ref().map(|bad| (bad.at.0, bad.saw.as_str()));
            assert_eq!((seen.expected, (seen.seen, seen.bad, last)), (9, wanted), "{result}");
        }
    }

    #[test]
    fn what_is_not_whole_or_of_another_form_is_an_error_and_no_data() {
        let many = vec![r#"{"metric":{},"values":[]}"#; SERIES_MAX + 1].join(",");
        for (body, wanted) in [
            (matrix("")[..40].to_owned(), "the answer is not Prometheus': EOF"),
            ("<html>".to_owned(), "the answer is not Prometheus': expected value"),
            (
                r#"{"status":"error","error":"too many\npoints"}"#.to_owned(),
                "it could not answer: too many\\npoints",
            ),
            (r#"{"status":"success"}"#.to_owned(), "the answer has no data"),
            (
                r#"{"status":"success","data":{"resultType":"vector","result":[]}}"#.to_owned(),
                "the answer is a vector, not a matrix",
            ),
            (
                matrix("").replace("\"success\"", "\"success\",\"warnings\":[\"store s1 is down\"]"),
                "the answer may not be whole: store s1 is down",
            ),
            (matrix(r#"{"values":[[60,"zero"]]}"#), "\"zero\" is no value of Prometheus'"),
            (matrix(r#"{"values":[[60,0]]}"#), "the answer is not Prometheus': invalid type"),
            (matrix(&many), "the query gives 1001 series, more than 1000"),
        ] {
            let error = watched(body.as_bytes(), 9, GOOD).unwrap_err();
            assert!(error.message.starts_with(wanted), "{}", error.message);
        }
    }
}
