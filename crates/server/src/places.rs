//! Who may have a connection: bounded in all and for each address. When there is no room, the connection that has been idle for
//! longest makes some, so whoever opens thousands and says nothing keeps nobody else out.

use std::collections::HashMap;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::limits::Limits;
use crate::peer::Peer;

/// All connections of a server.
pub(crate) struct Places {
    connections_max: usize,
    per_peer_max: usize,
    taken: Mutex<Taken>,
    evicted: AtomicUsize,
    refused: AtomicUsize,
}

#[derive(Default)]
struct Taken {
    next: u64,
    by_number: HashMap<u64, Arc<Activity>>,
    of_peer: HashMap<Peer, usize>,
}

/// What one connection does.
pub(crate) struct Activity {
    pub(crate) peer: Peer,
    /// Requests whose responses are not written yet.
    in_flight: AtomicUsize,
    /// It has had a request.
    has_begun: AtomicBool,
    idle_since: Mutex<Instant>,
    pub(crate) is_http2: AtomicBool,
    evicted: CancellationToken,
}

/// A connection's right to be open; given back when it is dropped.
pub(crate) struct Place {
    places: Arc<Places>,
    number: u64,
    pub(crate) activity: Arc<Activity>,
}

/// A request that is being answered.
pub(crate) struct Busy(Arc<Activity>);

/// How connections were let in, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PlaceCounts {
    pub(crate) open: usize,
    pub(crate) evicted: usize,
    pub(crate) refused: usize,
}

impl Places {
    pub(crate) fn new(limits: &Limits) -> Arc<Self> {
        Arc::new(Self {
            connections_max: limits.connections_max,
            per_peer_max: limits.connections_per_peer_max,
            taken: Mutex::default(),
            evicted: AtomicUsize::new(0),
            refused: AtomicUsize::new(0),
        })
    }

    /// `None`: every connection that would have to make room has a request.
    pub(crate) fn take(self: &Arc<Self>, peer: Peer) -> Option<Place> {
        let mut taken = self.taken();
        let of_peer = taken.of_peer.get(&peer).copied().unwrap_or(0);
        let is_crowd = matches!(peer, Peer::Address(_)) && of_peer >= self.per_peer_max;
        let has_room = (!is_crowd || self.make_room(&mut taken, |one| one.peer == peer))
            && (taken.by_number.len() < self.connections_max || self.make_room(&mut taken, |_| true));
        if !has_room {
            self.refused.fetch_add(1, Relaxed);
            return None;
        }
        let activity = Arc::new(Activity {
            peer,
            in_flight: AtomicUsize::new(0),
            has_begun: AtomicBool::new(false),
            idle_since: Mutex::new(Instant::now()),
            is_http2: AtomicBool::new(false),
            evicted: CancellationToken::new(),
        });
        let number = taken.next;
        taken.next += 1;
        taken.by_number.insert(number, activity.clone());
        *taken.of_peer.entry(peer).or_default() += 1;
        Some(Place { places: self.clone(), number, activity })
    }

    /// Ends the one that has been idle for longest.
    fn make_room(&self, taken: &mut Taken, may_go: impl Fn(&Activity) -> bool) -> bool {
        let idle = taken.by_number.iter().filter(|(_, one)| may_go(one));
        let oldest = idle
            .filter_map(|(number, one)| Some((one.idle_since()?, *number)))
            .min()
            .map(|(_, number)| number);
        let Some(number) = oldest else { return false };
        if let Some(activity) = taken.remove(number) {
            activity.evicted.cancel();
            self.evicted.fetch_add(1, Relaxed);
        }
        true
    }

    pub(crate) fn counts(&self) -> PlaceCounts {
        let open = self.taken().by_number.len();
        PlaceCounts { open, evicted: self.evicted.load(Relaxed), refused: self.refused.load(Relaxed) }
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    fn remove(&mut self, number: u64) -> Option<Arc<Activity>> {
        let activity = self.by_number.remove(&number)?;
        if let Some(count) = self.of_peer.get_mut(&activity.peer) {
            *count -= 1;
            if *count == 0 {
                self.of_peer.remove(&activity.peer);
            }
        }
        Some(activity)
    }
}

impl Activity {
    /// `None` while it has a request.
    pub(crate) fn idle_since(&self) -> Option<Instant> {
        let since = *self.idle_since.lock().unwrap_or_else(PoisonError::into_inner);
        (self.in_flight.load(Relaxed) == 0).then_some(since)
    }

    pub(crate) fn begin(self: &Arc<Self>) -> Busy {
        self.has_begun.store(true, Relaxed);
        self.in_flight.fetch_add(1, Relaxed);
        Busy(self.clone())
    }

    /// Whether it has had a request.
    pub(crate) fn has_begun(&self) -> bool {
        self.has_begun.load(Relaxed)
    }

    /// Returns when it has to make room.
    pub(crate) async fn evicted(&self) {
        self.evicted.cancelled().await;
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        // The time first: who sees no request sees when the last one ended.
        *self.0.idle_since.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.0.in_flight.fetch_sub(1, Relaxed);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.taken().remove(self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(connections_max: usize, connections_per_peer_max: usize) -> Arc<Places> {
        Places::new(&Limits { connections_max, connections_per_peer_max, ..Limits::default() })
    }

    fn peer(last: u8) -> Peer {
        Peer::of([192, 0, 2, last].into())
    }

    #[tokio::test(start_paused = true)]
    async fn the_one_that_has_been_idle_for_longest_makes_room() {
        let places = places(3, 9);
        let mut held = Vec::new();
        for last in 0..3 {
            held.push(places.take(peer(last)).unwrap());
            tokio::time::advance(std::time::Duration::from_secs(1)).await;
        }
        let busy = held[0].activity.begin();
        let new = places.take(peer(9)).unwrap();
        let gone: Vec<bool> = held.iter().map(|place| place.activity.evicted.is_cancelled()).collect();
        assert_eq!(gone, [false, true, false], "the first has a request");
        drop(busy);
        assert_eq!(places.counts(), PlaceCounts { open: 3, evicted: 1, refused: 0 });
        // Given back once, by whichever comes first.
        drop(held);
        assert_eq!(places.counts().open, 1);
        drop(new);
        assert!(places.taken().of_peer.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_crowd_from_one_address_makes_room_for_itself_alone() {
        let places = places(10, 2);
        let other = places.take(peer(1)).unwrap();
        let crowd: Vec<Place> = (0..2).map(|_| places.take(peer(2)).unwrap()).collect();
        let busy: Vec<Busy> = crowd.iter().map(|place| place.activity.begin()).collect();
        assert!(places.take(peer(2)).is_none(), "both have a request");
        drop(busy);
        let third = places.take(peer(2)).unwrap();
        assert!(!other.activity.evicted.is_cancelled());
        assert_eq!(places.counts(), PlaceCounts { open: 3, evicted: 1, refused: 1 });
        drop(third);
        // What comes through a Unix socket is no crowd.
        let local: Vec<Place> = (0..5).map(|_| places.take(Peer::Unix).unwrap()).collect();
        assert_eq!(places.counts().evicted, 1);
        drop(local);
    }

    #[test]
    fn an_address_is_the_same_however_the_socket_has_it() {
        assert_eq!(Peer::of("::ffff:192.0.2.7".parse().unwrap()).to_string(), "192.0.2.7");
    }
}
