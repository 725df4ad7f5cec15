//! `setup --daemon`: `lockgate serve` as a service of this machine, by systemd.

use std::io::Read;
use std::path::Path;

use lockgate_config::{Loaded, Purpose};
use lockgate_local::Local;
use lockgate_model::{Failure, FailureKind};

use crate::args::{Format, Global, Setup};
use crate::error::CliError;
use crate::exit::Exit;
use crate::output::Output;
use crate::setup::{self, Change, Changes, Daemon, Install, Systemd, Variables, kept};

/// Units of whoever runs the machine.
const UNITS: &str = "/etc/systemd/system";
const UNIT_MODE: u32 = 0o644;
const VARIABLES_MODE: u32 = 0o600;
/// Longest configuration that is read for the names in it.
const CONFIG_BYTES_MAX: u64 = 1024 * 1024;

pub async fn run(args: &Setup, global: &Global, output: &Output) -> Result<Exit, CliError> {
    let wanted = Wanted::load(global)?;
    let host = Local::new();
    let systemd = Systemd::here(&host);
    let changes = Changes::of(wanted.installs())?;
    if args.dry_run {
        wanted.show(output, &changes, true);
        if systemd.is_none() {
            output.say("this machine does not run systemd, so this is for another one");
        }
        if !wanted.hidden.is_empty() {
            output.say(&setup::warning(&wanted.hidden));
        }
        return Ok(Exit::Succeeded);
    }
    let systemd = systemd.ok_or_else(|| wanted.without_systemd())?;
    if !wanted.hidden.is_empty() {
        return Err(setup::refused(&wanted.hidden));
    }
    if let Some(differing) = changes.differing().next()
        && !args.replace
    {
        wanted.show(output, &changes, false);
        return Err(CliError::usage(
            format!("{} is there with another content", differing.path.display()),
            "`lockgate setup --daemon --replace` writes it anew, as shown above; what you want to keep of it belongs into \
             `systemctl edit`",
        ));
    }
    let units = wanted.units();
    if changes.is_same() && is_up(&systemd, &units).await? {
        wanted.tell_missing(output, &changes);
        wanted.end(output, &changes, false);
        return Ok(Exit::Succeeded);
    }
    if !rustix::process::geteuid().is_root() {
        let failure = Failure::new(FailureKind::Unauthorized, "only root may set a daemon up");
        return Err(failure.hint("run the same command with sudo").into());
    }
    wanted.show(output, &changes, false);
    changes.write(&host).await?;
    for argv in wanted.commands(&changes) {
        let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
        systemd.run(&argv, &units[0]).await?;
    }
    wanted.end(output, &changes, true);
    Ok(Exit::Succeeded)
}

async fn is_up(systemd: &Systemd<'_>, units: &[String; 2]) -> Result<bool, CliError> {
    for unit in units {
        if !(systemd.is("is-enabled", unit).await? && systemd.is("is-active", unit).await?) {
            return Ok(false);
        }
    }
    Ok(true)
}

struct Wanted {
    daemon: Daemon,
    variables: Variables,
    /// Of variables that lockgate.yaml names.
    names: Vec<String>,
    environment: String,
    /// Paths that the daemon would not find.
    hidden: Vec<String>,
}

impl Wanted {
    fn load(global: &Global) -> Result<Self, CliError> {
        let path = match &global.config {
            Some(path) => std::path::absolute(path)?,
            None => lockgate_config::find(&std::env::current_dir()?).ok_or_else(|| {
                CliError::usage("there is no lockgate.yaml here or in a folder above", "`-c FILE` names one")
            })?,
        };
        let text = text_of(&path)?;
        // The file with the values that it needs is named by its project.
        let environment = kept::file(project_in(&text).unwrap_or("project"));
        let variables = Variables::kept_in(&environment)?;
        let env = |name: &str| variables.get(name);
        let Loaded { project, path } = match &global.config {
            Some(_) => lockgate_config::load_if(&path, Purpose::Serve, &env, |_, _| Ok::<_, CliError>(()))?,
            None => lockgate_config::load_if(&path, Purpose::Serve, &env, crate::found_config::require)?,
        };
        let daemon = Daemon::of(&project, &path)?;
        let names = variables.named_in(&text);
        let hidden = setup::hidden(&daemon, &project);
        Ok(Self { environment: kept::file(&daemon.project), daemon, variables, names, hidden })
    }

    /// Service, then socket.
    fn units(&self) -> [String; 2] {
        ["service", "socket"].map(|kind| format!("{}.{kind}", self.daemon.unit()))
    }

    fn installs(&self) -> Vec<Install> {
        let [service, socket] = self.units();
        let unit = |name: &str, content: String| Install {
            path: Path::new(UNITS).join(name),
            mode: UNIT_MODE,
            content,
            shown: None,
            keeps: false,
        };
        vec![
            Install {
                path: self.environment.clone().into(),
                mode: VARIABLES_MODE,
                content: self.variables.file(&self.names, &self.daemon.unit(), false),
                shown: Some(self.variables.file(&self.names, &self.daemon.unit(), true)),
                keeps: true,
            },
            unit(&socket, self.daemon.socket()),
            unit(&service, self.daemon.service(&self.environment)),
        ]
    }

