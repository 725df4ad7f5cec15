//! What a program said at its end: an error by what the caller may do about it, or the digest that it pushed.

use lockgate_model::{Digest, FailureKind, TOLD_CHARS_MAX, quoted};
use lockgate_ports::{Building, Ended, Line, Pipe, PortError};

/// Lines that are kept with an error.
const LOG_LINES: usize = 20;
/// Lines in which the reason is looked for, from the end, where none of them begins with [`ERROR`]: before them stands what
/// the build's own steps said.
const REASON_LINES: usize = 2;
/// So BuildKit begins the line that says why it ends; what steps say has `#7` and the like before it.
const ERROR: &str = "ERROR: ";

/// Marks in the last words of docker, BuildKit and depot, the more certain ones first.
const MARKS: [(&str, Reason); 30] = [
    ("no space left on device", Reason::DiskFull),
    ("cannot connect to the docker daemon", Reason::NoEngine),
    ("docker daemon is not running", Reason::NoEngine),
    ("failed to read dockerfile", Reason::NoDockerfile),
    ("unable to evaluate symlinks in dockerfile path", Reason::NoDockerfile),
    ("multi-platform build is not supported", Reason::OnePlatform),
    ("multiple platforms feature is currently not supported", Reason::OnePlatform),
    ("does not exist locally", Reason::NotBuilt),
    ("toomanyrequests", Reason::TooMany),
    ("429 too many requests", Reason::TooMany),
    ("unauthorized", Reason::Unauthorized),
    ("authentication required", Reason::Unauthorized),
    ("no basic auth credentials", Reason::Unauthorized),
    ("insufficient_scope", Reason::Unauthorized),
    ("denied: ", Reason::Unauthorized),
    ("403 forbidden", Reason::Unauthorized),
    ("http 403", Reason::Unauthorized),
    ("connection reset", Reason::Broken),
    ("connection refused", Reason::Broken),
    ("broken pipe", Reason::Broken),
    ("use of closed network connection", Reason::Broken),
    ("tls handshake timeout", Reason::Broken),
    ("context deadline exceeded", Reason::Broken),
    ("eof", Reason::Broken),
    ("i/o timeout", Reason::Broken),
    ("no such host", Reason::Broken),
    ("500 internal server error", Reason::Broken),
    ("502 bad gateway", Reason::Broken),
    ("503 service unavailable", Reason::Broken),
    ("504 gateway", Reason::Broken),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reason {
    DiskFull,
    NoEngine,
    NoDockerfile,
    OnePlatform,
    NotBuilt,
    TooMany,
    Unauthorized,
    Broken,
}

/// `doing` is `build` or `push`.
pub(crate) fn of(program: &str, doing: &str, what: &Building, ended: &Ended) -> PortError {
    let logs: Vec<String> = ended.last.iter().map(|line| line.text.clone()).collect();
    let logs = logs[logs.len().saturating_sub(LOG_LINES)..].to_vec();
    let reason = last_words(&ended.last);
    let message = match &reason {
        Some(words) => format!("{program} could not {doing} {}: {words}", what.name()),
        None => format!("{program} could not {doing} {}: exit code {}", what.name(), ended.code),
    };
    let found = reason.as_deref().and_then(reason_of);
    let registry = what.image.split('/').next().unwrap_or_default();
    let (kind, hint) = match found {
        Some(Reason::DiskFull) => (
            FailureKind::DiskFull,
            "free space here or in the registry: `docker system df` shows what takes it".to_owned(),
        ),
        Some(Reason::NoEngine) => {
            (FailureKind::Unreachable, "start Docker, or set DOCKER_HOST to where it listens".to_owned())
        }
        Some(Reason::NoDockerfile) => {
            (FailureKind::NotFound, "set `build: { file: …, context: … }` to where it lies".to_owned())
        }
        Some(Reason::OnePlatform) => {
            (FailureKind::Refused, "make a builder that can: docker buildx create --use".to_owned())
        }
        Some(Reason::NotBuilt) => (
            FailureKind::NotFound,
            "the build left its image elsewhere: write `build: { with: buildx }`".to_owned(),
        ),
        Some(Reason::TooMany) => {
            (FailureKind::Other, format!("{registry} wants fewer requests: wait, then ship again"))
        }
        Some(Reason::Unauthorized) => (
            FailureKind::Unauthorized,
            format!(
                "docker login {registry}; or write `registries: {{ {registry}: {{ user: …, password: \"${{…}}\" }} }}`, with a login that may push"
            ),
        ),
        Some(Reason::Broken) => (
            FailureKind::Unreachable,
            "ship again: what is in the registry already is not sent again, and the tag leads where it led"
                .to_owned(),
        ),
        None => {
            (FailureKind::Other, format!("its last words are above; to see it alone: {}", alone(doing, what)))
        }
    };
    PortError::new(kind, message).hint(hint).logs(logs)
}

/// The same by hand.
fn alone(doing: &str, what: &Building) -> String {
    match doing {
        "push" => format!("docker push {}", what.name()),
        _ => format!("docker build {}", what.context),
    }
}

/// The last lines that say something, of what went wrong first.
fn last_words(last: &[Line]) -> Option<String> {
    let said = |pipe: Pipe| -> Vec<&str> {
        let of = last.iter().filter(|line| line.pipe == pipe).map(|line| line.text.trim());
        of.filter(|text| !text.is_empty() && !text.chars().all(|c| c == '-')).collect()
    };
    let (err, out) = (said(Pipe::Stderr), said(Pipe::Stdout));
    let lines = if err.is_empty() { out } else { err };
    if let Some(error) = lines.iter().rev().find(|line| line.starts_with(ERROR)) {
        return Some(quoted(error, TOLD_CHARS_MAX));
    }
    let reason = &lines[lines.len().saturating_sub(REASON_LINES)..];
    let marked = reason.iter().rev().find(|line| reason_of(line).is_some()).or(reason.last())?;
    Some(quoted(marked, TOLD_CHARS_MAX))
}

fn reason_of(words: &str) -> Option<Reason> {
    let words = words.to_ascii_lowercase();
    let is_said = |mark: &str| match mark {
        // As a word: it is a part of others.
        "eof" => words.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| word == "eof"),
        mark => words.contains(mark),
    };
    MARKS.iter().find(|(mark, _)| is_said(mark)).map(|(_, reason)| *reason)
}

