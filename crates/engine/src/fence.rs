//! The leases that we hold: asked before every effect, renewed by heartbeats, told of the run.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex as StdMutex, OnceLock, PoisonError};
use std::time::Duration;

use futures_util::future::{FutureExt, join_all, try_join_all};
use futures_util::stream::{self, FuturesUnordered, StreamExt};
use lockgate_model::{
    Begun, Failure, FailureKind, Holder, HostId, Identity, LeaseRecord, LeftOut, Millis, Outcome, Place,
    PlanPlace, Progress, RunEnd, RunFileName, Timestamp,
};
use tokio::sync::{Mutex, MutexGuard};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::RunFile;
use crate::lease::{HOSTS_AT_ONCE_MAX, LeaseStore, SWAP_ATTEMPTS_MAX, restless};

/// A living holder renews this often per lifetime, so that two lost heartbeats do no harm.
const RENEWALS_PER_TTL: u32 = 3;
/// Longest wait for the removal of a file that nothing depends on.
const REMOVAL_SECONDS_MAX: u64 = 5;
/// Files of earlier runs that are removed at once.
const SWEPT_FILES_MAX: usize = 16;

/// One place's lease, held, and renewed for as long as this lives.
pub(crate) struct Held {
    lease: Arc<Lease>,
    heartbeat: JoinHandle<()>,
}

struct Lease {
    store: Arc<dyn LeaseStore>,
    identity: Identity,
    ttl: Duration,
    /// As last written by us.
    record: Mutex<LeaseRecord>,
    /// Until then nobody else takes it for expired, as far as was seen when it was last looked at or written.
    safe_until: StdMutex<Instant>,
    /// What the record says of runs is about a later one than ours, and stays.
    left: AtomicBool,
}

impl Held {
    /// A lease that has just been taken with this record, whose time was asked for at `asked`.
    pub fn new(
        store: Arc<dyn LeaseStore>,
        identity: Identity,
        ttl: Millis,
        record: LeaseRecord,
        asked: Instant,
    ) -> Self {
        let (record, left, ttl) = (Mutex::new(record), AtomicBool::new(false), ttl.duration());
        let safe_until = StdMutex::new(asked + ttl);
        let lease = Arc::new(Lease { store, identity, ttl, record, safe_until, left });
        Self { heartbeat: tokio::spawn(lease.clone().renew()), lease }
    }

    pub fn place(&self) -> &Place {
        self.lease.store.place()
    }

    pub fn store(&self) -> &dyn LeaseStore {
        self.lease.store.as_ref()
    }

    /// As last written by us.
    pub async fn record(&self) -> MutexGuard<'_, LeaseRecord> {
        self.lease.record.lock().await
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.heartbeat.abort();
    }
}

impl Lease {
    /// Each host by itself: one that has died must not let the leases on the others expire. A heartbeat that fails is tried
    /// again at the next beat; the fence is what notices a lost lease. Ends when the lease was given up.
    async fn renew(self: Arc<Self>) {
        loop {
            tokio::time::sleep(self.ttl / RENEWALS_PER_TTL).await;
            if self.record.lock().await.holder.is_none() {
                return;
            }
            if let Err(failure) = self.update(&renewed).await {
                tracing::debug!(%failure, place = %self.store.place(), "a heartbeat failed");
            }
        }
    }

    async fn check(&self) -> Result<Duration, Failure> {
        let token = self.record.lock().await.token;
        let asked = Instant::now();
        let (seen, holder, now) = self.store.glance().await?;
        self.ours(seen, holder.as_ref(), token)?;
        let left = self.trust(asked, holder.as_ref(), now);
        if left > self.ttl / RENEWALS_PER_TTL {
            return Ok(left);
        }
        self.update(&renewed).await?;
        Ok(self.ttl)
    }

    /// Looks, unless the host stops answering meanwhile.
    async fn confirm(&self) -> Result<(), Failure> {
        tokio::select! {
            biased;
            looked = self.check() => looked.map(drop),
            gone = self.store.gone() => Err(gone),
        }
    }

    /// Notes how long the lease is safe, and says so: `now` is the host's time when it was asked at `asked`, and had this
    /// holder.
    fn trust(&self, asked: Instant, holder: Option<&Holder>, now: Timestamp) -> Duration {
        let age = holder.map_or(self.ttl, |holder| now.since(holder.renewed_at).duration());
        let left = self.ttl.saturating_sub(age);
        self.note_safe(asked + left);
        left
    }

