//! `mcp`: an agent's tools, on stdin and stdout.

use std::sync::{Arc, Mutex, PoisonError};

use lockgate_mcp::{Desk, Opened, Options, Over, Stopping, serve};
use lockgate_model::{By, Requester};
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
    opened: Mutex<Option<Opened>>,
}

impl Here {
    fn load(&self) -> Result<Opened, CliError> {
        let context = Context::load(&self.global, &self.output)?;
        if let Some(service) = context.project.services.values().find(|service| !service.env_from.is_empty())
        {
            return Err(CliError::usage(
                format!(
                    "`env` of {} has values from files or programs, which are not had for agents",
                    service.name
                ),
                "export them where `lockgate mcp` is started, and write `${NAME}`",
            ));
        }
        let mut known = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        match &*known {
            Some(opened) if *opened.project == *context.project => Ok(opened.clone()),
            Some(_) | None => Ok(known.insert(self.made(&context)).clone()),
        }
    }

    fn made(&self, context: &Context<'_>) -> Opened {
        Opened {
            project: context.project.clone(),
            orchestrator: Arc::new(context.working()),
            mask: secrets::mask(&context.project),
            environment: self.global.env.clone(),
        }
    }
}

impl Desk for Here {
    fn open(&self) -> Result<Opened, Box<Value>> {
        self.load().map_err(|error| {
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
