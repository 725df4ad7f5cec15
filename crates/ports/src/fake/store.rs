//! A store in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use lockgate_model::{
    ANSWER_BYTES_MAX, AuditEntry, AuditLink, AuditRecord, DeliveryAnswer, DeliveryId, Digest, Earlier,
    EnvironmentName, FailureKind, Incoming, Millis, Observation, Presence, ProjectName, Received, RunId,
    SeenLive, ServiceName, Tally, Timestamp, Verdict, WebhookDelivery,
};

use crate::{Answering, AuditFilter, Batch, Kept, LookFilter, PortError, RECORDS_MAX, RecordFilter, Store};

/// What makes two deliveries one.
type DeliveryKey = (ProjectName, String, DeliveryId);

#[derive(Debug, Default)]
struct Memory {
    verdicts: Vec<Verdict>,
    presence: Vec<Presence>,
    looks: Vec<Observation>,
    deliveries: BTreeMap<DeliveryKey, Known>,
    /// As many as have been let in so far.
    arrived: u64,
    audit: Vec<(AuditEntry, AuditLink)>,
}

/// A delivery.
#[derive(Debug, Clone)]
struct Known {
    delivery: WebhookDelivery,
    answer: Option<DeliveryAnswer>,
    /// Its place in the order of arrival.
    seq: u64,
}

impl Known {
    fn pair(&self) -> (WebhookDelivery, Option<DeliveryAnswer>) {
        (self.delivery.clone(), self.answer.clone())
    }

    /// Which service in which environment it is for.
    fn place(&self) -> Option<(&ServiceName, &EnvironmentName)> {
        self.delivery.call.as_ref().map(|call| (&call.service, &call.environment))
    }
}

impl Memory {
    fn receive(&mut self, incoming: &Incoming, forgets_bodies: bool) -> Received {
        let delivery = &incoming.delivery;
        let by_id = self.deliveries.get(&key(delivery)).map(|known| self.earlier(known));
        let by_body = self.latest_of_body(delivery).map(|known| self.earlier(known));
        let received = Received::judge(incoming, by_id, by_body.filter(|_| !forgets_bodies));
        let (delivery, run) = match &received {
            Received::First => (delivery, None),
            Received::Anew { first } => (first, Some(first.run)),
            _ => return received,
        };
        let is_new = run.is_some() || !self.deliveries.contains_key(&key(delivery));
        if is_new {
            self.arrived += 1;
            let known = Known { delivery: delivery.clone(), answer: None, seq: self.arrived };
            self.deliveries.insert(key(delivery), known);
            if let Some(entry) = &incoming.entry {
                self.note(&AuditEntry { run: run.or(entry.run), ..entry.clone() });
            }
        }
        received
    }

    fn arrived_of(&self, received: &Received, incoming: &Incoming) -> u64 {
        let delivery = received.first().unwrap_or(&incoming.delivery);
        self.deliveries.get(&key(delivery)).map_or(0, |known| known.seq)
    }

    fn earlier<'k>(&self, known: &'k Known) -> Earlier<'k> {
        let is_later = |other: &Known| {
            other.seq > known.seq
                && other.delivery.project == known.delivery.project
                && other.place() == known.place()
        };
        let is_overtaken = known.place().is_some() && self.deliveries.values().any(is_later);
        Earlier { delivery: &known.delivery, answer: known.answer.as_ref(), is_overtaken }
    }

    fn latest_of_body(&self, delivery: &WebhookDelivery) -> Option<&Known> {
        let is_same = |known: &&Known| {
            (&known.delivery.project, &known.delivery.endpoint, &known.delivery.body)
                == (&delivery.project, &delivery.endpoint, &delivery.body)
        };
        self.deliveries.values().filter(is_same).max_by_key(|known| known.seq)
    }

    fn answer(&mut self, answering: &Answering) -> Option<DeliveryAnswer> {
        let key = (answering.project.clone(), answering.endpoint.clone(), answering.id.clone());
        let known = self.deliveries.get_mut(&key)?;
        if let Some(answer) = &known.answer {
            return Some(answer.clone());
        }
        known.answer = Some(answering.answer.clone());
        if let Some(entry) = &answering.entry {
            self.note(entry);
        }
        Some(answering.answer.clone())
    }

    fn note(&mut self, entry: &AuditEntry) -> u64 {
        let entry = entry.clone().bounded();
        let seq = self.audit.len() as u64;
        // Of plain data, which always has a JSON.
        let text = serde_json::to_string(&entry).unwrap_or_default();
        let mut link =
            AuditLink { seq, project: entry.project.to_string(), entry: text, hash: String::new() };
        link.hash = link.hash_behind(self.audit.last().map_or("", |(_, last)| last.hash.as_str()));
        self.audit.push((entry, link));
        seq
    }
}

