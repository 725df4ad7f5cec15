//! `serve --check`: all that would be wrong, without serving.

use std::collections::BTreeSet;

use lockgate_model::{ListenAt, Serve, TlsFiles};
use lockgate_orchestrator::{Examined, Orchestrator};
use lockgate_ports::{Check, CheckState};
use lockgate_render::rfc3339;
use lockgate_server::{Certificate, Listeners};

use super::{Context, doctor, serve};
use crate::args::Format;
use crate::error::CliError;
use crate::exit::Exit;
use crate::tools;

/// A certificate that ends sooner should have been renewed: what is renewed by itself is renewed earlier.
const RENEWAL_DAYS: i64 = 7;
const DAY_MILLIS: i64 = 24 * 3600 * 1000;

pub async fn run(context: &Context<'_>) -> Result<Exit, CliError> {
    let configured = serve::configured(context)?;
    let output = context.output;
    let mut checks = Vec::new();
    checks.extend(configured.tls.as_ref().map(certificate));
    checks.extend(addresses(context, configured)?);
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

fn certificate(files: &TlsFiles) -> Check {
    let what = "certificate";
    let certificate = match Certificate::load(files) {
        Ok(certificate) => certificate,
        Err(error) => return Check::bad(what, error.to_string(), error.hint()),
    };
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

/// Each place is listened at for a moment.
fn addresses(context: &Context<'_>, configured: &Serve) -> Result<Vec<Check>, CliError> {
    let is_served = serve::serving(&context.project)?;
    let look = |place: &ListenAt| {
        let what = format!("listen {place}");
        if let Some(pid) = is_served {
            let by = pid.map(|pid| format!(", process {pid}")).unwrap_or_default();
            return Check::ok(what, format!("`lockgate serve` is running here{by}, so it was not tried"));
        }
        let alone = Serve { listen: vec![place.clone()], ..configured.clone() };
        match Listeners::open(&alone, Vec::new(), false) {
            Ok(_) => Check::ok(what, "it is free"),
            Err(error) => Check::bad(what, error.to_string(), error.hint()),
        }
    };
    Ok(configured.listen.iter().map(look).collect())
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
