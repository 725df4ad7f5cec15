//! `lockgate proxy`: the data plane as a process of its own.

use lockgate_proxy::{ProxyConfig, serve};

use crate::args;
use crate::error::CliError;
use crate::exit::Exit;

pub async fn run(args: args::Proxy) -> Result<Exit, CliError> {
    if args.upgrade {
        return upgrade(&args).await;
    }
    let mut config = ProxyConfig::new(args.dir);
    config.listen = args.listen;
    serve(config).await.map_err(|error| CliError::failed(error.to_string()))?;
    Ok(Exit::Succeeded)
}
