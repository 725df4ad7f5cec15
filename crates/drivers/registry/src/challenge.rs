//! `WWW-Authenticate`: what a registry wants (RFC 9110, 11.6.1): pure.

/// Longest header that is read.
const CHALLENGE_BYTES_MAX: usize = 8 * 1024;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Challenge {
    Basic,
    /// A token of the server at `realm`.
    Bearer {
        realm: String,
        service: Option<String>,
        scope: Option<String>,
        /// Why the token that was sent is not enough, such as `insufficient_scope`.
        error: Option<String>,
    },
}

/// The challenge to answer: a token where one is offered, for with `Basic` the password itself goes along each time.
pub(crate) fn choose<'a>(headers: impl IntoIterator<Item = &'a str>) -> Option<Challenge> {
    let mut basic = None;
    for header in headers.into_iter().filter(|header| header.len() <= CHALLENGE_BYTES_MAX) {
        for (scheme, parameters) in challenges(header) {
            if scheme.eq_ignore_ascii_case("basic") {
                basic = Some(Challenge::Basic);
            }
            let named = |name: &str| {
                let found = parameters.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
                found.map(|(_, value)| value.clone())
            };
            if scheme.eq_ignore_ascii_case("bearer")
                && let Some(realm) = named("realm")
            {
                let (service, scope, error) = (named("service"), named("scope"), named("error"));
                return Some(Challenge::Bearer { realm, service, scope, error });
            }
        }
    }
    basic
}

type Parameters = Vec<(String, String)>;

/// Each scheme with its parameters. A word that no `=` follows begins the next challenge.
fn challenges(header: &str) -> Vec<(String, Parameters)> {
    let mut found: Vec<(String, Parameters)> = Vec::new();
    let mut rest = header.trim_start_matches([' ', '\t', ',']);
    while !rest.is_empty() {
        let end = rest.find([' ', '\t', ',', '=', '"']).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        let Some(value) = after.trim_start_matches([' ', '\t']).strip_prefix('=') else {
            if word.is_empty() {
                // A quote where a name should be: nothing behind it can be trusted.
                return found;
            }
            found.push((word.to_owned(), Vec::new()));
            rest = after.trim_start_matches([' ', '\t', ',']);
            continue;
        };
        let Some((value, behind)) = value_of(value.trim_start_matches([' ', '\t'])) else { return found };
        if let Some((_, parameters)) = found.last_mut() {
            parameters.push((word.to_owned(), value));
        }
        rest = behind.trim_start_matches([' ', '\t', ',']);
    }
    found
}

/// A token or a quoted string, and what is behind it. `None` for one that has no end.
fn value_of(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([' ', '\t', ',']).unwrap_or(text.len());
        return Some((text[..end].to_owned(), &text[end..]));
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &quoted[at + 1..])),
            '\\' => value.push(characters.next()?.1),
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(
        realm: &str,
        service: Option<&str>,
        scope: Option<&str>,
        error: Option<&str>,
    ) -> Option<Challenge> {
        let own = |text: Option<&str>| text.map(ToOwned::to_owned);
        Some(Challenge::Bearer {
            realm: realm.to_owned(),
            service: own(service),
            scope: own(scope),
            error: own(error),
        })
    }

    #[test]
    fn a_challenge_is_read_as_registries_write_it() {
        for (header, wanted) in [
            // The example of the token authentication specification.
            (
                r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:samalba/my-app:pull,push""#,
                bearer(
                    "https://auth.docker.io/token",
                    Some("registry.docker.io"),
                    Some("repository:samalba/my-app:pull,push"),
                    None,
                ),
            ),
            (
                r#"bearer realm = "https://a/t" , error="insufficient_scope""#,
                bearer("https://a/t", None, None, Some("insufficient_scope")),
            ),
            (r#"Bearer realm=https://a/t,service=s"#, bearer("https://a/t", Some("s"), None, None)),
            (r#"Basic realm="a, b", Bearer realm="https://a/t""#, bearer("https://a/t", None, None, None)),
            (r#"Bearer realm="say \"x\"""#, bearer("say \"x\"", None, None, None)),
            (r#"Basic realm="Registry Realm""#, Some(Challenge::Basic)),
            ("Basic", Some(Challenge::Basic)),
            (r#"Negotiate abc, Basic realm="x""#, Some(Challenge::Basic)),
            ("Negotiate", None),
            (r#"Bearer service="no realm""#, None),
            (r#"Bearer realm="open"#, None),
            (r#"" = , ="#, None),
            ("", None),
        ] {
            assert_eq!(choose([header]), wanted, "{header}");
        }
        assert_eq!(choose(["Basic realm=\"x\"", "Bearer realm=\"y\""]), bearer("y", None, None, None));
        assert_eq!(choose([format!("Basic {}", "x".repeat(CHALLENGE_BYTES_MAX)).as_str()]), None);
    }
}
