//! The file that nginx includes where a switch is a reload: two variables, which hold where the live slot is.

use lockgate_model::{FailureKind, Slot};
use lockgate_ports::PortError;

use crate::files::Configuration;
use crate::nginx::Nginx;
use crate::scope::Variables;
use crate::syntax;

/// What stands in it while the slot is live.
pub(crate) fn content(nginx: &Nginx, slot: Slot) -> String {
    let label = nginx.label();
    let dial = nginx.dials.of(slot);
    format!(
        "# Lockgate writes this at each switch: what is changed here is lost.\nmap \"\" $slot_of_{label} {{ default {slot}; }}\nmap \"\" $dial_of_{label} {{ default {dial}; }}\n"
    )
}

/// What its variables hold then.
pub(crate) fn constants(nginx: &Nginx, slot: Slot) -> Variables {
    // What we write we can read.
    let directives = syntax::parse(&nginx.options.marker, &content(nginx, slot)).unwrap_or_default();
    Variables::constants(&directives)
}

/// Which slot it means.
///
/// # Errors
/// `NotFound` when it is missing; `Refused` when it is not as [`content`] has it.
pub(crate) fn slot(nginx: &Nginx, found: Option<&[u8]>) -> Result<Slot, PortError> {
    let path = &nginx.options.marker;
    let make = || nginx.begin();
    let Some(found) = found else {
        return Err(
            PortError::not_found(format!("{path} is not there, which nginx is to include")).hint(make())
        );
    };
    let slots = [Slot::Blue, Slot::Green].into_iter();
    let mut slots = slots.filter(|slot| content(nginx, *slot).as_bytes() == found);
    slots.next().ok_or_else(|| {
        let message = format!("{path} is not as Lockgate writes it, or names other addresses");
        PortError::new(FailureKind::Refused, message).hint(make())
    })
}

/// # Errors
/// `Refused` where nginx does not include it.
pub(crate) fn required(nginx: &Nginx, configuration: &Configuration) -> Result<(), PortError> {
    let path = &nginx.options.seen_as;
    if configuration.paths.contains(path) {
        return Ok(());
    }
    nginx.forget();
    let message = format!("nginx does not include {path} ({})", configuration.main);
    Err(PortError::new(FailureKind::Refused, message).hint(nginx.advice(configuration).whole()))
}
