//! What a health check sends beside its path.

use std::collections::BTreeMap;

use super::named::header_name;
use super::reader::Reader;
use crate::at::At;

/// What frames a message is the client's own to write (RFC 9110, 7.6.1; RFC 9112, 6).
const FRAMING: [&str; 11] = [
    "connection",
    "content-length",
    "expect",
    "keep-alive",
    "proxy-connection",
    "range",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
];
/// Credentials, which are not kept with plans.
const CREDENTIALS: [&str; 3] = ["authorization", "cookie", "proxy-authorization"];
/// Between Lockgate and its own proxy.
const OURS: &str = "x-lockgate-";
const HEADERS_MAX: usize = 32;

/// Names in lower case.
pub(super) fn resolve(
    reader: &mut Reader<'_>,
    entries: &[(At<String>, At<String>)],
) -> BTreeMap<String, String> {
    let mut headers = BTreeMap::new();
    if let Some((name, _)) = entries.get(HEADERS_MAX) {
        let message = format!("a health check sends at most {HEADERS_MAX} headers of its own");
        reader.invalid(name.place, message, "leave some out");
        return headers;
    }
    for (name, value) in entries {
        let Some(header) = header_name(reader, name).map(|name| name.to_ascii_lowercase()) else { continue };
        if FRAMING.contains(&header.as_str()) || header.starts_with(OURS) {
            reader.invalid(
                name.place,
                format!("the header {header} is Lockgate's own to send"),
                "leave it out",
            );
            continue;
        }
        if CREDENTIALS.contains(&header.as_str()) || value.value.contains("${") {
            let message =
                "`headers` of a health check cannot have a secret or `${…}`: they are kept with plans";
            let hint = "let the health path answer without a login, or use `command`, which has the app's environment";
            reader.invalid(value.place, message, hint);
            continue;
        }
        let Some(value) = reader.line("the header's value", value) else { continue };
        if !value.is_ascii() {
            let message = format!("the value of the header {header} is not ASCII");
            reader.invalid(name.place, message, "write it in ASCII, as `Host: xn--bcher-kva.example`");
        } else if headers.insert(header.clone(), value).is_some() {
            reader.invalid(name.place, format!("the header {header} is here twice"), "keep one of them");
        }
    }
    headers
}
