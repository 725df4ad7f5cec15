//! Reads single values: fills variables in, checks, collects problems and goes on with a default.
//!
//! Messages quote the text of the file, never what a variable held.

use std::str::FromStr;

use lockgate_model::{InvalidName, Millis, StatusRange, Template};

use crate::Purpose;
use crate::at::{At, Number, Span, Status, Whole, Words};
use crate::error::{Kind, Place, Problem};
use crate::interpolate::{self, Env, Unfilled};
use crate::part::Part;
use crate::quantity;

/// Longest part of a value that a message quotes.
const QUOTE_CHARACTERS_MAX: usize = 60;

pub struct Reader<'a> {
    pub purpose: Purpose,
    pub env: Env<'a>,
    pub problems: Vec<Problem>,
}

/// What may stand in a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holes {
    /// `{service}` and `{environment}`: the same for both slots and every release.
    Fixed,
    /// Also `{slot}`.
    Slot,
    /// Also `{slot}` and `{port}`.
    Address,
    /// Also `{tag}` and `{digest}`.
    All,
}

impl Reader<'_> {
    pub fn report(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    pub fn invalid(&mut self, place: Place, message: impl Into<String>, hint: impl Into<String>) {
        self.report(Problem::new(Kind::InvalidValue, place, message).hint(hint));
    }

    pub fn conflict(&mut self, place: Place, message: impl Into<String>, hint: impl Into<String>) {
        self.report(Problem::new(Kind::Conflict, place, message).hint(hint));
    }

    /// Reads a part: where this purpose has no use for it, variables that are not set are not told.
    pub fn part<T>(&mut self, part: Part, read: impl FnOnce(&mut Self) -> T) -> T {
        let before = self.problems.len();
        let value = read(self);
        if !part.is_needed(self.purpose) {
            let later = self.problems.split_off(before);
            self.problems.extend(later.into_iter().filter(|problem| problem.kind != Kind::MissingVariable));
        }
        value
    }

    /// The text with variables filled in.
    pub fn fill(&mut self, source: &str, place: Place) -> Option<String> {
        self.fill_or(source, place, missing_hint)
    }

    /// The text with variables filled in; `hint` says what to do about a variable that is not set.
    pub fn fill_or(
        &mut self,
        source: &str,
        place: Place,
        hint: impl FnOnce(&str) -> String,
    ) -> Option<String> {
        let problem = match interpolate::fill(source, self.env) {
            Ok(text) if text.contains('\0') => {
                Problem::new(Kind::InvalidValue, place, "a NUL character cannot be passed on")
                    .hint("remove it")
            }
            Ok(text) => return Some(text),
            Err(Unfilled::Missing(name)) => Problem::unset(place, &name).hint(hint(&name)),
            Err(Unfilled::Open) => Problem::new(Kind::InvalidValue, place, "`${` without `}`")
                .hint("write ${NAME}, or $${ for the two characters"),
            Err(Unfilled::BadName(_)) => {
                Problem::new(Kind::InvalidValue, place, "what stands in `${…}` is no variable's name")
                    .hint("write ${NAME} or ${NAME:-default}; for other characters, $$ is a dollar sign")
            }
        };
        self.report(problem);
        None
    }

    pub fn text<T: AsRef<str>>(&mut self, source: &At<T>) -> Option<String> {
        self.fill(source.value.as_ref(), source.place)
    }

    /// Text without line breaks and other control characters.
    pub fn line<T: AsRef<str>>(&mut self, what: &str, source: &At<T>) -> Option<String> {
        let text = self.text(source)?;
        self.one_line(what, &text, source.place).then_some(text)
    }

    fn one_line(&mut self, what: &str, text: &str, place: Place) -> bool {
        if text.contains(char::is_control) {
            self.invalid(
                place,
                format!("{what} has a line break or control character"),
                "write it on one line",
            );
            return false;
        }
        if text.trim().is_empty() {
            self.invalid(place, format!("{what} is empty"), "write a value, or leave the key out");
            return false;
        }
        true
    }

    /// A number, length or the like: `parse` gives `None` for what is not `expects`.
    fn quantity<T, V>(
        &mut self,
        what: &str,
        source: &At<T>,
        expects: &str,
        parse: impl Fn(&str) -> Option<V>,
    ) -> Option<V>
    where
        T: AsRef<str>,
    {
        let text = self.text(source)?;
        let value = parse(&text);
        if value.is_none() {
            self.report(
                Problem::new(
                    Kind::InvalidValue,
                    source.place,
                    format!("{what} {} is not valid", quote(source)),
                )
                .hint(format!("write {expects}")),
            );
        }
        value
    }

    pub fn whole<N>(&mut self, what: &str, source: Option<&At<Whole>>, from: N, to: N, default: N) -> N
    where
        N: FromStr + PartialOrd + Copy + std::fmt::Display,
    {
        let Some(source) = source else { return default };
        let expects = format!("a whole number from {from} to {to}");
        let parse = |text: &str| text.trim().parse().ok().filter(|number| (from..=to).contains(number));
        self.quantity(what, source, &expects, parse).unwrap_or(default)
    }

    pub fn span(&mut self, what: &str, source: Option<&At<Span>>, least: Millis, default: Millis) -> Millis {
        let Some(source) = source else { return default };
        let expects = match least {
            Millis(0) => quantity::SPAN_EXPECTS.to_owned(),
            least => format!("{}, at least {least}", quantity::SPAN_EXPECTS),
        };
        let parse = |text: &str| quantity::span(text).filter(|span| *span >= least);
        self.quantity(what, source, &expects, parse).unwrap_or(default)
    }

    /// Finite. `None` where it is no number, which is reported.
    pub fn number(&mut self, what: &str, source: &At<Number>) -> Option<f64> {
        let parse = |text: &str| text.trim().parse().ok().filter(|number: &f64| number.is_finite());
        self.quantity(what, source, "a number such as 0.01", parse)
    }

    /// `None` when it is not within them, which is reported.
    pub fn span_within(
        &mut self,
        what: &str,
        source: &At<Span>,
        least: Millis,
        most: Millis,
    ) -> Option<Millis> {
        let expects = format!("{}, from {least} to {most}", quantity::SPAN_EXPECTS);
        let parse = |text: &str| quantity::span(text).filter(|span| (least..=most).contains(span));
        self.quantity(what, source, &expects, parse)
    }

    pub fn status(&mut self, what: &str, source: Option<&At<Status>>) -> StatusRange {
        let Some(source) = source else { return StatusRange::OK };
        self.quantity(what, source, quantity::STATUS_EXPECTS, quantity::status).unwrap_or(StatusRange::OK)
    }

    pub fn size_mib(&mut self, what: &str, source: Option<&At<String>>, default: u64) -> u64 {
        let Some(source) = source else { return default };
        self.quantity(what, source, quantity::SIZE_EXPECTS, quantity::size_mib).unwrap_or(default)
    }

    pub fn wave<T: AsRef<str>>(&mut self, source: &At<T>) -> Option<lockgate_model::Wave> {
        self.quantity("wave", source, quantity::WAVE_EXPECTS, quantity::wave)
    }

    /// A name or host, valid by construction.
    pub fn name<N: FromStr<Err = InvalidName>>(&mut self, source: &At<String>) -> Option<N> {
        let text = self.text(source)?;
        match text.parse() {
            Ok(name) => Some(name),
            Err(InvalidName { kind, reason, .. }) => {
                self.invalid(source.place, format!("{kind} {} is not valid", quote(source)), reason);
                None
            }
        }
    }

    /// A path of a URL.
    pub fn url_path(&mut self, what: &str, source: &At<String>) -> Option<String> {
        let text = self.line(what, source)?;
        if !text.starts_with('/') {
            let hint = format!("write `/{}`", shorten(source.value.trim_start_matches('/')));
            self.invalid(source.place, format!("{what} {} does not start with `/`", quote(source)), hint);
            return None;
        }
        if text.contains([' ', '#']) {
            let hint = "write blanks as %20 and leave `#…` out";
            self.invalid(source.place, format!("{what} {} is no path of a URL", quote(source)), hint);
            return None;
        }
        Some(text)
    }

    pub fn url_paths(&mut self, what: &str, sources: &[At<String>]) -> Vec<String> {
        sources.iter().filter_map(|source| self.url_path(what, source)).collect()
    }

    /// A URL that will be seen in output, so there can be no password in it.
    pub fn url<T: AsRef<str>>(&mut self, what: &str, source: &At<T>) -> Option<String> {
        let text = self.secret_url(what, source)?;
        let authority = text.split('/').nth(2).unwrap_or_default();
        if authority.contains('@') {
            let hint = "leave `user:password@` out: URLs are shown in output";
            self.invalid(source.place, format!("{what} has a user or password in it"), hint);
            return None;
        }
        Some(text)
    }

    /// An `http://` or `https://` URL. Its text is never quoted.
    pub fn secret_url<T: AsRef<str>>(&mut self, what: &str, source: &At<T>) -> Option<String> {
        let text = self.line(what, source)?;
        let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
        let host = rest.map_or("", |rest| rest.split(['/', '?', '#']).next().unwrap_or_default());
        if host.is_empty() || text.contains([' ', '"', '\\', '<', '>']) {
            let hint = "write a whole URL such as https://example.com";
            self.invalid(source.place, format!("{what} is not a http:// or https:// URL"), hint);
            return None;
        }
        Some(text)
    }

    /// Text with placeholders, on one line.
    pub fn template(&mut self, what: &str, source: &At<String>, holes: Holes) -> Option<Template> {
        let text = self.line(what, source)?;
        self.template_of(what, text, source.place, holes)
    }

    pub fn template_of(&mut self, what: &str, text: String, place: Place, holes: Holes) -> Option<Template> {
        let template = match Template::new(text) {
            Ok(template) => template,
            Err(_) => {
                let known = "known are {service}, {environment}, {slot}, {port}, {tag} and {digest}";
                self.invalid(place, format!("{what} has a placeholder that is not known"), known);
                return None;
            }
        };
        let refused: &[&str] = match holes {
            Holes::Fixed => &["slot", "port", "tag", "digest"],
            Holes::Slot => &["port", "tag", "digest"],
            Holes::Address => &["tag", "digest"],
            Holes::All => &["port"],
        };
        if let Some(hole) = refused.iter().find(|hole| template.names(hole)) {
            let hint = match holes {
                Holes::Fixed => {
                    "it is the same for both slots and every release; use {service} or {environment}"
                }
                Holes::All => "the process finds its port in PORT, and `$PORT` in an argument becomes it",
                _ => "it is the same for every release; use {service}, {environment} or {slot}",
            };
            self.invalid(place, format!("{what} cannot have {{{hole}}}"), hint);
            return None;
        }
        Some(template)
    }

    /// A file or folder on a host: absolute, or below the project's folder.
    pub fn file(&mut self, what: &str, source: &At<String>, holes: Holes) -> Option<Template> {
        let template = self.template(what, source, holes)?;
        if template.as_str().split('/').any(|part| part == "..") {
            self.invalid(source.place, format!("{what} has `..` in it"), "write the path that is meant");
            return None;
        }
        if template.as_str().starts_with('-') {
            let hint = "a program would take it for an option; write `./-…`";
            self.invalid(source.place, format!("{what} starts with `-`"), hint);
            return None;
        }
        Some(template)
    }

    /// A command: split first, filled in after, so that a variable stays within its argument.
    pub fn argv(&mut self, what: &str, source: &At<Words>) -> Option<Vec<Template>> {
        let words: Vec<(String, Place)> = match &source.value {
            Words::List(list) => list.iter().map(|word| (word.value.clone(), word.place)).collect(),
            Words::Line(line) => match interpolate::split(line) {
                Some(words) => words.into_iter().map(|word| (word, source.place)).collect(),
                None => {
                    self.invalid(
                        source.place,
                        format!("{what} has an open quote"),
                        "close it, or write a list",
                    );
                    return None;
                }
            },
        };
        let mut argv = Vec::new();
        for (word, place) in words {
            let text = self.fill(&word, place)?;
            argv.push(self.template_of(what, text, place, Holes::All)?);
        }
        if argv.first().is_none_or(|program| program.as_str().is_empty()) {
            self.invalid(source.place, format!("{what} is empty"), "write the program and its arguments");
            return None;
        }
        Some(argv)
    }
}

