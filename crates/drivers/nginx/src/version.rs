//! Which nginx it is.

use std::fmt;

/// From here on upstream groups keep connections to their servers unless they are told not to.
pub(crate) const GROUPS_KEEP_ALIVE: Version = Version(1, 29, 7);

/// `1.22.1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version(pub u32, pub u32, pub u32);

impl Version {
    /// Of what `nginx -v` prints: `nginx version: nginx/1.22.1`.
    pub(crate) fn of(text: &str) -> Option<Version> {
        let (_, number) = text.split_once("version: ")?.1.split_once('/')?;
        let number = number.split(|c: char| !(c.is_ascii_digit() || c == '.')).next()?;
        let mut parts = number.split('.').map(|part| part.parse().ok());
        Some(Version(parts.next()??, parts.next()??, parts.next()??))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Version(major, minor, patch) = self;
        write!(f, "{major}.{minor}.{patch}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_is_found_in_what_nginx_and_its_relatives_print() {
        assert_eq!(Version::of("# nginx version: nginx/1.22.1"), Some(Version(1, 22, 1)));
        assert_eq!(Version::of("nginx version: openresty/1.21.4.3"), Some(Version(1, 21, 4)));
        assert_eq!(Version::of("nginx version: nginx/1.30.0 (Debian)"), Some(Version(1, 30, 0)));
        assert_eq!(Version::of("hello"), None);
        assert!(Version(1, 30, 0) > GROUPS_KEEP_ALIVE && Version(1, 22, 1) < GROUPS_KEEP_ALIVE);
    }
}
