//! `promote`: what is live in one environment goes live in the next. `tags`: what is live in all of them.

use std::path::Path;
use std::sync::Arc;

use lockgate_model::{
    Environment, Failure, FailureKind, Promotable, Prospect, Refusal, Release, TagLine, Want,
};
use lockgate_orchestrator::{InProcess, Looked, Orchestrator, Promoter, Promotion, lookup, promotions};
use lockgate_ports::Store;
use lockgate_render::{plan_text, prospect_text, rfc3339, tags_text};
use lockgate_store::SqlStore;

use super::{Context, deploy};
use crate::args::{Format, Promote};
use crate::error::CliError;
use crate::exit::Exit;
use crate::{tools, wiring};

pub async fn run(context: &Context<'_>, args: &Promote) -> Result<Exit, CliError> {
    let service = context.service(&args.service)?;
    let named = |name: Option<&str>| match name {
        Some(name) => lookup::environment(&context.project, Some(name)).map(Some),
        None => Ok(None),
    };
    let from = named(args.from.as_deref())?;
    let to = match named(args.to.as_deref())? {
        Some(to) => Some(to),
        None => context.environment_asked()?,
    };
    let name = |environment: Option<&Environment>| environment.map(|one| one.name.clone());
    let steps = promotions(&context.project, service, name(from).as_ref(), name(to).as_ref())?;
    let promoter = match args.dry_run {
        true => looking(context),
        false => working(context),
    };
    if let (Some(gate), Some(why)) = (&args.waive, &args.because) {
        let [step] = steps.as_slice() else {
            return Err(CliError::usage("a gate is waived for one step", "name it with --to"));
        };
        promoter.waive(step, gate, why).await?;
    }
    let Some((step, looked)) = chosen(&promoter, &steps, args).await? else {
        return Ok(nothing(context, &steps));
    };
    expect(&looked.prospect, args.release.as_deref())?;
    // What gates have said is evidence, also where they hold something.
    if !args.dry_run {
        promoter.keep(&looked.verdicts).await?;
    }
    let Some(want) = Promoter::want(&looked) else {
        return Ok(held(context, &looked.prospect));
    };
    let skip = lookup::skipped(step.to, args.skip.hosts.iter().map(String::as_str))?;
    let want = Want { skip, ..want };
    if args.dry_run {
        return dry_run(context, &promoter.orchestrator, &looked.prospect, &want).await;
    }
    match context.output.format {
        Format::Json => context.output.declared(&looked.prospect.line()),
        Format::Text => context.output.say(&prospect_text(&looked.prospect, &rfc3339, context.output.paint)),
    }
    let report = deploy::followed_by(context, &promoter.orchestrator, &want).await?;
    deploy::told(context, &want.aim, &report);
    Ok(report.exit())
}

pub async fn tags(context: &Context<'_>, service: Option<&str>) -> Result<Exit, CliError> {
    let services = context.services(service)?;
    let promoter = looking(context);
    let lines = promoter.tags(&services).await?;
    let output = context.output;
    match output.format {
        Format::Text => output.text(&tags_text(&lines, &rfc3339, output.paint)),
        Format::Json => lines.iter().for_each(|line| output.declared(line)),
    }
    Ok(TagLine::exit(&lines))
}

/// For what changes something: its store is made where there is none yet.
fn working(context: &Context<'_>) -> Promoter {
    promoter(context, context.working(), Some(tools::store(&context.project)))
}

fn looking(context: &Context<'_>) -> Promoter {
    let store = tools::store(&context.project);
    let is_there = store.path().is_none_or(Path::exists);
    promoter(context, context.looking(), is_there.then_some(store))
}

/// What is remembered is in `store`. `None`: nothing is.
pub fn promoter(context: &Context<'_>, orchestrator: InProcess, store: Option<Arc<SqlStore>>) -> Promoter {
    let project = &context.project;
    Promoter {
        orchestrator,
        store: store.map(|store| store as Arc<dyn Store>),
        monitors: wiring::monitors(),
        registry: wiring::registry(project),
        clock: tools::clock(),
        owner: lockgate_local::holder_identity().owner,
    }
}

/// The step that is meant: the only one, else the only one whose two sides have different releases live. `None`: none has.
async fn chosen<'p>(
    promoter: &Promoter,
    steps: &[Promotion<'p>],
    args: &Promote,
) -> Result<Option<(Promotion<'p>, Looked)>, CliError> {
    if let [only] = steps {
        return Ok(Some((*only, promoter.look(only, args.again).await?)));
    }
    let mut differ = Vec::new();
    for step in steps {
        let looked = promoter.look(step, args.again).await?;
        match looked.prospect.promotable {
            Promotable::Nothing | Promotable::Same { .. } => {}
            Promotable::Ready { .. } | Promotable::Held { .. } => differ.push((*step, looked)),
        }
    }
    if differ.len() > 1 {
        let to: Vec<&str> = differ.iter().map(|(step, _)| step.to.name.as_str()).collect();
        return Err(CliError::usage(
            format!("{} could be promoted to several environments", args.service),
            format!("choose one with --to: {}", to.join(", ")),
        ));
    }
    Ok(differ.pop())
}

/// # Errors
/// `Failed` where something else is live in the source than was named.
fn expect(prospect: &Prospect, named: Option<&str>) -> Result<(), CliError> {
    let Some(named) = named else { return Ok(()) };
    let live = live(prospect);
    if live.is_some_and(|live| lockgate_plan::is_named(named, live)) {
        return Ok(());
    }
    let seen = live.map_or("nothing is live there".to_owned(), |live| format!("{live} is live there"));
    let failure = Failure::new(
        FailureKind::NotFound,
        format!("{named} is not live in {}, where promotions come from: {seen}", prospect.from),
    )
    .hint(format!(
        "`lockgate --env {} deploy {} {named}` brings it there first",
        prospect.from, prospect.service
    ));
    Err(Refusal::Failed { failure }.into())
}

fn live(prospect: &Prospect) -> Option<&Release> {
    match &prospect.promotable {
        Promotable::Nothing => None,
        Promotable::Same { release }
        | Promotable::Ready { release, .. }
        | Promotable::Held { release, .. } => Some(release),
    }
}

fn held(context: &Context<'_>, prospect: &Prospect) -> Exit {
    match context.output.format {
        Format::Json => context.output.declared(&prospect.line()),
        Format::Text => context.output.text(&prospect_text(prospect, &rfc3339, context.output.paint)),
    }
    prospect.exit()
}

fn nothing(context: &Context<'_>, steps: &[Promotion<'_>]) -> Exit {
    let ways: Vec<String> =
        steps.iter().map(|step| format!("{} to {}", step.from.name, step.to.name)).collect();
    let message = format!("nothing to do from {}: nothing else is live there", ways.join(", from "));
    match context.output.format {
        Format::Json => {
            context.output.json(&serde_json::json!({ "event": "promotion", "note": message, "exit": 0 }))
        }
        Format::Text => context.output.text(&message),
    }
    Exit::Succeeded
}

async fn dry_run(
    context: &Context<'_>,
    orchestrator: &InProcess,
    prospect: &Prospect,
    want: &Want,
) -> Result<Exit, CliError> {
    let output = context.output;
    let planned = orchestrator.plan(want).await?;
    match output.format {
        Format::Json => {
            output.declared(&prospect.line());
            output.json(&planned);
        }
        Format::Text => {
            output.text(&prospect_text(prospect, &rfc3339, output.paint));
            output.text("");
            output.text(&plan_text(&planned.plan, &planned.observed, output.paint));
        }
    }
    Ok(prospect.exit())
}
