//! URLs, paths and images of another file, as `lockgate.yaml` has them. A `${NAME}` in them stays one.

use std::fmt::Write;

use crate::interpolate::{Piece, pieces};

/// A path, and what of it is never sent.
#[derive(Debug, PartialEq, Eq)]
pub struct Taken {
    pub path: String,
    pub fragment: Option<String>,
}

/// Why something was not taken over; ends a sentence.
type Reason = &'static str;

/// # Errors
/// The reason why a `url:` cannot be this.
pub fn url(text: &str) -> Result<String, Reason> {
    let plain = masked(text);
    let rest = plain.strip_prefix("http://").or_else(|| plain.strip_prefix("https://"));
    let rest = match rest {
        // The variable holds the scheme, or all of it.
        None if begins_with_variable(text) => {
            plain.split_once("://").map_or(plain.as_str(), |(_, rest)| rest)
        }
        rest => rest.unwrap_or_default(),
    };
    if !rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '[')
        || rest.contains(|c: char| c.is_whitespace() || c.is_control() || "\"\\<>".contains(c))
    {
        return Err("it is not a http:// or https:// URL");
    }
    if rest.split(['/', '?', '#']).next().is_some_and(|authority| authority.contains('@')) {
        return Err("it has a user or password in it, and URLs are shown in output");
    }
    Ok(escaped(text, str::to_owned))
}

/// The part behind the service's URL: gates join the two. `own` are the service's URLs as the other file has them.
///
/// # Errors
/// The reason why nothing below those URLs is meant.
pub fn path(text: &str, own: &[&str]) -> Result<Taken, Reason> {
    let (text, fragment) = match text.split_once('#') {
        Some((before, fragment)) => (before.trim_end(), Some(fragment.to_owned())),
        None => (text, None),
    };
    if text.is_empty() {
        return Err("there is no path in it");
    }
    if text.contains(char::is_control) {
        return Err("it has a line break or control character");
    }
    let whole = text.split_once("://").is_some_and(|(scheme, _)| !scheme.contains(['/', '?', ' ']));
    let below = match whole || begins_with_variable(text) {
        true => below(text, own).ok_or("it is not below one of the service's own URLs")?,
        false => text.to_owned(),
    };
    let slash = if below.starts_with('/') { "" } else { "/" };
    Ok(Taken { path: format!("{slash}{}", escaped(&below, encoded)), fragment })
}

/// What follows the longest of the service's URLs that `url` begins with.
fn below(url: &str, own: &[&str]) -> Option<String> {
    let url = bare(url);
    let rests = own.iter().filter_map(|base| {
        let base = bare(base.split(['?', '#']).next().unwrap_or_default());
        let rest = url.strip_prefix(base.trim_end_matches('/'))?;
        (rest.is_empty() || rest.starts_with(['/', '?'])).then(|| rest.to_owned())
    });
    rests.min_by_key(String::len)
}

/// Without scheme, and the host in lower case.
fn bare(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    format!("{}{}", rest[..end].to_lowercase(), &rest[end..])
}

/// A repository and what stood behind it.
///
/// # Errors
/// The reason why an `image:` cannot be this.
pub fn image(text: &str) -> Result<(String, Option<String>), Reason> {
    let plain = masked(text);
    let last = plain.rfind('/').map_or(0, |slash| slash + 1);
    let end = plain[last..].find([':', '@']).map_or(plain.len(), |at| last + at);
    let repository = &plain[..end];
    let legal = |c: char| c.is_ascii_alphanumeric() || "._-/:".contains(c);
    if !repository.starts_with(|c: char| c.is_ascii_alphanumeric())
        || !repository.chars().all(legal)
        || repository.ends_with('/')
    {
        return Err("it is not a repository such as ghcr.io/acme/web");
    }
    let tag = &text[end..];
    Ok((escaped(&text[..end], str::to_owned), (!tag.is_empty()).then(|| tag[1..].to_owned())))
}

/// Names of the variables without which the text cannot be filled in.
pub fn variables(text: &str) -> impl Iterator<Item = &str> {
    pieces(text).into_iter().filter_map(|piece| match piece {
        Piece::Reference { name, default: false, .. } => Some(name),
        _ => None,
    })
}

