//! One error for every port.

use std::error::Error;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use lockgate_model::{Failure, FailureKind, Hints, Millis};

const MEBIBYTE: usize = 1024 * 1024;
/// The target of log lines that say what caused an error.
pub const CAUSES: &str = "lockgate::causes";
/// Most causes that are told of one error.
const CAUSES_MAX: usize = 16;

/// Whether what was asked for was done, although the call failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Certainly nothing was changed: nothing had been sent, it was refused, or it was only to look. It may be asked again
    /// as it is.
    None,
    /// It may have been done, or a part of it: look at the world, never blindly repeat.
    Unknown,
}

impl Effect {
    /// What is to be assumed where nobody knows better. Only kinds that say by themselves that nothing was done say so here.
    fn of(kind: FailureKind) -> Effect {
        match kind {
            FailureKind::NotFound
            | FailureKind::Unauthorized
            | FailureKind::Conflict
            | FailureKind::Refused
            | FailureKind::LeaseLost => Effect::None,
            FailureKind::Unreachable
            | FailureKind::TimedOut
            | FailureKind::Unhealthy
            | FailureKind::GateFailed
            | FailureKind::HookFailed
            | FailureKind::GateNotYet
            | FailureKind::Cancelled
            | FailureKind::DiskFull
            | FailureKind::TooLarge
            | FailureKind::Other => Effect::Unknown,
        }
    }
}

/// What went wrong at a port, told by what the caller may do about it.
///
/// Three things are apart: the kind says what went wrong, [`PortError::effect`] whether something was done all the same,
/// and [`PortError::retry_after`] when the other side wants to be asked again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortError {
    /// What the caller may do about it.
    pub kind: FailureKind,
    /// What went wrong, one sentence for people, without secrets.
    pub message: String,
    /// What an app wrote, oldest line first. It goes to whoever may read logs, never into a message, which people are
    /// sent.
    pub logs: Vec<String>,
    hints: Hints,
    effect: Effect,
    retry_after: Option<Millis>,
    cause: Option<Cause>,
}

/// The error of a library below. Two are equal when they say the same.
#[derive(Debug, Clone)]
struct Cause(Arc<dyn Error + Send + Sync>);

impl PartialEq for Cause {
    fn eq(&self, other: &Self) -> bool {
        self.0.to_string() == other.0.to_string()
    }
}

impl Eq for Cause {}

/// The words of an error, where the error itself holds more than may be told.
#[derive(Debug)]
struct Words(String, Option<Box<Words>>);

impl std::fmt::Display for Words {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Words {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.1.as_deref().map(|words| words as &(dyn Error + 'static))
    }
}

/// `kind: message`, without hints, logs and causes.
impl std::fmt::Display for PortError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.kind.as_str(), self.message)
    }
}

impl Error for PortError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.as_ref().map(|cause| &*cause.0 as &(dyn Error + 'static))
    }
}

