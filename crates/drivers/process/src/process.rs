//! The runtime itself.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use async_trait::async_trait;
use lockgate_model::{
    Digest, FailureKind, Millis, Release, Secret, Service, Slot, SlotState, Tag, Template, Vars,
};
use lockgate_ports::{
    Check, Command, Diagnosis, Endpoint, Finding, Host, OneOffs, Output, Owner, PortError, Replica, Runtime,
    RuntimeSlot, Variables, demand_values,
};

use crate::children::Children;
use crate::command::{self, Filled};
use crate::end::{End, Ending};
use crate::launch::Launch;
use crate::look::{Seen, look};
use crate::options::ProcessOptions;
use crate::record::Record;
use crate::{bytes, diagnose, host_port, port, script};

/// From SIGTERM to SIGKILL for what a start replaces.
const REPLACE_GRACE_SECONDS_MAX: u64 = 10;
/// How long a process may take to vanish after SIGKILL.
const KILL_SECONDS_MAX: u64 = 5;
/// How often a slot's record may change under our hands, which only cut-off attempts at the same slot can do.
const INTENT_TRIES_MAX: u32 = 5;
/// How many log lines are read at most.
const LOG_LINES_MAX: u32 = 10_000;
/// Log lines in an error about a start.
const ERROR_LOG_LINES: u32 = 5;

/// The `process` runtime; see the crate's documentation.
pub struct Process {
    options: ProcessOptions,
    children: Children,
}

impl Process {
    #[must_use]
    pub fn new(options: ProcessOptions) -> Self {
        Self { options, children: Children::default() }
    }

    /// The state folder.
    pub(crate) fn dir(&self) -> &str {
        &self.options.dir
    }

    pub(crate) fn host(&self) -> &dyn Host {
        &*self.options.host
    }

    pub(crate) fn service(&self) -> &Service {
        &self.options.service
    }

    /// Start of the names of a slot's files.
    fn prefix(&self, slot: Slot) -> String {
        format!("{}/{slot}", self.options.dir)
    }

    async fn look(&self) -> Result<BTreeMap<Slot, Seen>, PortError> {
        look(self.host(), &self.options.dir, self.options.slots).await
    }

    pub(crate) fn fill(&self, slot: Slot, tag: &Tag) -> Result<Filled, PortError> {
        command::fill(self.service(), &self.options.environment, &self.options.root, slot, tag)
    }

    /// The digest that the tag's bytes have now; as filled for the first slot, so that all agree.
    async fn digest(&self, tag: &Tag) -> Result<Digest, PortError> {
        let slotless = command::slotless(self.service())?;
        let first = self.options.slots.first().copied().unwrap_or(Slot::Main);
        let filled = self.fill(first, tag)?;
        let path = self.service().env.get("PATH").map(lockgate_model::Secret::reveal);
        let digest = bytes::digest(self.host(), &self.options.dir, &filled, &slotless, path).await?;
        digest.ok_or_else(|| {
            let (program, folder) = (&filled.argv[0], &filled.folder);
            let place = if program.contains('/') { format!("in {folder}") } else { "in PATH".to_owned() };
            PortError::not_found(format!("{} {tag}: no executable {program} {place}", self.service().name))
                .hint("build it or copy it to the host first, and mark it executable")
        })
    }

    /// P5: the bytes that the release's command would run now are the release's.
    pub(crate) async fn require_bytes(&self, release: &Release) -> Result<(), PortError> {
        let gone = |why: &str| {
            PortError::not_found(format!("the bytes of {release} are no longer there: {why}")).hint(
                "put {tag} in the command, so that releases do not overwrite each other, or deploy again",
            )
        };
        match self.digest(&release.tag).await {
            Ok(digest) if digest == release.digest => Ok(()),
            Ok(digest) => Err(gone(&format!(
                "program, arguments, or a file named in them changed; they are {} now",
                digest.short()
            ))),
            Err(error) if error.kind == FailureKind::NotFound => Err(gone(&error.message)),
            Err(error) => Err(error),
        }
    }

    async fn choose_port(&self, slot: Slot, seen: &BTreeMap<Slot, Seen>) -> Result<u16, PortError> {
        if let Some(configured) = self.service().port {
            let port = port::fixed(configured, slot)?;
            let free = port::require_free(self.host(), port).await;
            if !free.as_ref().is_err_and(|error| error.kind == FailureKind::Conflict)
                || !seen.contains_key(&slot)
            {
                return free.map(|()| port);
            }
            // Workers of the slot's own last run may have survived it.
            self.end(slot, Millis::from_secs(REPLACE_GRACE_SECONDS_MAX)).await?;
            return port::require_free(self.host(), port).await.map(|()| port);
        }
        let recorded = |slot: Slot| seen.get(&slot).map(|seen| seen.record.port);
        let avoid: Vec<u16> = self
            .options
            .slots
            .iter()
            .filter(|other| **other != slot)
            .filter_map(|other| recorded(*other))
            .collect();
        port::choose(self.host(), recorded(slot), &avoid).await
    }

