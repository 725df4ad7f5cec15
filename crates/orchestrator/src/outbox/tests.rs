//! The queue with a notifier that does as it is told, in virtual time.

use std::io::Write;
use std::time::Duration;

use async_trait::async_trait;
use lockgate_model::{EnvironmentName, FailureKind, Mask, ProjectName, RunId, ServiceName, Timestamp};
use lockgate_ports::{Check, MessageKind};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::*;
use crate::Teller;

/// Sends one message for each permit, and keeps what it was asked to send.
struct Gated {
    permits: Semaphore,
    /// Kinds of messages that are refused.
    refused: Vec<MessageKind>,
    /// Run, kind and the place of the earlier message, in the order of sending.
    told: Mutex<Vec<(u128, MessageKind, Option<String>)>>,
}

impl Gated {
    fn new(permits: usize) -> Arc<Gated> {
        Self::refusing(permits, &[])
    }

    fn refusing(permits: usize, refused: &[MessageKind]) -> Arc<Gated> {
        let permits = Semaphore::new(permits);
        Arc::new(Gated { permits, refused: refused.to_vec(), told: Mutex::default() })
    }

    fn told(&self) -> Vec<(u128, MessageKind, Option<String>)> {
        self.told.lock().unwrap().clone()
    }
}

#[async_trait]
impl Notifier for Gated {
    fn name(&self) -> String {
        "gated".to_owned()
    }

    async fn send(&self, message: &Message, earlier: Option<&Posted>) -> Result<Option<Posted>, PortError> {
        self.permits.acquire().await.unwrap().forget();
        let run = message.run.unwrap().0.as_u128();
        let earlier = earlier.map(|posted| posted.as_str().to_owned());
        self.told.lock().unwrap().push((run, message.kind, earlier));
        match self.refused.contains(&message.kind) {
            true => Err(PortError::new(FailureKind::Unauthorized, "no").hint("ask them")),
            false => Ok(Some(Posted::new(format!("place of {run}")))),
        }
    }

    async fn check(&self) -> Check {
        Check::ok("gated", "")
    }
}

fn message(run: u128, kind: MessageKind) -> Message {
    Message {
        kind,
        project: ProjectName::new("acme").unwrap(),
        service: ServiceName::new("web").unwrap(),
        environment: EnvironmentName::new("prod").unwrap(),
        release: None,
        asked: Some(format!("v{run}")),
        run: Some(RunId(uuid::Uuid::from_u128(run))),
        at: Timestamp(0),
        owner: "lee@laptop".into(),
        requester: None,
        took: None,
        url: None,
        commit: None,
        changes: None,
        hosts: vec![],
        job: None,
        failure: None,
        warnings: vec![],
        commands: vec![],
    }
}

/// Start and end of a run, one right after the other.
fn tell_run(outbox: &Arc<Outbox>, run: u128) {
    let story = Arc::default();
    outbox.put(message(run, MessageKind::Starting), &story);
    outbox.put(message(run, MessageKind::Success), &story);
    outbox.over(&story);
}

/// What is logged while it lives.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn listen() -> (Log, tracing::subscriber::DefaultGuard) {
        let log = Log::default();
        let writer = log.clone();
        let subscriber =
            tracing_subscriber::fmt().with_writer(move || writer.clone()).with_ansi(false).without_time();
        (log, tracing::subscriber::set_default(subscriber.finish()))
    }

    fn lines(&self) -> Vec<String> {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap().lines().map(ToOwned::to_owned).collect()
    }
}

fn teller(notifiers: &[&Arc<Gated>]) -> Teller {
    let notifiers = notifiers.iter().map(|one| (*one).clone() as Arc<dyn Notifier>).collect();
    Teller::new(notifiers, Mask::default())
}

