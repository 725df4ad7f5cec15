//! A call that came to nothing, for the audit.

use lockgate_model::{DeployStatus, EnvironmentName, ServiceName};

/// A call that was refused. What is alike in all fields but `detail` is counted together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedCall {
    /// The peer's address, without its port, or the socket's name; never what a header says.
    pub from: String,
    /// The path of the endpoint as it is configured. `None`: of no endpoint.
    pub endpoint: Option<String>,
    /// What it was answered.
    pub status: DeployStatus,
    /// What it was about, where that is known and its signature is good.
    pub service: Option<ServiceName>,
    /// As `service`.
    pub environment: Option<EnvironmentName>,
    /// In words, for people; of several alike ones the first's.
    pub detail: String,
}