    /// Ends every run of the slot, known or left over.
    async fn end(&self, slot: Slot, grace: Millis) -> Result<(), PortError> {
        let kill = Millis::from_secs(KILL_SECONDS_MAX);
        let end = End { host: self.host(), prefix: &self.prefix(slot), slot, grace, kill };
        for ending in end.run().await? {
            match ending {
                Ending::Killed(pid) => {
                    tracing::warn!(%slot, pid, "did not end within {grace} of SIGTERM and was killed");
                }
                Ending::Refused(pid) => {
                    let message =
                        format!("process {pid} of {slot} may not be signalled: it is another user's");
                    return Err(PortError::new(FailureKind::Unauthorized, message));
                }
                Ending::Survives(pid) => {
                    let message = format!("process {pid} of {slot} is still there {kill} after SIGKILL");
                    return Err(
                        PortError::timed_out(message).hint("it waits for a device or a network file system")
                    );
                }
            }
        }
        Ok(())
    }

    /// What an app finds in its environment, and so does what is run beside it.
    fn variables<'a>(
        &'a self,
        slot: Slot,
        record: &'a Record,
        port: &'a str,
        own: Option<&'a Variables>,
    ) -> BTreeMap<&'a str, &'a str> {
        let mut env = self.variables_of(slot, &record.release, own);
        env.insert("PORT", port);
        env
    }

    /// The same for what has no port.
    pub(crate) fn variables_of<'a>(
        &'a self,
        slot: Slot,
        release: &'a Release,
        own: Option<&'a Variables>,
    ) -> BTreeMap<&'a str, &'a str> {
        let service = own.unwrap_or(&self.service().env).iter();
        let mut env: BTreeMap<&str, &str> =
            service.map(|(name, secret)| (name.as_str(), secret.reveal())).collect();
        env.extend([("LOCKGATE_SLOT", slot.as_str()), ("LOCKGATE_TAG", release.tag.as_str())]);
        env
    }

    async fn launch(
        &self,
        slot: Slot,
        record: &Record,
        filled: &Filled,
        own: Option<&Variables>,
    ) -> Result<(), PortError> {
        let port = record.port.to_string();
        let mut env = self.variables(slot, record, &port, own);
        env.insert("LOCKGATE_TOKEN", record.token.as_str());
        let what = format!("start {} in {slot}", record.release);
        let argv = command::with_port(&filled.argv, record.port);
        let launch = Launch {
            prefix: &self.prefix(slot),
            token: &record.token,
            port: record.port,
            folder: &filled.folder,
            argv,
            env,
        };
        match launch.run(self.host(), &what).await? {
            Ok(child) => {
                if let Some(child) = child {
                    self.children.adopt(slot, &record.token, child);
                }
                Ok(())
            }
            Err(why) => Err(self.not_started(slot, &what, &why, filled).await),
        }
    }

    /// Of those that the configuration sets, as the slot's process has them. `None` where none runs.
    async fn environment_in(&self, slot: Slot) -> Result<Option<Variables>, PortError> {
        match self.look().await?.remove(&slot).filter(|held| held.alive) {
            Some(held) => self.environment_of(&held).await,
            None => Ok(None),
        }
    }

    async fn environment_of(&self, held: &Seen) -> Result<Option<Variables>, PortError> {
        let Some(run) = &held.run else { return Ok(None) };
        // Gone meanwhile, or another user's.
        let read = match self.host().read(&format!("/proc/{}/environ", run.pid)).await {
            Err(error) if error.is_silence() => return Err(error),
            read => read.ok().and_then(|file| file.content),
        };
        Ok(read.map(|environ| named(&environ, self.service())))
    }

    /// `own`: the environment variables in the place of today's.
    async fn start_slot(
        &self,
        slot: Slot,
        release: &Release,
        own: Option<&Variables>,
    ) -> Result<(), PortError> {
        for _ in 0..INTENT_TRIES_MAX {
            let seen = self.look().await?;
            let held = seen.get(&slot);
            if held.is_some_and(|held| held.alive && held.record.release.same_bytes(release)) {
                return Ok(());
            }
            // All that can be refused is refused before what the slot held is stopped.
            if own.is_none() {
                demand_values(self.service())?;
            }
            let filled = self.fill(slot, &release.tag)?;
            self.require_bytes(release).await?;
            if held.is_some_and(|held| held.alive) {
                self.end(slot, Millis::from_secs(REPLACE_GRACE_SECONDS_MAX)).await?;
            }
            let port = self.choose_port(slot, &seen).await?;
            let started_at = self.host().read(&format!("{}.json", self.prefix(slot))).await?.now;
            let record = Record { token: Record::new_token(), port, started_at, release: release.clone() };
            // The intent comes first: from here on whatever the launcher becomes is found by its token.
            let before = held.map(|held| &held.record);
            if record.swap(self.host(), &self.options.dir, slot, before).await? {
                return self.launch(slot, &record, &filled, own).await;
            }
        }
        Err(changing(slot))
    }

    async fn not_started(&self, slot: Slot, what: &str, why: &str, filled: &Filled) -> PortError {
        let logs = self.logs(slot, ERROR_LOG_LINES).await.unwrap_or_default();
        PortError::other(format!("{what}: {why}"))
            .logs(logs)
            .hint(format!("look at {} on the host", filled.folder))
    }

    async fn running_in(&self, slot: Slot) -> Result<Seen, PortError> {
        let held = self.look().await?.remove(&slot).filter(|held| held.alive);
        held.ok_or_else(|| PortError::not_found(format!("no process of {slot} runs")))
    }

    /// A program beside the slot's process, in its folder and with its environment.
    async fn inside(&self, slot: Slot, held: &Seen, argv: Vec<String>) -> Result<Command, PortError> {
        let record = &held.record;
        let port = record.port.to_string();
        let mut command = Command::new(argv).cwd(self.fill(slot, &record.release.tag)?.folder);
        let own = self.environment_of(held).await?;
        for (name, value) in self.variables(slot, record, &port, own.as_ref()) {
            command = command.env(name, value);
        }
        Ok(command)
    }

    async fn seen_in(&self, slot: Slot, port: Option<u16>) -> Result<Vec<Finding>, PortError> {
        let seen = self.look().await?;
        let Some(seen) = seen.get(&slot) else { return Ok(vec![format!("{slot} holds nothing")]) };
        let end = if seen.alive { None } else { self.children.end(slot, &seen.record.token).await };
        diagnose::findings(self.host(), &self.options.dir, slot, seen, port, end.as_deref()).await
    }
}

