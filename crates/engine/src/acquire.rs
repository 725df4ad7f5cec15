//! Taking the leases of one service on all its hosts, or on none.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{FutureExt, join_all, try_join_all};
use futures_util::stream::{self, StreamExt};
use lockgate_model::{
    Begun, Failure, FailureKind, Holder, HostId, Identity, LeaseRecord, Millis, Place, Plan, PlanPlace,
    Progress, RunEnd, RunId, TOKEN_MAX, Timestamp, Unfinished,
};
use tokio::time::Instant;

use crate::RunFile;
use crate::fence::{Fence, Held};
use crate::lease::{HOSTS_AT_ONCE_MAX, LeaseError, LeaseStore, SWAP_ATTEMPTS_MAX, restless};

/// Pause between looks at a lease that somebody else holds.
const LOOK_AGAIN_MILLIS: u64 = 200;

/// The leases of one service in one environment, one on every host, and one in the store where that holds one.
pub struct Leases {
    /// One for each place, in the configuration's order.
    pub stores: Vec<Arc<dyn LeaseStore>>,
    /// Of the session that asks: two sessions of one process are two holders.
    pub identity: Identity,
    /// True when the holder ran on this very machine and boot, and is certainly gone.
    pub surely_dead: Arc<dyn Fn(&Holder) -> bool + Send + Sync>,
    /// How long a lease holds after each heartbeat.
    pub ttl: Millis,
}

/// Leases held on all hosts, and what was found under them.
pub struct Acquired {
    /// Holds the leases, renews them, and is asked before every effect.
    pub fence: Arc<Fence>,
    /// As the hosts have it: nothing of it is performed before it was matched with what this configuration would do.
    pub unfinished: BTreeMap<HostId, Unfinished>,
    /// Hosts that hold a run whose plan cannot be had from them: nothing is done with it.
    pub unread: BTreeMap<HostId, Unread>,
    /// In the [words of the host](RunEnd::told_by) that has it.
    pub last: BTreeMap<HostId, RunEnd>,
    /// How long ago the last run had ended when the lease was taken, by each host's own clock; missing where none has.
    pub quiet: BTreeMap<HostId, Millis>,
    /// The same, of the store; all `None` where no lease is held there.
    pub stored: Stored,
}

/// What was found under the lease in the store. It is in nobody else's words: only who deploys writes there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stored {
    /// The run that was left there; `None`: none was, or its plan cannot be had.
    pub unfinished: Option<Unfinished>,
    /// The run that was left there and whose plan cannot be had.
    pub unread: Option<Unread>,
    /// How the last run there ended; `None`: none has.
    pub last: Option<RunEnd>,
    /// How long ago that was when the lease was taken, by the store's clock.
    pub quiet: Option<Millis>,
}

impl Acquired {
    /// No place holds a run that has not ended.
    #[must_use]
    pub fn is_at_rest(&self) -> bool {
        let Stored { unfinished, unread, .. } = &self.stored;
        self.unfinished.is_empty() && self.unread.is_empty() && unfinished.is_none() && unread.is_none()
    }
}

/// An unfinished run whose plan is missing, damaged, too large or not ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread {
    /// The run that was left.
    pub run: RunId,
    /// Which way it went.
    pub progress: Progress,
    /// Names the file and says what is wrong with it.
    pub failure: Failure,
}

/// A lease that could not be taken at once.
struct Busy {
    store: Arc<dyn LeaseStore>,
    holder: Holder,
    token: u64,
    age: Millis,
}

impl Busy {
    /// What changes with every heartbeat and every holder.
    fn look(&self) -> (u64, Timestamp) {
        (self.token, self.holder.renewed_at)
    }
}

enum Tried {
    Taken(Held),
    Busy(Busy),
}

/// Since when a lease has looked like this; from after the look, which may have taken long.
#[derive(Clone, Copy)]
struct Watched {
    look: (u64, Timestamp),
    since: Instant,
}

impl Watched {
    /// It has not been renewed for a whole lifetime, whatever the host's clock says.
    fn has_outlived(&self, holder: &Holder) -> bool {
        self.since.elapsed() >= holder.believed_ttl().duration()
    }
}

