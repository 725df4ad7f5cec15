//! One file per family of commands.

mod abandoned;
mod audit;
mod context;
mod crontab;
mod deploy;
mod doctor;
pub mod exec;
mod follow;
mod github_actions;
mod history;
mod init;
mod logs;
mod mcp;
mod missing;
mod plan;
mod promote;
mod run_schedule;
mod schedule;
mod serve;
mod serve_check;
mod setup;
mod setup_hosts;
mod ship;
mod ship_workflow;
mod status;
mod trigger;
mod unset;
mod workflow_file;

use clap::CommandFactory;
use lockgate_config::Purpose;

use crate::args::{Args, Command, GateSet, InitOther};
use crate::error::CliError;
use crate::exit::Exit;
use crate::output::Output;
use crate::{demo, proxy};

pub use context::Context;

pub async fn dispatch(args: Args, output: &Output) -> Result<Exit, CliError> {
    let global = args.global;
    match args.command {
        Command::Init(init) => match &init.other {
            Some(InitOther::GithubActions(args)) => github_actions::run(args, &global, output),
            None => init::run(&init, &global, output),
        },
        Command::Doctor { service } => {
            doctor::run(&Context::load(&global, output)?, service.as_deref()).await
        }
        Command::Plan(deploy) => plan::run(&Context::load_whole(&global, output).await?, &deploy).await,
        Command::Deploy(deploy) => {
            deploy::deploy(&Context::load_whole(&global, output).await?, &deploy).await
        }
        Command::Ship(args) => {
            ship::run(&Context::load_for_job(args.job, &global, output).await?, &args).await
        }
        Command::Promote(args) => promote::run(&Context::load_whole(&global, output).await?, &args).await,
        Command::Tags { service } => {
            promote::tags(&Context::load(&global, output)?, service.as_deref()).await
        }
        Command::Rollback { service, release, skip } => {
            deploy::rollback(&Context::load_some(&global, output).await?, &service, release, &skip).await
        }
        Command::Resume { service, skip } => {
            deploy::resume(&Context::load_whole(&global, output).await?, service.as_deref(), &skip).await
        }
        Command::Check { service, gates } => {
            let moment = match gates {
                GateSet::Regression => lockgate_model::Moment::Before,
                GateSet::Smoke => lockgate_model::Moment::After,
            };
            plan::check(&Context::load_whole(&global, output).await?, &service, moment).await
        }
        Command::Status { service, watch } => {
            status::run(&Context::load(&global, output)?, service.as_deref(), watch).await
        }
        Command::History(asked) => history::run(&Context::load(&global, output)?, &asked).await,
        Command::Audit(asked) => audit::run(&Context::load(&global, output)?, &asked).await,
        Command::Logs { service, slot, lines } => {
            logs::run(&Context::load(&global, output)?, &service, slot.as_deref(), lines).await
        }

        Command::Exec(_) => unreachable!("main passes its exit code on"),
        Command::Schedule { service, crontab } => {
            let context = Context::load(&global, output)?;
            match crontab {
                true => schedule::print_crontab(&context, service.as_deref()),
                false => schedule::list(&context, service.as_deref()).await,
            }
        }
        Command::RunSchedule(args) => run_schedule::run(&args, &global, output).await,
        Command::Trigger(args) => trigger::run(&args, output).await,
        Command::Mcp(args) => mcp::run(&args, &global).await,
        Command::Serve(args) if args.check => {
            serve_check::run(&Context::load_for(Purpose::Serve, &global, output)?).await
        }
        Command::Serve(args) => serve::run(args, &global, output).await,
        Command::Setup(args) if args.daemon => setup::run(&args, &global, output).await,
        Command::Setup(args) => setup_hosts::run(&Context::load_whole(&global, output).await?, &args).await,
        Command::Demo => demo::run(output).await,
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Args::command(), "lockgate", &mut std::io::stdout());
            Ok(Exit::Succeeded)
        }
        Command::Schema => {
            output.document(&lockgate_config::schema());
            Ok(Exit::Succeeded)
        }
        Command::Proxy(args) => proxy::run(args).await,
        Command::DemoApp { release } => demo::app(&release).await,
    }
}