/// The variables of `/proc/<pid>/environ` that the service's configuration names, whether their values are known here or not.
fn named(environ: &[u8], service: &Service) -> Variables {
    let entries = environ.split(|byte| *byte == 0).filter_map(|entry| std::str::from_utf8(entry).ok());
    let pairs = entries.filter_map(|entry| entry.split_once('='));
    let is_ours = |name: &str| service.env.contains_key(name) || service.env_from.contains_key(name);
    let ours = pairs.filter(|(name, _)| is_ours(name));
    ours.map(|(name, value)| (name.to_owned(), Secret::new(value))).collect()
}

fn changing(slot: Slot) -> PortError {
    PortError::new(FailureKind::Conflict, format!("somebody else starts or stops {slot} at the same time"))
        .hint("look who else deploys to this host, then run the command again")
}

fn view(slot: Slot, seen: Seen) -> RuntimeSlot {
    let state = if seen.alive { SlotState::Running } else { SlotState::Stopped };
    let endpoint = seen.alive.then(|| Endpoint::Tcp(format!("127.0.0.1:{}", seen.record.port)));
    let owner = seen.run.filter(|_| seen.alive).map(|run| Owner::Process {
        pid: run.pid,
        began: run.began,
        boot_id: run.boot_id,
    });
    RuntimeSlot {
        slot,
        state,
        started_at: Some(seen.record.started_at),
        restarts: 0,
        replicas: vec![Replica { name: None, state, endpoint: endpoint.clone(), owner }],
        endpoint,
        release: Some(seen.record.release),
        stop_grace: None,
    }
}