    fn note_safe(&self, until: Instant) {
        *self.safe_until.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }

    fn is_safe(&self) -> bool {
        Instant::now() < *self.safe_until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ours(&self, seen: u64, holder: Option<&Holder>, token: u64) -> Result<(), Failure> {
        if seen == token && holder.is_some_and(|holder| self.identity.is(holder)) {
            return Ok(());
        }
        // Whoever it was that looked: a heartbeat tells nobody.
        self.note_safe(Instant::now());
        let by = holder.map_or("somebody who is done".to_owned(), |holder| holder.clone().told().owner);
        Err(Failure::new(FailureKind::LeaseLost, format!("the lease was taken over by {by}"))
            .hint("nothing more was changed from here; `lockgate status` shows what the other one made of it")
            .at_place(self.store.place()))
    }

    async fn update(&self, change: &impl Fn(&mut LeaseRecord, Timestamp)) -> Result<(), Failure> {
        let mut written = self.record.lock().await;
        for _ in 0..SWAP_ATTEMPTS_MAX {
            let asked = Instant::now();
            let (mut record, version, now) = self.store.read().await?;
            let given_up = written.holder.is_none();
            if !given_up {
                self.ours(record.token, record.holder.as_ref(), written.token)?;
            } else if record.token != written.token {
                // Given up already, and somebody else went on: nothing of ours is left to say.
                return Ok(());
            }
            let before = named(&record);
            change(&mut record, now);
            if self.store.swap(version.as_deref(), &record).await? {
                let gone = before.filter(|name| named(&record).as_ref() != Some(name));
                self.trust(asked, record.holder.as_ref(), now);
                *written = record;
                drop(written);
                self.forget(gone).await;
                return Ok(());
            }
        }
        Err(restless())
    }

    /// What the record does not name any more. What stays all the same is swept by a later run.
    async fn forget(&self, gone: Option<RunFileName>) {
        let Some(name) = gone else { return };
        let bound = Duration::from_secs(REMOVAL_SECONDS_MAX);
        let removed = tokio::time::timeout(bound, self.store.forget(&name)).await;
        if !matches!(removed, Ok(Ok(()))) {
            tracing::debug!(?removed, place = %self.store.place(), %name, "a run's file stays for now");
        }
    }

    /// Puts the run's file beside the record, where the record does not name it already. Heartbeats go on meanwhile. Says
    /// which other files stand there that the record does not name.
    async fn keep(&self, file: &RunFile) -> Result<Vec<RunFileName>, Failure> {
        let known = named(&*self.record.lock().await);
        if known.as_ref() == Some(&file.name) {
            return Ok(Vec::new());
        }
        let (kept, there) = tokio::join!(self.store.keep(file), self.store.files());
        kept?;
        let mut others = there.unwrap_or_else(|failure| {
            tracing::debug!(%failure, place = %self.store.place(), "files of earlier runs stay for now");
            Vec::new()
        });
        others.retain(|name| *name != file.name && Some(name) != known.as_ref());
        Ok(others)
    }

    /// Removes some files of earlier runs, which were there while the lease was ours, as it has shown since: whoever put
    /// them there is too late to name them.
    async fn sweep(&self, others: Vec<RunFileName>) {
        for name in others.into_iter().take(SWEPT_FILES_MAX) {
            self.forget(Some(name)).await;
        }
    }
}

fn named(record: &LeaseRecord) -> Option<RunFileName> {
    record.unfinished.as_ref().and_then(Begun::file)
}

/// The leases we hold, renewed until this is dropped or they are given up. Every effect asks [`Fence::check`] first.
pub struct Fence {
    held: Vec<Held>,
    ttl: Millis,
    /// Hosts of the environment that what is run goes without.
    left_out: OnceLock<Vec<HostId>>,
}

impl Fence {
    pub(crate) fn new(held: Vec<Held>, ttl: Millis) -> Self {
        Self { held, ttl, left_out: OnceLock::new() }
    }

    pub(crate) fn held(&self) -> &[Held] {
        &self.held
    }

    /// Looks at the host's record (at every host's beside each other for a step of no single host): the lease must still
    /// be ours, by token. A paused orchestrator that wakes up late finds here that it was replaced.
    ///
    /// Says how long, from when it was asked, nobody else can take the lease; one that is about to expire is renewed.
    ///
    /// # Errors
    /// `LeaseLost`, or the host's failure when it cannot be asked.
    pub async fn check(&self, host: Option<&HostId>) -> Result<Duration, Failure> {
        // Where no lease is held on the host itself, all of them stand for it.
        let host = host.filter(|host| self.held.iter().any(|one| one.place().is(host)));
        let asked = self.held.iter().filter(|one| host.is_none_or(|host| one.place().is(host)));
        let looks = asked
            .map(|one| async { one.lease.check().await.map_err(|failure| failure.at_place(one.place())) });
        let trusted = try_join_all(looks).await?;
        Ok(trusted.into_iter().min().unwrap_or(self.ttl.duration()))
    }

