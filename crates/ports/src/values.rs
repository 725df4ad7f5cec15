//! Values of a service's variables that whoever runs this could not have.

use lockgate_model::{FailureKind, Service};

use crate::PortError;

/// Refuses to start something with today's environment where values of it are missing: no app is to run without its
/// secrets. What a release ran with before needs none of them.
///
/// # Errors
/// `Refused`, with the names and without an effect, where [`Service::env_from`] has any.
pub fn demand_values(service: &Service) -> Result<(), PortError> {
    if service.env_from.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = service.env_from.keys().map(String::as_str).collect();
    let (names, name) = (names.join(", "), &service.name);
    let message = format!(
        "nothing of {name} is started with today's environment, for values in its `env` could not be had: {names}"
    );
    Err(PortError::new(FailureKind::Refused, message)
        .without_effect()
        .hint("why is said above, where the command began: see that the file is there, or that the program gives the value"))
}