impl PortError {
    /// Whether something was done is what the kind allows to say: see [`Effect`].
    #[must_use]
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            logs: Vec::new(),
            hints: Hints::default(),
            effect: Effect::of(kind),
            retry_after: None,
            cause: None,
        }
    }

    /// Adds a hint, behind those that are there.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.add(hint);
        self
    }

    /// As [`PortError::hint`], where there is none yet.
    #[must_use]
    pub fn or_hint<S: Into<String>>(self, hint: impl FnOnce() -> S) -> Self {
        if self.hints.is_empty() { self.hint(hint()) } else { self }
    }

    /// These in place of those that are there.
    #[must_use]
    pub fn with_hints(mut self, hints: Hints) -> Self {
        self.hints = hints;
        self
    }

    /// What an app wrote, in the place of what was there.
    #[must_use]
    pub fn logs(mut self, logs: Vec<String>) -> Self {
        self.logs = logs;
        self
    }

    /// It is certain that nothing was done.
    #[must_use]
    pub fn without_effect(mut self) -> Self {
        self.effect = Effect::None;
        self
    }

    /// It may have been done all the same, or a part of it.
    #[must_use]
    pub fn with_unknown_effect(mut self) -> Self {
        self.effect = Effect::Unknown;
        self
    }

    /// When the other side wants to be asked again; `None` where it says nothing of that.
    #[must_use]
    pub fn asks_to_wait(mut self, wait: Option<Duration>) -> Self {
        self.retry_after = wait.map(Millis::from);
        self
    }

    /// Keeps the error of a library below, which the message need not repeat.
    #[must_use]
    pub fn caused_by(mut self, error: impl Error + Send + Sync + 'static) -> Self {
        self.cause = Some(Cause(Arc::new(error)));
        self
    }

    /// What to do about it, the most useful first.
    #[must_use]
    pub fn hints(&self) -> &Hints {
        &self.hints
    }

    /// Whether what was asked for was done all the same.
    #[must_use]
    pub fn effect(&self) -> Effect {
        self.effect
    }

    /// How long the other side wants to be left alone (`Retry-After` of a 429 or 503), from when it said so; `None` where it
    /// said nothing of that, which does not mean that it may be asked at once.
    #[must_use]
    pub fn retry_after(&self) -> Option<Millis> {
        self.retry_after
    }

    /// Nobody answers, or not in time. What that means for what was asked is said by [`PortError::effect`].
    #[must_use]
    pub fn is_silence(&self) -> bool {
        matches!(self.kind, FailureKind::Unreachable | FailureKind::TimedOut)
    }

    /// Another kind of it, with the effect that it had.
    #[must_use]
    pub fn of_kind(mut self, kind: FailureKind) -> Self {
        self.kind = kind;
        self
    }

    /// Every text of it changed, as where secrets are hidden: message, hints, logs and causes, of which the words are kept.
    #[must_use]
    pub fn map_texts(self, change: impl Fn(String) -> String) -> Self {
        let causes: Vec<String> = causes(&self).map(|cause| change(cause.to_string())).collect();
        let words = causes.into_iter().rev().fold(None, |inner, text| Some(Box::new(Words(text, inner))));
        Self {
            message: change(self.message),
            logs: self.logs.into_iter().map(&change).collect(),
            hints: self.hints.map(&change),
            cause: words.map(|words| Cause(Arc::from(words as Box<dyn Error + Send + Sync>))),
            ..self
        }
    }

    /// The error and its causes in one line, outermost first. A cause that has been said already is left out.
    #[must_use]
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        for cause in causes(self) {
            let said = cause.to_string();
            if !text.contains(&said) {
                let _ = write!(text, "; because of: {said}");
            }
        }
        text
    }

    /// The image, tag, file, container or route is not there: nothing was done.
    #[must_use]
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(FailureKind::NotFound, message)
    }

    /// No connection, or it broke.
    #[must_use]
    pub fn unreachable(message: impl Into<String>) -> Self {
        Self::new(FailureKind::Unreachable, message)
    }

    /// No answer in time; what was asked for may be done all the same.
    #[must_use]
    pub fn timed_out(message: impl Into<String>) -> Self {
        Self::new(FailureKind::TimedOut, message)
    }

    /// `what` is more than `bytes_max` bytes, which is all that is read.
    #[must_use]
    pub fn too_large(what: impl std::fmt::Display, bytes_max: usize) -> Self {
        let limit = match bytes_max / MEBIBYTE {
            0 => format!("{bytes_max} bytes"),
            mebibytes => format!("{mebibytes} MiB"),
        };
        Self::new(FailureKind::TooLarge, format!("{what} is larger than {limit}"))
    }

    /// None of the other kinds: the message says what.
    #[must_use]
    pub fn other(message: impl Into<String>) -> Self {
        Self::new(FailureKind::Other, message)
    }

    /// Says what was being done: `context: message`.
    #[must_use]
    pub fn context(mut self, context: impl std::fmt::Display) -> Self {
        self.message = format!("{context}: {}", self.message);
        self
    }

    /// True when what was asked may have happened all the same.
    #[must_use]
    pub fn outcome_unknown(&self) -> bool {
        self.effect == Effect::Unknown
    }
}

/// An error's causes, without itself.
fn causes(error: &PortError) -> impl Iterator<Item = &(dyn Error + 'static)> {
    std::iter::successors(error.source(), |cause| (**cause).source()).take(CAUSES_MAX)
}

/// A failure is for people and for the journal, so it has no causes. They go to the log, which the command masks: `-v` shows
/// them.
impl From<PortError> for Failure {
    fn from(error: PortError) -> Failure {
        let chain = error.chain();
        if chain != error.to_string() {
            tracing::debug!(target: CAUSES, "{chain}");
        }
        let mut failure = Failure::new(error.kind, error.message).logs(error.logs);
        failure.hints = error.hints;
        failure
    }
}

impl From<std::io::Error> for PortError {
    fn from(error: std::io::Error) -> PortError {
        use std::io::ErrorKind as Io;
        let kind = match error.kind() {
            Io::NotFound => FailureKind::NotFound,
            Io::PermissionDenied => FailureKind::Unauthorized,
            Io::TimedOut => FailureKind::TimedOut,
            Io::StorageFull | Io::QuotaExceeded => FailureKind::DiskFull,
            Io::ConnectionRefused
            | Io::ConnectionReset
            | Io::ConnectionAborted
            | Io::NotConnected
            | Io::BrokenPipe
            | Io::HostUnreachable
            | Io::NetworkUnreachable
            | Io::UnexpectedEof => FailureKind::Unreachable,
            _ => FailureKind::Other,
        };
        PortError::new(kind, error.to_string()).caused_by(error)
    }
}

