//! What a request can claim about itself that only a proxy in front can know.
//!
//! The kind that belongs here: where the request came from (address, port), what it was before a proxy changed it
//! (scheme, host, port, path, prefix), and who a proxy found its sender to be (user, client certificate). A slot that
//! knows such a header believes it, so only a trusted proxy may send it. What a sender says about itself in its own
//! name (`Authorization`, `Cookie`, `Origin`, `Referer`, `Via`, trace ids, `X-HTTP-Method-Override`) doesn't belong.

/// Longer names than this match none here but by their beginning.
const NAME_BYTES_MAX: usize = 64;
/// These two are spelled with `_` by whoever sends them in good faith: gunicorn knows no other spelling.
const UNDERSCORED: [&str; 2] = ["script_name", "path_info"];

/// Whether a header of this name (in lower case) is such a claim. Names that a gateway to CGI or WSGI makes the same
/// variable of, as `x_real_ip`, are meant too.
pub(crate) fn is_claim(name: &str) -> bool {
    is_plain(name) && is_claim_spelled(name) || !is_plain(name) && spelled_plainly(name, is_claim_spelled)
}

/// Whether a name is another spelling (`_` for `-`, say) of one that `is_meant` knows: CGI, and WSGI after it, makes one
/// variable of both, so a client could overrule with it what we or a trusted proxy say.
pub(crate) fn is_lookalike(name: &str, is_meant: impl Fn(&str) -> bool) -> bool {
    !is_plain(name) && !UNDERSCORED.contains(&name) && spelled_plainly(name, is_meant)
}