    /// Looks at every lease, before something is said for all hosts that must not come from somebody who was replaced. Unlike
    /// [`Fence::check`] it waits for no host that [has stopped answering](LeaseStore::gone).
    ///
    /// # Errors
    /// `LeaseLost` where one lease is lost, whatever the others come to; else the failure of a host that cannot be asked.
    pub async fn confirm(&self) -> Result<(), Failure> {
        confirm(self.held.iter()).await
    }

    /// As [`Fence::confirm`], at the [overdue](Fence::is_overdue) leases alone: costs nothing where there are none.
    ///
    /// # Errors
    /// As there.
    pub async fn confirm_overdue(&self) -> Result<(), Failure> {
        confirm(self.held.iter().filter(|one| !one.lease.is_safe())).await
    }

    /// Somebody else may have taken a lease since it was last looked at or renewed: only where an orchestrator stood still for
    /// a while, or a host does not answer. It goes by this machine's clock, which stands still while the machine sleeps, and cannot know that a host's
    /// clock was set forward before a heartbeat has seen what came of it.
    pub(crate) fn is_overdue(&self) -> bool {
        self.held.iter().any(|one| !one.lease.is_safe())
    }

    /// Returns when the host (for a step of no single host: any host) [has stopped answering](LeaseStore::gone).
    pub(crate) async fn gone(&self, host: Option<&HostId>) -> Failure {
        let asked = self.held.iter().filter(|one| host.is_none_or(|host| one.place().is(host)));
        let mut all: FuturesUnordered<_> =
            asked.map(|one| async { one.lease.store.gone().await.at_place(one.place()) }).collect();
        match all.next().await {
            Some(failure) => failure,
            None => std::future::pending().await,
        }
    }

    /// The ends of runs say from here on that they went without these hosts. Only the first call counts.
    pub fn leave_out(&self, hosts: Vec<HostId>) {
        self.left_out.get_or_init(|| hosts);
    }

    /// What a record says of whom runs left out, when `end` is the last: who had `before` been left out stays behind until
    /// a run that leaves out nobody succeeds.
    fn left_out(&self, end: &RunEnd, by: &Identity, before: Option<LeftOut>) -> Option<LeftOut> {
        let succeeded = matches!(end.outcome, Outcome::Succeeded { .. });
        let hosts = self.left_out.get().map(Vec::as_slice).unwrap_or_default();
        match LeftOut::new(end.run, hosts, &by.owner, end.at) {
            None if succeeded => None,
            None => before,
            Some(left_out) => Some(left_out.and(before.as_ref().filter(|_| !succeeded))),
        }
    }

    /// From here on the records of these hosts say nothing of the run; their leases are held as before.
    pub fn leave(&self, hosts: &[HostId]) {
        for one in self.held.iter().filter(|one| one.place().host().is_some_and(|host| hosts.contains(host)))
        {
            one.lease.left.store(true, Ordering::Relaxed);
        }
    }

    /// Writes down on every host which run is under way, how far it got and why it turned back, so that any machine can
    /// finish it. Its plan is there first.
    ///
    /// # Errors
    /// `LeaseLost` or a host's failure. Of several hosts each is told, where that can be.
    pub async fn mark(
        &self,
        file: &RunFile,
        progress: Progress,
        cause: Option<&Failure>,
    ) -> Result<(), Failure> {
        self.mark_each(self.held.iter(), file, progress, cause).await
    }

    /// As [`Fence::mark`], on one host.
    ///
    /// # Errors
    /// As there.
    pub async fn mark_on(
        &self,
        host: &HostId,
        file: &RunFile,
        progress: Progress,
        cause: Option<&Failure>,
    ) -> Result<(), Failure> {
        let ours: Vec<&Held> = self.held.iter().filter(|one| one.place().is(host)).collect();
        self.mark_each(ours.into_iter(), file, progress, cause).await
    }

