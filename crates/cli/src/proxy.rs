//! `lockgate proxy`: the data plane as a process of its own.

use std::sync::Arc;

use lockgate_builtin::{Builtin, BuiltinOptions};
use lockgate_proxy::{ProxyConfig, Supervised, serve, supervise};

use crate::args;
use crate::error::CliError;
use crate::exit::Exit;
use crate::wiring::this_program;

pub async fn run(args: args::Proxy) -> Result<Exit, CliError> {
    if args.upgrade {
        return upgrade(&args).await;
    }
    let mut config = ProxyConfig::new(args.dir);
    config.listen = args.listen;
    serve(config).await?;
    Ok(Exit::Succeeded)
}

/// Blocks until the proxy is asked to stop; `None` where another supervisor does that already, so this process serves.
///
/// # Errors
/// See [`supervise`].
pub fn supervised(args: &args::Proxy) -> Result<Option<Exit>, CliError> {
    let arguments =
        std::env::args_os().skip(1).filter(|argument| argument != "--supervise").collect::<Vec<_>>();
    let config = ProxyConfig::new(args.dir.clone());
    Ok(match supervise(&config, &arguments)? {
        Supervised::Stopped => Some(Exit::Succeeded),
        // Its own process has said why.
        Supervised::NeverServed => Some(Exit::Failed),
        Supervised::ByAnother => None,
    })
}

/// Hands the sockets of the running proxy over to this executable, without losing a request.
async fn upgrade(args: &args::Proxy) -> Result<Exit, CliError> {
    let dir = std::path::absolute(&args.dir)?;
    let proxy = Builtin::new(BuiltinOptions {
        host: Arc::new(lockgate_local::Local::new()),
        dir: dir.to_string_lossy().into_owned(),
        route_id: String::new(),
        listen: String::new(),
        hosts: Vec::new(),
        path: None,
        response_timeout: None,
        stall_timeout: None,
        trusted_proxies: Vec::new(),
        launch: None,
    });
    proxy.upgrade(&this_program()?).await?;
    Ok(Exit::Succeeded)
}
