//! `lockgate demo`: the main job on this machine, with the real thing: its own small app as a process, the built-in
//! proxy in front, load on it, and deployments run by this very program.

mod load;
mod report;
mod run;
mod scene;

use lockgate_hello::HelloOptions;

use crate::error::CliError;
use crate::exit::Exit;

pub use run::run;

/// The app that is deployed. The release decides what is wrong with it: v3 fails its smoke gate, v4 is never healthy.
pub async fn app(release: &str) -> Result<Exit, CliError> {
    let env = |name: &str| std::env::var(name).ok();
    let port = env("PORT").and_then(|port| port.parse().ok());
    let mut options = HelloOptions {
        host: std::net::Ipv4Addr::LOCALHOST.into(),
        port: port
            .ok_or_else(|| CliError::usage("PORT is not set", "this app is started by `lockgate demo`"))?,
        version: release.to_owned(),
        slot: env("LOCKGATE_SLOT"),
        ..HelloOptions::default()
    };
    match release {
        "v3" => options.fail_paths = ["/metrics".to_owned()].into(),
        "v4" => options.unhealthy = true,
        _ => {}
    }
    lockgate_hello::serve(options).await?;
    Ok(Exit::Succeeded)
}
