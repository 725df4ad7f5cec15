//! A program that runs once beside the slots, with a slot's environment: by scripts alone, here and elsewhere.
//!
//! `hook.<moment>.<run>.pid` says which process keeps it, `.log` is what it writes, `.code` what it ended with.

use async_trait::async_trait;
use lockgate_model::{FailureKind, HOOK_SECONDS_MAX, Millis};
use lockgate_ports::{LineSink, OneOff, OneOffId, OneOffState, OneOffs, PortError, demand_values};

use crate::launch::PASSED_ON;
use crate::process::Process;
use crate::script;

/// How long a process may take to vanish after SIGKILL.
const KILL_SECONDS_MAX: u64 = 5;
/// Start of the names of files.
const PREFIX: &str = "hook";

fn name(id: OneOffId) -> String {
    format!("{PREFIX}.{}.{}", id.moment, id.run)
}

fn id_of(name: &str) -> Option<OneOffId> {
    let (moment, run) = name.strip_prefix(PREFIX)?.strip_prefix('.')?.split_once('.')?;
    Some(OneOffId { run: run.parse().ok()?, moment: moment.parse().ok()? })
}

/// `hook.before_switch.<run> runs` or `… ended 3`.
fn parse(line: &str) -> Option<(OneOffId, OneOffState)> {
    let mut words = line.split(' ');
    let id = id_of(words.next()?)?;
    match (words.next()?, words.next()) {
        ("runs", None) => Some((id, OneOffState::Runs)),
        ("ended", Some(code)) => Some((id, OneOffState::Ended(code.parse().ok()?))),
        _ => None,
    }
}

impl Process {
    fn one_off_prefix(&self, id: OneOffId) -> String {
        format!("{}/{}", self.dir(), name(id))
    }
}

#[async_trait]
impl OneOffs for Process {
    async fn seen(&self) -> Result<Vec<(OneOffId, OneOffState)>, PortError> {
        let command = script::command(script::ONE_OFFS, [self.dir()]);
        let output = script::run(self.host(), "look what runs once", &command).await?;
        Ok(output.stdout_text().lines().filter_map(parse).collect())
    }

    async fn begin(&self, wanted: &OneOff<'_>) -> Result<(), PortError> {
        let OneOff { id, slot, release, argv } = *wanted;
        demand_values(self.service())?;
        self.require_bytes(release).await?;
        let folder = self.fill(slot, &release.tag)?.folder;
        let env = self.variables_of(slot, release, None);
        // This machine's orchestrator has secrets of its own in its environment; elsewhere a login has none of it.
        let names = match self.host().id().is_local() {
            true => PASSED_ON.into_iter().chain(env.keys().copied()).collect::<Vec<_>>().join(" "),
            false => "*".to_owned(),
        };
        let (prefix, token) = (self.one_off_prefix(id), id.run.0.simple().to_string());
        let fixed = [prefix.as_str(), script::KEEPER, &token, &names, &folder];
        let mut command =
            script::command(script::ONE_OFF, fixed.into_iter().chain(argv.iter().map(String::as_str)));
        for (name, value) in env {
            command = command.env(name, value);
        }
        let what = format!("begin {} of {release}", id.moment);
        let said = script::run(self.host(), &what, &command).await?.stdout_text();
        match said.trim() {
            "started" => Ok(()),
            "there" => Err(PortError::new(FailureKind::Conflict, format!("{what}: it was begun already"))),
            said => {
                let why = said.strip_prefix("error ").unwrap_or("its keeper said nothing");
                Err(PortError::other(format!("{what}: {why}")).hint(format!("look at {folder} on the host")))
            }
        }
    }

    async fn follow(&self, id: OneOffId, sink: &mut dyn LineSink) -> Result<(), PortError> {
        let prefix = self.one_off_prefix(id);
        let limit = Millis::from_secs(HOOK_SECONDS_MAX);
        let command = script::command(script::FOLLOW, [prefix.as_str()]).timeout(limit);
        // What it came to is looked at.
        self.host().exec_lines(&command, sink).await?;
        Ok(())
    }

    async fn end(&self, id: OneOffId, grace: Millis) -> Result<(), PortError> {
        let (prefix, token, kill) =
            (self.one_off_prefix(id), id.run.0.simple().to_string(), Millis::from_secs(KILL_SECONDS_MAX));
        let arguments = [prefix.as_str(), &token, &grace.0.to_string(), &kill.0.to_string()];
        // The script counts naps, which take a little longer than they say.
        let bound = Millis(grace.0 + grace.0 / 4 + kill.0 * 2 + script::SCRIPT_SECONDS_MAX * 1000);
        let command = script::command(script::END_ONE_OFF, arguments).timeout(bound);
        let output = script::run(self.host(), &format!("end {}", id.moment), &command).await?;
        match output.stdout_text().trim().strip_prefix("survives ") {
            None => Ok(()),
            Some(pid) => {
                let message = format!("process {pid} of {} is still there {kill} after SIGKILL", id.moment);
                Err(PortError::timed_out(message).hint("it waits for a device or a network file system"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use lockgate_model::{HookMoment, RunId};

    use super::*;

    #[test]
    fn what_a_host_says_is_understood_or_left_out() {
        let id = OneOffId { run: RunId(uuid::Uuid::from_u128(7)), moment: HookMoment::BeforeSwitch };
        assert_eq!(parse(&format!("{} runs", name(id))), Some((id, OneOffState::Runs)));
        assert_eq!(parse(&format!("{} ended 143", name(id))), Some((id, OneOffState::Ended(143))));
        for odd in
            ["", "hook", "hook.x.y runs", &format!("{} ended", name(id)), &format!("{} ended x", name(id))]
        {
            assert_eq!(parse(odd), None, "{odd:?}");
        }
    }
}
