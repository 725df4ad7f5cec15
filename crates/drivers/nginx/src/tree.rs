//! One tree of all files: includes followed. Pure.

use std::collections::BTreeMap;

use globset::GlobBuilder;
use lockgate_model::FailureKind;
use lockgate_ports::PortError;

use crate::syntax::{self, Directive};

/// Deepest chain of files that include each other.
const INCLUDES_MAX: usize = 16;
/// Most directives of a whole configuration, for a file may be included often.
const DIRECTIVES_MAX: usize = 200_000;

/// The files that nginx reads, by their paths as it sees them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Files {
    /// The path of the first.
    pub main: String,
    pub texts: BTreeMap<String, String>,
}

/// The directives of the first file, those of others in the places where they are included.
///
/// # Errors
/// `Refused` with file and line for what nginx would not read either.
pub(crate) fn expand(files: &Files) -> Result<Vec<Directive>, PortError> {
    let mut left = DIRECTIVES_MAX;
    let text = files.texts.get(&files.main).map_or("", String::as_str);
    inline(files, syntax::parse(&files.main, text)?, 0, &mut left)
}

fn inline(
    files: &Files,
    directives: Vec<Directive>,
    depth: usize,
    left: &mut usize,
) -> Result<Vec<Directive>, PortError> {
    let mut all = Vec::new();
    for mut one in directives {
        *left = left.checked_sub(1).ok_or_else(|| {
            let message = format!("nginx's configuration has more than {DIRECTIVES_MAX} directives");
            PortError::new(FailureKind::TooLarge, message).without_effect()
        })?;
        if one.name == "include" && one.block.is_none() {
            all.extend(include(files, &one, depth, left)?);
            continue;
        }
        if let Some(block) = one.block.take() {
            one.block = Some(inline(files, block, depth, left)?);
        }
        all.push(one);
    }
    Ok(all)
}

fn include(
    files: &Files,
    one: &Directive,
    depth: usize,
    left: &mut usize,
) -> Result<Vec<Directive>, PortError> {
    let bad = |why: &str| {
        let at = &one.at;
        PortError::new(FailureKind::Refused, format!("{at}: `{}` {why}", one.text()))
            .hint("`nginx -t` on that host says what is wrong with its configuration")
    };
    if depth >= INCLUDES_MAX {
        return Err(bad(&format!("is the {INCLUDES_MAX}th of files that include each other")));
    }
    let pattern = absolute(&files.main, one.first());
    let mut all = Vec::new();
    let found = matching(files, &pattern);
    if found.is_empty() && !is_glob(&pattern) {
        return Err(bad("leads to no file"));
    }
    for path in found {
        let text = files.texts.get(path).map_or("", String::as_str);
        all.extend(inline(files, syntax::parse(path, text)?, depth + 1, left)?);
    }
    Ok(all)
}

/// Those of the files that the pattern stands for, in nginx's order.
fn matching<'a>(files: &'a Files, pattern: &str) -> Vec<&'a str> {
    if !is_glob(pattern) {
        return files.texts.get_key_value(pattern).map(|(path, _)| path.as_str()).into_iter().collect();
    }
    let Ok(glob) = GlobBuilder::new(pattern).literal_separator(true).backslash_escape(true).build() else {
        return Vec::new();
    };
    let matcher = glob.compile_matcher();
    let is_hidden = |path: &str| name(path).starts_with('.') && !name(pattern).starts_with('.');
    files.texts.keys().map(String::as_str).filter(|path| matcher.is_match(path) && !is_hidden(path)).collect()
}

fn name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

pub(crate) fn is_glob(pattern: &str) -> bool {
    pattern.contains(['*', '?', '['])
}

/// What the directives include, as nginx finds it.
pub(crate) fn included(main: &str, directives: &[Directive]) -> Vec<String> {
    let mut patterns = Vec::new();
    for one in directives {
        if one.name == "include" && one.block.is_none() {
            patterns.push(absolute(main, one.first()));
        }
        patterns.extend(included(main, one.children()));
    }
    patterns
}

/// Relative paths begin at the first file's folder.
fn absolute(main: &str, path: &str) -> String {
    let folder = main.rsplit_once('/').map_or("", |(folder, _)| folder);
    if path.starts_with('/') { path.to_owned() } else { format!("{folder}/{path}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(texts: &[(&str, &str)]) -> Files {
        let texts = texts.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
        Files { main: "/n/nginx.conf".to_owned(), texts }
    }

    fn expanded(texts: &[(&str, &str)]) -> String {
        fn write(directives: &[Directive]) -> String {
            let one = |one: &Directive| match &one.block {
                Some(block) => format!("{} {{{}}}", one.text(), write(block)),
                None => format!("{};", one.text()),
            };
            directives.iter().map(one).collect()
        }
        write(&expand(&files(texts)).unwrap())
    }

    #[test]
    fn includes_are_followed_where_they_stand_in_the_order_of_their_names() {
        let texts = [
            ("/n/nginx.conf", "http { include sites/*; a; }"),
            ("/n/sites/b.conf", "include ../x;"),
            ("/n/sites/a.conf", "server { include /n/y; }"),
            ("/n/sites/.hidden", "c;"),
            ("/n/sites/deep/z", "d;"),
            ("/n/sites/../x", "x;"),
            ("/n/y", "y;"),
        ];
        let texts = texts.map(|(path, text)| (path, text.replace("include ../x", "include sites/../x")));
        let texts: Vec<_> = texts.iter().map(|(path, text)| (*path, text.as_str())).collect();
        assert_eq!(expanded(&texts), "http {server {y;}x;a;}");
        assert_eq!(expanded(&[("/n/nginx.conf", "include none/*.conf; a;")]), "a;");
    }

    #[test]
    fn a_missing_file_and_one_that_includes_itself_are_refused_with_their_place() {
        let error = expand(&files(&[("/n/nginx.conf", "a;\ninclude gone;")])).unwrap_err();
        assert_eq!(error.message, "/n/nginx.conf:2: `include gone` leads to no file");
        let error = expand(&files(&[("/n/nginx.conf", "include nginx.conf;")])).unwrap_err();
        assert!(error.message.contains("16th of files that include each other"), "{error}");
    }
}
