//! A host's lease record in memory, and a plan.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use lockgate_engine::{Clock, EventSink, Journal, JournalError, LeaseStore, RunFile, RunFilter, RunSummary};
use lockgate_model::{
    Digest, EnvironmentName, Event, Failure, FailureKind, Gates, HostId, Intent, LeaseRecord, Phase, Place,
    Plan, ProjectName, RECORD_BYTES_MAX, Release, RunFileName, RunId, ServiceName, Strategy, Tag, Timestamp,
};
use tokio::sync::Notify;
use tokio::time::Instant;

/// What was asked of a host's record and the files beside it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub operations: u64,
    pub record_bytes: u64,
    pub file_bytes: u64,
}

/// One host's record, its clock, and how long a look takes.
pub struct Record {
    pub host: HostId,
    pub place: Place,
    pub content: Arc<Mutex<Option<Vec<u8>>>>,
    /// The files of runs beside it.
    pub files: Arc<Mutex<BTreeMap<RunFileName, Vec<u8>>>>,
    pub counts: Mutex<Counts>,
    /// How long the next file takes to be written.
    pub writing: Mutex<Duration>,
    /// After how long whoever does the next swap hears that it is done.
    pub answer: Mutex<Duration>,
    began: Instant,
    pub clock_error_millis: Mutex<i64>,
    pub look: Mutex<Duration>,
    /// How long every look takes that is not the next one.
    pub every_look: Mutex<Duration>,
    pub is_silent: Mutex<bool>,
    /// Told when it is noticed that the host has fallen silent.
    pub noticed: Notify,
}

impl Record {
    pub fn of(host: &str) -> Arc<Self> {
        Arc::new(Self {
            host: HostId::new(host).unwrap(),
            place: HostId::new(host).unwrap().into(),
            content: Arc::default(),
            files: Arc::default(),
            counts: Mutex::default(),
            writing: Mutex::new(Duration::ZERO),
            answer: Mutex::new(Duration::ZERO),
            began: Instant::now(),
            clock_error_millis: Mutex::new(0),
            look: Mutex::new(Duration::ZERO),
            every_look: Mutex::new(Duration::ZERO),
            is_silent: Mutex::new(false),
            noticed: Notify::new(),
        })
    }

    /// What the store has instead of a host.
    pub fn stored() -> Arc<Self> {
        let mut record = Self::of("store");
        Arc::get_mut(&mut record).unwrap().place = Place::Store;
        record
    }

    /// The same machine under another name.
    pub fn alias(&self, host: &str) -> Arc<Self> {
        let mut alias = Self::of(host);
        let fresh = Arc::get_mut(&mut alias).unwrap();
        (fresh.content, fresh.began) = (self.content.clone(), self.began);
        fresh.files = self.files.clone();
        alias
    }

    pub fn now(&self) -> Timestamp {
        Timestamp(
            1_000_000_000
                + self.began.elapsed().as_millis() as i64
                + *self.clock_error_millis.lock().unwrap(),
        )
    }

    fn count(&self, record_bytes: usize, file_bytes: usize) {
        let mut counts = self.counts.lock().unwrap();
        counts.operations += 1;
        counts.record_bytes += record_bytes as u64;
        counts.file_bytes += file_bytes as u64;
    }

    /// Somebody else holds the lease from now on, whatever the one who had it does.
    pub fn take_over(&self) {
        let mut record = self.record();
        record.token += 1;
        record.holder.as_mut().unwrap().pid += 1;
        *self.content.lock().unwrap() = Some(serde_json::to_vec(&record).unwrap());
    }

    fn exchange(&self, version: Option<&[u8]>, record: &LeaseRecord) -> bool {
        let mut content = self.content.lock().unwrap();
        if content.as_deref() != version {
            return false;
        }
        let written = serde_json::to_vec(record).unwrap();
        assert!(written.len() <= RECORD_BYTES_MAX, "{} bytes", written.len());
        self.count(written.len(), 0);
        *content = Some(written);
        true
    }

