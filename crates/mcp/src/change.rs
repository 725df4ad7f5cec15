//! The tools that change what is live: a plan, somebody who agrees to it, and a session that runs this plan alone.

use std::time::Duration;

use lockgate_model::{Digest, Failure, FailureKind, Planned, Refusal, Report, Requester, Want};
use lockgate_orchestrator::Handle;
use lockgate_render::{Paint, plan_text};

use crate::answer::{Answer, Unconfirmed};
use crate::client::{Again, Asks, Client, Reply};
use crate::confirm::Questions;
use crate::desk::Opened;
use crate::progress::Teller;
use crate::work::Work;

/// A plan that is longer is cut in the question: a person reads it.
const QUESTION_CHARS_MAX: usize = 16_000;
/// For one thing that the client is told while a run goes on.
const PROGRESS_SECONDS_MAX: u64 = 2;
/// A proposal waits for somebody.
const WAITS_EXIT: u8 = 5;

/// What comes of a call.
pub(crate) enum Said {
    Answer(Answer),
    /// To be asked, with the name of the question.
    Question {
        text: String,
        state: String,
    },
}

/// A call of a tool that changes something.
pub(crate) struct Change<'a> {
    pub(crate) opened: &'a Opened,
    pub(crate) want: Want,
    /// The digest of a plan, where the client cannot ask.
    pub(crate) confirm: Option<&'a str>,
    pub(crate) again: Option<Again>,
    pub(crate) by: Requester,
    pub(crate) questions: &'a Questions,
    /// Whoever started this server lets an agent agree to plans itself, where its client cannot ask.
    pub(crate) agent_confirms: bool,
}

/// Whether to go on.
enum Agreed {
    To(Digest),
    NotYet(Said),
}