fn begins_with_variable(text: &str) -> bool {
    matches!(pieces(text).first(), Some(Piece::Reference { .. }))
}

/// As long in bytes, with `x` for every variable.
fn masked(text: &str) -> String {
    let mut masked = String::new();
    for piece in pieces(text) {
        match piece {
            Piece::Plain(text) => masked.push_str(text),
            Piece::Reference { text, .. } => masked.extend(std::iter::repeat_n('x', text.len())),
        }
    }
    masked
}

/// As it will be read back: variables stay, any other dollar sign stands for itself.
fn escaped(text: &str, change: impl Fn(&str) -> String) -> String {
    let mut escaped = String::new();
    for piece in pieces(text) {
        match piece {
            Piece::Plain(text) => escaped.push_str(&super::write::dollars(&change(text))),
            Piece::Reference { text, .. } => escaped.push_str(text),
        }
    }
    escaped
}

/// Blanks and what is not ASCII as `%…`, which is how a client sends them.
fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    for character in text.chars() {
        if character.is_ascii() && character != ' ' {
            encoded.push(character);
        } else {
            let mut bytes = [0; 4];
            for byte in character.encode_utf8(&mut bytes).bytes() {
                // Writing to a `String` cannot fail.
                let _ = write!(encoded, "%{byte:02X}");
            }
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_may_have_variables_but_no_passwords() {
        for (text, expected) in [
            ("https://a.example.com/base", Some("https://a.example.com/base")),
            ("${TEST_URL}", Some("${TEST_URL}")),
            ("${SCHEME:-https}://h/x$y", Some("${SCHEME:-https}://h/x$$y")),
            ("https://${HOST}/$$", Some("https://${HOST}/$$$$")),
            ("ftp://a", None),
            ("x${A}", None),
            ("https://me:pw@h", None),
            ("${A}@h", None),
            ("https://a b", None),
            ("https://", None),
        ] {
            assert_eq!(url(text).ok().as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn paths_are_what_follows_the_services_url() {
        let own = ["https://h/base/", "${PROD}", "http://t.example.com:81"];
        for (text, expected) in [
            ("/health?deep=1", Some("/health?deep=1")),
            ("status", Some("/status")),
            ("dash board", Some("/dash%20board")),
            ("/ü", Some("/%C3%BC")),
            ("/a$b/${Z}", Some("/a$$b/${Z}")),
            ("/go?to=http://x", Some("/go?to=http://x")),
            ("https://H/base/health", Some("/health")),
            ("http://h/base", Some("/")),
            ("https://h/base?x", Some("/?x")),
            ("${PROD}/up", Some("/up")),
            ("https://t.example.com:81/up", Some("/up")),
            ("https://h/basement", None),
            ("https://h/up", None),
            ("https://evil.example.com/x", None),
            ("${OTHER}/up", None),
            ("", None),
            ("#x", None),
            ("/a\nb", None),
        ] {
            assert_eq!(path(text, &own).ok().map(|taken| taken.path).as_deref(), expected, "{text}");
        }
        let taken = Taken { path: "/a".to_owned(), fragment: Some("b".to_owned()) };
        assert_eq!(path("/a#b", &[]), Ok(taken));
    }

    #[test]
    fn images_lose_their_tag_and_keep_their_variables() {
        for (text, expected) in [
            ("ghcr.io/acme/web:v1", Some(("ghcr.io/acme/web", Some("v1")))),
            ("localhost:5000/web", Some(("localhost:5000/web", None))),
            ("${REGISTRY}/web:${TAG:-latest}", Some(("${REGISTRY}/web", Some("${TAG:-latest}")))),
            ("web@sha256:00", Some(("web", Some("sha256:00")))),
            ("-rf", None),
            ("a b", None),
            ("web/", None),
        ] {
            let expected = expected.map(|(image, tag)| (image.to_owned(), tag.map(str::to_owned)));
            assert_eq!(image(text).ok(), expected, "{text}");
        }
    }
}
