//! Which headers cross the proxy, and which end at it.

use std::net::IpAddr;

use hyper::body::Body;
use hyper::header::{
    CONNECTION, CONTENT_LENGTH, COOKIE, HOST, HeaderMap, HeaderName, HeaderValue, PROXY_AUTHENTICATE, TE,
    TRANSFER_ENCODING, UPGRADE,
};
use hyper::{Request, StatusCode, Uri, Version};

use crate::claims::{is_claim, is_lookalike};
use crate::wire::{ASK_HEADER, REPLICA_HEADER};

/// How many header lines a request or a response may have (cookies of HTTP/2 count once). hyper's own limit for HTTP/1,
/// which can't be told to it without an allocation per request; a test holds the two together.
pub(crate) const HEADERS_MAX: usize = 100;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const ASK: HeaderName = HeaderName::from_static(ASK_HEADER);
const REPLICA: HeaderName = HeaderName::from_static(REPLICA_HEADER);

/// The address as `X-Forwarded-For` carries it.
pub(crate) fn forwarded_for(address: IpAddr) -> HeaderValue {
    HeaderValue::from_str(&address.to_string()).unwrap_or(HeaderValue::from_static("unknown"))
}

/// Why a request's head can't be passed on, if so. The connection can't be used after any of these.
pub(crate) fn refusal<B>(request: &Request<B>) -> Option<(StatusCode, &'static str)> {
    let headers = request.headers();
    let lines = headers.len();
    if lines > HEADERS_MAX && lines.saturating_sub(headers.get_all(COOKIE).iter().count()) >= HEADERS_MAX {
        return Some((StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "more than 100 header lines"));
    }
    match codings(headers) {
        Codings::None | Codings::Chunked => None,
        Codings::Twice => Some((StatusCode::BAD_REQUEST, "the body is chunked more than once")),
        Codings::Unknown => Some((StatusCode::NOT_IMPLEMENTED, "the only known transfer coding is chunked")),
    }
}

/// Whether a response's body is encoded in a way that can't be told to the client.
pub(crate) fn has_unknown_coding(headers: &HeaderMap) -> bool {
    matches!(codings(headers), Codings::Twice | Codings::Unknown)
}

/// What `Transfer-Encoding` says. Only `chunked` is taken off and put on again here; whatever else there is would reach
/// the other side still encoded, and unannounced.
enum Codings {
    None,
    Chunked,
    Twice,
    Unknown,
}

fn codings(headers: &HeaderMap) -> Codings {
    let mut found = Codings::None;
    for value in headers.get_all(TRANSFER_ENCODING) {
        for coding in value.as_bytes().split(|byte| *byte == b',') {
            found = match (found, coding.trim_ascii().eq_ignore_ascii_case(b"chunked")) {
                (Codings::None, true) => Codings::Chunked,
                (Codings::Chunked, true) => Codings::Twice,
                _ => return Codings::Unknown,
            };
        }
    }
    found
}

/// Takes the ask header off and says whether it holds the token. Compares in constant time.
pub(crate) fn take_ask(headers: &mut HeaderMap, token: &[u8]) -> bool {
    let Some(given) = headers.remove(ASK) else { return false };
    let given = given.as_bytes();
    given.len() == token.len() && given.iter().zip(token).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
}

/// The dial of the replica that whoever asks wants to ask. It is never forwarded.
pub(crate) fn take_replica(headers: &mut HeaderMap, asked: bool) -> Option<HeaderValue> {
    headers.remove(REPLICA).filter(|_| asked)
}

/// The protocol that an HTTP/1.1 request wants to upgrade to. `None` also when that is HTTP again, which a server need
/// not follow: a tunnel would carry further requests past the routes, the counts and the access log.
pub(crate) fn wanted_upgrade<B>(request: &Request<B>) -> Option<HeaderValue> {
    let headers = request.headers();
    let protocol = headers.get(UPGRADE)?;
    let passes = request.version() == Version::HTTP_11 && names_listed(headers, "upgrade");
    (passes && !offers_http(headers)).then(|| protocol.clone())
}

/// Whether any `Upgrade` header lists a version of HTTP (or can't be read).
fn offers_http(headers: &HeaderMap) -> bool {
    headers.get_all(UPGRADE).iter().any(|value| {
        value.to_str().map_or(true, |value| {
            let mut names =
                value.split(',').map(|protocol| protocol.split('/').next().unwrap_or_default().trim());
            names.any(|name| ["h2c", "h2", "http"].iter().any(|http| name.eq_ignore_ascii_case(http)))
        })
    })
}

