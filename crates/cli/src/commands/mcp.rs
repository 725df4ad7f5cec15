//! `mcp`: an agent's tools, on stdin and stdout.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use lockgate_mcp::{Desk, Opened, Options, Over, Stopping, Values, serve};
use lockgate_model::{By, Mask, Project, Requester, Service, ServiceName};
use serde_json::{Value, json};

use super::Context;
use super::follow::{Signals, Wish};
use crate::args::{Format, Global, Mcp};
use crate::error::CliError;
use crate::exit::Exit;
use crate::output::Output;
use crate::secrets;

pub async fn run(args: &Mcp, global: &Global) -> Result<Exit, CliError> {
    // Standard output is the protocol's, so nothing else is printed there.
    let global = Global { format: Format::Text, ..global.clone() };
    let output = Arc::new(Output::new(&global));
    let desk = Arc::new(Here { global, output: output.clone(), opened: Mutex::default() });
    let options = Options { agent_confirms: args.agent_confirms };
    let served = until_gone(desk, options, &output).await;
    if served.as_ref().is_ok_and(|over| over.is_left) {
        lockgate_ssh::end_masters();
        // What was under way stands still, and is neither undone nor put in order.
        std::process::exit(i32::from(Exit::Stuck.code()))
    }
    output.tell_the_rest().await;
    Ok(served.map(|over| over.exit).unwrap_or_else(|error| {
        output.error(&error);
        error.exit()
    }))
}

/// The client goes away, or somebody ends this process: the first signal undoes what is not settled, as Ctrl-C does; a
/// second one leaves it.
async fn until_gone(desk: Arc<Here>, options: Options, output: &Output) -> Result<Over, CliError> {
    let stopping = Stopping::default();
    let mut signals = Signals::listen();
    let served = serve(desk, options, stopping.clone(), tokio::io::stdin(), tokio::io::stdout());
    tokio::pin!(served);
    loop {
        tokio::select! {
            biased;
            over = &mut served => return Ok(over?),
            wish = signals.next() => match wish {
                Wish::End if !stopping.is_asked() => {
                    output.say("interrupted: what is not settled yet is undone. Once more leaves it to `lockgate resume`");
                    stopping.undo();
                }
                Wish::End | Wish::Leave => stopping.leave(),
            },
        }
    }
}

/// The project of this folder, or of the file that was named.
struct Here {
    global: Global,
    output: Arc<Output>,
    /// As it was configured last: connections to hosts are kept as long as nothing changes.
    opened: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// Without the values of variables that come from files and programs, where there are any.
    without: Option<Opened>,
    with: Option<Opened>,
}

impl Here {
    fn load(&self, values: Values) -> Result<Opened, CliError> {
        let without = Context::load(&self.global, &self.output)?;
        let elsewhere = from_elsewhere(&without.project);
        let runtime = tokio::runtime::Handle::current();
        let context = match values {
            Values::Some if !elsewhere.is_empty() => {
                runtime.block_on(Context::load_some(&self.global, &self.output))?
            }
            Values::All if !elsewhere.is_empty() => {
                runtime.block_on(Context::load_whole(&self.global, &self.output))?
            }
            Values::Unneeded | Values::Some | Values::All => without,
        };
        let mut known = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        let is_whole = from_elsewhere(&context.project).is_empty();
        let known = if is_whole { &mut known.with } else { &mut known.without };
        match known {
            Some(opened) if *opened.project == *context.project => Ok(opened.clone()),
            Some(_) | None => Ok(known.insert(self.made(&context, &elsewhere)).clone()),
        }
    }

    /// `elsewhere`: whose values an agent is never told, whatever they are called.
    fn made(&self, context: &Context<'_>, elsewhere: &BTreeSet<(ServiceName, String)>) -> Opened {
        let value =
            |(service, name): &(ServiceName, String)| context.project.services.get(service)?.env.get(name);
        let mut hidden = secrets::of_project(&context.project);
        hidden.extend(elsewhere.iter().filter_map(value).cloned());
        Opened {
            project: context.project.clone(),
            orchestrator: Arc::new(context.working()),
            mask: Mask::of(&hidden),
            environment: self.global.env.clone(),
        }
    }
}

/// Variables of services whose values come from files and programs, and were not had.
fn from_elsewhere(project: &Project) -> BTreeSet<(ServiceName, String)> {
    let of = |service: &Service| {
        let names = service.env_from.keys().cloned().collect::<Vec<_>>();
        let service = service.name.clone();
        names.into_iter().map(move |name| (service.clone(), name))
    };
    project.services.values().flat_map(of).collect()
}

impl Desk for Here {
    fn open(&self, values: Values) -> Result<Opened, Box<Value>> {
        self.load(values).map_err(|error| {
            let told = self.output.error_value(&error);
            Box::new(told.unwrap_or_else(|wrong| json!({ "event": "error", "error": { "kind": "other", "message": wrong.to_string() }, "exit": 1 })))
        })
    }

    fn requester(&self, client: Option<&str>) -> Requester {
        let owner = lockgate_local::holder_identity().owner;
        Requester::new(By::Agent, &format!("{} for {owner}", client.unwrap_or("a client without a name")))
    }

    fn typed(&self, value: &mut Value) {
        self.output.typed.in_json(value);
    }
}
