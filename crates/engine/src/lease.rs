//! Leases on the hosts: expiring, owned, renewed by heartbeat, fenced by a rising token. Nobody clears one by hand.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use lockgate_model::{
    Failure, FailureKind, Holder, HostId, Identity, LeaseRecord, Millis, RunEnd, TOKEN_MAX, Timestamp,
    Unfinished,
};
use tokio::sync::Mutex;
use tokio::time::Instant;

/// How long a lease lives without a heartbeat. A killed orchestrator blocks others for no longer than this.
pub const TTL_SECONDS: u64 = 15;
/// A living holder renews this often per lifetime, so that two lost heartbeats do no harm.
const RENEWALS_PER_TTL: u32 = 3;
/// Pause between looks at a lease that somebody else holds.
const LOOK_AGAIN_MILLIS: u64 = 200;
/// A swap that loses this often means that somebody changes the record in a tight loop.
const SWAP_ATTEMPTS_MAX: u32 = 50;

/// One host's lease record: read it with the host's clock, change it by compare-and-swap.
#[async_trait]
pub trait LeaseStore: Send + Sync {
    fn host(&self) -> &HostId;

    /// Where the record is, for people.
    fn place(&self) -> String {
        "the lease record".to_owned()
    }

    /// The record, an opaque version of it, and the host's clock at that moment. No record yet is a default one.
    ///
    /// # Errors
    /// The host's failure; a record that does not parse is `Other`, never a free lease.
    async fn read(&self) -> Result<(LeaseRecord, Option<Vec<u8>>, Timestamp), Failure>;

    /// Only who holds it: the record's token and holder, and the host's clock. Asked before every effect, so it should
    /// not cost a look at the whole record.
    ///
    /// # Errors
    /// As for [`LeaseStore::read`].
    async fn glance(&self) -> Result<(u64, Option<Holder>, Timestamp), Failure> {
        let (record, _, now) = self.read().await?;
        Ok((record.token, record.holder, now))
    }

