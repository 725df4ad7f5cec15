//! Remembering which Compose a host has, for as long as the programs there are the same files.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use lockgate_model::Millis;
use lockgate_ports::{Command, Host};
use serde::{Deserialize, Serialize};

use crate::found_cli::{ComposeCli, FoundCli};
use crate::place::join;

/// Within a slot's folder.
const FILE: &str = ".lockgate/compose-cli.json";
const FILE_MODE: u32 = 0o600;
/// Part of what is compared, so that what another version remembered is looked for anew.
const FORMAT: u32 = 3;
/// Where the docker CLI looks for plugins, besides the user's own folder.
/// Source: docker/cli, cli-plugins/manager/manager_unix.go.
const PLUGIN_FOLDERS: [&str; 4] = [
    "/usr/local/lib/docker/cli-plugins",
    "/usr/local/libexec/docker/cli-plugins",
    "/usr/lib/docker/cli-plugins",
    "/usr/libexec/docker/cli-plugins",
];

/// Looks at the files of another host.
const PROGRAMS: &str = include_str!("sh/programs.sh");
/// For that.
const PROGRAMS_SECONDS_MAX: u64 = 10;

/// What is known of the programs, and where it is remembered.
pub(crate) struct CliCache {
    path: String,
    identity: String,
    /// The plugin that docker's CLI calls, absolute.
    pub plugin: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Remembered {
    identity: String,
    found: FoundCli,
}

impl CliCache {
    /// `None` where plugins may be anywhere, or the host cannot say what its programs are.
    pub(crate) async fn of(host: &dyn Host, wanted: Option<ComposeCli>, dir: &str) -> Option<CliCache> {
        let (seen, plugin) = match host.id().is_local() {
            true => here()?,
            false => there(host).await?,
        };
        let identity = format!("{FORMAT} {wanted:?}\n{seen}");
        Some(CliCache { path: join(dir, FILE), identity, plugin })
    }

    pub(crate) async fn read(&self, host: &dyn Host) -> Option<FoundCli> {
        let content = host.read_own(&self.path).await.ok()?.content?;
        let known: Remembered = serde_json::from_slice(&content).ok()?;
        (known.identity == self.identity).then_some(known.found)
    }

    /// Where it cannot be written, Compose is asked again next time.
    pub(crate) async fn write(&self, host: &dyn Host, found: &FoundCli) {
        let known = Remembered { identity: self.identity.clone(), found: found.clone() };
        let written = match serde_json::to_vec(&known) {
            Ok(content) => host.write_own(&self.path, &content, FILE_MODE).await,
            Err(error) => Err(lockgate_ports::PortError::other(error.to_string())),
        };
        if let Err(error) = written {
            tracing::debug!(%error, path = self.path, "which Compose there is is not remembered");
        }
    }
}

/// The programs of this machine, and which of them is the plugin that is called.
fn here() -> Option<(String, Option<String>)> {
    if more_folders() {
        return None;
    }
    let mut seen = String::new();
    for file in candidates() {
        // One that is missing may appear later, so it is part of what is known.
        let shown = std::fs::metadata(&file).map_or("-".to_owned(), |seen| shown(&seen));
        seen.push_str(&format!("{} {shown}\n", file.display()));
    }
    Some((seen, plugin()))
}

/// As [`here`], of another host, where Compose is called in sessions with the same variables.
async fn there(host: &dyn Host) -> Option<(String, Option<String>)> {
    let argv = ["sh", "-c", PROGRAMS, "programs.sh"].into_iter().chain(PLUGIN_FOLDERS);
    let command = Command::new(argv).timeout(Millis::from_secs(PROGRAMS_SECONDS_MAX));
    let output = host.exec(&command).await.ok().filter(lockgate_ports::Output::ok)?;
    let text = String::from_utf8(output.stdout).ok()?;
    let (plugin, seen) = text.split_once('\n')?;
    Some((seen.to_owned(), plugin.starts_with('/').then(|| plugin.to_owned())))
}

/// Every file that could be the Compose that is called.
fn candidates() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let programs =
        std::env::split_paths(&path).flat_map(|dir| [dir.join("docker"), dir.join("docker-compose")]);
    programs.chain(plugins()).collect()
}

/// In the order of docker's CLI, which takes the first.
fn plugins() -> impl Iterator<Item = PathBuf> {
    let own = own_folder().map(|own| own.join("cli-plugins"));
    let folders = own.into_iter().chain(PLUGIN_FOLDERS.map(PathBuf::from));
    folders.map(|folder| folder.join("docker-compose"))
}

/// The program of the plugin that docker's CLI calls on this machine, absolute.
fn plugin() -> Option<String> {
    let found = plugins().find(|program| program.is_file())?;
    found.is_absolute().then(|| found.into_os_string().into_string().ok()).flatten()
}

/// The user's folder of Docker's CLI.
fn own_folder() -> Option<PathBuf> {
    match std::env::var_os("DOCKER_CONFIG") {
        Some(folder) => Some(PathBuf::from(folder)),
        None => std::env::var_os("HOME").map(|home| Path::new(&home).join(".docker")),
    }
}

/// Docker's CLI was told of other folders with plugins.
fn more_folders() -> bool {
    let config = own_folder().and_then(|folder| std::fs::read_to_string(folder.join("config.json")).ok());
    config.is_some_and(|config| config.contains("cliPluginsExtraDirs"))
}

fn shown(seen: &Metadata) -> String {
    format!("{} {} {} {}.{}", seen.dev(), seen.ino(), seen.len(), seen.mtime(), seen.mtime_nsec())
}

#[cfg(test)]
mod tests {
    use lockgate_local::Local;

    use super::*;

    #[tokio::test]
    async fn what_was_found_is_remembered_until_a_program_changes() {
        let dir = tempfile::tempdir().unwrap();
        let (host, folder) = (Local::new(), dir.path().to_str().unwrap());
        let known = CliCache::of(&host, None, folder).await.unwrap();
        assert_eq!(known.read(&host).await, None);
        let found = FoundCli { cli: ComposeCli::Standalone, version: "1.29.2".into(), program: None };
        known.write(&host, &found).await;
        assert_eq!(known.read(&host).await, Some(found));
        let other = CliCache::of(&host, Some(ComposeCli::Plugin), folder).await.unwrap();
        assert_eq!(other.read(&host).await, None);
        let changed = CliCache { identity: format!("{} ", known.identity), ..known };
        assert_eq!(changed.read(&host).await, None);
    }

    #[tokio::test]
    async fn another_host_is_asked_for_the_same_programs() {
        let (seen, found) = there(&Local::new()).await.unwrap();
        assert_eq!(found, plugin());
        let lines: Vec<&str> = seen.lines().collect();
        for file in candidates().iter().filter(|file| file.is_absolute()) {
            let name = file.display().to_string();
            match file.is_file() {
                true => {
                    let line = lines.iter().find(|line| line.starts_with(&format!("{name} "))).unwrap();
                    assert_eq!(line.split(' ').count(), 6, "{line}: device, inode, size, two times");
                }
                false => assert!(lines.contains(&name.as_str()), "{name} may appear later"),
            }
        }
    }

    #[test]
    fn a_replaced_program_is_another_file() {
        let dir = tempfile::tempdir().unwrap();
        let look = || shown(&std::fs::metadata(dir.path().join("docker")).unwrap());
        std::fs::write(dir.path().join("docker"), "1").unwrap();
        let before = look();
        std::fs::write(dir.path().join("new"), "2").unwrap();
        std::fs::rename(dir.path().join("new"), dir.path().join("docker")).unwrap();
        assert_ne!(look(), before);
    }
}