    async fn mark_each(
        &self,
        held: impl Iterator<Item = &Held>,
        file: &RunFile,
        progress: Progress,
        cause: Option<&Failure>,
    ) -> Result<(), Failure> {
        let cause = cause.map(Failure::in_short);
        let cause = &cause;
        let marks: Vec<_> = held.map(|one| self.mark_one(one, file, progress, cause).boxed()).collect();
        let told: Vec<_> = stream::iter(marks).buffer_unordered(HOSTS_AT_ONCE_MAX).collect().await;
        told.into_iter().collect()
    }

    async fn mark_one(
        &self,
        one: &Held,
        file: &RunFile,
        progress: Progress,
        cause: &Option<Failure>,
    ) -> Result<(), Failure> {
        let lease = &one.lease;
        let others = match lease.left.load(Ordering::Relaxed) {
            true => Vec::new(),
            false => lease.keep(file).await.map_err(|failure| failure.at_place(one.place()))?,
        };
        let plan = PlanPlace::Beside(file.name.checksum.clone());
        let begun = Begun { run: file.name.run, plan, progress, cause: cause.clone() };
        self.tell(std::iter::once(one), |record| record.begin(begun.clone())).await?;
        lease.sweep(others).await;
        Ok(())
    }

    /// Takes a mark back: the run did not begin.
    ///
    /// # Errors
    /// `LeaseLost` or a host's failure.
    pub async fn unmark(&self) -> Result<(), Failure> {
        self.tell(self.held.iter(), |record| record.unfinished = None).await
    }

    /// The run has ended, which is noted in brief. `settled` clears the unfinished run; a stuck one stays for `resume`.
    /// Gives the lease up.
    ///
    /// # Errors
    /// `LeaseLost` or a host's failure.
    pub async fn finish(&self, end: &RunEnd, settled: bool) -> Result<(), Failure> {
        let Some(by) = self.held.first().map(|one| one.lease.identity.clone()) else { return Ok(()) };
        self.update(|record, left, place, now| {
            record.holder = None;
            if left {
                return;
            }
            record.left_out = self.left_out(end, &by, record.left_out.take());
            record.last = Some(end.noted(place));
            record.ended_at = Some(now);
            record.end(settled);
        })
        .await
    }

    async fn tell(
        &self,
        held: impl Iterator<Item = &Held>,
        change: impl Fn(&mut LeaseRecord) + Sync,
    ) -> Result<(), Failure> {
        self.update_each(held, |record, left, _, _| {
            if !left {
                change(record);
            }
        })
        .await
    }

    /// Gives the leases up, leaving what is unfinished to whoever comes next.
    ///
    /// # Errors
    /// A host's failure; the lease then expires.
    pub async fn release(&self) -> Result<(), Failure> {
        self.update(|record, _, _, _| record.holder = None).await
    }

    async fn update(
        &self,
        change: impl Fn(&mut LeaseRecord, bool, &Place, Timestamp) + Sync,
    ) -> Result<(), Failure> {
        self.update_each(self.held.iter(), change).await
    }

    /// `change` is told whether the host was left, which it is, and its time.
    async fn update_each(
        &self,
        held: impl Iterator<Item = &Held>,
        change: impl Fn(&mut LeaseRecord, bool, &Place, Timestamp) + Sync,
    ) -> Result<(), Failure> {
        let change = &change;
        let updates = held.map(|one| async move {
            let left = one.lease.left.load(Ordering::Relaxed);
            let change = |record: &mut LeaseRecord, now| change(record, left, one.place(), now);
            one.lease.update(&change).await.map_err(|failure| failure.at_place(one.place()))
        });
        // All hosts are told even when one cannot be: the others need to know.
        let updates: Vec<_> = updates.map(FutureExt::boxed).collect();
        join_all(updates).await.into_iter().collect()
    }

    /// No lease is renewed any more: for tests of holders that have died.
    pub fn fall_silent(&self) {
        self.held.iter().for_each(|one| one.heartbeat.abort());
    }
}

async fn confirm(held: impl Iterator<Item = &Held>) -> Result<(), Failure> {
    let looks =
        held.map(|one| async { one.lease.confirm().await.map_err(|failure| failure.at_place(one.place())) });
    let failures: Vec<Failure> = join_all(looks).await.into_iter().filter_map(Result::err).collect();
    let lost = failures.iter().position(|failure| failure.kind == FailureKind::LeaseLost).unwrap_or(0);
    failures.into_iter().nth(lost).map_or(Ok(()), Err)
}

fn renewed(record: &mut LeaseRecord, now: Timestamp) {
    if let Some(holder) = &mut record.holder {
        holder.renewed_at = now;
    }
}
