//! `GET /metrics`: Prometheus' text format.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lockgate_model::{Action, DeployStatus, Event, EventKind, Outcome, Plan, RunId, StepId, Timestamp};
use lockgate_orchestrator::queue::QueueCounts;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use crate::places::PlaceCounts;
use crate::tls::CertificateState;

/// Runs whose steps are being timed. One runs for each service.
const RUNS_MAX: usize = 256;
/// Steps take from milliseconds to the minutes of a gate.
const BOUNDS_SECONDS: [f64; 12] = [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0];

/// What is counted as it happens. Cheap to clone; all clones count together.
#[derive(Clone, Default)]
pub struct Metrics(Arc<Mutex<Counted>>);

#[derive(Default)]
struct Counted {
    under_way: HashMap<RunId, UnderWay>,
    runs: BTreeMap<&'static str, u64>,
    steps: BTreeMap<(&'static str, &'static str), Durations>,
    notifier_failures: BTreeMap<String, u64>,
}

/// A run whose steps are being timed.
struct UnderWay {
    actions: BTreeMap<StepId, &'static str>,
    begun: BTreeMap<StepId, Timestamp>,
}

#[derive(Clone, Default)]
struct Durations {
    sum_seconds: f64,
    /// Up to each bound, and beyond all.
    counts: [u64; BOUNDS_SECONDS.len() + 1],
}

/// What is looked up when somebody asks.
pub(crate) struct Now {
    pub(crate) queue: QueueCounts,
    pub(crate) connections: PlaceCounts,
    pub(crate) certificate: Option<CertificateState>,
}

impl Metrics {
    /// Hears what happens in runs. Does not wait.
    pub fn event(&self, event: &Event) {
        self.counted().event(event);
    }

    /// A message was not delivered.
    pub fn notifier_failed(&self, notifier: &str) {
        *self.counted().notifier_failures.entry(notifier.to_owned()).or_default() += 1;
    }

    pub(crate) fn render(&self, now: Now) -> Result<String, fmt::Error> {
        let mut registry = Registry::with_prefix("lockgate");
        registry.register_collector(Box::new(Look { metrics: self.clone(), now }));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry)?;
        Ok(text)
    }

    fn counted(&self) -> MutexGuard<'_, Counted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counted {
    fn event(&mut self, event: &Event) {
        match &event.kind {
            EventKind::RunStarted { plan, .. } => {
                if self.under_way.len() < RUNS_MAX {
                    let under_way = UnderWay { actions: actions(plan), begun: BTreeMap::new() };
                    self.under_way.insert(event.run, under_way);
                }
            }
            EventKind::StepStarted { step } => self.begin(event, *step),
            EventKind::StepSucceeded { step, .. } => self.end(event, *step, "succeeded"),
            EventKind::StepFailed { step, .. } => self.end(event, *step, "failed"),
            EventKind::UndoStarted { step } => self.begin(event, *step),
            EventKind::UndoSucceeded { step } => self.end(event, *step, "undone"),
            EventKind::UndoFailed { step, .. } => self.end(event, *step, "undo_failed"),
            EventKind::RunEnded { outcome } => {
                self.under_way.remove(&event.run);
                *self.runs.entry(word(outcome)).or_default() += 1;
            }
            EventKind::Adopted { .. }
            | EventKind::Intended { .. }
            | EventKind::UnwindStarted { .. }
            | EventKind::Committed => {}
        }
    }

    fn begin(&mut self, event: &Event, step: StepId) {
        if let Some(under_way) = self.under_way.get_mut(&event.run) {
            under_way.begun.insert(step, event.at);
        }
    }

    /// Of a run that was taken over it is not known when the step began.
    fn end(&mut self, event: &Event, step: StepId, result: &'static str) {
        let Some(under_way) = self.under_way.get_mut(&event.run) else { return };
        let (Some(begun), Some(action)) = (under_way.begun.remove(&step), under_way.actions.get(&step))
        else {
            return;
        };
        // A clock may be set back.
        let seconds = event.at.0.saturating_sub(begun.0).max(0) as f64 / 1000.0;
        let durations = self.steps.entry((action, result)).or_default();
        durations.sum_seconds += seconds;
        let bound = BOUNDS_SECONDS.iter().position(|bound| seconds <= *bound);
        durations.counts[bound.unwrap_or(BOUNDS_SECONDS.len())] += 1;
    }
}

fn actions(plan: &Plan) -> BTreeMap<StepId, &'static str> {
    plan.steps().map(|(_, _, step)| (step.id, action(&step.action))).collect()
}

fn action(action: &Action) -> &'static str {
    match action {
        Action::Gate { .. } => "gate",
        Action::Fetch { .. } => "fetch",
        Action::RunHook { .. } => "run_hook",
        Action::EndHook { .. } => "end_hook",
        Action::Start { .. } => "start",
        Action::AwaitHealthy { .. } => "await_healthy",
        Action::Switch { .. } => "switch",
        Action::Hold { .. } => "hold",
        Action::LetGo => "let_go",
        Action::Withdraw { .. } => "withdraw",
        Action::Verify { .. } => "verify",
        Action::Record { .. } => "record",
        Action::TakeBack { .. } => "take_back",
        Action::Drain { .. } => "drain",
        Action::Stop { .. } => "stop",
        Action::Prune { .. } => "prune",
    }
}

fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Succeeded { .. } => "succeeded",
        Outcome::Failed { .. } => "failed",
        Outcome::RolledBack { .. } => "rolled_back",
        Outcome::Stuck(_) => "stuck",
    }
}

struct Look {
    metrics: Metrics,
    now: Now,
}

impl fmt::Debug for Look {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Look")
    }
}

impl Collector for Look {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        self.counted(&mut encoder)?;
        self.queue(&mut encoder)?;
        self.transport(&mut encoder)
    }
}

type Labels<'a> = [(&'static str, &'a str); 1];

impl Look {
    fn counted(&self, encoder: &mut DescriptorEncoder) -> Result<(), fmt::Error> {
        let counted = self.metrics.counted();
        let runs = counted.runs.iter().map(|(end, count)| ([("end", *end)], *count));
        counters(encoder, "runs", "Runs by how they ended", runs)?;
        let failures = counted.notifier_failures.iter();
        let failures = failures.map(|(name, count)| ([("notifier", name.as_str())], *count));
        counters(encoder, "notifier_failures", "Messages that were not delivered", failures)?;
        let help = "How long steps of runs took, by what they do and how they ended";
        let mut family =
            encoder.encode_descriptor("step_duration", help, Some(&Unit::Seconds), MetricType::Histogram)?;
        let bounds = || BOUNDS_SECONDS.iter().copied().chain([f64::INFINITY]);
        for ((step, result), durations) in &counted.steps {
            let buckets: Vec<(f64, u64)> = bounds().zip(durations.counts).collect();
            let total = durations.counts.iter().sum();
            let labels = [("step", *step), ("result", *result)];
            let mut labelled = family.encode_family(&labels)?;
            labelled.encode_histogram::<NoLabelSet>(durations.sum_seconds, total, &buckets, None)?;
        }
        Ok(())
    }

    fn queue(&self, encoder: &mut DescriptorEncoder) -> Result<(), fmt::Error> {
        let QueueCounts { running, waiting, accepted, repeated, ended, refused, store_failures } =
            &self.now.queue;
        gauge(encoder, "calls_running", "Calls whose run is under way", *running)?;
        gauge(encoder, "calls_waiting", "Calls that wait for the one before them", *waiting)?;
        counter(
            encoder,
            "calls_accepted",
            "Calls that were accepted, repeated ones not among them",
            *accepted,
        )?;
        counter(encoder, "calls_repeated", "Calls that were the same as an earlier one", *repeated)?;
        counters(encoder, "calls_answered", "Accepted calls by what they came to", by_status(ended))?;
        counters(encoder, "calls_refused", "Calls that were refused, by how", by_status(refused))?;
        counter(encoder, "store_failures", "Writes to the store that were tried again", *store_failures)
    }

    fn transport(&self, encoder: &mut DescriptorEncoder) -> Result<(), fmt::Error> {
        let PlaceCounts { open, evicted, refused } = self.now.connections;
        gauge(encoder, "connections", "Open connections", open as u64)?;
        let help = "Idle connections that made room for new ones";
        counter(encoder, "connections_evicted", help, evicted as u64)?;
        let help = "Connections that were closed at once, because none was idle";
        counter(encoder, "connections_refused", help, refused as u64)?;
        let Some(certificate) = &self.now.certificate else { return Ok(()) };
        let until = u64::try_from(certificate.valid_until.0 / 1000).unwrap_or(0);
        let help = "Until when clients take the certificate, as a Unix time";
        gauge(encoder, "certificate_valid_until_timestamp_seconds", help, until)?;
        counter(
            encoder,
            "certificate_reloads",
            "Certificates that were taken while serving",
            certificate.reloads,
        )?;
        let help = "1 while what lies in the certificate's place is not used";
        gauge(encoder, "certificate_refused", help, u64::from(certificate.wrong.is_some()))
    }
}

fn by_status(counts: &BTreeMap<DeployStatus, u64>) -> impl Iterator<Item = (Labels<'static>, u64)> + '_ {
    counts.iter().map(|(status, count)| ([("status", status.as_str())], *count))
}

fn gauge(encoder: &mut DescriptorEncoder, name: &str, help: &str, value: u64) -> Result<(), fmt::Error> {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    family.encode_gauge(&i64::try_from(value).unwrap_or(i64::MAX))
}

fn counter(encoder: &mut DescriptorEncoder, name: &str, help: &str, value: u64) -> Result<(), fmt::Error> {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    family.encode_counter::<NoLabelSet, u64, u64>(&value, None)
}

fn counters<'a, L: EncodeLabelSet>(
    encoder: &mut DescriptorEncoder,
    name: &'a str,
    help: &'a str,
    values: impl Iterator<Item = (L, u64)>,
) -> Result<(), fmt::Error> {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (labels, value) in values {
        family.encode_family(&labels)?.encode_counter::<NoLabelSet, u64, u64>(&value, None)?;
    }
    Ok(())
}