/// What is not ours is `Refused`, with what to type.
impl From<lockgate_own::Foreign> for PortError {
    fn from(foreign: lockgate_own::Foreign) -> PortError {
        PortError::new(FailureKind::Refused, foreign.message).hint(foreign.hint)
    }
}

impl From<lockgate_own::OwnError> for PortError {
    fn from(error: lockgate_own::OwnError) -> PortError {
        match error {
            lockgate_own::OwnError::Foreign(foreign) => foreign.into(),
            lockgate_own::OwnError::Io(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_app_wrote_stays_beside_the_message() {
        let error =
            PortError::other("it did not start").logs(vec!["TOKEN=hunter2".into()]).context("start v1");
        let failure = Failure::from(error);
        assert_eq!(failure.message, "start v1: it did not start");
        assert_eq!(failure.logs, ["TOKEN=hunter2"]);
    }

    #[test]
    fn only_who_knows_that_nothing_was_done_says_so() {
        for (error, wanted) in [
            (PortError::timed_out("x"), Effect::Unknown),
            (PortError::unreachable("x"), Effect::Unknown),
            (PortError::unreachable("nothing was sent").without_effect(), Effect::None),
            (PortError::other("half of it"), Effect::Unknown),
            (PortError::too_large("the answer", 10), Effect::Unknown),
            (PortError::new(FailureKind::Refused, "x"), Effect::None),
            (PortError::new(FailureKind::Refused, "x").with_unknown_effect(), Effect::Unknown),
            (PortError::not_found("x"), Effect::None),
        ] {
            assert_eq!(error.effect(), wanted, "{error}");
            assert_eq!(error.outcome_unknown(), wanted == Effect::Unknown);
            // The words around it change nothing.
            assert_eq!(error.context("more").hint("x").of_kind(FailureKind::Unreachable).effect(), wanted);
        }
    }

    #[test]
    fn hints_are_added_and_come_into_the_failure_in_order() {
        let error = PortError::other("x").hint("a").hint("b").or_hint(|| "c");
        assert_eq!(**error.hints(), ["a".to_owned(), "b".to_owned()]);
        assert_eq!(Failure::from(error).hints.to_string(), "a; b");
        assert_eq!(PortError::other("x").or_hint(|| "c").hints().to_string(), "c");
    }

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] std::io::Error);

    fn caused() -> PortError {
        let inner = std::io::Error::other("inner hunter2");
        PortError::unreachable("it broke").caused_by(Outer(inner)).context("GET /")
    }

    #[test]
    fn the_causes_are_kept_and_said_once() {
        let error = caused();
        let outer = error.source().unwrap();
        assert!(outer.is::<Outer>() && outer.source().unwrap().is::<std::io::Error>());
        assert_eq!(error.to_string(), "unreachable: GET /: it broke");
        assert_eq!(
            error.chain(),
            "unreachable: GET /: it broke; because of: outer; because of: inner hunter2"
        );
        let of_io = PortError::from(std::io::Error::from(std::io::ErrorKind::NotFound)).context("read /x");
        assert_eq!(of_io.chain(), of_io.to_string(), "the message says it already");
        assert!(of_io.source().is_some());
        assert_eq!(error.clone(), error);
        assert_ne!(PortError { cause: None, ..error.clone() }, error);
    }

    #[test]
    fn every_text_can_be_masked_the_causes_too() {
        let error = caused().hint("hunter2?").logs(vec!["hunter2".into()]).asks_to_wait(None);
        let masked = error.map_texts(|text| text.replace("hunter2", "***"));
        assert!(!format!("{masked:?}").contains("hunter2"), "{masked:?}");
        assert_eq!(masked.chain(), "unreachable: GET /: it broke; because of: outer; because of: inner ***");
        assert_eq!((masked.effect(), masked.hints().to_string()), (Effect::Unknown, "***?".to_owned()));
    }

    #[test]
    fn how_long_the_other_side_wants_to_be_left_alone_is_carried_along() {
        let error = PortError::other("too many").asks_to_wait(Some(Duration::from_secs(7))).context("x");
        assert_eq!(error.retry_after(), Some(Millis::from_secs(7)));
        assert_eq!(PortError::other("x").retry_after(), None);
    }
}
