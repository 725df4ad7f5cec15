//! Which router is asked.

/// Which router is asked, for what people are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entrance {
    /// `Caddy`.
    pub router: &'static str,
    /// The key that says where to ask: `router.caddy.ask`.
    pub key: &'static str,
    /// What shows its log: `journalctl -u caddy`.
    pub log: &'static str,
}
