//! The engines that have the containers of some route: each is listened to once, for all routes.
//!
//! An engine keeps few events and loses them when it restarts, so after each (re)connecting all containers are looked at
//! again: first it is listened to, then looked.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use crate::engine::{Engine, Events};
use crate::replicas::Replicas;

/// The pause before an engine that is gone is listened to again.
const RECONNECT_MILLIS: u64 = 100;
/// How often it is looked whether anybody still wants to know.
const WANTED_SECONDS: u64 = 5;

type Listeners = HashMap<PathBuf, Vec<Weak<Replicas>>>;

/// Who wants to know what happens at which engine. One that nobody wants to know of is not listened to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Engines(Arc<Mutex<Listeners>>);

impl Engines {
    fn listeners<T>(&self, act: impl FnOnce(&mut Listeners) -> T) -> T {
        // Held for a few instructions that leave the map whole.
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on these are told, and looked for at once.
    pub(crate) fn follow(&self, replicas: &Arc<Replicas>) {
        for engine in replicas.engines() {
            let is_new = self.listeners(|listeners| {
                let is_new = !listeners.contains_key(engine);
                listeners.entry(engine.to_owned()).or_default().push(Arc::downgrade(replicas));
                is_new
            });
            if is_new {
                tokio::spawn(listen(self.clone(), engine.to_owned()));
            } else {
                let (engine, replicas) = (engine.to_owned(), replicas.clone());
                let heard = self.clone();
                tokio::spawn(async move {
                    heard.is_heard(&engine).then(|| replicas.set_watched(&engine, true));
                    replicas.look().await;
                });
            }
        }
    }

    /// Some other that is told already says so.
    fn is_heard(&self, engine: &Path) -> bool {
        self.told(engine).iter().any(|one| one.is_watched(engine))
    }

    fn told(&self, engine: &Path) -> Vec<Arc<Replicas>> {
        self.listeners(|listeners| {
            listeners.get(engine).map(|all| all.iter().filter_map(Weak::upgrade).collect())
        })
        .unwrap_or_default()
    }

    /// False, once and for all, when nobody wants to know any more.
    fn is_wanted(&self, engine: &Path) -> bool {
        self.listeners(|listeners| {
            let Some(all) = listeners.get_mut(engine) else { return false };
            all.retain(|one| one.strong_count() > 0);
            let is_wanted = !all.is_empty();
            if !is_wanted {
                listeners.remove(engine);
            }
            is_wanted
        })
    }

    fn set_watched(&self, engine: &Path, is_watched: bool) {
        self.told(engine).iter().for_each(|one| one.set_watched(engine, is_watched));
    }
}

async fn listen(engines: Engines, path: PathBuf) {
    let engine = Engine::at(&path);
    while engines.is_wanted(&path) {
        match engine.events().await {
            Ok(mut events) => {
                engines.set_watched(&path, true);
                for replicas in engines.told(&path) {
                    replicas.look().await;
                }
                let is_wanted = hear(&engines, &path, &mut events).await;
                engines.set_watched(&path, false);
                if !is_wanted {
                    return;
                }
            }
            Err(silence) => {
                for replicas in engines.told(&path) {
                    replicas.tell_silence(&silence);
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(RECONNECT_MILLIS)).await;
    }
}

/// Until the stream ends, or nobody wants to know any more: then false.
async fn hear(engines: &Engines, path: &Path, events: &mut Events) -> bool {
    let mut wanted = tokio::time::interval(Duration::from_secs(WANTED_SECONDS));
    loop {
        let event = tokio::select! {
            event = events.next() => event,
            _ = wanted.tick() => match engines.is_wanted(path) {
                true => continue,
                false => return false,
            },
        };
        let Some(event) = event else { return true };
        for replicas in engines.told(path).iter().filter(|replicas| replicas.is_concerned(&event)) {
            replicas.look().await;
        }
    }
}
