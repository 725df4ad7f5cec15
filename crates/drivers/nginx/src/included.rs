//! The file that nginx includes where a switch is a reload: two variables, which hold where the live slot is. Pure.

use lockgate_model::{FailureKind, Slot};
use lockgate_ports::PortError;

use crate::dials::Dials;
use crate::scope::Variables;
use crate::syntax;

/// What stands in it while the slot is live. `label`: the service in a variable's name.
pub(crate) fn content(label: &str, dials: &Dials, slot: Slot) -> String {
    let dial = dials.of(slot);
    format!(
        "# Lockgate writes this at each switch: what is changed here is lost.\nmap \"\" $slot_of_{label} {{ default {slot}; }}\nmap \"\" $dial_of_{label} {{ default {dial}; }}\n"
    )
}

/// What its variables hold then.
pub(crate) fn constants(label: &str, dials: &Dials, slot: Slot) -> Variables {
    // What we write we can read.
    let directives = syntax::parse("", &content(label, dials, slot)).unwrap_or_default();
    Variables::constants(&directives)
}

/// Which slot it means, whose path and content these are.
///
/// # Errors
/// `NotFound` when it is missing; `Refused` when it is not as [`content`] has it.
pub(crate) fn slot(path: &str, label: &str, dials: &Dials, found: Option<&[u8]>) -> Result<Slot, PortError> {
    let make = || format!("write it, as long as blue is live:\n{}", content(label, dials, Slot::Blue));
    let Some(found) = found else {
        return Err(
            PortError::not_found(format!("{path} is not there, which nginx is to include")).hint(make())
        );
    };
    let mut slots = [Slot::Blue, Slot::Green].into_iter();
    slots.find(|slot| content(label, dials, *slot).as_bytes() == found).ok_or_else(|| {
        let message = format!("{path} is not as Lockgate writes it, or names other addresses");
        PortError::new(FailureKind::Refused, message).hint(make())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_we_write_means_a_slot() {
        let dials = Dials { blue: "web_blue".into(), green: "web_green".into() };
        for wanted in [Slot::Blue, Slot::Green] {
            let text = content("web", &dials, wanted);
            assert_eq!(slot("/x", "web", &dials, Some(text.as_bytes())), Ok(wanted));
            let constants = constants("web", &dials, wanted);
            assert_eq!(constants.fill("$slot_of_web $dial_of_web"), format!("{wanted} web_{wanted}"));
        }
        for found in [None, Some(&b"map \"\" $slot_of_web { default green; }"[..])] {
            let error = slot("/x", "web", &dials, found).unwrap_err();
            assert!(error.hints().to_string().contains("default web_blue;"), "{error:?}");
        }
    }
}