impl Change<'_> {
    pub(crate) async fn run(&self, client: &dyn Client, work: &Work) -> Said {
        let refused = |refusal| Said::Answer(Answer::refused(refusal, &self.opened.mask));
        let agreed = match &self.again {
            Some(again) => self.answered(again).map(Agreed::To),
            None => tokio::select! {
                biased;
                agreed = self.ask(client) => agreed,
                () = client.cancelled() => Err(not_wanted("the request was cancelled")),
                () = work.stopping.undo.cancelled() => Err(not_wanted("the client went away")),
            },
        };
        let plan = match agreed {
            Ok(Agreed::To(plan)) => plan,
            Ok(Agreed::NotYet(said)) => return said,
            Err(refusal) => return refused(refusal),
        };
        let want = self.want.clone().exactly(plan);
        let ended = match self.opened.orchestrator.start(&want, &self.by).await {
            Ok(session) => self.follow(session, client, work).await,
            Err(refusal) => Err(refusal),
        };
        match ended {
            Ok(report) => {
                work.ended(report.exit());
                Said::Answer(Answer::new(&report.line(), report.exit().code() != 0))
            }
            Err(refusal) => {
                work.ended(refusal.exit());
                refused(refusal)
            }
        }
    }

    /// What was said to a question of before.
    fn answered(&self, again: &Again) -> Result<Digest, Refusal> {
        let plan = self.questions.take(&again.state, &self.want, &self.opened.project)?;
        match again.reply {
            Some(Reply::Yes) => Ok(plan),
            Some(Reply::No) => Err(declined()),
            None => Err(Refusal::usage(
                "the question was not answered; nothing was changed",
                "`inputResponses` holds the answer under the question's name; call the tool again to be asked again",
            )),
        }
    }

    async fn ask(&self, client: &dyn Client) -> Result<Agreed, Refusal> {
        let asks = client.asks();
        if let (Asks::Never, Some(plan), true) = (asks, self.confirm, self.agent_confirms) {
            let plan = self.questions.take_by_plan(plan, &self.want, &self.opened.project)?;
            return Ok(Agreed::To(plan));
        }
        self.nothing_is_unfinished().await?;
        let planned = self.opened.orchestrator.plan(&self.want).await?;
        let Some(plan) = planned.digest.clone() else {
            return Err(Failure::new(
                FailureKind::Other,
                "the plan has no digest, so nobody can agree to it",
            )
            .into());
        };
        // Nobody needs to agree to nothing.
        if !planned.changes {
            return Ok(Agreed::To(plan));
        }
        match asks {
            Asks::InAnswer => {
                let state = self.questions.put(&self.want, &plan, &self.opened.project);
                Ok(Agreed::NotYet(Said::Question { text: self.question(&planned), state }))
            }
            Asks::InBetween => match client.ask(&self.question(&planned)).await {
                Ok(Reply::Yes) => Ok(Agreed::To(plan)),
                Ok(Reply::No) => Err(declined()),
                Err(why) => Err(Failure::new(
                    FailureKind::Cancelled,
                    format!("nobody agreed to it: {why}; nothing was changed"),
                )
                .hint("call the tool again to be asked again")
                .into()),
            },
            Asks::Never => self.cannot_ask(&planned, &plan).map(Agreed::NotYet),
        }
    }

    fn cannot_ask(&self, planned: &Planned, plan: &Digest) -> Result<Said, Refusal> {
        if !self.agent_confirms {
            return Err(Refusal::usage(
                "this changes what is live, so a person has to agree to it first, and this client cannot ask one (it has no \
                 elicitation); nothing was changed",
                "use a client that can, or let a person type it; whoever configured this server can start it as \
                 `lockgate mcp --agent-confirms`: then `confirm` with the plan's digest agrees to it",
            ));
        }
        self.questions.put(&self.want, plan, &self.opened.project);
        let unconfirmed = Unconfirmed {
            event: "unconfirmed".to_owned(),
            message: "this changes what is live, and nobody has agreed to it yet; nothing was changed"
                .to_owned(),
            hint: format!(
                "show a person the plan; when they agree, call the tool again with `confirm`: \"{plan}\""
            ),
            digest: plan.clone(),
            plan: self.question(planned),
            exit: WAITS_EXIT,
        };
        Ok(Said::Answer(Answer::new(&unconfirmed, true)))
    }

    fn question(&self, planned: &Planned) -> String {
        let Planned { plan, observed, .. } = planned;
        let text = plan_text(plan, observed, Paint::plain());
        let text = self.opened.mask.hide(text);
        let Some((at, _)) = text.char_indices().nth(QUESTION_CHARS_MAX) else { return text };
        format!("{}\n… (the tool `plan` has all of it)", &text[..at])
    }

    /// What was left would have to be brought to its end first, which is in no plan.
    async fn nothing_is_unfinished(&self) -> Result<(), Refusal> {
        let Want { service, environment, .. } = &self.want;
        let seen = self.opened.orchestrator.status(Some(service), environment.as_ref()).await?;
        let leases = seen.iter().flat_map(|status| status.leases.iter());
        let left = leases
            .filter(|(_, lease)| lease.holder.is_none())
            .find_map(|(host, lease)| lease.unfinished.as_ref().map(|begun| (host, begun.run)));
        match left {
            None => Ok(()),
            Some((host, run)) => Err(Failure::new(
                FailureKind::Conflict,
                format!("run {run} was left unfinished on {host}, and has to be brought to its end first; nothing was changed"),
            )
            .hint(format!("`lockgate resume {service}` finishes or undoes it"))
            .into()),
        }
    }

    /// What the session comes to. A call that is not wanted any more is undone, as Ctrl-C does.
    async fn follow(
        &self,
        mut session: Handle<Report>,
        client: &dyn Client,
        work: &Work,
    ) -> Result<Report, Refusal> {
        let mut teller = Teller::new(self.opened.mask.clone());
        let (mut is_undone, mut is_left, mut reads_along) = (false, false, true);
        loop {
            let why = tokio::select! {
                biased;
                told = session.events.next() => {
                    let Some(told) = told else { break };
                    if let Some(progress) = teller.tell(&told).filter(|_| reads_along) {
                        reads_along = told_in_time(client.progress(progress)).await;
                    }
                    continue;
                }
                () = work.stopping.leave.cancelled(), if !is_left => {
                    is_left = true;
                    session.stop.leave();
                    continue;
                }
                () = work.stopping.undo.cancelled(), if !is_undone && !is_left => "the client went away",
                () = client.cancelled(), if !is_undone && !is_left => "the request was cancelled",
            };
            is_undone = true;
            tracing::info!("{why}: what is not settled yet is undone");
            session.stop.undo(&self.by.clone().why(why));
        }
        match session.end().await {
            Err(left @ Refusal::Abandoned { .. }) => {
                work.left(session);
                Err(left)
            }
            end => end,
        }
    }
}

/// A client that does not read what it is told must not keep a session from hearing that it is to stop.
async fn told_in_time(telling: impl Future<Output = ()>) -> bool {
    let bound = Duration::from_secs(PROGRESS_SECONDS_MAX);
    let is_told = tokio::time::timeout(bound, telling).await.is_ok();
    if !is_told {
        tracing::warn!("the client does not read how far the run is, and is not told any more");
    }
    is_told
}

fn not_wanted(why: &str) -> Refusal {
    Failure::new(FailureKind::Cancelled, format!("{why} before anything was begun; nothing was changed"))
        .into()
}

fn declined() -> Refusal {
    Failure::new(FailureKind::Cancelled, "the person who was asked did not agree; nothing was changed")
        .hint("ask them what they want instead")
        .into()
}
