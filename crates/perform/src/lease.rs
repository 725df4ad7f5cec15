//! The lease record as a file on the host, changed by the host's compare-and-swap, and the files of runs beside it.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use lockgate_engine::{LeaseStore, RunFile};
use lockgate_model::{
    Begun, Failure, FailureKind, Holder, LeaseRecord, Place, Plan, PlanPlace, RunFileName, TOLD_CHARS_MAX,
    Timestamp, quoted,
};
use lockgate_ports::{Host, HostFile, HostPorts, PortError, Swapped};

/// Permission bits of a run's file: who may only look sees what is under way, as with the record.
const RUN_FILE_MODE: u32 = 0o644;

/// `<home>/.lockgate/lease.json` on one host.
pub struct HostLease {
    host: Arc<dyn Host>,
    place: Place,
    folder: String,
    path: String,
    /// Who held the record whose bytes these are: they are asked for before every effect and change with every
    /// heartbeat only.
    glanced: Mutex<Option<Glanced>>,
}

struct Glanced {
    content: Vec<u8>,
    token: u64,
    holder: Option<Holder>,
}

impl HostLease {
    #[must_use]
    pub fn new(ports: &HostPorts) -> Self {
        let folder = format!("{}/.lockgate", ports.home);
        let path = format!("{folder}/lease.json");
        let place = Place::from(ports.host.id().clone());
        Self { host: ports.host.clone(), place, folder, path, glanced: Mutex::new(None) }
    }

    fn path_of(&self, name: &RunFileName) -> String {
        format!("{}/{name}", self.folder)
    }

    fn failure(&self, error: PortError) -> Failure {
        Failure::from(error).at(self.host.id())
    }

    /// The plan of what is unfinished, for who only looks: whoever wrote it.
    ///
    /// # Errors
    /// As for [`LeaseStore::plan`].
    pub async fn glimpse_plan(&self, begun: &Begun) -> Result<Plan, Failure> {
        match (&begun.plan, begun.file()) {
            (PlanPlace::Within(plan), _) => Ok((**plan).clone()),
            (PlanPlace::Beside(_), None) => Err(self.odd(&self.path, "names no file")),
            (PlanPlace::Beside(_), Some(name)) => {
                self.parse_plan(&name, self.host.read(&self.path_of(&name)).await)
            }
        }
    }

    fn parse_plan(&self, name: &RunFileName, file: Result<HostFile, PortError>) -> Result<Plan, Failure> {
        let path = self.path_of(name);
        let content = file.map_err(|error| self.failure(error))?.content.ok_or_else(|| {
            let message = format!("{path}, which has the plan of the run {}, is missing", name.run);
            Failure::new(FailureKind::NotFound, message).at(self.host.id())
        })?;
        RunFile::plan(name, &content).map_err(|why| self.odd(&path, &why))
    }

    fn odd(&self, path: &str, why: &str) -> Failure {
        Failure::new(FailureKind::Other, format!("{path} {why}")).at(self.host.id())
    }

    fn remember(&self, content: Vec<u8>, record: &LeaseRecord) {
        let mut glanced = self.glanced.lock().unwrap_or_else(PoisonError::into_inner);
        *glanced = Some(Glanced { content, token: record.token, holder: record.holder.clone() });
    }

    fn known(&self, content: &[u8]) -> Option<(u64, Option<Holder>)> {
        let glanced = self.glanced.lock().unwrap_or_else(PoisonError::into_inner);
        let known = glanced.as_ref().filter(|known| known.content == content)?;
        Some((known.token, known.holder.clone()))
    }

    async fn look(&self) -> Result<HostFile, Failure> {
        self.host.read(&self.path).await.map_err(|error| self.failure(error))
    }

    /// Taking an unreadable record for a free lease would let two run at once.
    fn parse(&self, content: Option<&[u8]>) -> Result<LeaseRecord, Failure> {
        let Some(content) = content else { return Ok(LeaseRecord::default()) };
        serde_json::from_slice(content).map_err(|error| {
            // The error has words of the record in it.
            let error = quoted(&error.to_string(), TOLD_CHARS_MAX);
            Failure::new(FailureKind::Other, format!("{} does not parse: {error}", self.path))
                .at(self.host.id())
                .hint("a newer Lockgate may have written it; if the file is damaged, move it away")
        })
    }
}

#[async_trait]
impl LeaseStore for HostLease {
    fn place(&self) -> &Place {
        &self.place
    }

    fn path(&self) -> String {
        self.path.clone()
    }

    async fn read(&self) -> Result<(LeaseRecord, Option<Vec<u8>>, Timestamp), Failure> {
        let file = self.look().await?;
        let record = self.parse(file.content.as_deref())?;
        Ok((record, file.content, file.now))
    }

    async fn glance(&self) -> Result<(u64, Option<Holder>, Timestamp), Failure> {
        let file = self.look().await?;
        if let Some((token, holder)) = file.content.as_deref().and_then(|content| self.known(content)) {
            return Ok((token, holder, file.now));
        }
        let record = self.parse(file.content.as_deref())?;
        self.remember(file.content.unwrap_or_default(), &record);
        Ok((record.token, record.holder, file.now))
    }

    async fn gone(&self) -> Failure {
        Failure::from(self.host.gone().await).at(self.host.id())
    }

    async fn swap(&self, version: Option<&[u8]>, record: &LeaseRecord) -> Result<bool, Failure> {
        let content = serde_json::to_vec(record).map_err(|error| {
            Failure::new(FailureKind::Other, format!("the lease cannot be written: {error}"))
        })?;
        let swapped = self.host.swap(&self.path, version, &content).await;
        let swapped = swapped.map_err(|error| self.failure(error))? == Swapped::Yes;
        if swapped {
            self.remember(content, record);
        }
        Ok(swapped)
    }

    async fn keep(&self, file: &RunFile) -> Result<(), Failure> {
        let path = self.path_of(&file.name);
        self.host.write_own(&path, &file.content, RUN_FILE_MODE).await.map_err(|error| self.failure(error))
    }

    async fn plan(&self, name: &RunFileName) -> Result<Plan, Failure> {
        self.parse_plan(name, self.host.read_own(&self.path_of(name)).await)
    }

    async fn forget(&self, name: &RunFileName) -> Result<(), Failure> {
        self.host.remove(&self.path_of(name)).await.map_err(|error| self.failure(error))
    }

    async fn files(&self) -> Result<Vec<RunFileName>, Failure> {
        let names = self.host.names(&self.folder, RunFileName::PREFIX).await;
        let names = names.map_err(|error| self.failure(error))?;
        Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
    }
}