/// Whether a `Connection` header lists `token`.
fn names_listed(headers: &HeaderMap, token: &str) -> bool {
    let values = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|name| name.trim().eq_ignore_ascii_case(token))
}

/// Removes `Connection` and whatever it lists, but for what isn't the sender's to take away: what frames and routes the
/// message, and what a trusted proxy claims, which its clients could strip with it otherwise.
fn strip_listed(headers: &mut HeaderMap) {
    let Some(first) = headers.get(CONNECTION) else { return };
    let only = headers.get_all(CONNECTION).iter().nth(1).is_none();
    let plain = |name: &[u8]| first.as_bytes().eq_ignore_ascii_case(name);
    if !only || !(plain(b"keep-alive") || plain(b"close")) {
        let values: Vec<HeaderValue> = headers.get_all(CONNECTION).iter().cloned().collect();
        let names = values.iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
        let names = names.filter_map(|name| HeaderName::from_bytes(name.trim().as_bytes()).ok());
        for name in names.filter(|name| !is_framing(name) && *name != HOST && !is_claim(name.as_str())) {
            headers.remove(name);
        }
    }
    headers.remove(CONNECTION);
}

fn is_framing(name: &HeaderName) -> bool {
    *name == CONTENT_LENGTH || *name == TRANSFER_ENCODING
}

/// Makes the framing hyper's to write anew. A length beside an encoding would be a smuggling attempt; several equal ones
/// become one (RFC 9110, 8.6), and of several different ones (to be seen only where there is no body) none is left.
fn reframe(headers: &mut HeaderMap) {
    if headers.contains_key(TRANSFER_ENCODING) {
        headers.remove(TRANSFER_ENCODING);
        headers.remove(CONTENT_LENGTH);
        return;
    }
    let Some(first) = headers.get(CONTENT_LENGTH) else { return };
    if headers.get_all(CONTENT_LENGTH).iter().nth(1).is_none() && !first.as_bytes().contains(&b',') {
        return;
    }
    let values = headers.get_all(CONTENT_LENGTH).iter();
    let mut lengths =
        values.flat_map(|value| value.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
    let length = lengths.next().unwrap_or_default();
    match HeaderValue::from_bytes(length).ok().filter(|_| lengths.all(|other| other == length)) {
        Some(length) => drop(headers.insert(CONTENT_LENGTH, length)),
        None => drop(headers.remove(CONTENT_LENGTH)),
    }
}

/// Names that a request doesn't carry on to a slot, whoever sent them. `expect`: hyper answers `100 Continue` itself as
/// soon as the body is wanted. `proxy`: CGI makes `HTTP_PROXY` of it.
fn ends_at_a_proxy(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "expect"
            | "http2-settings"
            | "keep-alive"
            | "proxy"
            | "proxy-authorization"
            | "proxy-connection"
            | "te"
            | "upgrade"
    )
}

/// What a slot believes because we say it, or what frames its requests.
fn is_ours(name: &str) -> bool {
    matches!(
        name,
        ASK_HEADER | REPLICA_HEADER | "content-length" | "transfer-encoding" | "proxy-authorization"
    ) || is_claim(name)
}

/// Removes the names that `ends_here` tells. Allocates only when there are some.
fn strip(headers: &mut HeaderMap, ends_here: impl Fn(&str) -> bool) {
    let doomed: Vec<HeaderName> = headers.keys().filter(|name| ends_here(name.as_str())).cloned().collect();
    doomed.iter().for_each(|name| drop(headers.remove(name)));
}

/// Removes from trailers what may not be one (RFC 9110, 6.5.1): what frames, routes, authenticates or changes the
/// meaning of a message, and every claim, because a proxy in front passes its clients' trailers on unseen.
pub(crate) fn prepare_trailers(trailers: &mut HeaderMap) {
    let is_none = |name: &str| {
        matches!(
            name,
            "age"
                | "authorization"
                | "cache-control"
                | "content-encoding"
                | "content-range"
                | "content-type"
                | "cookie"
                | "date"
                | "expires"
                | "host"
                | "location"
                | "max-forwards"
                | "pragma"
                | "proxy-authenticate"
                | "range"
                | "retry-after"
                | "set-cookie"
                | "trailer"
                | "vary"
                | "www-authenticate"
        ) || name.starts_with("if-")
            || ends_at_a_proxy(name)
            || is_ours(name)
    };
    strip(trailers, |name| is_none(name) || is_lookalike(name, is_none));
}

