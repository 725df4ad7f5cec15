//! `serve --check`: all that would be wrong, without serving.

use std::collections::BTreeSet;

use lockgate_client::{Found, who_is_at};
use lockgate_model::{ListenAt, Serve};
use lockgate_orchestrator::{Examined, Orchestrator};
use lockgate_ports::{Check, CheckState};
use lockgate_render::rfc3339;
use lockgate_server::{Certificate, CertificateError, Listeners};

use super::{Context, doctor, serve};
use crate::args::Format;
use crate::error::CliError;
use crate::exit::Exit;
use crate::tools;

/// A certificate that ends sooner should have been renewed: what is renewed by itself is renewed earlier.
const RENEWAL_DAYS: i64 = 7;
const DAY_MILLIS: i64 = 24 * 3600 * 1000;

type Loaded = Result<Certificate, CertificateError>;

pub async fn run(context: &Context<'_>) -> Result<Exit, CliError> {
    let configured = serve::configured(context)?;
    let output = context.output;
    let mut checks = Vec::new();
    let certificate = configured.tls.as_ref().map(Certificate::load);
    checks.extend(certificate.iter().flat_map(certificates));
    checks.extend(addresses(context, configured, certificate.as_ref()).await?);
    checks.push(store(context).await);
    checks.push(endpoints(configured));
    if output.format == Format::Text {
        output.text(&output.paint.bold("serve"));
    }
    for check in &checks {
        match output.format {
            Format::Text => doctor::show_check(output, check),
            Format::Json => output.json(&serde_json::json!({ "check": check })),
        }
    }
    let mut examined = Vec::new();
    let environments: BTreeSet<_> =
        configured.endpoints.values().map(|endpoint| &endpoint.environment).collect();
    for environment in environments {
        examined.extend(context.looking().doctor(None, Some(environment)).await?);
    }
    doctor::tell(context, &examined);
    let is_bad = checks.iter().any(|check| check.state == CheckState::Bad);
    Ok(if is_bad { Exit::Failed } else { Examined::exit(&examined) })
}

/// The certificate, and whatever keeps clients from taking it.
fn certificates(loaded: &Loaded) -> Vec<Check> {
    let what = "certificate";
    let certificate = match loaded {
        Ok(certificate) => certificate,
        Err(error) => return vec![Check::bad(what, error.to_string(), error.hint())],
    };
    let doubts = certificate.doubts().into_iter().map(|(doubt, mend)| Check::warn(what, doubt, mend));
    std::iter::once(dates(what, certificate)).chain(doubts).collect()
}

fn dates(what: &str, certificate: &Certificate) -> Check {
    let now = tools::clock().now();
    let days = (certificate.valid_until.0 - now.0) / DAY_MILLIS;
    let until = rfc3339(certificate.valid_until);
    if certificate.valid_until < now {
        return Check::bad(
            what,
            format!("it has expired: {until}"),
            "renew it; it is taken while serving, too",
        );
    }
    if certificate.valid_from > now {
        let seen = format!("it is not valid before {}", rfc3339(certificate.valid_from));
        return Check::bad(what, seen, "see whether this machine's clock is right");
    }
    match days < RENEWAL_DAYS {
        true => Check::warn(
            what,
            format!("it is valid until {until}"),
            "renew it; it is taken while serving, too",
        ),
        false => Check::ok(what, format!("it fits its key and is valid until {until}")),
    }
}

/// Each place is listened at for a moment, or asked who is there while this project's daemon runs.
async fn addresses(
    context: &Context<'_>,
    configured: &Serve,
    certificate: Option<&Loaded>,
) -> Result<Vec<Check>, CliError> {
    let Some(pid) = serve::serving(&context.project)? else {
        return Ok(configured.listen.iter().map(|place| is_free(configured, place)).collect());
    };
    let by = pid.map(|pid| format!(", process {pid}")).unwrap_or_default();
    let runs = format!("`lockgate serve` is running here{by}");
    let own = serve::instance(&context.project);
    let mut checks = Vec::new();
    for place in &configured.listen {
        let what = format!("listen {place}");
        let shown = match (certificate, place) {
            (Some(Ok(certificate)), ListenAt::Tcp(_)) => Some(certificate.der()),
            (Some(Err(_)), ListenAt::Tcp(_)) => {
                let seen = format!("not tried: {runs}, and the certificate that it shows cannot be read");
                checks.push(Check::warn(what, seen, "mend the certificate, as above"));
                continue;
            }
            (None, _) | (_, ListenAt::Unix(_)) => None,
        };
        checks.push(match who_is_at(place, shown).await {
            Ok(found) => told(what, &runs, &own, found, || is_free(configured, place)),
            Err(failure) => {
                let mend = "its own log says where it listens: `listening at …`";
                Check::warn(what, format!("not tried: {runs}, and {}", failure.message), mend)
            }
        });
    }
    Ok(checks)
}

fn is_free(configured: &Serve, place: &ListenAt) -> Check {
    let what = format!("listen {place}");
    let alone = Serve { listen: vec![place.clone()], ..configured.clone() };
    match Listeners::open(&alone, Vec::new(), false) {
        Ok(_) => Check::ok(what, "it is free"),
        Err(error) => Check::bad(what, error.to_string(), error.hint()),
    }
}

/// What it means who is there while this project's daemon runs. `free` tries whether the place is.
fn told(what: String, runs: &str, own: &str, found: Found, free: impl FnOnce() -> Check) -> Check {
    const TAKES: &str = "`lockgate serve --upgrade` has it listen at what lockgate.yaml says now";
    match found {
        Found::Daemon { instance: Some(instance) } if instance == own => {
            Check::ok(what, format!("{runs}, and answers there"))
        }
        Found::Daemon { instance: Some(_) } => Check::bad(
            what,
            "the daemon of another project answers there",
            "give each project its own `serve.listen`",
        ),
        Found::Daemon { instance: None } => Check::warn(
            what,
            format!(
                "{runs}; a daemon of an older version answers there, which does not say of which project"
            ),
            "`lockgate serve --upgrade` replaces this project's",
        ),
        Found::Stranger => Check::warn(
            what,
            format!("{runs}, and what answers there shows another certificate than the file has"),
            "a new one is taken within seconds; where it is not, the daemon's log says why",
        ),
        Found::Other(does) => Check::bad(
            what,
            format!("{runs}, and what is there {does}"),
            format!("{TAKES}; `ss -ltnp` shows who has which port"),
        ),
        Found::Nobody => {
            let free = free();
            match free.state {
                CheckState::Ok => {
                    Check::warn(what, format!("{runs}, and does not listen there; the place is free"), TAKES)
                }
                CheckState::Warn | CheckState::Bad => free,
            }
        }
    }
}

async fn store(context: &Context<'_>) -> Check {
    let store = tools::store(&context.project);
    match store.look().await {
        Ok(()) => Check::ok("store", format!("{} can be used", context.project.state)),
        Err(error) => Check::bad("store", error.to_string(), error.hint()),
    }
}

fn endpoints(configured: &Serve) -> Check {
    let endpoint = |one: &lockgate_model::Endpoint| {
        let services: Vec<&str> = one.services.iter().map(|name| name.as_str()).collect();
        let secrets = one.secrets.len();
        let s = if secrets == 1 { "" } else { "s" };
        format!(
            "{} deploys {} to {}, with {secrets} secret{s}",
            one.path,
            services.join(", "),
            one.environment
        )
    };
    let all: Vec<String> = configured.endpoints.values().map(endpoint).collect();
    Check::ok("endpoints", all.join("; "))
}