pub fn missing_hint(name: &str) -> String {
    format!("export {name}=… or write ${{{name}:-default}}")
}

/// The text of the file, for a message.
pub fn quote<T: AsRef<str>>(source: &At<T>) -> String {
    format!("`{}`", shorten(source.value.as_ref()))
}

fn shorten(text: &str) -> String {
    let mut short: String = text.escape_debug().take(QUOTE_CHARACTERS_MAX).collect();
    if text.chars().count() > QUOTE_CHARACTERS_MAX {
        short.push('…');
    }
    // `escape_debug` is for control characters; quotes read better as they are.
    short.replace("\\\"", "\"").replace("\\'", "'")
}

/// A variable that is set and not empty.
pub fn variable(env: Env<'_>, name: &str) -> Option<String> {
    env(name).filter(|value| !value.is_empty())
}

/// Where a variable would be filled in. What it holds would be in plans, which are printed, journaled and kept on hosts,
/// and in the arguments of a process, which everybody on this machine can see.
pub fn reference(run: &At<Words>) -> Option<Place> {
    match &run.value {
        Words::Line(line) => interpolate::refers(line).then_some(run.place),
        Words::List(words) => {
            words.iter().find(|word| interpolate::refers(&word.value)).map(|word| word.place)
        }
    }
}
