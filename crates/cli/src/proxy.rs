//! `lockgate proxy`: the data plane as a process of its own.

use std::sync::Arc;

use lockgate_builtin::{Builtin, BuiltinOptions};
use lockgate_proxy::{ProxyConfig, serve};

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
