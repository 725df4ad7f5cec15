//! `Link: <…>; rel="next"`: where the next page of a list is (RFC 8288): pure.

use lockgate_model::{FailureKind, TOLD_CHARS_MAX, quoted};
use lockgate_ports::PortError;
use reqwest::Url;

/// Longest link that is followed.
const LINK_BYTES_MAX: usize = 4 * 1024;

/// Path and query of the next page, if there is one. `answered` is the URL whose answer had the headers, `registry` the
/// registry's own: a link leads to a place there.
///
/// # Errors
/// `Refused` for a link that leads elsewhere or cannot be read.
pub(crate) fn next<'a>(
    headers: impl IntoIterator<Item = &'a str>,
    answered: &Url,
    registry: &Url,
) -> Result<Option<String>, PortError> {
    let links = headers.into_iter().flat_map(split);
    let Some(target) = links.filter_map(target_of_next).next() else { return Ok(None) };
    let refused = |why: &str| {
        let shown = quoted(target, TOLD_CHARS_MAX);
        let message = format!("the list goes on at \"{shown}\", {why}");
        Err(PortError::new(FailureKind::Refused, message)
            .hint("the registry, or a proxy before it, must link to its next page at its own address"))
    };
    if target.len() > LINK_BYTES_MAX {
        return refused("which is too long");
    }
    let Ok(url) = answered.join(target) else { return refused("which is no place") };
    // Behind a proxy that ends TLS a registry may write http: the name and its port are what counts, the scheme stays.
    if !matches!(url.scheme(), "http" | "https")
        || url.host_str() != registry.host_str()
        || url.port() != registry.port()
        || !url.username().is_empty()
    {
        return refused("which is not at this registry");
    }
    let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
    Ok(Some(format!("{}{query}", url.path())))
}

/// The links of one header: commas within `<…>` are part of a link.
fn split(header: &str) -> Vec<&str> {
    let (mut parts, mut start, mut within) = (Vec::new(), 0, false);
    for (at, byte) in header.bytes().enumerate() {
        match byte {
            b'<' => within = true,
            b'>' => within = false,
            b',' if !within => {
                parts.push(&header[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&header[start..]);
    parts
}

fn target_of_next(link: &str) -> Option<&str> {
    let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
    let is_next = parameters.split(';').any(|parameter| {
        let Some((name, value)) = parameter.split_once('=') else { return false };
        let mut values = value.trim().trim_matches('"').split_ascii_whitespace();
        name.trim().eq_ignore_ascii_case("rel") && values.any(|value| value.eq_ignore_ascii_case("next"))
    });
    is_next.then_some(target.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn follow(header: &str) -> Result<Option<String>, PortError> {
        let answered = Url::parse("https://registry.test:5000/v2/acme/web/tags/list?n=2").unwrap();
        next([header], &answered, &Url::parse("https://registry.test:5000/").unwrap())
    }

    #[test]
    fn the_next_page_is_found_as_registries_write_it() {
        for (header, wanted) in [
            ("</v2/acme/web/tags/list?last=b&n=2>; rel=\"next\"", Some("/v2/acme/web/tags/list?last=b&n=2")),
            ("</v2/a/tags/list?last=b%2Cc&n=2>; rel=next", Some("/v2/a/tags/list?last=b%2Cc&n=2")),
            ("<?last=b&n=2>;title=\"x\" ; REL=\"prev next\"", Some("/v2/acme/web/tags/list?last=b&n=2")),
            ("<https://registry.test:5000/v2/a?x=1#f>; rel=\"next\"", Some("/v2/a?x=1")),
            // Written behind a proxy that ends TLS.
            ("<http://registry.test:5000/v2/a?x=1>; rel=\"next\"", Some("/v2/a?x=1")),
            ("</first>; rel=\"first\", </next?a=1,2>; rel=\"next\"", Some("/next?a=1,2")),
            ("</first>; rel=\"first\"", None),
            ("no link at all", None),
            ("", None),
        ] {
            assert_eq!(follow(header).unwrap().as_deref(), wanted, "{header}");
        }
    }

    #[test]
    fn a_link_that_leads_elsewhere_is_refused() {
        for header in [
            "<https://evil.test/v2/a>; rel=\"next\"",
            "<//evil.test/v2/a>; rel=\"next\"",
            "<https://registry.test/v2/a>; rel=\"next\"",
            "<https://registry.test:5001/v2/a>; rel=\"next\"",
            "<https://ann:pw@registry.test:5000/v2/a>; rel=\"next\"",
            "<file:///etc/passwd>; rel=\"next\"",
            "<https://[>; rel=\"next\"",
        ] {
            let error = follow(header).unwrap_err();
            assert!(error.kind == FailureKind::Refused && !error.hints().is_empty(), "{header}: {error}");
        }
        let long = format!("</{}>; rel=\"next\"", "x".repeat(LINK_BYTES_MAX));
        assert!(follow(&long).unwrap_err().message.contains("too long"));
    }
}
