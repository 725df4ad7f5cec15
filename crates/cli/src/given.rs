//! What `lockgate serve` was given by the process before it, or by systemd.

use lockgate_server::{HANDOVER, ServiceManager};
use lockgate_sockets::{Inherited, SocketsError, forget_variables};

/// Sockets, and whom to tell how it is.
#[derive(Debug)]
pub struct Given {
    pub inherited: Inherited,
    pub manager: ServiceManager,
}

impl Given {
    /// Takes it out of the environment, so that nothing that is started later (a proxy, a service) takes it for its own. To be
    /// called while there is one thread.
    ///
    /// # Errors
    /// What was given is not usable.
    pub fn take() -> Result<Self, SocketsError> {
        let (inherited, manager) =
            (Inherited::from_environment(HANDOVER)?, ServiceManager::from_environment());
        let mut names = vec![HANDOVER];
        names.extend(ServiceManager::VARIABLES);
        forget_variables(&names)?;
        Ok(Self { inherited, manager })
    }
}
