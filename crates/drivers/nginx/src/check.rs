//! What `doctor` says of nginx.

use lockgate_model::Slot;
use lockgate_ports::{Check, PortError};

use crate::counts;
use crate::files::{Configuration, Source};
use crate::nginx::{Looked, Nginx, Said};

/// What is asked for when only the way there is wanted.
const ANY_PATH: &str = "/";

pub(crate) async fn check(nginx: &Nginx) -> Vec<Check> {
    let configuration = match nginx.configuration().await {
        Ok(configuration) => configuration,
        Err(error) => return vec![failed("nginx's configuration", &error)],
    };
    let mut checks = vec![configuration_check(&configuration)];
    let looked = match nginx.look().await {
        Ok(looked) => looked,
        Err(error) => {
            checks.push(failed("nginx's switch", &error));
            return checks;
        }
    };
    checks.push(switch_check(nginx, &looked));
    checks.push(seen_check(nginx, &looked).await);
    if nginx.is_reloaded() {
        checks.push(reload_check(&looked));
    }
    checks.push(counts_check(&looked));
    checks.push(match nginx.data_path(&looked, ANY_PATH).or_else(|_| first_path(nginx, &looked)) {
        Ok(path) => Check::ok("asking through nginx", path.to_string()),
        Err(error) => failed("asking through nginx", &error),
    });
    checks
}

/// A service that has no location for `/` is asked for what it has.
fn first_path(nginx: &Nginx, looked: &Looked) -> Result<lockgate_asking::DataPath, PortError> {
    let target = looked.routes.places().next().map_or(ANY_PATH, |place| place.takes.text());
    nginx.data_path(looked, target)
}

fn failed(what: &str, error: &PortError) -> Check {
    let mend = error.hints().joined().unwrap_or_else(|| "see nginx's log".to_owned());
    Check::bad(what, error.to_string(), mend)
}

fn configuration_check(configuration: &Configuration) -> Check {
    let what = "nginx's configuration";
    let version = configuration.version.map_or(String::new(), |version| format!("nginx {version}: "));
    let main = &configuration.main;
    match configuration.source {
        Source::Nginx => Check::ok(what, format!("{version}{main}, as `nginx -T` says it")),
        Source::Files => Check::ok(
            what,
            format!("{version}{main} and what it includes were read; only root can have nginx test it"),
        ),
    }
}

fn switch_check(nginx: &Nginx, looked: &Looked) -> Check {
    let what = "nginx's switch";
    let marker = &nginx.options.marker;
    let told = match (nginx.is_reloaded(), looked.content.is_some()) {
        (true, _) => format!("{marker} says {}", looked.slot),
        (false, true) => format!("{marker} is there, which means green"),
        (false, false) => format!("{marker} is not there, which means blue"),
    };
    let seen = format!("{told}; {} of nginx's to the service go by it", looked.routes.count());
    match looked.routes.doubts.is_empty() {
        true => Check::ok(what, seen),
        false => Check::warn(
            what,
            format!("{seen}; {}", looked.routes.doubts.join("; ")),
            nginx.advice(&looked.configuration).whole(),
        ),
    }
}

fn reload_check(looked: &Looked) -> Check {
    let what = "reloading nginx";
    match looked.configuration.source {
        Source::Nginx => Check::warn(
            what,
            "each switch closes kept connections, on some of which a request is just coming",
            "`switch: file` reloads nothing and loses nothing",
        ),
        Source::Files => Check::bad(
            what,
            "only root can, and Lockgate is somebody else there",
            "let it be root on that host, or write `switch: file`, which needs no reload",
        ),
    }
}

/// Asked through nginx, in each server.
async fn seen_check(nginx: &Nginx, looked: &Looked) -> Check {
    let what = "the switch as nginx sees it";
    let again = match nginx.look().await {
        Ok(again) => again,
        Err(error) => return failed(what, &error),
    };
    let again = match nginx.agreed(again).await {
        Ok(again) => again,
        Err(error) => return failed(what, &error),
    };
    for site in &looked.routes.sites {
        match nginx.said(looked, site).await {
            Ok(Said::Goes(_)) => {}
            Ok(Said::Silent) => {
                return Check::warn(
                    what,
                    format!("not proved: {} has no location in which nginx says where it goes", site.at),
                    nginx.advice(&looked.configuration).whole(),
                );
            }
            Err(error) => return failed(what, &error),
        }
    }
    match again.slot {
        slot if nginx.is_reloaded() => Check::ok(what, format!("nginx says {slot}, as the file does")),
        Slot::Green => Check::ok(what, "nginx says green, as the marker does"),
        _ => Check::ok(
            what,
            "nginx says blue, as there is no marker; that it can see one is proved at the switch, which is taken back where it cannot",
        ),
    }
}

fn counts_check(looked: &Looked) -> Check {
    let what = "counting requests in flight";
    let inexact = counts::inexact(&looked.routes, looked.configuration.version);
    let is_kept = inexact.iter().any(|why| why.contains("keepalive"));
    let seen = match inexact.is_empty() {
        true => "the connections that nginx holds to a slot, each of which carries a request".to_owned(),
        false => inexact.join("; "),
    };
    match is_kept {
        true => Check::warn(
            what,
            seen,
            "write `keepalive 0;` into that `upstream`, and `nginx -t && nginx -s reload`",
        ),
        false => Check::ok(what, seen),
    }
}
