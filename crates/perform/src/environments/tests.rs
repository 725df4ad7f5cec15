use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use lockgate_model::{Action, Millis, Recorded};
use lockgate_ports::fake::SharedMachine;
use lockgate_ports::{Check, Diagnosis, Runtime};

use super::*;
use crate::scene::{release, serving};

/// A runtime that also has environments: each slot's, and today's of each slot.
struct WithEnvironments {
    inner: Arc<dyn Runtime>,
    slots: Mutex<BTreeMap<Slot, Variables>>,
    today: Mutex<BTreeMap<Slot, Variables>>,
}

fn variables(pairs: &[(&str, &str)]) -> Variables {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), Secret::new(*value))).collect()
}

impl WithEnvironments {
    /// Both slots have `pairs`, and each its own name in `SLOT`.
    fn set_today(&self, pairs: &[(&str, &str)]) {
        for slot in [Slot::Blue, Slot::Green] {
            let mut all = variables(pairs);
            all.insert("SLOT".into(), Secret::new(slot.as_str()));
            self.today.lock().unwrap().insert(slot, all);
        }
    }

    fn in_slot(&self, slot: Slot, name: &str) -> Option<String> {
        Some(self.slots.lock().unwrap().get(&slot)?.get(name)?.reveal().to_owned())
    }
}

#[async_trait]
impl Runtime for WithEnvironments {
    fn name(&self) -> &'static str {
        self.inner.name()
    }
    async fn resolve(&self, tag: &Tag) -> Result<Release, PortError> {
        self.inner.resolve(tag).await
    }
    async fn slots(&self) -> Result<Vec<RuntimeSlot>, PortError> {
        self.inner.slots().await
    }
    async fn conflicts(&self) -> Result<Vec<String>, PortError> {
        self.inner.conflicts().await
    }
    async fn fetch(&self, release: &Release) -> Result<(), PortError> {
        self.inner.fetch(release).await
    }
    async fn start(&self, slot: Slot, release: &Release) -> Result<(), PortError> {
        let today = self.today.lock().unwrap()[&slot].clone();
        self.slots.lock().unwrap().insert(slot, today);
        self.inner.start(slot, release).await
    }
    fn has_environments(&self) -> bool {
        true
    }
    async fn environment(&self, slot: Slot) -> Result<Option<Variables>, PortError> {
        Ok(self.slots.lock().unwrap().get(&slot).cloned())
    }
    async fn todays_environment(&self, slot: Slot, _: &Release) -> Result<Variables, PortError> {
        Ok(self.today.lock().unwrap()[&slot].clone())
    }
    async fn start_with(&self, slot: Slot, release: &Release, own: &Variables) -> Result<(), PortError> {
        self.slots.lock().unwrap().insert(slot, own.clone());
        self.inner.start(slot, release).await
    }
    async fn stop(&self, slot: Slot, grace: Millis) -> Result<(), PortError> {
        self.inner.stop(slot, grace).await
    }
    async fn logs(&self, slot: Slot, lines: u32) -> Result<Vec<String>, PortError> {
        self.inner.logs(slot, lines).await
    }
    async fn diagnose(&self, slot: Slot, port: Option<u16>) -> Diagnosis {
        self.inner.diagnose(slot, port).await
    }
    async fn prune(&self, keep: &[Release]) -> Result<Vec<String>, PortError> {
        self.inner.prune(keep).await
    }
    async fn check(&self) -> Vec<Check> {
        self.inner.check().await
    }
}

/// `v1` serves from blue with `A=1` and `GONE=x`, which is kept; today `A` is 2 and `B` is new.
async fn changed_since() -> (SharedMachine, HostPorts, Arc<WithEnvironments>) {
    let (machine, mut ports) = serving(Slot::Blue, "v1");
    let runtime = Arc::new(WithEnvironments {
        inner: ports.runtime.clone(),
        slots: Mutex::default(),
        today: Mutex::default(),
    });
    ports.runtime = runtime.clone();
    runtime.set_today(&[("A", "1"), ("GONE", "x"), ("SAME", "s")]);
    runtime.start(Slot::Blue, &release("v1")).await.unwrap();
    keep(&ports, &release("v1")).await.unwrap();
    runtime.set_today(&[("A", "2"), ("B", "new"), ("SAME", "s")]);
    (machine, ports, runtime)
}

