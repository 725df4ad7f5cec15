//! Hosts that are gone: what the others come to without them, and what becomes of one that is back.

use std::collections::BTreeSet;

use lockgate_model::{HostId, Outcome, Refusal};
use lockgate_ports::fake::Life;

use crate::actor::Ended;
use crate::bad_day::{BadDay, Event};
use crate::scene::tag;
use crate::story::{Command, MACHINES, Story, Turn};
use crate::systematic::{All, Finding};
use crate::telling::{Came, Stage, Told, tell, word};
use crate::world::Tally;

impl Stage {
    /// A plain `resume` brings the hosts that answer to one release and says who is behind; `deploy --skip` goes on
    /// without the others. False when the story ends with that.
    pub(crate) async fn go_on_without(&self, told: &mut Told) -> bool {
        let gone = self.world.gone();
        if gone.is_empty() {
            return true;
        }
        if gone.len() < self.world.machines.len() {
            self.resume_without(&gone, told).await;
            self.deploy_without(&gone, told).await;
        }
        self.world.come_back();
        self.story.come_back
    }

    async fn resume_without(&self, gone: &BTreeSet<HostId>, told: &mut Told) {
        let calm = Turn::new(Command::Resume, self.story.last_machine, BadDay::default());
        let actor = self.actor(&calm, 999);
        let end = self.command(&actor, &calm).await;
        told.ends.push(word(&end));
        match end {
            Ended::Returned(Ok(_)) => {}
            Ended::Returned(Err(Refusal::Stuck { .. })) if self.world.disturbed() => return,
            _ => return self.world.violated(format!("P4: resume without {gone:?}: {}", word(&end))),
        }
        let reached = || self.world.machines.keys().filter(|host| !gone.contains(*host));
        for host in reached() {
            let Some(record) = self.world.record(host) else { continue };
            if let Some(unfinished) = record.unfinished {
                self.world.violated(format!("P4: {host}: run {} is still unfinished", unfinished.run));
            }
            if record.holder.is_some() {
                self.world.violated(format!("P4: {host}: the lease is still held"));
            }
            let names: BTreeSet<HostId> = record.left_out.into_iter().flat_map(|left| left.hosts).collect();
            if record.last.is_some_and(|end| Some(end.run) == self.world.last_end().map(|(run, _)| run))
                && !gone.is_subset(&names)
                && matches!(told.ends.last(), Some(end) if end.starts_with("resumed"))
            {
                self.world.violated(format!("{host} does not say that {gone:?} were left out"));
            }
        }
        let live: BTreeSet<String> = reached()
            .filter_map(|host| self.world.live_release(host).map(|release| release.tag.to_string()))
            .collect();
        if live.len() > 1 && self.story.scene.is_alike() && !self.world.disturbed() {
            self.world.violated(format!("P3: after a resume without {gone:?} the others serve {live:?}"));
        }
    }

    async fn deploy_without(&self, gone: &BTreeSet<HostId>, told: &mut Told) {
        let mut calm = Turn::new(Command::Deploy(3), MACHINES, BadDay::default());
        let hosts = self.world.machines.keys().enumerate();
        calm.skip = hosts.filter(|(_, host)| gone.contains(*host)).map(|(index, _)| index).collect();
        let actor = self.actor(&calm, 1000);
        let end = self.command(&actor, &calm).await;
        told.ends.push(word(&end));
        match &end {
            Ended::Returned(Ok(Came::Ran(report))) if matches!(report.outcome, Outcome::Succeeded { .. }) => {
            }
            _ => return self.world.violated(format!("P4: deploy without {gone:?}: {}", word(&end))),
        }
        for host in self.world.machines.keys().filter(|host| !gone.contains(*host)) {
            let machine = self.world.machine(host);
            let live = machine.live().map(|(app, life)| (app.release.tag.clone(), life));
            drop(machine);
            if live != Some((tag("v3"), Life::Healthy)) {
                self.world.violated(format!("P4: without {gone:?} {host} serves {live:?}"));
            }
        }
    }
}

/// The story's first command is killed at every `stride`th point, and each host in turn is gone since some call before
/// that: for good, or until the others have gone on without it.
#[must_use]
pub fn lose_a_host_everywhere(base: &Story, stride: usize) -> (Vec<Finding>, Tally) {
    let mut all = All::default();
    let (calls, points) = all.take("nothing happens".to_owned(), &tell(base, false))[0];
    for point in (0..points).step_by(stride) {
        for host in 0..base.scene.hosts.len() {
            for come_back in [true, false] {
                let mut story = base.clone();
                story.come_back = come_back;
                story.last_machine = usize::try_from(point % 2).unwrap_or(0);
                story.turns[0].day.crash_at_point = Some(point);
                let what = format!("crash at {point}, then host {host} is gone (back: {come_back})");
                // Somebody looks once before it is noticed.
                let mut looks = Turn::new(Command::Resume, 2, BadDay::default());
                looks.day.events = vec![(0, host, Event::HostGone)];
                story.turns.push(looks);
                all.take(what, &tell(&story, false));
            }
        }
    }
    for call in (0..calls).step_by(stride) {
        for host in 0..base.scene.hosts.len() {
            for come_back in [true, false] {
                let mut story = base.clone();
                story.come_back = come_back;
                story.turns[0].day.events = vec![(call, host, Event::HostGone)];
                let what = format!("host {host} is gone from call {call} on (back: {come_back})");
                all.take(what, &tell(&story, false));
            }
        }
    }
    (all.findings, all.tally)
}
