//! Which headers cross the proxy, and which end at it.

use std::net::IpAddr;

use hyper::body::Body;
use hyper::header::{
    CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, FORWARDED, HOST, HeaderMap, HeaderName, HeaderValue,
    PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING, UPGRADE,
};
use hyper::{Request, Uri, Version};

use crate::wire::ASK_HEADER;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
/// What a client could claim about itself. A proxy in front may, where the route trusts it.
const CLAIMS: [HeaderName; 6] =
    [X_FORWARDED_FOR, X_FORWARDED_PROTO, X_FORWARDED_HOST, FORWARDED, X_FORWARDED_PORT, X_REAL_IP];
const ASK: HeaderName = HeaderName::from_static(ASK_HEADER);
/// What a slot believes because we say it, or what frames its requests.
const OURS: [HeaderName; 9] = [
    X_FORWARDED_FOR,
    X_FORWARDED_PROTO,
    X_FORWARDED_HOST,
    X_FORWARDED_PORT,
    X_REAL_IP,
    ASK,
    CONTENT_LENGTH,
    TRANSFER_ENCODING,
    PROXY_AUTHORIZATION,
];

/// The address as `X-Forwarded-For` carries it.
pub(crate) fn forwarded_for(address: IpAddr) -> HeaderValue {
    HeaderValue::from_str(&address.to_string()).unwrap_or(HeaderValue::from_static("unknown"))
}

/// The host that the client asked for: the target's authority, else its one `Host`. `Ok(None)` only for HTTP/1.0,
/// which may have none. An ambiguous host is an error, because slot and proxy could read it differently.
pub(crate) fn requested_host<B>(request: &Request<B>) -> Result<Option<HeaderValue>, &'static str> {
    let mut hosts = request.headers().get_all(HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err("more than one Host header");
    }
    if let Some(authority) = request.uri().authority() {
        let bare = authority.as_str().rsplit_once('@').map_or(authority.as_str(), |(_, host)| host);
        return HeaderValue::from_str(bare).map(Some).map_err(|_| "the request's authority is malformed");
    }
    match host {
        Some(host) if host.to_str().is_ok() => Ok(Some(host.clone())),
        Some(_) => Err("the Host header is malformed"),
        None if request.version() == Version::HTTP_10 => Ok(None),
        None => Err("the Host header is missing"),
    }
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

/// Takes the ask header off and says whether it holds the token. Compares in constant time.
pub(crate) fn take_ask(headers: &mut HeaderMap, token: &[u8]) -> bool {
    let Some(given) = headers.remove(ASK) else { return false };
    let given = given.as_bytes();
    given.len() == token.len() && given.iter().zip(token).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
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

/// Removes what belongs to one connection only: the standard names, and whatever `Connection` lists.
fn strip_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(CONNECTION) {
        let values: Vec<HeaderValue> = headers.get_all(CONNECTION).iter().cloned().collect();
        let names = values.iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
        for name in names.map(str::trim).filter(|name| !name.is_empty()) {
            headers.remove(name);
        }
        headers.remove(CONNECTION);
    }
    if headers.contains_key(TRANSFER_ENCODING) {
        // The framing is hyper's to write anew. A length beside an encoding would be a smuggling attempt.
        headers.remove(TRANSFER_ENCODING);
        headers.remove(CONTENT_LENGTH);
    }
    headers.remove(KEEP_ALIVE);
    headers.remove(PROXY_CONNECTION);
    headers.remove(UPGRADE);
}

/// Removes names that differ from [`OURS`] by `_` for `-` only: CGI, and WSGI after it, makes one variable of both, so a
/// client could overrule what we say.
fn strip_lookalikes(headers: &mut HeaderMap) {
    let is_lookalike = |name: &str| {
        let dashed = |byte: u8| if byte == b'_' { b'-' } else { byte };
        let same = |ours: &HeaderName| name.bytes().map(dashed).eq(ours.as_str().bytes());
        name.contains('_') && OURS.iter().any(same)
    };
    let lookalikes: Vec<HeaderName> =
        headers.keys().filter(|name| is_lookalike(name.as_str())).cloned().collect();
    lookalikes.iter().for_each(|name| drop(headers.remove(name)));
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
    strip_hop_by_hop(headers);
    headers.remove(PROXY_AUTHORIZATION);
    headers.remove(TE);
    // hyper answers `100 Continue` itself as soon as the body is wanted.
    headers.remove(EXPECT);
    headers.remove(HTTP2_SETTINGS);
    strip_lookalikes(headers);
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
    if !origin.trusted {
        CLAIMS.iter().for_each(|name| drop(headers.remove(name)));
    }
    append_client(headers, origin.forwarded_for);
    headers.entry(X_FORWARDED_PROTO).or_insert(HeaderValue::from_static("http"));
    headers.entry(X_FORWARDED_HOST).or_insert_with(|| origin.host.clone());
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
    strip_hop_by_hop(headers);
    headers.remove(PROXY_AUTHENTICATE);
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
        let host = requested_host(request).unwrap().unwrap();
        let upgrade = wanted_upgrade(request);
        let forwarded_for = HeaderValue::from_static("192.0.2.7");
        prepare_request(request, Origin { forwarded_for: &forwarded_for, host, upgrade, trusted });
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
            for name in [UPGRADE, CONNECTION, HTTP2_SETTINGS] {
                assert!(!request.headers().contains_key(&name), "{upgrade}: {name}");
            }
        }
        let both = [("connection", "upgrade"), ("upgrade", "websocket"), ("upgrade", "h2c")];
        assert!(wanted_upgrade(&request(Version::HTTP_11, "/", &both)).is_none());
    }

    #[test]
    fn an_ambiguous_host_is_refused() {
        let both = [("host", "a"), ("host", "b")];
        assert!(requested_host(&request(Version::HTTP_11, "/", &both)).is_err());
        assert!(requested_host(&request(Version::HTTP_11, "/", &[])).is_err());
        assert_eq!(requested_host(&request(Version::HTTP_10, "/", &[])), Ok(None));
        let http2 = request(Version::HTTP_2, "http://u@a.example/", &[]);
        assert_eq!(requested_host(&http2).unwrap().unwrap(), "a.example");
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
}
