//! One question by HTTP: what is sent with it, and what an answer that is no pass shows.

use lockgate_model::{HttpHealth, Mask, Millis, Probe, without_query};
use lockgate_ports::{Answer, Endpoint, HostPorts, Request, http};

use crate::health::{Miss, PROBE_SECONDS_MAX};

/// How much of an answer's body is shown where it was no pass, in characters and lines.
const BODY_CHARS_MAX: usize = 400;
const BODY_LINES_MAX: usize = 5;
/// How much of it is looked at for that.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// Longest place that a redirection is shown to lead to.
const LOCATION_CHARS_MAX: usize = 200;

/// A GET as users' requests come to the slot.
pub(crate) fn request(path: &str, limit: Millis, probe: &Probe) -> Request {
    let headers = probe.headers();
    headers.into_iter().fold(Request::get(path, limit), |request, (name, value)| request.header(name, value))
}

/// One probe of a slot: `Err` says what was seen instead.
pub(crate) async fn ask(
    ports: &HostPorts,
    endpoint: &Endpoint,
    health: &HttpHealth,
    probe: &Probe,
) -> Result<String, Miss> {
    let request = request(&health.path, Millis::from_secs(PROBE_SECONDS_MAX), probe);
    let own_name = !request.headers.iter().any(|(name, _)| name == "host");
    match http::send(ports.host.as_ref(), endpoint, request).await {
        Ok(answer) => match mismatch(&answer, health) {
            None => Ok(answer.status.to_string()),
            Some(seen) => Err(Miss {
                said: shown(&answer, &ports.mask),
                hint: (own_name && is_about_name(answer.status)).then(|| {
                    format!(
                        "it was asked as {endpoint}: does it want a host name or https? The environment's `url` in \
                         lockgate.yaml, or `health: {{ path: …, headers: {{ Host: … }} }}`, says what is sent"
                    )
                }),
                ..Miss::new(seen)
            }),
        },
        Err(error) => Err(Miss::new(error.message)),
    }
}

/// What apps answer to whom they do not serve under this name or without https: a redirection, Bad Request, Forbidden,
/// Misdirected Request.
fn is_about_name(status: u16) -> bool {
    matches!(status, 301..=308 | 400 | 403 | 421)
}

fn mismatch(answer: &Answer, health: &HttpHealth) -> Option<String> {
    if !health.status.contains(answer.status) {
        return Some(format!("it answered {}, wanted {}", answer.status, health.status));
    }
    match &health.body {
        Some(wanted) if !answer.text().contains(wanted.as_str()) => {
            Some(format!("its body does not contain {wanted:?}"))
        }
        _ => None,
    }
}

/// The beginning of an answer that was no pass, without secrets: where it leads to, and its body.
pub(crate) fn shown(answer: &Answer, mask: &Mask) -> Vec<String> {
    let location = answer.header("location").map(|location| {
        let location = plain(&mask.hide(without_query(location)));
        format!("Location: {}", location.chars().take(LOCATION_CHARS_MAX).collect::<String>())
    });
    let body = &answer.body[..answer.body.len().min(BODY_BYTES_MAX)];
    // Before it is cut: half of a secret is not known for one.
    let body = mask.hide(String::from_utf8_lossy(body).into_owned());
    location.into_iter().chain(beginning(&body)).collect()
}

/// As they stand among log lines.
pub(crate) fn as_logs(shown: Vec<String>) -> impl Iterator<Item = String> {
    shown.into_iter().map(|line| format!("(its answer) {line}"))
}

fn beginning(body: &str) -> Vec<String> {
    let mut chars_left = BODY_CHARS_MAX;
    let mut lines = Vec::new();
    for line in
        body.lines().map(|line| plain(line.trim_end())).filter(|line| !line.is_empty()).take(BODY_LINES_MAX)
    {
        let shown: String = line.chars().take(chars_left).collect();
        chars_left -= shown.chars().count();
        lines.push(shown);
        if chars_left == 0 {
            break;
        }
    }
    lines
}

/// Without what steers a terminal.
fn plain(line: &str) -> String {
    line.chars().filter(|char| *char == '\t' || !char.is_control()).collect()
}

#[cfg(test)]
pub(crate) mod tests;
