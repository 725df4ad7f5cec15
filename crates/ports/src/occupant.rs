//! Who of Lockgate's own has a port of a host.

use async_trait::async_trait;

/// Something of Lockgate's own that listens on a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Occupant {
    /// For people: `Lockgate's own proxy (process 41, in /srv/.lockgate/proxy)`.
    pub who: String,
    /// How the port becomes free; commands stand between backticks.
    pub mend: String,
}

/// For whoever wants a port and finds that it is taken: a runtime knows containers, and no router.
#[async_trait]
pub trait Occupants: Send + Sync {
    /// Who of Lockgate's own listens on the port of the host. `None`: nobody that is known of. Best effort: only looks.
    async fn on(&self, port: u16) -> Option<Occupant>;
}