/// Announces a body whose length isn't known, which hyper by itself does not send with a GET or HEAD.
pub(crate) fn announce_body<B: Body>(request: &mut Request<B>) {
    if request.body().size_hint().exact().is_none() {
        request.headers_mut().insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
}

/// Who the client is, as the slot is told.
pub(crate) struct Origin<'a> {
    pub(crate) forwarded_for: &'a HeaderValue,
    pub(crate) host: HeaderValue,
    /// The client named the host itself.
    pub(crate) named: bool,
    /// Set when an upgrade is passed through.
    pub(crate) upgrade: Option<HeaderValue>,
    /// It is a proxy whose word on where the request came from is passed on.
    pub(crate) trusted: bool,
}

/// Turns the client's request head into the one for the slot, in place.
pub(crate) fn prepare_request<B>(request: &mut Request<B>, origin: Origin<'_>) {
    let target = request.uri().path_and_query().cloned();
    *request.uri_mut() = target.map(Uri::from).unwrap_or_else(|| Uri::from_static("/"));
    let was_http2 = request.version() == Version::HTTP_2;
    *request.version_mut() = Version::HTTP_11;
    request.extensions_mut().clear();

    let headers = request.headers_mut();
    let wants_trailers = headers.get(TE).is_some_and(|te| te.as_bytes().eq_ignore_ascii_case(b"trailers"));
    strip_listed(headers);
    reframe(headers);
    let trusted = origin.trusted;
    strip(headers, |name| ends_at_a_proxy(name) || !trusted && is_claim(name) || is_lookalike(name, is_ours));
    if wants_trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
        headers.insert(CONNECTION, HeaderValue::from_static("te"));
    }
    if was_http2 {
        join_cookies(headers);
    }
    if let Some(protocol) = origin.upgrade {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, protocol);
    }
    append_client(headers, origin.forwarded_for);
    headers.entry(X_FORWARDED_PROTO).or_insert(HeaderValue::from_static("http"));
    if origin.named {
        headers.entry(X_FORWARDED_HOST).or_insert_with(|| origin.host.clone());
    }
    headers.insert(HOST, origin.host);
}

/// `X-Forwarded-For`: whoever went before, then the one who sent it to us.
fn append_client(headers: &mut HeaderMap, client: &HeaderValue) {
    // Nearly every request: nothing is joined for it.
    if !headers.contains_key(X_FORWARDED_FOR) {
        headers.insert(X_FORWARDED_FOR, client.clone());
        return;
    }
    let before = headers.get_all(X_FORWARDED_FOR).iter().chain([client]);
    let all: Vec<&[u8]> = before.map(HeaderValue::as_bytes).collect();
    let joined = HeaderValue::from_bytes(&all.join(&b", "[..])).unwrap_or_else(|_| client.clone());
    headers.insert(X_FORWARDED_FOR, joined);
}

/// HTTP/2 may split `Cookie` into crumbs, which HTTP/1.1 may not have (RFC 9113, 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    if headers.get_all(COOKIE).iter().nth(1).is_none() {
        return;
    }
    let crumbs: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if let Ok(joined) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..])) {
        headers.insert(COOKIE, joined);
    }
}