impl Leases {
    /// Takes the lease on every place or on none. The first by name (hosts before the store) decides between two callers;
    /// who has it asks the others beside each other. Nobody waits while holding: where somebody else holds one, all are given back first.
    ///
    /// A lease that is neither expired nor renewed is watched for at most one lifetime: then its holder is dead, even
    /// when the host's clock has jumped. One that is renewed meanwhile has a living holder. Each lease is renewed from when
    /// it was taken, for the last host may take long to answer.
    ///
    /// # Errors
    /// [`LeaseError::Held`], or a host's failure.
    pub async fn acquire(&self) -> Result<Acquired, LeaseError> {
        let stores = self.in_order();
        reach(&stores).await?;
        self.acquire_on(stores).await
    }

    /// As [`Leases::acquire`], on the hosts that answer; and why the others do not. Whoever else comes to some of the same
    /// hosts is kept away by these hosts' own records, whichever of them is the first that each of the two reaches.
    ///
    /// # Errors
    /// As there; the first host's failure when none answers.
    pub async fn acquire_reached(&self) -> Result<(Acquired, BTreeMap<HostId, Failure>), LeaseError> {
        let (stores, gone) = reached(self.in_order()).await?;
        Ok((self.acquire_on(stores).await?, gone))
    }

    fn in_order(&self) -> Vec<Arc<dyn LeaseStore>> {
        let mut stores = self.stores.clone();
        stores.sort_by(|a, b| a.place().cmp(b.place()));
        stores
    }

    async fn acquire_on(&self, stores: Vec<Arc<dyn LeaseStore>>) -> Result<Acquired, LeaseError> {
        let mut watched: BTreeMap<Place, Watched> = BTreeMap::new();
        loop {
            let busy = match self.take_all(&stores, &watched).await? {
                Ok(taken) => return Ok(self.acquired(taken).await?),
                Err(busy) => busy,
            };
            let place = busy.store.place().clone();
            let look = busy.look();
            let seen = *watched.entry(place.clone()).or_insert(Watched { look, since: Instant::now() });
            if seen.look != look {
                let holder = Box::new(busy.holder.told());
                return Err(LeaseError::Held { place, holder, age: busy.age });
            }
            self.watch(&busy, seen).await?;
        }
    }

    /// The inner error is the first lease that somebody else holds; nothing is held then.
    async fn take_all(
        &self,
        stores: &[Arc<dyn LeaseStore>],
        watched: &BTreeMap<Place, Watched>,
    ) -> Result<Result<Vec<Held>, Busy>, LeaseError> {
        let Some((first, rest)) = stores.split_first() else { return Ok(Ok(Vec::new())) };
        let mut taken = Vec::with_capacity(stores.len());
        match self.try_take(first, watched.get(first.place())).await? {
            Tried::Taken(held) => taken.push(held),
            Tried::Busy(busy) => return Ok(Err(busy)),
        }
        let tries: Vec<_> =
            rest.iter().map(|store| self.try_take(store, watched.get(store.place())).boxed()).collect();
        let tried: Vec<_> = stream::iter(tries).buffer_unordered(HOSTS_AT_ONCE_MAX).collect().await;
        let mut refusal = None;
        for one in tried {
            match one {
                Ok(Tried::Taken(held)) => taken.push(held),
                Ok(Tried::Busy(busy)) => drop(refusal.get_or_insert(Ok(busy))),
                // A failure says more than that somebody else is at work.
                Err(failure) => refusal = Some(Err(failure)),
            }
        }
        let Some(refusal) = refusal else {
            taken.sort_by(|a, b| a.place().cmp(b.place()));
            return Ok(Ok(taken));
        };
        // What cannot be given back now expires by itself.
        if let Err(failure) = Fence::new(taken, self.ttl).release().await {
            tracing::debug!(%failure, "a lease was left to expire");
        }
        Ok(Err(refusal?))
    }

    async fn try_take(
        &self,
        store: &Arc<dyn LeaseStore>,
        watched: Option<&Watched>,
    ) -> Result<Tried, Failure> {
        for _ in 0..SWAP_ATTEMPTS_MAX {
            let asked = Instant::now();
            let (mut record, version, now) = store.read().await?;
            if let Some(holder) = &record.holder {
                if self.identity.is(holder)
                    && let Some(other) = holder.other_name(store.place())
                {
                    return Err(same_machine(other, store.place()));
                }
                let outlived = watched.is_some_and(|watched| {
                    watched.look == (record.token, holder.renewed_at) && watched.has_outlived(holder)
                });
                if !outlived && !self.free(holder, now) {
                    let (holder, token) = (holder.clone(), record.token);
                    let age = now.since(holder.renewed_at);
                    return Ok(Tried::Busy(Busy { store: store.clone(), holder, token, age }));
                }
            }
            record.token = next_token(record.token, store.as_ref())?;
            record.holder = Some(self.identity.holder(store.place(), now, self.ttl));
            bring_up_to_date(store.as_ref(), &mut record).await?;
            if store.swap(version.as_deref(), &record).await? {
                let held = Held::new(store.clone(), self.identity.clone(), self.ttl, record, asked);
                return Ok(Tried::Taken(held));
            }
        }
        Err(restless().at_place(store.place()))
    }

