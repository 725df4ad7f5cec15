//! Links that people are told.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::InvalidName;

/// Longest link, in bytes: it comes with a request, and stands in journals and messages.
pub const LINK_BYTES_MAX: usize = 300;

/// Where people find more: an `http` or `https` URL, at most [`LINK_BYTES_MAX`] long, with no user or password in it, and of
/// characters alone that end it or turn into something else nowhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(inline)]
pub struct Link(
    #[schemars(regex(pattern = r"^https?://"))]
    String,
);

impl Link {
    /// # Errors
    /// [`InvalidName`] says which rule the text breaks.
    pub fn new(text: impl Into<String>) -> Result<Self, InvalidName> {
        let text = text.into();
        match check(&text) {
            Ok(()) => Ok(Self(text)),
            Err(reason) => Err(InvalidName { kind: "link", name: text, reason }),
        }
    }

    /// The whole URL.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its host, with the port where one is written.
    #[must_use]
    pub fn host(&self) -> &str {
        authority(&self.0).unwrap_or_default()
    }
}

/// What stands between `://` and the path.
fn authority(text: &str) -> Option<&str> {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"))?;
    rest.split(['/', '?', '#']).next()
}

fn check(text: &str) -> Result<(), &'static str> {
    let Some(authority) = authority(text) else { return Err("a link begins with https:// or http://") };
    if text.len() > LINK_BYTES_MAX {
        return Err("a link has 300 bytes at most");
    }
    if authority.is_empty() || authority.contains('@') {
        return Err("a link has a host, and no user or password");
    }
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !br#"<>"'`|\^{}"#.contains(&byte);
    match text.bytes().all(is_plain) {
        true => Ok(()),
        false => Err("a link has letters, digits and the marks of a URL alone; others are written as %XX"),
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Link {
    type Err = InvalidName;
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        Self::new(text)
    }
}

impl TryFrom<String> for Link {
    type Error = InvalidName;
    fn try_from(text: String) -> Result<Self, InvalidName> {
        Self::new(text)
    }
}

impl From<Link> for String {
    fn from(link: Link) -> String {
        link.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_a_bounded_url_that_carries_no_password_and_ends_nowhere_else() {
        let link = Link::new("https://github.example:8443/acme/shop/actions/runs/42?a=1&b=2#x").unwrap();
        assert_eq!(link.host(), "github.example:8443");
        assert_eq!(Link::new("http://shop.example").unwrap().host(), "shop.example");
        let long = format!("https://shop.example/{}", "a".repeat(LINK_BYTES_MAX));
        for bad in [
            "",
            "shop.example",
            "javascript:alert(1)",
            "HTTPS://shop.example",
            "https://",
            "https:///x",
            "https://kim:hunter2@shop.example/",
            "https://shop.example/a b",
            "https://shop.example/a\nb",
            "https://shop.example/|<!channel>",
            "https://shop.example/\u{e9}",
            &long,
        ] {
            assert!(Link::new(bad).is_err(), "{bad:?}");
            assert!(serde_json::from_value::<Link>(bad.into()).is_err(), "{bad:?}");
        }
    }
}