/// Turns the slot's response head into the one for the client, in place. `keep_upgrade`: it is a 101.
pub(crate) fn prepare_response(headers: &mut HeaderMap, keep_upgrade: bool) {
    let protocol = if keep_upgrade { headers.get(UPGRADE).cloned() } else { None };
    strip_listed(headers);
    reframe(headers);
    for name in [KEEP_ALIVE, PROXY_CONNECTION, UPGRADE, PROXY_AUTHENTICATE] {
        headers.remove(name);
    }
    if let Some(protocol) = protocol {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, protocol);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(version: Version, uri: &str, headers: &[(&str, &str)]) -> Request<()> {
        let builder = Request::builder().version(version).uri(uri);
        headers.iter().fold(builder, |builder, (name, value)| builder.header(*name, *value)).body(()).unwrap()
    }

    fn prepare(request: &mut Request<()>) {
        prepare_from(request, false);
    }

    fn prepare_from(request: &mut Request<()>, trusted: bool) {
        let host = crate::host::requested(request).unwrap().unwrap();
        let upgrade = wanted_upgrade(request);
        let forwarded_for = HeaderValue::from_static("192.0.2.7");
        let origin = Origin { forwarded_for: &forwarded_for, host, named: true, upgrade, trusted };
        prepare_request(request, origin);
    }

    #[test]
    fn hop_by_hop_headers_and_what_connection_lists_end_here() {
        let headers = [
            ("host", "app.example"),
            ("connection", "keep-alive, X-Secret"),
            ("connection", "close"),
            ("x-secret", "1"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("proxy-authorization", "Basic x"),
            ("te", "gzip"),
            ("transfer-encoding", "chunked"),
            ("content-length", "5"),
            ("upgrade", "h2c"),
            ("expect", "100-continue"),
            ("x-kept", "1"),
        ];
        let mut request = request(Version::HTTP_11, "/a?b=c", &headers);
        prepare(&mut request);
        let mut left: Vec<_> = request.headers().keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["host", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-kept"]);
        assert_eq!(request.uri(), "/a?b=c");
    }

    #[test]
    fn what_a_client_claims_about_itself_is_overwritten() {
        let headers = [
            ("host", "app.example:8080"),
            ("x-forwarded-for", "6.6.6.6"),
            ("x-forwarded-for", "7.7.7.7"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "evil"),
            ("forwarded", "for=6.6.6.6"),
            ("x-real-ip", "6.6.6.6"),
            ("X_Forwarded_For", "6.6.6.6"),
            ("x-forwarded_proto", "https"),
            ("X_Forwarded-Host", "evil"),
            ("x_forwarded_port", "443"),
            ("X_Real_IP", "6.6.6.6"),
            ("Content_Length", "5"),
            ("Transfer_Encoding", "chunked"),
            ("x_own_name", "kept"),
        ];
        let mut request = request(Version::HTTP_11, "http://app.example:8080/x", &headers);
        prepare(&mut request);
        let all =
            |name| request.headers().get_all(name).iter().map(|v| v.to_str().unwrap()).collect::<Vec<_>>();
        assert_eq!(all("x-forwarded-for"), ["192.0.2.7"]);
        assert_eq!(all("x-forwarded-proto"), ["http"]);
        assert_eq!(all("x-forwarded-host"), ["app.example:8080"]);
        assert_eq!(all("host"), ["app.example:8080"]);
        assert!(all("forwarded").is_empty() && all("x-real-ip").is_empty());
        assert_eq!(request.uri(), "/x");
        let underscored: Vec<_> =
            request.headers().keys().map(HeaderName::as_str).filter(|name| name.contains('_')).collect();
        assert_eq!(underscored, ["x_own_name"]);
    }

    #[test]
    fn a_trusted_proxys_word_is_passed_on_and_it_joins_the_list() {
        let headers = [
            ("host", "app.example"),
            ("x-forwarded-for", "6.6.6.6"),
            ("x-forwarded-for", "10.0.0.1"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "shop.example"),
            ("x-forwarded-port", "443"),
            ("x-real-ip", "6.6.6.6"),
            ("X_Forwarded_For", "5.5.5.5"),
        ];
        let mut full = request(Version::HTTP_11, "/", &headers);
        prepare_from(&mut full, true);
        let mut left: Vec<_> =
            full.headers().iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        left.sort_unstable();
        let wanted = [
            ("host", "app.example"),
            ("x-forwarded-for", "6.6.6.6, 10.0.0.1, 192.0.2.7"),
            ("x-forwarded-host", "shop.example"),
            ("x-forwarded-port", "443"),
            ("x-forwarded-proto", "https"),
            ("x-real-ip", "6.6.6.6"),
        ];
        assert_eq!(left, wanted);
        let mut bare = request(Version::HTTP_11, "/", &headers[..1]);
        prepare_from(&mut bare, true);
        assert_eq!(bare.headers()[X_FORWARDED_FOR], "192.0.2.7");
        assert_eq!(bare.headers()[X_FORWARDED_PROTO], "http");
        assert_eq!(bare.headers()[X_FORWARDED_HOST], "app.example");
    }

    #[test]
    fn a_websocket_handshake_passes_and_only_over_http_1_1() {
        let headers = [("host", "a"), ("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")];
        let mut passes = request(Version::HTTP_11, "/", &headers);
        prepare(&mut passes);
        assert_eq!(passes.headers()[UPGRADE], "websocket");
        assert_eq!(passes.headers()[CONNECTION], "upgrade");
        assert!(wanted_upgrade(&request(Version::HTTP_10, "/", &headers)).is_none());
        let mut response = passes.headers().clone();
        prepare_response(&mut response, false);
        assert!(!response.contains_key(UPGRADE));
    }

    #[test]
    fn an_upgrade_to_http_does_not_pass() {
        for upgrade in ["h2c", "H2C", "websocket, h2c", "HTTP/2.0", "TLS/1.0, HTTP/1.1", "h2"] {
            let headers = [
                ("host", "a"),
                ("connection", "Upgrade, HTTP2-Settings"),
                ("upgrade", upgrade),
                ("http2-settings", "AAMAAABkAAQAAP__"),
            ];
            let mut request = request(Version::HTTP_11, "/", &headers);
            prepare(&mut request);
            for name in ["upgrade", "connection", "http2-settings"] {
                assert!(!request.headers().contains_key(name), "{upgrade}: {name}");
            }
        }
        let both = [("connection", "upgrade"), ("upgrade", "websocket"), ("upgrade", "h2c")];
        assert!(wanted_upgrade(&request(Version::HTTP_11, "/", &both)).is_none());
    }

    #[test]
    fn http2_cookie_crumbs_become_one_header() {
        let crumbs = [("cookie", "a=1"), ("cookie", "b=2")];
        let mut request = request(Version::HTTP_2, "http://a/", &crumbs);
        prepare(&mut request);
        assert_eq!(request.headers().get_all(COOKIE).iter().collect::<Vec<_>>(), ["a=1; b=2"]);
    }

    #[test]
    fn only_the_right_token_asks_and_the_header_is_always_taken_off() {
        for (given, right) in [("token", true), ("tokem", false), ("token2", false), ("", false)] {
            let mut headers = HeaderMap::new();
            headers.insert(ASK, HeaderValue::from_str(given).unwrap());
            assert_eq!(take_ask(&mut headers, b"token"), right);
            assert!(headers.is_empty());
        }
    }

    #[test]
    fn connection_does_not_strip_what_frames_routes_or_is_vouched_for() {
        let listed = "x-forwarded-for, X-Real-IP, host, content-length, x-mine, not a name, close";
        let headers = [
            ("host", "a"),
            ("connection", listed),
            ("x-forwarded-for", "6.6.6.6"),
            ("x-real-ip", "6.6.6.6"),
            ("content-length", "5"),
            ("x-mine", "1"),
        ];
        let mut request = request(Version::HTTP_11, "/", &headers);
        prepare_from(&mut request, true);
        assert_eq!(request.headers()[X_FORWARDED_FOR], "6.6.6.6, 192.0.2.7");
        assert_eq!(request.headers()["x-real-ip"], "6.6.6.6");
        assert_eq!(request.headers()[CONTENT_LENGTH], "5");
        assert!(!request.headers().contains_key("x-mine") && !request.headers().contains_key(CONNECTION));
    }

    #[test]
    fn equal_lengths_become_one_and_different_ones_none() {
        for (given, left) in [
            (&["5", "5"][..], Some("5")),
            (&["5, 5"], Some("5")),
            (&["5"], Some("5")),
            (&["5", "6"], None),
            (&["5,6"], None),
        ] {
            let mut headers = HeaderMap::new();
            given.iter().for_each(|value| {
                assert!(headers.try_append(CONTENT_LENGTH, HeaderValue::from_static(value)).is_ok())
            });
            reframe(&mut headers);
            let all: Vec<_> = headers.get_all(CONTENT_LENGTH).iter().collect();
            assert_eq!(all, left.into_iter().collect::<Vec<_>>(), "{given:?}");
        }
    }

    #[test]
    fn only_chunked_once_is_a_known_coding() {
        for (given, status) in [
            (&[][..], None),
            (&["chunked"], None),
            (&[" Chunked "], None),
            (&["chunked, chunked"], Some(400)),
            (&["chunked", "chunked"], Some(400)),
            (&["gzip, chunked"], Some(501)),
            (&["gzip", "chunked"], Some(501)),
            (&["chunked, identity"], Some(501)),
            (&[", chunked"], Some(501)),
        ] {
            let mut asked = request(Version::HTTP_11, "/", &[]);
            for value in given {
                asked.headers_mut().append(TRANSFER_ENCODING, HeaderValue::from_static(value));
            }
            let refused = refusal(&asked).map(|(status, _)| status.as_u16());
            assert_eq!(refused, status, "{given:?}");
        }
    }

    #[test]
    fn trailers_keep_what_says_something_about_the_body_only() {
        let mut trailers = HeaderMap::new();
        for name in [
            "x-checksum",
            "grpc-status",
            "x-forwarded-for",
            "x_real_ip",
            "host",
            "content-length",
            "content_type",
            "authorization",
            "cookie",
            "connection",
            "te",
            "if-match",
            ASK_HEADER,
        ] {
            trailers.insert(HeaderName::from_static(name), HeaderValue::from_static("1"));
        }
        prepare_trailers(&mut trailers);
        let mut left: Vec<_> = trailers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["grpc-status", "x-checksum"]);
    }
}