    /// False when the record is no longer at `version`.
    ///
    /// # Errors
    /// The host's failure; whether the record changed is then unknown.
    async fn swap(&self, version: Option<&[u8]>, record: &LeaseRecord) -> Result<bool, Failure>;
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LeaseError {
    #[error("{owner} (pid {pid}) holds the lease on {host}, last heartbeat {age} ago", owner = holder.owner, pid = holder.pid, age = age.rounded())]
    Held { host: HostId, holder: Box<Holder>, age: Millis },
    #[error(transparent)]
    Host(#[from] Failure),
}

/// The leases of one service in one environment, one on every host.
pub struct Leases {
    pub stores: Vec<Arc<dyn LeaseStore>>,
    pub identity: Identity,
    /// True when the holder ran on this very machine and boot, and is certainly gone.
    pub surely_dead: Arc<dyn Fn(&Holder) -> bool + Send + Sync>,
    pub ttl: Millis,
}

/// Leases held on all hosts, and what was found under them.
pub struct Acquired {
    pub fence: Arc<Fence>,
    /// As the hosts have it: nothing of it is performed before it was matched with what this configuration would do.
    pub unfinished: BTreeMap<HostId, Unfinished>,
    /// In the [words of the host](RunEnd::told_by) that has it.
    pub last: BTreeMap<HostId, RunEnd>,
    /// How long ago the last run had ended when the lease was taken, by each host's own clock; missing where none has.
    pub quiet: BTreeMap<HostId, Millis>,
}

impl Leases {
    /// Takes the lease on every host or on none, in the order of host names so that two callers cannot deadlock.
    ///
    /// A lease that is neither expired nor renewed is watched for at most one lifetime: then its holder is dead, even
    /// when the host's clock has jumped. One that is renewed meanwhile has a living holder.
    ///
    /// # Errors
    /// [`LeaseError::Held`], or a host's failure.
    pub async fn acquire(&self) -> Result<Acquired, LeaseError> {
        let mut stores = self.stores.clone();
        stores.sort_by(|a, b| a.host().cmp(b.host()));
        reach(&stores).await?;
        let mut held: Vec<Held> = Vec::new();
        for store in stores {
            match self.acquire_one(&store, &held).await {
                Ok(one) => held.push(one),
                Err(error) => {
                    let fence = Fence { held, identity: self.identity.clone(), ttl: self.ttl };
                    // What cannot be given back now expires by itself.
                    if let Err(failure) = fence.release().await {
                        tracing::debug!(%failure, "a lease was left to expire");
                    }
                    return Err(error);
                }
            }
        }
        let mut unfinished = BTreeMap::new();
        let mut last = BTreeMap::new();
        let mut quiet = BTreeMap::new();
        for one in &held {
            let record = one.record.lock().await;
            let taken = record.holder.as_ref().map(|holder| holder.since);
            if let Some(quiet_for) = taken.and_then(|taken| record.quiet_for(taken)) {
                quiet.insert(one.store.host().clone(), quiet_for);
            }
            if let Some(run) = &record.unfinished {
                unfinished.insert(one.store.host().clone(), run.clone());
            }
            if let Some(end) = &record.last {
                last.insert(one.store.host().clone(), end.told_by(one.store.host()));
            }
        }
        let fence = Arc::new(Fence { held, identity: self.identity.clone(), ttl: self.ttl });
        Ok(Acquired { fence, unfinished, last, quiet })
    }

    /// `held`: those that were taken before it.
    async fn acquire_one(&self, store: &Arc<dyn LeaseStore>, held: &[Held]) -> Result<Held, LeaseError> {
        let mut lost_swaps = 0;
        // Since when it has looked like this; from after the look, which may have taken long.
        let mut first_seen: Option<((u64, Timestamp), Instant)> = None;
        loop {
            let (mut record, version, now) = store.read().await?;
            for one in held {
                if *one.record.lock().await == record {
                    return Err(same_machine(one.store.host(), store.host()).into());
                }
            }
            if let Some(holder) = record.holder.as_ref().filter(|holder| !self.free(holder, now)) {
                let seen = (record.token, holder.renewed_at);
                let (first, since) = *first_seen.get_or_insert((seen, Instant::now()));
                if first != seen {
                    let age = now.since(holder.renewed_at);
                    let (host, holder) = (store.host().clone(), Box::new(holder.clone().told()));
                    return Err(LeaseError::Held { host, holder, age });
                }
                if since.elapsed() < holder.believed_ttl().duration() {
                    self.watch(store, holder, seen, since).await?;
                    continue;
                }
            }
            record.token = next_token(record.token, store.as_ref())?;
            record.holder = Some(self.identity.holder(now, self.ttl));
            if store.swap(version.as_deref(), &record).await? {
                return Ok(Held {
                    store: store.clone(),
                    record: Mutex::new(record),
                    left: AtomicBool::new(false),
                });
            }
            lost_swaps += 1;
            if lost_swaps == SWAP_ATTEMPTS_MAX {
                return Err(restless().at(store.host()).into());
            }
        }
    }

    /// Glances at a held lease until it looks otherwise, may be taken, or has not changed for a lifetime.
    async fn watch(
        &self,
        store: &Arc<dyn LeaseStore>,
        holder: &Holder,
        seen: (u64, Timestamp),
        since: Instant,
    ) -> Result<(), LeaseError> {
        while since.elapsed() < holder.believed_ttl().duration() {
            tokio::time::sleep(Duration::from_millis(LOOK_AGAIN_MILLIS)).await;
            let (token, holder, now) = store.glance().await?;
            let still =
                holder.is_some_and(|holder| (token, holder.renewed_at) == seen && !self.free(&holder, now));
            if !still {
                break;
            }
        }
        Ok(())
    }

    /// Gives up what an [`Leases::acquire`] that was broken off had already taken: on hosts that come before the one that
    /// was waited for. What cannot be given up expires. Says who holds the first lease that somebody else holds.
    pub async fn give_up(&self) -> Option<Holder> {
        let mut theirs = None;
        for store in &self.stores {
            match self.give_up_one(store.as_ref()).await {
                Ok(holder) => theirs = theirs.or(holder),
                Err(failure) => tracing::debug!(%failure, "a lease is left to expire"),
            }
        }
        theirs
    }

    /// Who holds it, where that is somebody else.
    async fn give_up_one(&self, store: &dyn LeaseStore) -> Result<Option<Holder>, Failure> {
        let (mut record, version, _) = store.read().await?;
        let holder = record.holder.take();
        if !holder.as_ref().is_some_and(|holder| self.identity.is(holder)) {
            return Ok(holder.map(Holder::told));
        }
        store.swap(version.as_deref(), &record).await?;
        Ok(None)
    }

    /// Whether a lease may be taken from its holder at once.
    fn free(&self, holder: &Holder, now: Timestamp) -> bool {
        holder.has_expired(now) || self.identity.is(holder) || (self.surely_dead)(holder)
    }
}

/// The fencing token of the next holder: it must rise, whatever was written into the record.
fn next_token(token: u64, store: &dyn LeaseStore) -> Result<u64, Failure> {
    token.checked_add(1).filter(|next| *next <= TOKEN_MAX).ok_or_else(|| {
        let (host, place) = (store.host(), store.place());
        let on = if host.is_local() { String::new() } else { format!(" on {host}") };
        let message = format!("the fencing token in {place} is {token}: no number of deployments leads there");
        Failure::new(FailureKind::Refused, message)
            .hint(format!(
                "something else than Lockgate wrote it; when nobody deploys, move it away{on} with `mv {place} {place}.bad`, look at `lockgate status`, and deploy again"
            ))
            .at(host)
    })
}

/// Looks at all beside each other: to reach many hosts one after the other may take longer than a lease lives, and the
/// first must not expire while the last is waited for.
async fn reach(stores: &[Arc<dyn LeaseStore>]) -> Result<(), Failure> {
    if stores.len() > 1 {
        futures_util::future::try_join_all(stores.iter().map(|store| store.glance())).await?;
    }
    Ok(())
}

struct Held {
    store: Arc<dyn LeaseStore>,
    /// As last written by us.
    record: Mutex<LeaseRecord>,
    /// What the record says of runs is about a later one than ours, and stays.
    left: AtomicBool,
}

/// The leases we hold. Every effect asks [`Fence::check`] first.
pub struct Fence {
    held: Vec<Held>,
    identity: Identity,
    ttl: Millis,
}

impl Fence {
    /// Looks at the host's record (at every host's for a step of no single host): the lease must still be ours, by
    /// token. A paused orchestrator that wakes up late finds here that it was replaced.
    ///
    /// Says how long, from when it was asked, nobody else can take the lease; one that is about to expire is renewed.
    ///
    /// # Errors
    /// `LeaseLost`, or the host's failure when it cannot be asked.
    pub async fn check(&self, host: Option<&HostId>) -> Result<Duration, Failure> {
        let mut trusted = self.ttl.duration();
        for one in self.held.iter().filter(|one| host.is_none_or(|host| host == one.store.host())) {
            trusted = trusted.min(self.check_one(one).await.map_err(|failure| failure.at(one.store.host()))?);
        }
        Ok(trusted)
    }

    async fn check_one(&self, one: &Held) -> Result<Duration, Failure> {
        let token = one.record.lock().await.token;
        let (seen, holder, now) = one.store.glance().await?;
        self.ours(seen, holder.as_ref(), token, one.store.host())?;
        let age = holder.map_or(self.ttl, |holder| now.since(holder.renewed_at)).duration();
        let left = self.ttl.duration().saturating_sub(age);
        if left > self.ttl.duration() / RENEWALS_PER_TTL {
            return Ok(left);
        }
        self.update_one(one, &renewed).await?;
        Ok(self.ttl.duration())
    }

    fn ours(&self, seen: u64, holder: Option<&Holder>, token: u64, host: &HostId) -> Result<(), Failure> {
        if seen == token && holder.is_some_and(|holder| self.identity.is(holder)) {
            return Ok(());
        }
        let by = holder.map_or("somebody who is done".to_owned(), |holder| holder.clone().told().owner);
        Err(Failure::new(FailureKind::LeaseLost, format!("the lease was taken over by {by}"))
            .hint("nothing more was changed from here; `lockgate status` shows what the other one made of it")
            .at(host))
    }

    /// From here on the records of these hosts say nothing of the run; their leases are held as before.
    pub fn leave(&self, hosts: &[HostId]) {
        for one in self.held.iter().filter(|one| hosts.contains(one.store.host())) {
            one.left.store(true, Ordering::Relaxed);
        }
    }

    /// Writes the run down on every host, so that any machine can finish it.
    ///
    /// # Errors
    /// `LeaseLost` or a host's failure.
    pub async fn mark(&self, unfinished: &Unfinished) -> Result<(), Failure> {
        self.tell(self.held.iter(), |record| record.unfinished = Some(unfinished.clone())).await
    }

    /// As [`Fence::mark`], on one host.
    ///
    /// # Errors
    /// As there.
    pub async fn mark_on(&self, host: &HostId, unfinished: &Unfinished) -> Result<(), Failure> {
        let ours = self.held.iter().filter(|one| one.store.host() == host);
        self.tell(ours, |record| record.unfinished = Some(unfinished.clone())).await
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
        let end = RunEnd { outcome: end.outcome.brief(), ..*end };
        self.update(|record, left, now| {
            record.holder = None;
            if left {
                return;
            }
            record.last = Some(end.clone());
            record.ended_at = Some(now);
            if settled {
                record.unfinished = None;
            }
        })
        .await
    }

    async fn tell(
        &self,
        held: impl Iterator<Item = &Held>,
        change: impl Fn(&mut LeaseRecord),
    ) -> Result<(), Failure> {
        self.update_each(held, |record, left, _| {
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
        self.update(|record, _, _| record.holder = None).await
    }

    async fn update(&self, change: impl Fn(&mut LeaseRecord, bool, Timestamp)) -> Result<(), Failure> {
        self.update_each(self.held.iter(), change).await
    }

    /// `change` is told whether the host was left, and its time.
    async fn update_each(
        &self,
        held: impl Iterator<Item = &Held>,
        change: impl Fn(&mut LeaseRecord, bool, Timestamp),
    ) -> Result<(), Failure> {
        let change = &change;
        let updates = held.map(|one| async move {
            let left = one.left.load(Ordering::Relaxed);
            let change = |record: &mut LeaseRecord, now| change(record, left, now);
            self.update_one(one, &change).await.map_err(|failure| failure.at(one.store.host()))
        });
        // All hosts are told even when one cannot be: the others need to know.
        join_all(updates).await.into_iter().collect()
    }

    async fn update_one(
        &self,
        one: &Held,
        change: &impl Fn(&mut LeaseRecord, Timestamp),
    ) -> Result<(), Failure> {
        let mut written = one.record.lock().await;
        for _ in 0..SWAP_ATTEMPTS_MAX {
            let (mut record, version, now) = one.store.read().await?;
            let given_up = written.holder.is_none();
            if !given_up {
                self.ours(record.token, record.holder.as_ref(), written.token, one.store.host())?;
            } else if record.token != written.token {
                // Given up already, and somebody else went on: nothing of ours is left to say.
                return Ok(());
            }
            change(&mut record, now);
            if one.store.swap(version.as_deref(), &record).await? {
                *written = record;
                return Ok(());
            }
        }
        Err(restless())
    }

    /// Renews until the guard is dropped, each host by itself: one that has died must not let the leases on the others
    /// expire. A heartbeat that fails is tried again at the next beat; the fence is what notices a lost lease.
    #[must_use]
    pub fn keep_alive(self: &Arc<Self>) -> KeepAlive {
        let fence = self.clone();
        let beat = self.ttl.duration() / RENEWALS_PER_TTL;
        KeepAlive(tokio::spawn(async move {
            let beats = fence.held.iter().map(|one| async {
                loop {
                    tokio::time::sleep(beat).await;
                    if let Err(failure) = fence.update_one(one, &renewed).await {
                        tracing::debug!(%failure, host = %one.store.host(), "a heartbeat failed");
                    }
                }
            });
            join_all(beats).await;
        }))
    }
}

fn renewed(record: &mut LeaseRecord, now: Timestamp) {
    if let Some(holder) = &mut record.holder {
        holder.renewed_at = now;
    }
}

/// Nobody else writes what we have just written, so both names lead to one record.
fn same_machine(one: &HostId, other: &HostId) -> Failure {
    let message = format!("{one} and {other} are the same machine: they have one lease");
    Failure::new(FailureKind::Refused, message).hint("name it once in `hosts`")
}

fn restless() -> Failure {
    Failure::new(FailureKind::Conflict, "the lease record never stays still")
        .hint("several orchestrators fight for this service; try again")
}

/// Stops the heartbeat when dropped.
pub struct KeepAlive(tokio::task::JoinHandle<()>);

impl Drop for KeepAlive {
    fn drop(&mut self) {
        self.0.abort();
    }
}
