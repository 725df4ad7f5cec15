//! `ship`: what is checked out here, tested, built, pushed and deployed.

use futures_util::future::FutureExt;
use lockgate_local::Local;
use lockgate_model::{
    Aim, Artifact, Environment, Failure, FailureKind, Gates, HostId, Job, Refusal, Release, Service,
    ShipEvent, ShipLine, Want,
};
use lockgate_orchestrator::{InProcess, Orchestrator, Unbegun};
use lockgate_ship::{Asked, Parts, Ready, Shipped, Stopped, Voice};

use super::follow::Signals;
use super::setup_hosts::BeforeDeployment;
use super::{Context, deploy};
use crate::alone::{self, Kind};
use crate::args::{self, Format, ShipJob};
use crate::error::CliError;
use crate::exit::Exit;
use crate::ship::{self, Deck, Logs};
use crate::{tools, wiring};

pub async fn run(context: &Context<'_>, args: &args::Ship) -> Result<Exit, CliError> {
    let service = service(context, args.service.as_deref())?;
    let environment = context.deployable()?;
    let skip = context.skipped(&args.skip)?;
    let file = format!("ship-{}.lock", service.name);
    let hint = "wait for it: of one service one `ship` is at work in one folder";
    let kind = Kind { file: &file, command: "lockgate ship", hint };
    let _alone = alone::take(&context.project.root, &kind)?;
    alone::keep_out_of_git(&context.project.root)?;
    // What is wrong with a file that hosts need is said before anything is built.
    let hosts = match args.job {
        None | Some(ShipJob::Deploy) => BeforeDeployment::of(context, environment, &skip)?,
        Some(ShipJob::Test | ShipJob::Build) => None,
    };
    let deck = Deck::new(context.output, Logs::new(&context.project.root, tools::new_run()));
    let wanted = |ready: Ready| Want {
        skip: skip.clone(),
        aim: Aim::Deploy {
            tag: ready.tag.clone(),
            gates: Gates::All,
            again: false,
            artifact: Some(Box::new(ready.artifact)),
        },
        ..Want::deploy(service.name.clone(), ready.tag).in_environment(environment.name.clone())
    };
    match jobs(context, (service, environment), args, &deck).await {
        Ok(Shipped::Skipped { why, live }) => {
            let changes = match (&hosts, &live) {
                (Some(hosts), Some(_)) => hosts.changes().await,
                _ => Vec::new(),
            };
            let (Some(live), [_, ..]) = (live, changes.as_slice()) else {
                return Ok(done(context, true, format!("nothing to ship: {why}"), None, &[]));
            };
            let note = format!("{why}, and is started again: {} changes", changes.join(", "));
            deck.tell(&ShipEvent::ShipNote { note });
            deployed(context, &deck, hosts.as_ref(), &again(&skip, environment, *live), &[]).await
        }
        Ok(Shipped::Done { came_to, image, allowed }) => Ok(done(context, false, came_to, image, &allowed)),
        Ok(Shipped::Deploy { ready, allowed }) => {
            deployed(context, &deck, hosts.as_ref(), &wanted(ready), &allowed).await
        }
        Err(stopped) => {
            if let Some(logs) = deck.logs() {
                context.output.say(&format!("all that was said is in {logs}"));
            }
            tell_stopped(context, (service, environment), &stopped).await?;
            Err((*stopped.refusal).into())
        }
    }
}

/// People are told of a job that failed.
async fn tell_stopped(
    context: &Context<'_>,
    (service, environment): (&Service, &Environment),
    stopped: &Stopped,
) -> Result<(), CliError> {
    let Stopped { job: Some(job), tag: Some(tag), artifact, since, refusal } = stopped else { return Ok(()) };
    let Some(failure) = refusal.failure().filter(is_news) else { return Ok(()) };
    let aim = Aim::Deploy { tag: tag.clone(), gates: Gates::All, again: false, artifact: artifact.clone() };
    let want = Want::deploy(service.name.clone(), tag.clone()).in_environment(environment.name.clone());
    let want = Want { aim, ..want };
    let unbegun = Unbegun { failure: failure.clone(), job: Some(*job), since: since.clone() };
    Ok(context.working().tell_unbegun(&want, &context.requester(), unbegun).await?)
}

/// What is live already, with what the hosts have for it by then.
fn again(skip: &[HostId], environment: &Environment, live: Release) -> Want {
    let artifact = Artifact {
        digest: live.image.is_some().then(|| live.digest.clone()),
        commit: live.commit.clone(),
        provenance: live.provenance.map(|known| *known).unwrap_or_default(),
        ..Artifact::default()
    };
    let aim = Aim::Deploy {
        tag: live.tag.clone(),
        gates: Gates::All,
        again: true,
        artifact: Some(Box::new(artifact)),
    };
    let want = Want::deploy(live.service, live.tag).in_environment(environment.name.clone());
    Want { skip: skip.to_vec(), aim, ..want }
}

/// The hosts are made ready, and it goes live there.
async fn deployed(
    context: &Context<'_>,
    deck: &Deck<'_>,
    hosts: Option<&BeforeDeployment>,
    want: &Want,
    allowed: &[Failure],
) -> Result<Exit, CliError> {
    if context.output.format == Format::Json {
        tell_allowed(deck, allowed);
    }
    if let Some(hosts) = hosts
        && let Err(failure) = made_ready(context, hosts).await
    {
        if is_news(&&failure) {
            let unbegun = Unbegun::from(failure.clone());
            context.working().tell_unbegun(want, &context.requester(), unbegun).await?;
        }
        return Err(failure.into());
    }
    let followed = deploy::followed(context, want).await;
    if let Ok(report) = &followed {
        report.run.into_iter().for_each(|run| deck.run(run));
        deploy::told(context, &want.aim, report);
    }
    // As the last thing, where it is not overlooked.
    if context.output.format == Format::Text {
        tell_allowed(deck, allowed);
    }
    followed.map(|report| report.exit())
}