/// Of `v1: digest: sha256:… size: 528`, the last line of `docker push`.
pub(crate) fn pushed_digest(what: &Building, ended: &Ended) -> Option<Digest> {
    let beginning = format!("{}: digest: ", what.tag);
    ended.last.iter().rev().find_map(|line| {
        let digest = line.text.strip_prefix(&beginning)?.split(' ').next()?;
        Digest::new(digest).ok()
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use lockgate_model::{Millis, Tag};

    use super::*;

    fn building() -> Building {
        Building {
            image: "ghcr.io/acme/web".into(),
            tag: Tag::new("v1").unwrap(),
            context: "/work".into(),
            file: None,
            args: BTreeMap::new(),
            platforms: Vec::new(),
            labels: BTreeMap::new(),
            pushes: true,
            timeout: Millis::from_secs(60),
        }
    }

    fn ended(lines: &[(Pipe, &str)]) -> Ended {
        let line =
            |(pipe, text): &(Pipe, &str)| Line { pipe: *pipe, text: (*text).to_owned(), is_cut: false };
        Ended { code: 1, lines: lines.len() as u64, last: lines.iter().map(line).collect() }
    }

    /// As docker 28 with engine 20.10, BuildKit 0.13 and registry 2.8 word it.
    #[test]
    fn the_last_words_of_a_program_are_an_error_that_says_what_to_do() {
        use FailureKind::{DiskFull, NotFound, Other, Refused, Unauthorized, Unreachable};
        for (words, kind, hint) in [
            ("unauthorized: authentication required", Unauthorized, "docker login ghcr.io"),
            ("denied: requested access to the resource is denied", Unauthorized, "may push"),
            (
                "error parsing HTTP 403 response body: unexpected end of JSON input: \"\"",
                Unauthorized,
                "login",
            ),
            (
                "ERROR: failed to solve: failed to copy: write /x: no space left on device",
                DiskFull,
                "free space",
            ),
            ("toomanyrequests: retry after 3s", Other, "wait"),
            (
                "write tcp 127.0.0.1:1->127.0.0.1:2: write: connection reset by peer",
                Unreachable,
                "ship again",
            ),
            ("received unexpected HTTP status: 503 Service Unavailable", Unreachable, "ship again"),
            ("EOF", Unreachable, "ship again"),
            (
                "ERROR: failed to solve: failed to read dockerfile: open Dockerfile: no such file",
                NotFound,
                "file:",
            ),
            ("ERROR: Multi-platform build is not supported for the docker driver.", Refused, "buildx create"),
            (
                "ERROR: Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?",
                Unreachable,
                "start Docker",
            ),
            (
                "ERROR: failed to solve: process \"/bin/sh -c x\" did not complete: exit code: 7",
                Other,
                "alone",
            ),
            ("ERROR: failed to solve: process \"/geofence\" did not complete: exit code: 7", Other, "alone"),
        ] {
            let error = of("docker", "build", &building(), &ended(&[(Pipe::Stderr, words)]));
            assert_eq!(error.kind, kind, "{words}");
            assert!(error.hints().to_string().contains(hint), "{words}: {:?}", error.hints());
            assert!(error.message.contains("ghcr.io/acme/web:v1"), "{}", error.message);
        }
    }

    /// What a step of the build says of logins is not the builder's own word.
    #[test]
    fn only_the_end_is_believed_and_the_rest_is_kept_as_a_log() {
        let mut lines = vec![(Pipe::Stderr, "#7 0.3 unauthorized: no space left on device")];
        lines.extend([(Pipe::Stderr, "#7 0.4 more"), (Pipe::Stderr, "#7 ERROR: exit code: 7")]);
        lines.extend([(Pipe::Stderr, "------"), (Pipe::Stderr, "ERROR: failed to solve: exit code: 7")]);
        let error = of("docker", "build", &building(), &ended(&lines));
        assert_eq!((error.kind, error.logs.len()), (FailureKind::Other, 5));
        let learn =
            [(Pipe::Stderr, "ERROR: Multi-platform build is not supported"), (Pipe::Stderr, "Learn more")];
        let one = of("buildx", "build", &building(), &ended(&[&learn[..], &learn[1..]].concat()));
        assert_eq!(one.kind, FailureKind::Refused);
        let silent = of("docker", "build", &building(), &ended(&[]));
        assert!(silent.message.ends_with("exit code 1"), "{}", silent.message);
        let forged = of("docker", "push", &building(), &ended(&[(Pipe::Stderr, "\u{1b}[2J`rm`")]));
        assert!(forged.message.ends_with("\\x1b[2J'rm'"), "{}", forged.message);
    }

    #[test]
    fn the_digest_is_that_of_the_tag_that_was_pushed() {
        let hex = "a".repeat(64);
        let line = format!("v1: digest: sha256:{hex} size: 528");
        let other = format!("v2: digest: sha256:{} size: 528", "b".repeat(64));
        let said = ended(&[(Pipe::Stdout, &line), (Pipe::Stdout, &other)]);
        assert_eq!(pushed_digest(&building(), &said).unwrap().as_str(), format!("sha256:{hex}"));
        assert_eq!(
            pushed_digest(&building(), &ended(&[(Pipe::Stdout, "v1: digest: sha256:x size: 1")])),
            None
        );
    }
}
