//! Clients at work, each in a thread of its own, until they are stopped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use anyhow::{Result, anyhow};

/// `T` is what one of them has seen.
pub struct Crowd<T> {
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<T>>,
}

impl<T: Send + 'static> Crowd<T> {
    /// So many of each manner; `work` ends soon after its flag is set.
    pub fn start<M: Copy + Send + 'static>(
        manners: impl IntoIterator<Item = (M, usize)>,
        work: impl Fn(M, &AtomicBool) -> T + Clone + Send + 'static,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let manners = manners.into_iter().flat_map(|(manner, count)| std::iter::repeat_n(manner, count));
        let clients = manners.map(|manner| {
            let (work, stop) = (work.clone(), stop.clone());
            std::thread::spawn(move || work(manner, &stop))
        });
        Self { clients: clients.collect(), stop }
    }

    /// What each of them has seen.
    pub fn stop(self) -> Result<Vec<T>> {
        self.stop.store(true, Ordering::Relaxed);
        let seen = self.clients.into_iter();
        seen.map(|client| client.join().map_err(|_| anyhow!("a client panicked"))).collect()
    }
}
