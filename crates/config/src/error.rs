//! What is wrong with a configuration, where, and what to do about it.

use std::fmt;

use miette::{Diagnostic, LabeledSpan, NamedSource, SourceCode};

/// What sort of mistake it is; the words are stable and part of the JSON output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The file cannot be found or read.
    Unreadable,
    /// It is not YAML.
    Syntax,
    UnknownKey,
    DuplicateKey,
    MissingKey,
    /// Text where a mapping belongs, a list where a number belongs.
    WrongType,
    /// `${NAME}` without a value and without a default.
    MissingVariable,
    InvalidValue,
    /// Each part is fine alone, together they are not.
    Conflict,
    /// Designed, but not in this version.
    NotBuilt,
}

impl Kind {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Unreadable => "unreadable",
            Kind::Syntax => "syntax",
            Kind::UnknownKey => "unknown_key",
            Kind::DuplicateKey => "duplicate_key",
            Kind::MissingKey => "missing_key",
            Kind::WrongType => "wrong_type",
            Kind::MissingVariable => "missing_variable",
            Kind::InvalidValue => "invalid_value",
            Kind::Conflict => "conflict",
            Kind::NotBuilt => "not_built",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where a value stands in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Place {
    /// From 1; 0 when it is not known.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// In bytes, from 0.
    pub offset: usize,
    /// In bytes.
    pub length: usize,
}

impl Place {
    pub(crate) fn known(self) -> Option<Place> {
        (self.line > 0).then_some(self)
    }
}

/// One mistake. No value of `env`, `notify`, `registries`, `secrets` or `state` and no value of an environment variable is ever in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub kind: Kind,
    pub message: String,
    pub hint: Option<String>,
    pub place: Option<Place>,
    /// The keys that lead there, joined by dots: `services.web.port`.
    pub path: Option<String>,
    /// Whether the line may be shown.
    pub(crate) shown: bool,
    variable: Option<String>,
}

impl Problem {
    pub(crate) fn new(kind: Kind, place: Place, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            hint: None,
            place: place.known(),
            path: None,
            shown: false,
            variable: None,
        }
    }

    /// The variable that is not set, where this is about one.
    #[must_use]
    pub fn variable(&self) -> Option<&str> {
        self.variable.as_deref()
    }

    pub(crate) fn unset(place: Place, name: &str) -> Self {
        let problem = Self::new(Kind::MissingVariable, place, format!("the variable {name} is not set"));
        Self { variable: Some(name.to_owned()), ..problem }
    }

    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            // Without the source the reader still wants to know the line.
            Some(place) if !self.shown => write!(f, "line {}: {}", place.line, self.message),
            _ => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for Problem {}

impl Diagnostic for Problem {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(self.kind))
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.hint.as_ref().map(|hint| Box::new(hint) as Box<dyn fmt::Display>)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let place = self.place.filter(|_| self.shown)?;
        let label = LabeledSpan::new(Some("here".to_owned()), place.offset, place.length);
        Some(Box::new(std::iter::once(label)))
    }
}

/// Everything that is wrong with one file: at least one [`Problem`], in the order of the file.
#[derive(Debug)]
pub struct ConfigError {
    file: String,
    /// The text with secrets blanked out, byte for byte as long as the original.
    source: NamedSource<String>,
    first: Problem,
    more: Vec<Problem>,
}

impl ConfigError {
    pub(crate) fn new(file: &str, source: String, mut problems: Vec<Problem>) -> Self {
        assert!(!problems.is_empty(), "an error without a problem");
        problems.sort_by_key(|problem| problem.place.map_or((0, 0), |place| (place.line, place.column)));
        let first = problems.remove(0);
        let source = NamedSource::new(file, source).with_language("yaml");
        Self { file: file.to_owned(), source, first, more: problems }
    }

    /// A problem with the file as a whole.
    pub(crate) fn whole(file: &str, kind: Kind, message: impl Into<String>, hint: &str) -> Self {
        let problem = Problem::new(kind, Place::default(), message).hint(hint);
        Self::new(file, String::new(), vec![problem])
    }

    pub fn problems(&self) -> impl Iterator<Item = &Problem> {
        std::iter::once(&self.first).chain(&self.more)
    }

    /// Of the first problem, as are the following.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.first.kind
    }

    #[must_use]
    pub fn message(&self) -> &str {
        &self.first.message
    }

    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        self.first.hint.as_deref()
    }

    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// From 1.
    #[must_use]
    pub fn line(&self) -> Option<usize> {
        self.first.place.map(|place| place.line)
    }

    /// In characters, from 1.
    #[must_use]
    pub fn column(&self) -> Option<usize> {
        self.first.place.map(|place| place.column)
    }

    /// With one more hint at the first problem of this kind.
    #[must_use]
    pub fn with_hint(mut self, kind: Kind, more: &str) -> Self {
        let mut all = std::iter::once(&mut self.first).chain(&mut self.more);
        if let Some(problem) = all.find(|problem| problem.kind == kind) {
            problem.hint = Some(match problem.hint.take() {
                Some(hint) => format!("{hint}; {more}"),
                None => more.to_owned(),
            });
        }
        self
    }

    /// Every problem on its own line as `file:line:column: message`, each hint below it.
    #[must_use]
    pub fn plain(&self) -> String {
        self.problems().map(|problem| self.said(problem)).collect::<Vec<_>>().join("\n")
    }

    /// One of the problems as `file:line:column: message`, its hint below it.
    #[must_use]
    pub fn said(&self, problem: &Problem) -> String {
        let at = problem.place.map_or(String::new(), |place| format!(":{}:{}", place.line, place.column));
        let hint = problem.hint.as_ref().map_or(String::new(), |hint| format!("\n  hint: {hint}"));
        format!("{}{at}: {}{hint}", self.file, problem.message)
    }
}

impl ConfigError {
    /// `{"file", "problems": [{"kind", "message", "hint", "line", "column", "path"}]}`; what is not known is null.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        let problems: Vec<serde_json::Value> = self
            .problems()
            .map(|problem| {
                serde_json::json!({
                    "kind": problem.kind.as_str(),
                    "message": problem.message,
                    "hint": problem.hint,
                    "line": problem.place.map(|place| place.line),
                    "column": problem.place.map(|place| place.column),
                    "path": problem.path,
                })
            })
            .collect();
        serde_json::json!({ "file": self.file, "problems": problems })
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.first.place {
            Some(place) => write!(f, "{}:{}:{}: ", self.file, place.line, place.column)?,
            None => write!(f, "{}: ", self.file)?,
        }
        f.write_str(&self.first.message)
    }
}

impl std::error::Error for ConfigError {}

impl Diagnostic for ConfigError {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.first.code()
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.first.help()
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.source)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        self.first.labels()
    }

    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        (!self.more.is_empty()).then(|| {
            Box::new(self.more.iter().map(|problem| problem as &dyn Diagnostic))
                as Box<dyn Iterator<Item = _>>
        })
    }
}
