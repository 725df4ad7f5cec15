//! What `doctor` says of the switch that is a file.

use lockgate_model::{Millis, Slot};
use lockgate_ports::{Check, PortError, Request};

use super::configuration::Source;
use super::reading::{self, NAMED, Reading};
use super::switch::{ANY_PATH, FileSwitch, Looked, colour_of};
use super::{advice, counts};
use crate::{service, version};

const ASK_SECONDS_MAX: u64 = 5;

pub(super) async fn check(switch: &FileSwitch) -> Vec<Check> {
    let config = switch.caddy.config().await;
    let service = service::check(switch.host(), config.is_ok()).await;
    let mut checks = vec![admin_check(switch, config.err()), version_check(switch).await, service];
    let looked = match switch.look().await {
        Ok(looked) => looked,
        Err(error) => {
            checks.push(failed("Caddy's switch", &error));
            return checks;
        }
    };
    checks.push(switch_check(switch, &looked));
    checks.push(reading_check(switch, &looked).await);
    checks.push(counts_check(switch).await);
    checks.push(match switch.data_path(&looked, ANY_PATH) {
        Ok(path) => Check::ok("asking through Caddy", path.to_string()),
        Err(error) => failed("asking through Caddy", &error),
    });
    checks
}

fn failed(what: &str, error: &PortError) -> Check {
    Check::bad(
        what,
        error.to_string(),
        error.hints().joined().unwrap_or_else(|| "see Caddy's log".to_owned()),
    )
}

/// The switch needs no admin API.
fn admin_check(switch: &FileSwitch, error: Option<PortError>) -> Check {
    let what = "Caddy's admin API";
    match error {
        None => Check::ok(what, format!("{} on {} answers", switch.caddy.admin.shown(), switch.host().id())),
        Some(error) => Check::ok(what, format!("not needed: the switch is a file ({})", error.message)),
    }
}

async fn version_check(switch: &FileSwitch) -> Check {
    let what = "Caddy's version";
    match (switch.refuse_old().await, switch.version().await) {
        (Err(error), _) => failed(what, &error),
        (Ok(()), seen) if seen.number().is_some() => Check::ok(what, seen.to_string()),
        (Ok(()), seen) => {
            Check::ok(what, format!("{seen}; the switch needs {} or later", version::FILES_ARE_READ))
        }
    }
}

fn switch_check(switch: &FileSwitch, looked: &Looked) -> Check {
    let what = "Caddy's switch";
    let file = &switch.options.active_color;
    let told = match colour_of(looked.content.as_deref()) {
        Some(slot) => format!("{file} says {slot}"),
        None if looked.content.is_none() => format!("{file} is missing, which means blue"),
        None => format!("{file} names no colour, which means blue"),
    };
    match (&looked.routes, looked.configuration.as_ref().map(|seen| &seen.source)) {
        (Some(routes), Some(Source::Admin)) => {
            Check::ok(what, format!("{told}; {} of Caddy's to the service goes by it", routes.count()))
        }
        (Some(routes), Some(Source::File(path))) => {
            Check::ok(what, format!("{told}; {} in {path} goes by it", routes.count()))
        }
        _ => Check::warn(
            what,
            format!(
                "{told}; whether Caddy goes by it cannot be seen: neither its admin API nor its file can be read"
            ),
            "set `router.caddy.config` to the file that Caddy was started with",
        ),
    }
}

/// Asked: where the answer names its slot, that is what counts; else what Caddy's own process may read.
async fn reading_check(switch: &FileSwitch, looked: &Looked) -> Check {
    let what = "the switch as Caddy reads it";
    let (file, slot) = (&switch.options.seen_as, looked.slot());
    let answered = match switch.data_path(looked, ANY_PATH) {
        Ok(path) => {
            let request = Request::get(ANY_PATH, Millis::from_secs(ASK_SECONDS_MAX));
            switch.ask_along(&path, &request).await.ok().and_then(|answer| answer.slot)
        }
        Err(_) => None,
    };
    let read = match reading::look(switch, looked).await {
        Ok(read) => read,
        Err(error) => return failed(what, &error),
    };
    let mend = mend(switch, &read);
    if let Some(said) = answered.filter(|said| *said != slot) {
        return Check::bad(
            what,
            format!("the file leads to {slot}, and {said} answers through Caddy{}", why(&read)),
            mend,
        );
    }
    let is_missing = looked.content.is_none();
    match (&read, answered) {
        (Reading::Not(_), _) if is_missing => {
            Check::ok(what, "there is none yet; the first switch writes it")
        }
        (Reading::Not(uid), _) => Check::bad(
            what,
            format!("Caddy (user {uid}) cannot read {file}: it goes to blue whatever stands there"),
            mend,
        ),
        (Reading::Alone(uid), _) => Check::bad(
            what,
            format!(
                "Caddy (user {uid}) was given {file} without its folder: it keeps this one, whatever is switched"
            ),
            mend,
        ),
        (Reading::Other(uid), _) => {
            Check::bad(what, format!("Caddy (user {uid}) has another {file} than the host"), mend)
        }
        (Reading::Reads(uid), _) => Check::ok(what, format!("Caddy (user {uid}) reads it")),
        (_, Some(Slot::Green)) => Check::ok(what, "green answers through Caddy, as the file says"),
        (_, Some(_)) => Check::ok(
            what,
            "blue answers through Caddy, as the file says; that Caddy can read green there is proved at the switch",
        ),
        (Reading::Unknown | Reading::Nobody, None) => Check::warn(
            what,
            "not proved: no answer says which slot gave it, and what Caddy's process may read cannot be seen from here",
            NAMED,
        ),
    }
}

fn why(read: &Reading) -> String {
    match read {
        Reading::Not(uid) => format!(": Caddy (user {uid}) cannot read it"),
        Reading::Alone(uid) => format!(": Caddy (user {uid}) was given the file without its folder"),
        Reading::Other(uid) => format!(": Caddy (user {uid}) has another file there"),
        Reading::Reads(_) | Reading::Unknown | Reading::Nobody => String::new(),
    }
}

fn mend(switch: &FileSwitch, read: &Reading) -> String {
    let folder = advice::folder(&switch.options.active_color);
    let seen = advice::folder(&switch.options.seen_as);
    let mount = format!(
        "a Caddy in a container needs the folder, not the file, for every switch puts a new file in its place: `-v {folder}:{seen}:ro`"
    );
    match read {
        Reading::Alone(_) | Reading::Other(_) => mount,
        _ => format!(
            "let Caddy's user read it: `chmod o+x {folder}` (and the folders above), `chmod o+r {}`; {mount}",
            switch.options.active_color
        ),
    }
}

async fn counts_check(switch: &FileSwitch) -> Check {
    let what = "counting requests in flight";
    let dial = match switch.dial(Slot::Blue) {
        Ok(dial) => dial,
        Err(error) => return failed(what, &error),
    };
    match counts::of_caddy(switch, dial).await {
        Ok(_) => Check::ok(what, "Caddy counts them for both slots"),
        Err(error) => Check::ok(what, counts::said(&error)),
    }
}