    /// Glances at a held lease until it looks otherwise, may be taken, or has not changed for a lifetime.
    async fn watch(&self, busy: &Busy, seen: Watched) -> Result<(), LeaseError> {
        while !seen.has_outlived(&busy.holder) {
            tokio::time::sleep(Duration::from_millis(LOOK_AGAIN_MILLIS)).await;
            let (token, holder, now) = busy.store.glance().await?;
            let still = holder
                .is_some_and(|holder| (token, holder.renewed_at) == seen.look && !self.free(&holder, now));
            if !still {
                break;
            }
        }
        Ok(())
    }

    /// Gives all back where a host cannot be asked for the plan of what is unfinished there.
    async fn acquired(&self, held: Vec<Held>) -> Result<Acquired, Failure> {
        let fence = Fence::new(held, self.ttl);
        match found(fence.held()).await {
            Ok((unfinished, unread)) => {
                let (last, quiet) = ended(fence.held()).await;
                let (unfinished, stored_unfinished) = apart(unfinished);
                let (unread, stored_unread) = apart(unread);
                let ((last, stored_last), (quiet, stored_quiet)) = (apart(last), apart(quiet));
                let stored = Stored {
                    unfinished: stored_unfinished,
                    unread: stored_unread,
                    last: stored_last,
                    quiet: stored_quiet,
                };
                Ok(Acquired { fence: Arc::new(fence), unfinished, unread, last, quiet, stored })
            }
            Err(failure) => {
                if let Err(failure) = fence.release().await {
                    tracing::debug!(%failure, "a lease was left to expire");
                }
                Err(failure)
            }
        }
    }