/// Who typed Ctrl-C knows of it.
fn is_news(failure: &&Failure) -> bool {
    failure.kind != FailureKind::Cancelled
}

/// The service named, else the only one that has an image.
fn service<'c>(context: &'c Context<'_>, name: Option<&str>) -> Result<&'c Service, CliError> {
    if let Some(name) = name {
        return context.service(name);
    }
    let all = context.services(None)?;
    let with_image: Vec<&Service> = all.into_iter().filter(|service| service.image.is_some()).collect();
    match with_image.as_slice() {
        [only] => Ok(only),
        [] => Err(CliError::usage(
            "no service here has an image that could be built",
            "write `image: ghcr.io/acme/web` for one",
        )),
        several => {
            let names: Vec<&str> = several.iter().map(|service| service.name.as_str()).collect();
            Err(CliError::usage(
                "several services here have an image",
                format!("name one of them: `lockgate ship {}`; there are {}", names[0], names.join(", ")),
            ))
        }
    }
}

/// All that comes before the deployment; Ctrl-C ends what is under way.
async fn jobs(
    context: &Context<'_>,
    (service, environment): (&Service, &Environment),
    args: &args::Ship,
    deck: &Deck<'_>,
) -> Result<Shipped, Stopped> {
    let project = &context.project;
    let pushed = ship::pushed(&|name| std::env::var(name).ok()).unwrap_or_else(|why| {
        deck.tell(&ShipEvent::ShipNote { note: why });
        None
    });
    let asked = Asked {
        job: args.job.map(|job| match job {
            ShipJob::Test => Job::Test,
            ShipJob::Build => Job::Build,
            ShipJob::Deploy => Job::Deploy,
        }),
        force: args.force,
        allow_dirty: args.allow_dirty,
        pushed,
    };
    let host = Local::new();
    let looking = context.looking();
    let orchestrator: &InProcess = &looking;
    let (git, builder) = (ship::git(project), ship::builder(project, service, host.clone()));
    let (registry, mask) = (wiring::registry(project), ship::mask(project, service));
    let status = move || {
        let looked = async move {
            let mut all = orchestrator.status(Some(&service.name), Some(&environment.name)).await?;
            all.pop().ok_or_else(|| Refusal::usage("nothing was looked at", "`lockgate status` looks"))
        };
        looked.boxed()
    };
    let owner = context.requester().to_string();
    let parts = Parts {
        project,
        service,
        environment,
        git: &git,
        builder: &builder,
        registry: registry.as_ref(),
        host: &host,
        status: &status,
        voice: deck,
        mask: &mask,
        now: &lockgate_local::now,
        owner: &owner,
    };
    let mut signals = Signals::listen();
    {
        let work = lockgate_ship::ship(&parts, &asked);
        tokio::pin!(work);
        tokio::select! {
            biased;
            done = &mut work => return done,
            () = signals.end_asked() => {}
        }
    }
    let under_way = deck.under_way();
    context.output.say("interrupted: what is under way is being ended");
    host.ended().await;
    let refusal = Box::new(interrupted(under_way).into());
    Err(Stopped { job: None, tag: None, artifact: None, since: None, refusal })
}

/// The hosts have what the deployment needs.
async fn made_ready(context: &Context<'_>, hosts: &BeforeDeployment) -> Result<(), Failure> {
    let mut signals = Signals::listen();
    tokio::select! {
        biased;
        made = hosts.make(context.output) => made,
        () = signals.end_asked() => {
            let message = "interrupted by the user: no host is set up any further, and nothing was deployed";
            Err(Failure::new(FailureKind::Cancelled, message)
                .hint("what was made on hosts stays; the next `lockgate ship` goes on from there"))
        }
    }
}

fn interrupted(under_way: Option<Job>) -> Failure {
    let message = match under_way {
        Some(job) => {
            format!("interrupted by the user: the {} was ended, and nothing was deployed", job.as_str())
        }
        None => "interrupted by the user: nothing was deployed".to_owned(),
    };
    let failure = Failure::new(FailureKind::Cancelled, message);
    match under_way {
        Some(Job::Push) => failure.hint("a tag leads to a whole image or where it led before; ship again"),
        _ => failure,
    }
}

fn tell_allowed(deck: &Deck<'_>, allowed: &[Failure]) {
    for failure in allowed {
        let note = format!("{}, which is allowed", failure.message);
        deck.tell(&ShipEvent::ShipNote { note });
    }
}

/// The result of what deploys nothing.
fn done(
    context: &Context<'_>,
    skipped: bool,
    came_to: String,
    image: Option<Ready>,
    allowed: &[Failure],
) -> Exit {
    let exit = Exit::Succeeded;
    let allowed_failures: Vec<String> = allowed.iter().map(|failure| failure.message.clone()).collect();
    match context.output.format {
        Format::Text => {
            context.output.text(&came_to);
            for failure in &allowed_failures {
                context.output.say(&format!("{failure}, which is allowed"));
            }
        }
        Format::Json => context.output.declared(&ShipLine {
            event: "result".to_owned(),
            skipped,
            came_to,
            tag: image.as_ref().map(|ready| ready.tag.to_string()),
            digest: image.and_then(|ready| ready.artifact.digest).map(|digest| digest.to_string()),
            allowed_failures,
            exit: exit.code(),
        }),
    }
    exit
}
