//! What the runtime is told.

use std::net::SocketAddr;
use std::sync::Arc;

use lockgate_model::{EnvironmentName, ProjectName, Service, Slot};
use lockgate_ports::{Host, Occupants};

/// One service in one environment on one host.
pub struct ProcessOptions {
    pub host: Arc<dyn Host>,
    pub project: ProjectName,
    pub environment: EnvironmentName,
    pub service: Service,
    /// What its strategy uses: blue and green, or one.
    pub slots: &'static [Slot],
    /// Absolute folder on the host for records and logs; no other service or environment uses it.
    pub dir: String,
    /// Absolute folder on the host in which relative paths of the command start.
    pub root: String,
    /// Where the service's router listens on the host: no slot may have that port. `None`: there is none, or it is another's.
    pub proxied: Option<SocketAddr>,
    /// Whom to ask who of Lockgate's own has the port that the service is to listen on. `None`: nobody.
    pub occupants: Option<Arc<dyn Occupants>>,
}
