//! The host that a request is for.

use std::net::Ipv6Addr;

use hyper::header::{HOST, HeaderValue};
use hyper::{Request, Version};

/// Longer names are refused. DNS allows 253 bytes, RFC 3986 255.
const NAME_BYTES_MAX: usize = 255;

/// The host that the client asked for, with its port if it named one: the target's authority, else its one `Host`.
/// `Ok(None)` only for HTTP/1.0, which may have none. A host that slot and proxy could read differently is an error.
pub(crate) fn requested<B>(request: &Request<B>) -> Result<Option<HeaderValue>, &'static str> {
    let mut hosts = request.headers().get_all(HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err("more than one Host header");
    }
    if host.is_some_and(|host| !is_host(host.as_bytes())) {
        return Err("the Host header is not a host name or address with perhaps a port");
    }
    let Some(authority) = request.uri().authority() else {
        return match host {
            None if request.version() != Version::HTTP_10 => Err("the Host header is missing"),
            host => Ok(host.cloned()),
        };
    };
    let bare = authority.as_str().rsplit_once('@').map_or(authority.as_str(), |(_, host)| host);
    // HTTP/1.1 says which of the two counts (RFC 9112, 3.2.2), HTTP/2 that they may not differ (RFC 9113, 8.3.1).
    let differs = |host: &HeaderValue| !host.as_bytes().eq_ignore_ascii_case(bare.as_bytes());
    if request.version() == Version::HTTP_2 && host.is_some_and(differs) {
        return Err("the Host header differs from the authority");
    }
    match HeaderValue::from_str(bare) {
        Ok(host) if is_host(bare.as_bytes()) => Ok(Some(host)),
        _ => Err("the request's authority is not a host name or address with perhaps a port"),
    }
}

/// `uri-host [ ":" port ]` as RFC 3986 has it, without a comma, which would make it two hosts, and not empty.
fn is_host(text: &[u8]) -> bool {
    if let Some(rest) = text.strip_prefix(b"[") {
        let Some(end) = rest.iter().position(|byte| *byte == b']') else { return false };
        let address = std::str::from_utf8(&rest[..end]).ok().and_then(|text| text.parse::<Ipv6Addr>().ok());
        return address.is_some() && is_port(&rest[end + 1..]);
    }
    let end = text.iter().position(|byte| *byte == b':').unwrap_or(text.len());
    let (name, port) = text.split_at(end);
    (1..=NAME_BYTES_MAX).contains(&name.len()) && is_name(name) && is_port(port)
}

/// Nothing, or a colon and a port, which may be empty.
fn is_port(text: &[u8]) -> bool {
    let Some(digits) = text.strip_prefix(b":") else { return text.is_empty() };
    let value =
        digits.iter().take(6).fold(0_u32, |value, digit| value * 10 + u32::from(digit.wrapping_sub(b'0')));
    digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit) && value <= u32::from(u16::MAX)
}

fn is_name(name: &[u8]) -> bool {
    let mut bytes = name.iter();
    while let Some(byte) = bytes.next() {
        let allowed = match byte {
            b'%' => {
                let mut hex = || bytes.next().is_some_and(u8::is_ascii_hexdigit);
                hex() && hex()
            }
            b'-' | b'.' | b'_' | b'~' => true,
            b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b';' | b'=' => true,
            byte => byte.is_ascii_alphanumeric(),
        };
        if !allowed {
            return false;
        }
    }
    true
}

/// A host without its port.
pub(crate) fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.ends_with(':') => {
            // An IPv6 address has its colons inside brackets, so what is split off here is a port.
            if name.contains(':') && !name.ends_with(']') { host } else { name }
        }
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(version: Version, uri: &str, headers: &[(&str, &str)]) -> Request<()> {
        let builder = Request::builder().version(version).uri(uri);
        headers.iter().fold(builder, |builder, (name, value)| builder.header(*name, *value)).body(()).unwrap()
    }

    #[test]
    fn an_ambiguous_host_is_refused() {
        let both = [("host", "a"), ("host", "b")];
        assert!(requested(&request(Version::HTTP_11, "/", &both)).is_err());
        assert!(requested(&request(Version::HTTP_11, "/", &[])).is_err());
        assert_eq!(requested(&request(Version::HTTP_10, "/", &[])), Ok(None));
        let http2 = request(Version::HTTP_2, "http://u@a.example/", &[]);
        assert_eq!(requested(&http2).unwrap().unwrap(), "a.example");
    }

    #[test]
    fn the_authority_counts_and_in_http2_a_host_may_not_differ_from_it() {
        let other = [("host", "b")];
        assert_eq!(requested(&request(Version::HTTP_11, "http://a/", &other)).unwrap().unwrap(), "a");
        assert!(requested(&request(Version::HTTP_2, "http://a/", &other)).is_err());
        assert!(requested(&request(Version::HTTP_2, "http://B/", &other)).is_ok());
        assert!(requested(&request(Version::HTTP_11, "http://a/", &[("host", "a b")])).is_err());
    }

    #[test]
    fn hosts_are_names_or_addresses_with_perhaps_a_port() {
        let longest = "a".repeat(NAME_BYTES_MAX);
        for host in [
            "a",
            "A.example",
            "a.example.",
            "a_b",
            "a:80",
            "a:",
            "a%20b",
            "[::1]",
            "[::1]:8080",
            "1.2.3.4:65535",
            &longest,
        ] {
            assert!(is_host(host.as_bytes()), "{host}");
        }
        let too_long = "a".repeat(NAME_BYTES_MAX + 1);
        for host in [
            "",
            ":80",
            "a b",
            "a/b?c",
            "a?b",
            "a#b",
            "a,b",
            "a@b",
            "a\\b",
            "a\tb",
            "a:b",
            "a:80:80",
            "a:65536",
            "a:000080",
            "a%2",
            "a%zz",
            "::1",
            "[::1",
            "[a]",
            "[]",
            "[::1]a",
            "[fe80::1%25eth0]",
            "\u{e4}",
            "<a>",
            "a\"b",
            &too_long,
        ] {
            assert!(!is_host(host.as_bytes()), "{host}");
        }
    }

    #[test]
    fn ports_are_cut_off_hosts_but_ipv6_addresses_are_not() {
        for (host, name) in [
            ("a:80", "a"),
            ("a", "a"),
            ("[::1]:80", "[::1]"),
            ("[::1]", "[::1]"),
            ("::1", "::1"),
            ("a:", "a"),
        ] {
            assert_eq!(without_port(host), name);
        }
    }
}