    pub fn record(&self) -> LeaseRecord {
        self.content
            .lock()
            .unwrap()
            .as_deref()
            .map_or_else(LeaseRecord::default, |content| serde_json::from_slice(content).unwrap())
    }
}

#[async_trait]
impl LeaseStore for Record {
    fn place(&self) -> &Place {
        &self.place
    }

    async fn read(&self) -> Result<(LeaseRecord, Option<Vec<u8>>, Timestamp), Failure> {
        let next = std::mem::take(&mut *self.look.lock().unwrap());
        let look = next.max(*self.every_look.lock().unwrap());
        tokio::time::sleep(look).await;
        if *self.is_silent.lock().unwrap() {
            return Err(Failure::new(FailureKind::Unreachable, "no route"));
        }
        let content = self.content.lock().unwrap().clone();
        self.count(content.as_ref().map_or(0, Vec::len), 0);
        Ok((self.record(), content, self.now()))
    }

    async fn gone(&self) -> Failure {
        self.noticed.notified().await;
        Failure::new(FailureKind::Unreachable, "no route any more")
    }

    async fn swap(&self, version: Option<&[u8]>, record: &LeaseRecord) -> Result<bool, Failure> {
        let is_done = self.exchange(version, record);
        let answer = std::mem::take(&mut *self.answer.lock().unwrap());
        tokio::time::sleep(answer).await;
        Ok(is_done)
    }

    async fn keep(&self, file: &RunFile) -> Result<(), Failure> {
        let writing = std::mem::take(&mut *self.writing.lock().unwrap());
        tokio::time::sleep(writing).await;
        self.count(0, file.content.len());
        self.files.lock().unwrap().insert(file.name.clone(), file.content.clone());
        Ok(())
    }

    async fn plan(&self, name: &RunFileName) -> Result<Plan, Failure> {
        let content = self.files.lock().unwrap().get(name).cloned();
        let content = content.ok_or_else(|| Failure::new(FailureKind::NotFound, "it is not there"))?;
        self.count(0, content.len());
        RunFile::plan(name, &content).map_err(|why| Failure::new(FailureKind::Other, why))
    }

    async fn forget(&self, name: &RunFileName) -> Result<(), Failure> {
        self.count(0, 0);
        self.files.lock().unwrap().remove(name);
        Ok(())
    }

    async fn files(&self) -> Result<Vec<RunFileName>, Failure> {
        self.count(0, 0);
        Ok(self.files.lock().unwrap().keys().cloned().collect())
    }
}

/// A journal and a sink that keep nothing, and a clock that stands still: for tests that are about something else.
pub struct Forgets;

#[async_trait]
impl Journal for Forgets {
    async fn append(&self, _event: &Event) -> Result<(), JournalError> {
        Ok(())
    }

    async fn load(&self, _run: RunId) -> Result<Vec<Event>, JournalError> {
        Ok(Vec::new())
    }

    async fn runs(&self, _filter: &RunFilter) -> Result<Vec<RunSummary>, JournalError> {
        Ok(Vec::new())
    }
}

impl EventSink for Forgets {
    fn event(&self, _event: &Event) {}
}

impl Clock for Forgets {
    fn now(&self) -> Timestamp {
        Timestamp(0)
    }
}

pub fn release() -> Release {
    Release {
        service: ServiceName::new("web").unwrap(),
        tag: Tag::new("v1").unwrap(),
        digest: Digest::new(format!("sha256:{}", "1".repeat(64))).unwrap(),
        image: None,
        commit: None,
        provenance: None,
    }
}

/// To deploy [`release`] for the first time.
pub fn plan(hosts: Vec<HostId>, phases: Vec<Phase>) -> Plan {
    let release = release();
    Plan {
        project: ProjectName::new("p").unwrap(),
        service: release.service.clone(),
        environment: EnvironmentName::new("prod").unwrap(),
        strategy: Strategy::BlueGreen,
        intent: Intent::Deploy { release: release.clone(), gates: Gates::All, again: false },
        hosts,
        without: Vec::new(),
        before: BTreeMap::new(),
        release,
        phases,
    }
}