    /// What is run once the files are there.
    fn commands(&self, changes: &Changes) -> Vec<Vec<String>> {
        let [service, socket] = self.units();
        let differs = |unit: &String| changes.differing().any(|one| one.path.ends_with(unit));
        let mut commands = vec![vec!["daemon-reload"]];
        // A socket that listens elsewhere from now on cannot be changed while it is used.
        if differs(&socket) {
            commands.push(vec!["stop", &service, &socket]);
        }
        commands.push(vec!["enable", &socket, &service]);
        commands.push(vec!["start", &socket]);
        let begin = if differs(&service) && !differs(&socket) { "restart" } else { "start" };
        commands.push(vec![begin, &service]);
        let typed = commands
            .into_iter()
            .map(|words| ["systemctl"].into_iter().chain(words).map(str::to_owned).collect::<Vec<String>>());
        typed.collect()
    }

    /// `whole`: the files themselves, too, and what would be run.
    fn show(&self, output: &Output, changes: &Changes, whole: bool) {
        if output.format == Format::Json {
            if whole {
                output.json(&self.told(changes, &changes_words(changes), true));
            }
            return;
        }
        for (install, change) in &changes.0 {
            output.say(&format!("{}: {}", install.path.display(), change.word()));
            match change {
                Change::Differs(diff) => output.verbatim(diff.trim_end()),
                Change::New if whole => {
                    let mode = format!("mode {:04o}", install.mode);
                    let content = install.shown.as_ref().unwrap_or(&install.content);
                    output.verbatim(&format!("==> {} ({mode})\n{content}", install.path.display()));
                }
                Change::New | Change::Same | Change::Kept => {}
            }
        }
        self.tell_missing(output, changes);
        if whole && !changes.is_same() {
            let typed: Vec<String> = self.commands(changes).iter().map(|argv| argv.join(" ")).collect();
            output.verbatim(&format!("==> then\n{}", typed.join("\n")));
        }
    }

    /// The file is a person's own once it is there.
    fn tell_missing(&self, output: &Output, changes: &Changes) {
        let missing = self.variables.missing(&self.names);
        let is_kept = changes.0.iter().any(|(_, change)| *change == Change::Kept);
        if is_kept && !missing.is_empty() {
            output.say(&format!(
                "{} lacks what lockgate.yaml names: {}",
                self.environment,
                missing.join(", ")
            ));
        }
    }

    fn told(&self, changes: &Changes, files: &serde_json::Value, commands: bool) -> serde_json::Value {
        let commands = if commands { self.commands(changes) } else { Vec::new() };
        serde_json::json!({
            "event": "result",
            "unit": self.units()[0],
            "files": files,
            "commands": commands,
            "exit": 0,
        })
    }

    fn end(&self, output: &Output, changes: &Changes, is_done: bool) {
        if output.format == Format::Json {
            output.json(&self.told(changes, &changes_words(changes), is_done));
            return;
        }
        let unit = self.daemon.unit();
        match is_done {
            true => output.say(&format!(
                "{unit} runs, and will after a reboot; `journalctl -fu {unit}` shows what it does"
            )),
            false => output.say(&format!("nothing to do: {unit} runs as it should")),
        }
    }

    fn without_systemd(&self) -> CliError {
        let command = self.daemon.command();
        let names = match self.names.is_empty() {
            true => String::new(),
            false => format!(" with {} in its environment", self.names.join(", ")),
        };
        let (keep, line) = kept::by_cron(&self.environment, &self.names, &self.daemon.user, &command);
        let failure =
            Failure::new(FailureKind::Refused, "this machine does not run systemd, so nothing was set up")
                .hint(format!(
                    "whatever starts programs when this machine does has to run `{command}` as {}{names}, start it again when it \
                     ends with another code than 0 or 2, and end it alone, not what it has started",
                    self.daemon.user
                ));
        let kept = keep
            .map(|keep| format!("to keep its variables in {}, for root alone: `{keep}`", self.environment));
        let failure = kept.into_iter().fold(failure, |failure, hint| failure.hint(hint));
        let failure = failure
            .hint(format!("cron can start it: `{line}` as the line of /etc/cron.d/{}", self.daemon.unit()))
            .hint("`lockgate setup --daemon --dry-run` shows the units for a machine with systemd");
        failure.into()
    }
}

fn changes_words(changes: &Changes) -> serde_json::Value {
    let word = |change: &Change| match change {
        Change::New => "new",
        Change::Same => "same",
        Change::Kept => "kept",
        Change::Differs(_) => "differs",
    };
    let files = changes.0.iter().map(|(install, change)| {
        serde_json::json!({ "path": install.path, "mode": format!("{:04o}", install.mode), "change": word(change) })
    });
    files.collect()
}

/// What it names is found in the text, for the values that it needs may be kept under that name.
pub(super) fn project_in(text: &str) -> Option<&str> {
    let line = text.lines().find_map(|line| line.strip_prefix("project:"))?;
    let name = line.split('#').next()?.trim().trim_matches(['"', '\'']);
    lockgate_model::ProjectName::new(name).is_ok().then_some(name)
}

pub(super) fn text_of(path: &Path) -> Result<String, CliError> {
    let mut text = Vec::new();
    // What is wrong with the file is said by who reads it in earnest.
    if let Ok(file) = lockgate_own::open(path) {
        file.take(CONFIG_BYTES_MAX).read_to_end(&mut text)?;
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}