    /// Gives up what an [`Leases::acquire`] that was broken off had already taken. What cannot be given up expires. Says
    /// who holds the first lease that somebody else holds.
    pub async fn give_up(&self) -> Option<Holder> {
        let given_up: Vec<_> =
            self.stores.iter().map(|store| self.give_up_one(store.as_ref()).boxed()).collect();
        let mut theirs = None;
        for result in stream::iter(given_up).buffered(HOSTS_AT_ONCE_MAX).collect::<Vec<_>>().await {
            match result {
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

/// What was written by an older Lockgate, or by anybody, is written again as it is now: a plan in the record goes into a file
/// beside it, and how the last run ended is told in brief.
async fn bring_up_to_date(store: &dyn LeaseStore, record: &mut LeaseRecord) -> Result<(), Failure> {
    record.last = record.last.take().map(|end| end.noted(store.place()));
    if let Some(Begun { run, plan, .. }) = &mut record.unfinished
        && let PlanPlace::Within(within) = plan
    {
        let file = RunFile::of(*run, within)?;
        store.keep(&file).await.map_err(|failure| failure.at_place(store.place()))?;
        *plan = PlanPlace::Beside(file.name.checksum);
    }
    Ok(())
}

/// What is unfinished at the places, with its plans; and the places whose plan cannot be had.
type Found = (BTreeMap<Place, Unfinished>, BTreeMap<Place, Unread>);

async fn found(held: &[Held]) -> Result<Found, Failure> {
    let looks: Vec<_> = held.iter().map(|one| unfinished_at(one).boxed()).collect();
    let (mut unfinished, mut unread) = (BTreeMap::new(), BTreeMap::new());
    let looked: Vec<_> = stream::iter(looks).buffer_unordered(HOSTS_AT_ONCE_MAX).collect().await;
    for (place, Begun { run, progress, cause, .. }, plan) in looked.into_iter().flatten() {
        match plan {
            Ok(plan) => drop(unfinished.insert(place, Unfinished { run, plan, progress, cause })),
            // Which says nothing of the file.
            Err(failure) if failure.is_silence() => return Err(failure),
            Err(failure) => drop(unread.insert(place, Unread { run, progress, failure })),
        }
    }
    Ok((unfinished, unread))
}

async fn unfinished_at(one: &Held) -> Option<(Place, Begun, Result<Plan, Failure>)> {
    let begun = one.record().await.unfinished.clone()?;
    let plan = match begun.file() {
        Some(name) => one.store().plan(&name).await,
        None => Err(Failure::new(FailureKind::Other, "its plan is in the record")),
    };
    Some((one.place().clone(), begun, plan.map_err(|failure| failure.at_place(one.place()))))
}

/// How the last run ended at the places, and how long ago.
async fn ended(held: &[Held]) -> (BTreeMap<Place, RunEnd>, BTreeMap<Place, Millis>) {
    let (mut last, mut quiet) = (BTreeMap::new(), BTreeMap::new());
    for one in held {
        let place = one.place();
        let record = one.record().await;
        let taken = record.holder.as_ref().map(|holder| holder.since);
        if let Some(quiet_for) = taken.and_then(|taken| record.quiet_for(taken)) {
            quiet.insert(place.clone(), quiet_for);
        }
        if let Some(end) = &record.last {
            let told = place.host().map_or_else(|| end.clone(), |host| end.told_by(host));
            last.insert(place.clone(), told);
        }
    }
    (last, quiet)
}

/// What hosts have, and what the store has.
fn apart<T>(mut all: BTreeMap<Place, T>) -> (BTreeMap<HostId, T>, Option<T>) {
    let stored = all.remove(&Place::Store);
    let on_hosts = all.into_iter().filter_map(|(place, one)| Some((place.host()?.clone(), one)));
    (on_hosts.collect(), stored)
}

/// The fencing token of the next holder: it must rise, whatever was written into the record.
fn next_token(token: u64, store: &dyn LeaseStore) -> Result<u64, Failure> {
    token.checked_add(1).filter(|next| *next <= TOKEN_MAX).ok_or_else(|| {
        let (place, path) = (store.place(), store.path());
        let message = format!("the fencing token in {path} is {token}: no number of deployments leads there");
        let failure = Failure::new(FailureKind::Refused, message).at_place(place);
        let Some(host) = place.host() else {
            return failure.hint("something else than Lockgate wrote it; look at what is in the store");
        };
        let on = if host.is_local() { String::new() } else { format!(" on {host}") };
        failure.hint(format!(
            "something else than Lockgate wrote it; when nobody deploys, move it away{on} with `mv {path} {path}.bad`, look at `lockgate status`, and deploy again"
        ))
    })
}

/// Looks at all beside each other first: where one does not answer, none is taken.
async fn reach(stores: &[Arc<dyn LeaseStore>]) -> Result<(), Failure> {
    if stores.len() > 1 {
        try_join_all(stores.iter().map(|store| store.glance())).await?;
    }
    Ok(())
}

/// Looks at all beside each other: those that answer, and why the others do not.
async fn reached(
    stores: Vec<Arc<dyn LeaseStore>>,
) -> Result<(Vec<Arc<dyn LeaseStore>>, BTreeMap<HostId, Failure>), Failure> {
    let (mut there, mut gone) = (Vec::new(), BTreeMap::new());
    if stores.len() < 2 {
        return Ok((stores, gone));
    }
    let looks = join_all(stores.iter().map(|store| store.glance())).await;
    for (store, looked) in stores.into_iter().zip(looks) {
        match (looked.map_err(|failure| failure.at_place(store.place())), store.place()) {
            (Ok(_), _) => there.push(store),
            (Err(failure), Place::Host(host)) if failure.is_silence() => {
                drop(gone.insert(host.clone(), failure))
            }
            // Nothing is done without the store: there is one, and what it says is about all.
            (Err(failure), Place::Host(_) | Place::Store) => return Err(failure),
        }
    }
    match (there.is_empty(), gone.pop_first()) {
        (true, Some((_, failure))) => Err(failure),
        (_, first) => {
            gone.extend(first);
            Ok((there, gone))
        }
    }
}

/// Two names lead to one record.
fn same_machine(one: &HostId, other: &Place) -> Failure {
    let (one, other) = (one.to_string(), other.to_string());
    let (one, other) = if one < other { (one, other) } else { (other, one) };
    let message = format!("{one} and {other} are the same machine: they have one lease");
    Failure::new(FailureKind::Refused, message).hint("name it once in `hosts`")
}