fn key(delivery: &WebhookDelivery) -> DeliveryKey {
    (delivery.project.clone(), delivery.endpoint.clone(), delivery.id.clone())
}

/// How calls to the store go that are about deliveries and the audit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StoreDay {
    /// They are done at once.
    #[default]
    Good,
    /// They are done after so long.
    Slow(Millis),
    /// Nobody answers, and nothing is done.
    Gone,
    /// Nobody answers, and what was to be kept is kept all the same.
    AnswerLost,
    /// There is no room: nothing is kept.
    Full,
}

/// In what a store is broken on purpose, to see that it is noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lie {
    /// It hears of each body without a name for the first time.
    ForgetsBodies,
    /// All have come at once, and no later delivery has ever had its turn.
    ForgetsOrder,
    /// Answers are said to be kept, and are not.
    DropsAnswers,
}

/// Asked before (`false`) and after (`true`) a batch is kept: whether its caller dies there, and hears nothing more.
pub type Dies = Arc<dyn Fn(bool) -> bool + Send + Sync>;

/// Forgets everything when it is dropped.
#[derive(Default)]
pub struct FakeStore {
    kept: Mutex<Memory>,
    day: Mutex<StoreDay>,
    dies: Mutex<Option<Dies>>,
    lie: Mutex<Option<Lie>>,
}

impl FakeStore {
    /// How calls go from now on.
    pub fn has(&self, day: StoreDay) {
        *self.day.lock().unwrap_or_else(PoisonError::into_inner) = day;
    }

    /// From now on it is broken.
    pub fn lies(&self, lie: Lie) {
        *self.lie.lock().unwrap_or_else(PoisonError::into_inner) = Some(lie);
    }

    fn is_lying(&self, lie: Lie) -> bool {
        *self.lie.lock().unwrap_or_else(PoisonError::into_inner) == Some(lie)
    }

    /// Who keeps something from now on may die.
    pub fn kills(&self, dies: Dies) {
        *self.dies.lock().unwrap_or_else(PoisonError::into_inner) = Some(dies);
    }

    /// The runs of all deliveries that were let in, in the order in which they were. One that was taken up anew came last.
    pub fn arrivals(&self) -> Vec<RunId> {
        let kept = self.kept();
        let mut known: Vec<&Known> = kept.deliveries.values().collect();
        known.sort_by_key(|known| known.seq);
        known.into_iter().map(|known| known.delivery.run).collect()
    }

    /// For ever, where its caller dies.
    async fn point(&self, is_kept: bool) {
        let dies = self.dies.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if dies.is_some_and(|dies| dies(is_kept)) {
            std::future::pending::<()>().await;
        }
    }

    /// Before a call: whether its answer arrives.
    async fn meet(&self, writes: bool) -> Result<bool, PortError> {
        let day = *self.day.lock().unwrap_or_else(PoisonError::into_inner);
        let gone = || PortError::new(FailureKind::Unreachable, "memory: no answer").hint("is it up?");
        match day {
            StoreDay::Good => Ok(true),
            StoreDay::Slow(time) => {
                tokio::time::sleep(time.duration()).await;
                Ok(true)
            }
            StoreDay::AnswerLost if writes => Ok(false),
            StoreDay::Gone | StoreDay::AnswerLost => Err(gone()),
            StoreDay::Full if writes => {
                Err(PortError::new(FailureKind::DiskFull, "memory: no room").hint("free space"))
            }
            StoreDay::Full => Ok(true),
        }
    }