fn is_plain(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// What `is_meant` says of the name with each punctuation mark replaced by `-`.
fn spelled_plainly(name: &str, is_meant: impl Fn(&str) -> bool) -> bool {
    let mut bytes = [b'-'; NAME_BYTES_MAX];
    let length = name.len().min(NAME_BYTES_MAX);
    for (to, from) in bytes.iter_mut().zip(name.bytes()).filter(|(_, from)| from.is_ascii_alphanumeric()) {
        *to = from;
    }
    std::str::from_utf8(&bytes[..length]).is_ok_and(is_meant)
}

/// The first letter decides for nearly every header that isn't one; the rest is compared by length first.
fn is_claim_spelled(name: &str) -> bool {
    match name.as_bytes().first() {
        Some(b'x') => name.starts_with("x-") && is_x_claim(name),
        Some(b'c') => is_c_claim(name),
        Some(b'f') => {
            name.starts_with("forwarded")
                || matches!(
                    name,
                    "fastly-client-ip"
                        | "fastly-ssl"
                        | "fly-client-ip"
                        | "fly-forwarded-port"
                        | "fly-forwarded-proto"
                        | "fly-forwarded-ssl"
                        | "front-end-https"
                )
        }
        Some(b'd') => name == "do-connecting-ip",
        Some(b'h') => {
            name.starts_with("http-x-forwarded") || matches!(name, "http-client-ip" | "http-forwarded")
        }
        Some(b'p') => matches!(name, "path-info" | "proxy-client-ip"),
        Some(b'r') => matches!(
            name,
            "remote-addr" | "remote-email" | "remote-groups" | "remote-host" | "remote-name" | "remote-user"
        ),
        Some(b's') => name == "script-name" || name.starts_with("ssl-client-"),
        Some(b't') => name == "true-client-ip",
        Some(b'w') => name.starts_with("wl-proxy-"),
        _ => false,
    }
}

fn is_c_claim(name: &str) -> bool {
    matches!(
        name,
        "cf-connecting-ip"
            | "cf-connecting-ipv6"
            | "cf-ipcountry"
            | "cf-pseudo-ipv4"
            | "cf-visitor"
            | "client-cert"
            | "client-cert-chain"
            | "client-ip"
            | "cloudfront-forwarded-proto"
            | "cloudfront-viewer-address"
    )
}

fn is_x_claim(name: &str) -> bool {
    match name.as_bytes().get(2) {
        Some(b'a') => {
            name.starts_with("x-auth-request-")
                || matches!(
                    name,
                    "x-appengine-remote-addr"
                        | "x-appengine-user-ip"
                        | "x-arr-clientcert"
                        | "x-arr-ssl"
                        | "x-authenticated-user"
                        | "x-azure-clientip"
                        | "x-azure-socketip"
                )
        }
        Some(b'c') => {
            matches!(name, "x-client-cert" | "x-client-ip" | "x-client-port" | "x-cluster-client-ip")
        }
        Some(b'e') => {
            matches!(name, "x-envoy-external-address" | "x-envoy-original-host" | "x-envoy-original-path")
        }
        // Everything `X-Forwarded-*`, whoever invents more of it.
        Some(b'f') => {
            name.starts_with("x-forwarded") || matches!(name, "x-forward-for" | "x-front-end-https")
        }
        Some(b'h') => matches!(name, "x-host" | "x-http-host-override" | "x-https"),
        Some(b'n') => name == "x-nf-client-connection-ip",
        Some(b'o') => {
            name.starts_with("x-original-forwarded")
                || matches!(
                    name,
                    "x-original-for"
                        | "x-original-host"
                        | "x-original-method"
                        | "x-original-path"
                        | "x-original-port"
                        | "x-original-proto"
                        | "x-original-remote-addr"
                        | "x-original-scheme"
                        | "x-original-uri"
                        | "x-original-url"
                        | "x-originating-ip"
                )
        }
        Some(b'p') => name == "x-proxyuser-ip",
        Some(b'r') => matches!(
            name,
            "x-real-host"
                | "x-real-ip"
                | "x-real-port"
                | "x-real-proto"
                | "x-remote-addr"
                | "x-remote-email"
                | "x-remote-group"
                | "x-remote-groups"
                | "x-remote-host"
                | "x-remote-ip"
                | "x-remote-name"
                | "x-remote-user"
                | "x-rewrite-url"
        ),
        Some(b's') => {
            name.starts_with("x-ssl-client-")
                || matches!(name, "x-scheme" | "x-script-name" | "x-ssl" | "x-ssl-cert")
        }
        Some(b'u') => name == "x-url-scheme",
        Some(b'v') => matches!(name, "x-vercel-forwarded-for" | "x-vercel-proxied-for"),
        Some(b'w') => name.starts_with("x-webauth-"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_a_proxy_in_front_can_know_is_a_claim_and_what_a_client_says_of_itself_is_not() {
        for claim in [
            "forwarded",
            "front-end-https",
            "true-client-ip",
            "client-cert",
            "remote-user",
            "wl-proxy-client-ip",
            "x-client-ip",
            "x-forwarded-for",
            "x-forwarded-tls-client-cert-info",
            "x-original-url",
            "x-rewrite-url",
            "x-real-ip",
            "x_real_ip",
            "x.real.ip",
            "x_forwarded-anything",
            "http_x_forwarded_for",
            "script_name",
        ] {
            assert!(is_claim(claim), "{claim}");
        }
        for other in [
            "",
            "x",
            "x-",
            "accept",
            "authorization",
            "cookie",
            "content-type",
            "cache-control",
            "cf-ray",
            "from",
            "host",
            "if-none-match",
            "origin",
            "priority",
            "range",
            "referer",
            "sec-fetch-site",
            "te",
            "traceparent",
            "user-agent",
            "via",
            "x-client-version",
            "x-http-method-override",
            "x-original-filename",
            "x-request-id",
            "x-requested-with",
            "x_own_name",
        ] {
            assert!(!is_claim(other), "{other}");
        }
        assert!(is_claim(&format!("x_forwarded_{}", "a".repeat(NAME_BYTES_MAX))));
    }

    #[test]
    fn lookalikes_are_other_spellings_only() {
        assert!(is_lookalike("x_real_ip", is_claim) && is_lookalike("x-real.ip", is_claim));
        assert!(!is_lookalike("x-real-ip", is_claim) && !is_lookalike("x_own", is_claim));
        assert!(!is_lookalike("script_name", is_claim));
    }
}