#[tokio::test(start_paused = true)]
async fn a_start_is_told_before_its_end_which_is_told_where_the_start_is() {
    let gated = Gated::new(100);
    let outbox = Outbox::new(gated.clone());
    tell_run(&outbox, 1);
    tell_run(&outbox, 2);
    outbox.emptied().await;
    let place = |run: u128| Some(format!("place of {run}"));
    assert_eq!(
        gated.told(),
        [
            (1, MessageKind::Starting, None),
            (1, MessageKind::Success, place(1)),
            (2, MessageKind::Starting, None),
            (2, MessageKind::Success, place(2)),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn an_end_whose_start_did_not_arrive_is_told_as_a_new_message_and_the_loss_once() {
    let gated = Gated::refusing(100, &[MessageKind::Starting]);
    let (log, _guard) = Log::listen();
    let outbox = Outbox::new(gated.clone());
    tell_run(&outbox, 1);
    outbox.emptied().await;
    assert_eq!(gated.told()[1], (1, MessageKind::Success, None));
    let lines = log.lines();
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(lines[0].contains("gated: 1 of this run's messages not delivered; ask them"), "{lines:#?}");
    assert!(lines[0].contains("unauthorized: no"), "{lines:#?}");
}

#[tokio::test(start_paused = true)]
async fn a_notifier_that_hangs_is_waited_for_some_seconds_at_the_end_only_and_what_was_lost_is_named() {
    let (hangs, works) = (Gated::new(0), Gated::new(100));
    let (log, _guard) = Log::listen();
    let teller = teller(&[&hangs, &works]);
    let began = Instant::now();
    for outbox in teller.outboxes() {
        tell_run(outbox, 1);
    }
    assert_eq!(began.elapsed(), Duration::ZERO, "putting in waits for nobody");
    teller.finish().await;
    assert!((4..8).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    assert!(hangs.told().is_empty() && works.told().len() == 2, "one that hangs holds up no other");
    let lines = log.lines();
    assert_eq!(lines.len(), 1, "{lines:#?}");
    let said =
        "gated: 2 of this run's messages not delivered (web v1 in prod: starting, web v1 in prod: success)";
    assert!(lines[0].contains(said), "{lines:#?}");
    // It is over: nothing is told late, and nothing twice.
    hangs.permits.add_permits(10);
    teller.finish().await;
    assert!(hangs.told().is_empty() && log.lines().len() == 1);
}

#[tokio::test(start_paused = true)]
async fn whoever_wants_to_be_gone_waits_no_longer_and_hears_what_was_not_told() {
    let hangs = Gated::new(1);
    let (log, _guard) = Log::listen();
    let teller = teller(&[&hangs]);
    tell_run(&teller.outboxes()[0], 1);
    while hangs.told().is_empty() {
        tokio::task::yield_now().await;
    }
    teller.give_up();
    let lines = log.lines();
    assert!(
        lines[0].contains("1 of this run's messages not delivered (web v1 in prod: success)"),
        "{lines:#?}"
    );
    assert!(lines[0].contains("cancelled"), "{lines:#?}");
}

#[tokio::test(start_paused = true)]
async fn where_there_is_nothing_to_tell_nothing_is_waited_for() {
    let began = Instant::now();
    teller(&[&Gated::new(0)]).finish().await;
    Teller::default().finish().await;
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_drops_the_oldest_starts_and_no_end_and_says_how_many() {
    let gated = Gated::new(0);
    let (log, _guard) = Log::listen();
    let outbox = Outbox::new(gated.clone());
    let runs = u128::try_from(QUEUE_MESSAGES_MAX).unwrap();
    (1..=runs).for_each(|run| tell_run(&outbox, run));
    gated.permits.add_permits(3 * QUEUE_MESSAGES_MAX);
    outbox.emptied().await;
    let told = gated.told();
    let of = |wanted: MessageKind| -> Vec<u128> {
        told.iter().filter(|(_, kind, _)| *kind == wanted).map(|(run, ..)| *run).collect()
    };
    assert_eq!(of(MessageKind::Success), (1..=runs).collect::<Vec<_>>(), "every end, in order");
    assert!(
        of(MessageKind::Starting).is_empty(),
        "ends alone fill the queue: {:?}",
        of(MessageKind::Starting)
    );
    let said =
        format!("gated: {runs} starts of runs were not told: more than {QUEUE_MESSAGES_MAX} messages waited");
    let lines = log.lines();
    assert!(lines.len() == 1 && lines[0].contains(&said), "{lines:#?}");
}

#[tokio::test(start_paused = true)]
async fn a_queue_with_room_drops_nothing_and_a_new_start_comes_before_an_old_one() {
    let gated = Gated::new(0);
    let outbox = Outbox::new(gated.clone());
    let runs = u128::try_from(QUEUE_MESSAGES_MAX).unwrap();
    let stories: Vec<Arc<Story>> = (0..runs).map(|_| Arc::default()).collect();
    for (run, story) in (1..).zip(&stories) {
        outbox.put(message(run, MessageKind::Starting), story);
    }
    // There is room for all starts; the first end takes the place of the oldest.
    outbox.put(message(runs, MessageKind::Failed), &stories[stories.len() - 1]);
    gated.permits.add_permits(2 * QUEUE_MESSAGES_MAX);
    outbox.emptied().await;
    let told = gated.told();
    assert_eq!(told.len(), QUEUE_MESSAGES_MAX);
    assert_eq!((told[0].0, told[0].1), (2, MessageKind::Starting));
    let last = told.last().unwrap();
    assert_eq!((last.0, last.1, last.2.as_deref()), (runs, MessageKind::Failed, Some("place of 256")));
}