fn file(machine: &SharedMachine) -> Kept {
    serde_json::from_slice(&machine.lock().unwrap().files[&path("/srv/web")]).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_release_that_is_gone_back_to_has_what_it_ran_with_and_the_slots_own() {
    let (machine, ports, runtime) = changed_since().await;
    let told = own_environment(&ports, Slot::Green, &release("v1")).await.unwrap().unwrap();
    assert_eq!(told.differs, ["A", "B", "GONE"]);
    assert!(told.since.is_some());
    machine.lock().unwrap().place(Slot::Green, &release("v1").tag, false);
    let seen = start(&ports, Slot::Green, &release("v1")).await.unwrap();
    assert!(seen[0].seen.contains("3 variables differ from today's: A, B, GONE"), "{seen:?}");
    let green = |name| runtime.in_slot(Slot::Green, name);
    assert_eq!((green("A").as_deref(), green("GONE").as_deref()), (Some("1"), Some("x")));
    assert_eq!((green("B"), green("SLOT").as_deref()), (None, Some("green")));
}

#[tokio::test(start_paused = true)]
async fn what_was_never_kept_gets_todays_environment_and_that_is_said() {
    let (machine, ports, runtime) = changed_since().await;
    machine.lock().unwrap().place(Slot::Green, &release("v2").tag, false);
    let seen = start(&ports, Slot::Green, &release("v2")).await.unwrap();
    assert!(seen[0].seen.contains("what it ran with is not known"), "{seen:?}");
    assert_eq!(runtime.in_slot(Slot::Green, "A").as_deref(), Some("2"));
    // What has been started and never went live says nothing of a release that did.
    machine.lock().unwrap().files.insert(path("/srv/web"), b"{ hunter2".to_vec());
    let seen = start(&ports, Slot::Green, &release("v2")).await.unwrap();
    assert!(seen.is_empty(), "it runs already: {seen:?}");
    let error = own_environment(&ports, Slot::Green, &release("v2")).await.unwrap_err();
    assert!(!error.message.contains("hunter2") && !error.hints.is_empty(), "{error}");
}

#[tokio::test(start_paused = true)]
async fn releases_with_the_same_environment_have_one_copy_and_go_with_their_images() {
    let (machine, ports, runtime) = changed_since().await;
    let (before, since) = (file(&machine), file(&machine).environments[0].since);
    tokio::time::advance(std::time::Duration::from_secs(60)).await;
    keep(&ports, &release("v1")).await.unwrap();
    assert_eq!(file(&machine), before, "nothing has changed");
    let same = runtime.slots.lock().unwrap()[&Slot::Blue].clone();
    runtime.slots.lock().unwrap().insert(Slot::Green, same);
    machine.lock().unwrap().place(Slot::Green, &release("v2").tag, true);
    keep(&ports, &release("v2")).await.unwrap();
    let kept = file(&machine);
    assert_eq!((kept.environments.len(), kept.variables.len()), (2, 1));
    assert!(kept.environments[0].since > since);
    prune(&ports, &[release("v1")]).await.unwrap();
    assert_eq!(file(&machine).environments, before.environments);
    prune(&ports, &[]).await.unwrap();
    assert_eq!(file(&machine), Kept::default());
}

#[test]
fn the_file_stays_within_what_is_read_back() {
    let mut kept = Kept::default();
    for number in 0..6_u32 {
        let release = Release {
            digest: Digest::new(format!("sha256:{}", number.to_string().repeat(64))).unwrap(),
            ..release("v1")
        };
        let large = variables(&[("LARGE", &number.to_string().repeat(1024 * 1024))]);
        kept.keep(Slot::Blue, &release, &large, Timestamp(i64::from(number)));
    }
    assert!(kept.bytes().unwrap().len() <= FILE_BYTES_MAX);
    assert_eq!(kept.environments.len(), 3);
    assert_eq!(kept.environments[0].since, Timestamp(5), "the newest stay");
    assert_eq!(kept.variables.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn what_is_recorded_as_live_is_kept_and_what_is_replaced_too() {
    let (machine, ports, _) = changed_since().await;
    machine.lock().unwrap().files.remove(&path("/srv/web"));
    let conductor = crate::scene::conductor(&ports);
    let recorded = Recorded { active: Some(Slot::Blue), previous: None };
    let record = Action::Record { recorded, release: Some(release("v1")), tried: None };
    let host = ports.id.clone();
    let perform = |action: Action| {
        let (conductor, host) = (&conductor, &host);
        async move { lockgate_engine::Performer::perform(conductor, Some(host), &action, &|_| {}).await.unwrap() }
    };
    perform(record).await;
    assert_eq!(file(&machine).environments[0].digest, release("v1").digest);
    machine.lock().unwrap().files.remove(&path("/srv/web"));
    machine.lock().unwrap().point_at(None, None);
    let holding = Some(release("v1").digest);
    perform(Action::Stop { slot: Slot::Blue, grace: Some(Millis(0)), heir: None, holding }).await;
    assert_eq!(file(&machine).environments[0].digest, release("v1").digest);
}
