//! `audit`: who asked for what, and whether what is kept of that is as it was written. Needs no daemon.

use lockgate_model::{AuditChain, AuditHead};
use lockgate_ports::{AuditFilter, PortError, Store};
use lockgate_render::{audit_text, audit_verified_text, rfc3339};

use super::Context;
use crate::args::{Audit, AuditCommand, Format};
use crate::error::CliError;
use crate::exit::Exit;
use crate::tools;

/// Entries that are checked at once.
const PAGE: u32 = 1_000;

pub async fn run(context: &Context<'_>, asked: &Audit) -> Result<Exit, CliError> {
    // Looking makes no file where there is none.
    let store = tools::store(&context.project);
    let is_there = store.path().is_none_or(std::path::Path::exists);
    match &asked.what {
        Some(AuditCommand::Verify { kept }) => {
            let kept = kept.as_deref().map(read).transpose()?;
            verify(context, is_there.then_some(&*store as &dyn Store), kept).await
        }
        None => list(context, is_there.then_some(&*store as &dyn Store), asked).await,
    }
}

fn read(kept: &str) -> Result<AuditHead, CliError> {
    kept.parse().map_err(|problem| {
        CliError::usage(
            format!("`--kept` cannot be read: {problem}"),
            "give it what `lockgate audit verify` printed last, such as `--kept 41:9f86d0…`, whole",
        )
    })
}

async fn list(context: &Context<'_>, store: Option<&dyn Store>, asked: &Audit) -> Result<Exit, CliError> {
    let filter =
        AuditFilter { project: context.project.name.clone(), before: asked.before, limit: asked.limit };
    let records = match store {
        Some(store) => store.audit(&filter).await?,
        None => Vec::new(),
    };
    if context.output.format == Format::Json {
        records.iter().for_each(|record| context.output.json(record));
        return Ok(Exit::Succeeded);
    }
    if records.is_empty() {
        let which = if asked.before.is_some() { "there is no older entry" } else { "there is no entry" };
        context.output.text(&format!("{which} in the audit of {}", context.project.name));
        context.output.say(
            "it has signed calls to `lockgate serve` alone; what was done by hand is in `lockgate history`",
        );
        return Ok(Exit::Succeeded);
    }
    context.output.text(&audit_text(&records, &rfc3339));
    let oldest = records.last().filter(|_| records.len() == asked.limit as usize);
    if let Some(oldest) = oldest {
        context.output.say(&format!("older ones: add `--before {}`", oldest.seq));
    }
    Ok(Exit::Succeeded)
}

async fn verify(
    context: &Context<'_>,
    store: Option<&dyn Store>,
    kept: Option<AuditHead>,
) -> Result<Exit, CliError> {
    let mut chain = AuditChain::with(kept);
    let broken = match store {
        Some(store) => first_break(store, &mut chain).await?,
        None => None,
    };
    let verified = chain.verified(broken);
    match context.output.format {
        Format::Json => context.output.json(&verified),
        Format::Text => context.output.text(&audit_verified_text(&verified)),
    }
    Ok(if verified.whole { Exit::Succeeded } else { Exit::Failed })
}

async fn first_break(
    store: &dyn Store,
    chain: &mut AuditChain,
) -> Result<Option<lockgate_model::AuditBreak>, PortError> {
    loop {
        let links = store.audit_links(chain.next(), PAGE).await?;
        if links.is_empty() {
            return Ok(None);
        }
        if let Err(broken) = links.iter().try_for_each(|link| chain.check(link)) {
            return Ok(Some(broken));
        }
    }
}