#[async_trait]
impl Runtime for Process {
    fn name(&self) -> &'static str {
        "process"
    }

    async fn resolve(&self, tag: &Tag) -> Result<Release, PortError> {
        let digest = self.digest(tag).await?;
        Ok(Release {
            service: self.service().name.clone(),
            tag: tag.clone(),
            digest,
            image: None,
            commit: None,
            provenance: None,
        })
    }

    async fn slots(&self) -> Result<Vec<RuntimeSlot>, PortError> {
        Ok(self.look().await?.into_iter().map(|(slot, seen)| view(slot, seen)).collect())
    }

    async fn publishes(&self, address: SocketAddr) -> Result<Option<Slot>, PortError> {
        host_port::publishes(&self.options, address).await
    }

    /// Each slot has its own port, so nothing but a port that the service names.
    async fn conflicts(&self) -> Result<Vec<String>, PortError> {
        host_port::conflicts(&self.options).await
    }

    /// Bytes come to the host by other means; this only looks whether they have.
    async fn fetch(&self, release: &Release) -> Result<(), PortError> {
        self.require_bytes(release).await
    }

    async fn start(&self, slot: Slot, release: &Release) -> Result<(), PortError> {
        self.start_slot(slot, release, None).await
    }

    fn has_environments(&self) -> bool {
        true
    }

    async fn environment(&self, slot: Slot) -> Result<Option<Variables>, PortError> {
        self.environment_in(slot).await
    }

    async fn todays_environment(&self, _slot: Slot, _release: &Release) -> Result<Variables, PortError> {
        Ok(self.service().env.clone())
    }

    fn unknown_variables(&self) -> Vec<String> {
        self.service().env_from.keys().cloned().collect()
    }

    async fn start_with(
        &self,
        slot: Slot,
        release: &Release,
        variables: &Variables,
    ) -> Result<(), PortError> {
        self.start_slot(slot, release, Some(variables)).await
    }

    async fn stop(&self, slot: Slot, grace: Millis) -> Result<(), PortError> {
        for _ in 0..INTENT_TRIES_MAX {
            let Some(held) = self.look().await?.remove(&slot) else { return Ok(()) };
            // A launcher may still be on its way: with another token in the record it ends itself.
            let other = Record { token: Record::new_token(), ..held.record.clone() };
            if held.run.is_some()
                || held.ended
                || other.swap(self.host(), &self.options.dir, slot, Some(&held.record)).await?
            {
                return self.end(slot, grace).await;
            }
        }
        Err(changing(slot))
    }

    async fn logs(&self, slot: Slot, lines: u32) -> Result<Vec<String>, PortError> {
        let (path, count) = (format!("{}.log", self.prefix(slot)), lines.min(LOG_LINES_MAX).to_string());
        let command = Command::new(["sh", "-c", script::LOG, "sh", &count, &path]);
        let output = script::run(self.host(), &format!("read the log of {slot}"), &command).await?;
        Ok(output.stdout_text().lines().map(str::to_owned).collect())
    }

    async fn diagnose(&self, slot: Slot, port: Option<u16>) -> Diagnosis {
        match self.seen_in(slot, port).await {
            Ok(findings) => findings.into(),
            Err(error) => vec![format!("the host could not be looked at: {error}")].into(),
        }
    }

    async fn run_in(&self, slot: Slot, argv: &[Template], limit: Millis) -> Result<Output, PortError> {
        let held = self.running_in(slot).await?;
        let record = &held.record;
        let vars = Vars {
            service: Some(&self.service().name),
            environment: Some(&self.options.environment),
            slot: Some(slot),
            port: Some(record.port),
            tag: Some(&record.release.tag),
            digest: Some(&record.release.digest),
        };
        let fill = |part: &Template| {
            part.fill(&vars).map_err(|error| PortError::other(format!("`health: {part}`: {error}")))
        };
        let argv: Vec<String> = argv.iter().map(fill).collect::<Result<_, _>>()?;
        let argv = command::with_port(&argv, record.port);
        self.host().exec(&self.inside(slot, &held, argv).await?.timeout(limit)).await
    }

    async fn entering(&self, slot: Slot, argv: &[String], _is_tty: bool) -> Result<Command, PortError> {
        let held = self.running_in(slot).await?;
        self.inside(slot, &held, argv.to_vec()).await
    }

    async fn beside(
        &self,
        slot: Slot,
        release: &Release,
        argv: &[String],
        _is_tty: bool,
    ) -> Result<Command, PortError> {
        demand_values(self.service())?;
        self.require_bytes(release).await?;
        let mut command = Command::new(argv.to_vec()).cwd(self.fill(slot, &release.tag)?.folder);
        for (name, value) in self.variables_of(slot, release, None) {
            command = command.env(name, value);
        }
        Ok(command)
    }

    fn one_offs(&self) -> Option<&dyn OneOffs> {
        Some(self)
    }

    /// Nothing is ours to remove: the bytes were put on the host by somebody else, and a log is replaced by the next.
    async fn prune(&self, _keep: &[Release]) -> Result<Vec<String>, PortError> {
        Ok(Vec::new())
    }

    async fn check(&self) -> Vec<Check> {
        let (mut checks, conflicts) =
            tokio::join!(crate::check::checks(&self.options), host_port::conflicts(&self.options));
        let what = "port of the service";
        checks.extend(match conflicts {
            Ok(conflicts) if conflicts.is_empty() => None,
            Ok(conflicts) => Some(Check::bad(what, conflicts.join("; "), "as said")),
            Err(error) => Some(Check::bad(what, error.to_string(), "make the host reachable")),
        });
        checks
    }
}
