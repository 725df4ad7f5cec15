//! A store in memory.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use lockgate_model::{
    ANSWER_BYTES_MAX, AuditEntry, AuditRecord, DeliveryAnswer, DeliveryId, EnvironmentName, Millis,
    Observation, Presence, ProjectName, Received, SeenLive, ServiceName, Tally, Timestamp, Verdict,
    WebhookDelivery,
};

use crate::{AuditFilter, LookFilter, PortError, RECORDS_MAX, RecordFilter, Store};

/// What makes two deliveries one.
type DeliveryKey = (ProjectName, String, DeliveryId);

#[derive(Debug, Default)]
struct Kept {
    verdicts: Vec<Verdict>,
    presence: Vec<Presence>,
    looks: Vec<Observation>,
    deliveries: BTreeMap<DeliveryKey, (WebhookDelivery, Option<DeliveryAnswer>)>,
    audit: Vec<AuditEntry>,
}

/// Forgets everything when it is dropped.
#[derive(Debug, Default)]
pub struct FakeStore {
    kept: Mutex<Kept>,
}

impl FakeStore {
    fn kept(&self) -> MutexGuard<'_, Kept> {
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

    async fn receive(&self, delivery: &WebhookDelivery) -> Result<Received, PortError> {
        let key = (delivery.project.clone(), delivery.endpoint.clone(), delivery.id.clone());
        let mut kept = self.kept();
        let Some((first, answer)) = kept.deliveries.get(&key) else {
            kept.deliveries.insert(key, (delivery.clone(), None));
            return Ok(Received::First);
        };
        let (first, answer) = (first.clone(), answer.clone());
        Ok(match (first.body == delivery.body, first.run == delivery.run) {
            (false, _) => Received::Differs { first },
            (true, true) if answer.is_none() => Received::First,
            (true, _) => Received::Again { first, answer },
        })
    }

    async fn answer(
        &self,
        project: &ProjectName,
        endpoint: &str,
        id: &DeliveryId,
        answer: &DeliveryAnswer,
    ) -> Result<DeliveryAnswer, PortError> {
        if answer.body.len() > ANSWER_BYTES_MAX {
            return Err(PortError::too_large("the answer to a delivery", ANSWER_BYTES_MAX));
        }
        let mut kept = self.kept();
        let known = kept.deliveries.get_mut(&(project.clone(), endpoint.to_owned(), id.clone()));
        let (_, kept_answer) =
            known.ok_or_else(|| PortError::not_found(format!("the delivery {id} is not known")))?;
        Ok(kept_answer.get_or_insert_with(|| answer.clone()).clone())
    }

    async fn deliveries(
        &self,
        project: &ProjectName,
        limit: u32,
    ) -> Result<Vec<(WebhookDelivery, Option<DeliveryAnswer>)>, PortError> {
        let kept = self.kept();
        let of_project = kept.deliveries.values().filter(|(delivery, _)| delivery.project == *project);
        let mut wanted: Vec<_> = of_project.cloned().collect();
        wanted.sort_by(|(one, _), (other, _)| (other.at, &other.id).cmp(&(one.at, &one.id)));
        wanted.truncate(at_most(limit));
        Ok(wanted)
    }

    async fn note(&self, entry: &AuditEntry) -> Result<u64, PortError> {
        let mut kept = self.kept();
        kept.audit.push(entry.clone().bounded());
        Ok(kept.audit.len() as u64 - 1)
    }

    async fn audit(&self, filter: &AuditFilter) -> Result<Vec<AuditRecord>, PortError> {
        let kept = self.kept();
        let numbered = (0..).zip(&kept.audit).collect::<Vec<(u64, _)>>().into_iter().rev();
        let wanted = numbered.filter(|(seq, entry)| {
            entry.project == filter.project && filter.before.is_none_or(|before| *seq < before)
        });
        let records = wanted.map(|(seq, entry)| AuditRecord { seq, entry: entry.clone() });
        Ok(records.take(at_most(filter.limit)).collect())
    }
}