    fn kept(&self) -> MutexGuard<'_, Memory> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn at_most(limit: u32) -> usize {
    limit.min(RECORDS_MAX) as usize
}

fn is_wanted(look: &Observation, filter: &LookFilter) -> bool {
    (&look.project, &look.service, &look.environment)
        == (&filter.project, &filter.service, &filter.environment)
        && filter.digest.as_ref().is_none_or(|digest| look.digest.as_ref() == Some(digest))
        && filter.probe.as_ref().is_none_or(|probe| *probe == look.probe)
        && (filter.from..filter.to).contains(&look.at)
}

#[async_trait]
impl Store for FakeStore {
    fn place(&self) -> String {
        "memory".to_owned()
    }

    async fn look(&self) -> Result<(), PortError> {
        Ok(())
    }

    async fn add_verdict(&self, verdict: &Verdict) -> Result<(), PortError> {
        let verdict = verdict.clone().bounded();
        let mut kept = self.kept();
        if !kept.verdicts.contains(&verdict) {
            kept.verdicts.push(verdict);
        }
        Ok(())
    }

    async fn verdicts(&self, filter: &RecordFilter) -> Result<Vec<Verdict>, PortError> {
        let kept = self.kept();
        let wanted = kept.verdicts.iter().filter(|verdict| {
            verdict.subject.project == filter.project
                && filter.service.as_ref().is_none_or(|service| *service == verdict.subject.service)
                && filter
                    .environment
                    .as_ref()
                    .is_none_or(|environment| *environment == verdict.subject.environment)
                && filter.digest.as_ref().is_none_or(|digest| *digest == verdict.subject.digest)
        });
        let mut wanted: Vec<Verdict> = wanted.cloned().collect();
        wanted.sort_by_key(|verdict| std::cmp::Reverse(verdict.at));
        wanted.truncate(at_most(filter.limit));
        Ok(wanted)
    }

    async fn saw_live(&self, seen: &SeenLive) -> Result<(), PortError> {
        let mut kept = self.kept();
        let same_place = |presence: &&mut Presence| {
            (&presence.project, &presence.environment, &presence.release.service)
                == (&seen.project, &seen.environment, &seen.release.service)
        };
        let latest = kept.presence.iter_mut().filter(same_place).max_by_key(|presence| presence.since);
        match latest {
            Some(latest) if latest.is_open() && latest.release.same_bytes(&seen.release) => {
                latest.seen_at = latest.seen_at.max(seen.at);
                return Ok(());
            }
            Some(latest) if latest.until.map_or(latest.seen_at >= seen.at, |until| until > seen.at) => {
                return Ok(());
            }
            Some(latest) => latest.until = latest.until.or(Some(seen.at)),
            None => {}
        }
        kept.presence.push(Presence {
            project: seen.project.clone(),
            environment: seen.environment.clone(),
            release: seen.release.clone(),
            since: seen.at,
            seen_at: seen.at,
            until: None,
            run: seen.run,
        });
        Ok(())
    }

    async fn saw_nothing_live(
        &self,
        project: &ProjectName,
        service: &ServiceName,
        environment: &EnvironmentName,
        at: Timestamp,
    ) -> Result<(), PortError> {
        let mut kept = self.kept();
        let open = kept.presence.iter_mut().find(|presence| {
            presence.is_open()
                && (&presence.project, &presence.release.service, &presence.environment)
                    == (project, service, environment)
        });
        if let Some(open) = open.filter(|open| open.seen_at < at) {
            open.until = Some(at);
        }
        Ok(())
    }

    async fn presence(&self, filter: &RecordFilter) -> Result<Vec<Presence>, PortError> {
        let kept = self.kept();
        let wanted = kept.presence.iter().filter(|presence| {
            presence.project == filter.project
                && filter.service.as_ref().is_none_or(|service| *service == presence.release.service)
                && filter.environment.as_ref().is_none_or(|environment| *environment == presence.environment)
                && filter.digest.as_ref().is_none_or(|digest| *digest == presence.release.digest)
        });
        let mut wanted: Vec<Presence> = wanted.cloned().collect();
        wanted.sort_by_key(|presence| std::cmp::Reverse(presence.since));
        wanted.truncate(at_most(filter.limit));
        Ok(wanted)
    }

    async fn observe(&self, looks: &[Observation]) -> Result<(), PortError> {
        let mut kept = self.kept();
        for look in looks.iter().cloned().map(Observation::bounded) {
            let is_same = |other: &Observation| {
                (&other.project, &other.service, &other.environment, &other.probe, &other.by, other.at)
                    == (&look.project, &look.service, &look.environment, &look.probe, &look.by, look.at)
            };
            if !kept.looks.iter().any(is_same) {
                kept.looks.push(look);
            }
        }
        Ok(())
    }

    async fn observations(&self, filter: &LookFilter, limit: u32) -> Result<Vec<Observation>, PortError> {
        let kept = self.kept();
        let mut wanted: Vec<_> = kept.looks.iter().filter(|look| is_wanted(look, filter)).cloned().collect();
        wanted.sort_by(|one, other| (other.at, &other.probe, &other.by).cmp(&(one.at, &one.probe, &one.by)));
        wanted.truncate(at_most(limit));
        Ok(wanted)
    }

    async fn tally(&self, filter: &LookFilter) -> Result<Tally, PortError> {
        let kept = self.kept();
        let wanted = || kept.looks.iter().filter(|look| is_wanted(look, filter));
        let mut times: Vec<Timestamp> = wanted().map(|look| look.at).collect();
        times.sort();
        let gaps = times.windows(2).map(|pair| pair[1].since(pair[0]));
        Ok(Tally {
            looks: times.len() as u64,
            failures: wanted().filter(|look| !look.ok).count() as u64,
            first: times.first().copied(),
            last: times.last().copied(),
            longest_gap: gaps.max().unwrap_or(Millis(0)),
        })
    }

    async fn forget_observations(&self, project: &ProjectName, before: Timestamp) -> Result<u64, PortError> {
        let mut kept = self.kept();
        let had = kept.looks.len();
        kept.looks.retain(|look| look.project != *project || look.at >= before);
        Ok((had - kept.looks.len()) as u64)
    }

    async fn keep(&self, batch: &Batch) -> Result<Kept, PortError> {
        let is_too_large = |answering: &Answering| answering.answer.body.len() > ANSWER_BYTES_MAX;
        if batch.answers.iter().any(is_too_large) {
            return Err(PortError::too_large("the answer to a delivery", ANSWER_BYTES_MAX));
        }
        let arrives = self.meet(true).await?;
        self.point(false).await;
        let done = {
            let mut kept = self.kept();
            let received = batch.incoming.iter().map(|incoming| {
                let received = kept.receive(incoming, self.is_lying(Lie::ForgetsBodies));
                let arrived = kept.arrived_of(&received, incoming);
                (received, if self.is_lying(Lie::ForgetsOrder) { 0 } else { arrived })
            });
            let (received, arrived) = received.unzip();
            Kept {
                received,
                arrived,
                answers: match self.is_lying(Lie::DropsAnswers) {
                    true => batch.answers.iter().map(|answering| Some(answering.answer.clone())).collect(),
                    false => batch.answers.iter().map(|answering| kept.answer(answering)).collect(),
                },
                entries: batch.entries.iter().map(|entry| kept.note(entry)).collect(),
            }
        };
        self.point(true).await;
        match arrives {
            true => Ok(done),
            false => Err(PortError::new(FailureKind::TimedOut, "memory: no answer in time")),
        }
    }

    async fn unanswered(&self, project: &ProjectName, limit: u32) -> Result<Vec<WebhookDelivery>, PortError> {
        self.meet(false).await?;
        let kept = self.kept();
        let is_open = |known: &&Known| known.delivery.project == *project && known.answer.is_none();
        let mut open: Vec<_> = kept.deliveries.values().filter(is_open).collect();
        open.sort_by_key(|known| known.seq);
        Ok(open.into_iter().take(at_most(limit)).map(|known| known.delivery.clone()).collect())
    }

    async fn delivery_of(
        &self,
        project: &ProjectName,
        run: RunId,
    ) -> Result<Option<(WebhookDelivery, Option<DeliveryAnswer>)>, PortError> {
        self.meet(false).await?;
        let is_it = |known: &&Known| known.delivery.project == *project && known.delivery.run == run;
        Ok(self.kept().deliveries.values().find(is_it).map(Known::pair))
    }

    async fn made_live(
        &self,
        project: &ProjectName,
        service: &ServiceName,
        environment: &EnvironmentName,
        digest: &Digest,
    ) -> Result<Option<WebhookDelivery>, PortError> {
        let kept = self.kept();
        let has_made = |known: &&Known| {
            known.delivery.project == *project
                && known.place() == Some((service, environment))
                && known.answer.as_ref().is_some_and(|answer| answer.live.as_ref() == Some(digest))
        };
        let latest = kept
            .deliveries
            .values()
            .filter(has_made)
            .max_by_key(|known| (known.delivery.says_when_committed(), known.seq));
        Ok(latest.map(|known| known.delivery.clone()))
    }

    async fn settled_after(&self, project: &ProjectName, run: RunId) -> Result<Option<RunId>, PortError> {
        self.meet(false).await?;
        if self.is_lying(Lie::ForgetsOrder) {
            return Ok(None);
        }
        let kept = self.kept();
        let mut of_project = kept.deliveries.values().filter(|known| known.delivery.project == *project);
        let Some(asked) = of_project.clone().find(|known| known.delivery.run == run) else { return Ok(None) };
        let is_settled = |known: &&Known| known.answer.as_ref().is_some_and(|answer| answer.settled);
        let later = of_project
            .by_ref()
            .filter(|known| known.seq > asked.seq && known.place() == asked.place() && is_settled(known));
        Ok(later.max_by_key(|known| known.seq).map(|known| known.delivery.run))
    }

    async fn forget_deliveries(&self, project: &ProjectName, before: Timestamp) -> Result<u64, PortError> {
        let mut kept = self.kept();
        let had = kept.deliveries.len();
        kept.deliveries.retain(|_, known| {
            known.delivery.project != *project || known.answer.is_none() || known.delivery.at >= before
        });
        Ok((had - kept.deliveries.len()) as u64)
    }

    async fn deliveries(
        &self,
        project: &ProjectName,
        limit: u32,
    ) -> Result<Vec<(WebhookDelivery, Option<DeliveryAnswer>)>, PortError> {
        let kept = self.kept();
        let of_project = kept.deliveries.values().filter(|known| known.delivery.project == *project);
        let mut wanted: Vec<_> = of_project.map(Known::pair).collect();
        wanted.sort_by(|(one, _), (other, _)| (other.at, &other.id).cmp(&(one.at, &one.id)));
        wanted.truncate(at_most(limit));
        Ok(wanted)
    }

    async fn audit(&self, filter: &AuditFilter) -> Result<Vec<AuditRecord>, PortError> {
        let kept = self.kept();
        let wanted = kept.audit.iter().rev().filter(|(entry, link)| {
            entry.project == filter.project && filter.before.is_none_or(|before| link.seq < before)
        });
        let record = |(entry, link): &(AuditEntry, AuditLink)| AuditRecord {
            seq: link.seq,
            hash: link.hash.clone(),
            entry: entry.clone(),
        };
        Ok(wanted.take(at_most(filter.limit)).map(record).collect())
    }

    async fn audit_links(&self, from: u64, limit: u32) -> Result<Vec<AuditLink>, PortError> {
        let kept = self.kept();
        let wanted = kept.audit.iter().map(|(_, link)| link).filter(|link| link.seq >= from);
        Ok(wanted.take(at_most(limit)).cloned().collect())
    }
}
