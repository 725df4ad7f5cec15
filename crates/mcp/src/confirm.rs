//! What a person is asked, and what they have agreed to.
//!
//! A question is about one want and the plan that was made for it. Whoever answers sends the question's state back, which
//! comes from outside: it is a name, long and random, and all that it stands for is kept here. So a state that nobody gave
//! out says nothing, and one that was used, or is too old, or belongs to another want or another configuration, does not
//! either. The plan's digest goes into the session, which refuses to begin by another plan.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lockgate_model::{Digest, Failure, FailureKind, Project, Refusal, Want};
use tokio::time::Instant;

/// So long a question may be answered.
pub const CONFIRM_MINUTES_MAX: u64 = 15;
/// So many questions wait for an answer at most; of more, the oldest is forgotten.
pub const QUESTIONS_MAX: usize = 32;

/// Questions that wait for an answer.
#[derive(Default)]
pub struct Questions(Mutex<VecDeque<Question>>);

struct Question {
    state: String,
    want: Want,
    plan: Digest,
    /// As it was configured when the plan was made.
    project: Arc<Project>,
    until: Instant,
}

impl Questions {
    /// Keeps a question; returns what it is called.
    pub fn put(&self, want: &Want, plan: &Digest, project: &Arc<Project>) -> String {
        let state = uuid::Uuid::new_v4().simple().to_string();
        let question = Question {
            state: state.clone(),
            want: want.clone(),
            plan: plan.clone(),
            project: project.clone(),
            until: Instant::now() + Duration::from_secs(CONFIRM_MINUTES_MAX * 60),
        };
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= QUESTIONS_MAX {
            all.pop_front();
        }
        all.push_back(question);
        state
    }

    /// The plan that the question of this name is about. It is forgotten, whatever comes of it.
    ///
    /// # Errors
    /// `Usage` for a question that is not known, `Failed` for one that is about something else by now.
    pub fn take(&self, state: &str, want: &Want, project: &Project) -> Result<Digest, Refusal> {
        let found = self.remove(|question| question.state == state);
        let question = found.ok_or_else(unknown)?;
        question.agreed(want, project)
    }

    /// As [`Questions::take`], by the plan's digest.
    ///
    /// # Errors
    /// As there.
    pub fn take_by_plan(&self, plan: &str, want: &Want, project: &Project) -> Result<Digest, Refusal> {
        let found = self.remove(|question| question.plan.as_str() == plan && question.want == *want);
        let question = found.ok_or_else(unknown_plan)?;
        question.agreed(want, project)
    }

    fn remove(&self, is_it: impl Fn(&Question) -> bool) -> Option<Question> {
        let now = Instant::now();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|question| question.until > now);
        let at = all.iter().position(is_it)?;
        all.remove(at)
    }
}

impl Question {
    fn agreed(self, want: &Want, project: &Project) -> Result<Digest, Refusal> {
        if self.want != *want {
            return Err(changed("the arguments are not those that were agreed to; nothing was changed"));
        }
        if *self.project != *project {
            return Err(changed("lockgate.yaml has changed since the plan was shown; nothing was changed"));
        }
        Ok(self.plan)
    }
}

fn unknown() -> Refusal {
    Refusal::usage(
        "this confirmation is not known here: it was used already, it is too old, or it was never asked for; nothing was changed",
        "call the tool again without `requestState`: it shows what it would do now",
    )
}

fn unknown_plan() -> Refusal {
    Refusal::usage(
        "no plan with this digest was shown for these arguments, or it was used already, or that is too long ago; nothing was changed",
        "call the tool without `confirm`, show a person the plan, then call it again with the plan's digest",
    )
}

fn changed(message: &str) -> Refusal {
    Failure::new(FailureKind::Conflict, message)
        .hint("call the tool again: it shows what it would do now")
        .into()
}

#[cfg(test)]
mod tests {
    use lockgate_model::{ServiceName, Tag};

    use super::*;

    fn project(name: &str) -> Arc<Project> {
        Arc::new(Project {
            name: lockgate_model::ProjectName::new(name).unwrap(),
            root: "/srv".into(),
            services: Default::default(),
            environments: Vec::new(),
            notify: Vec::new(),
            state: lockgate_model::StateLocation::of_folder("/srv".as_ref()),
            ssh: Default::default(),
            registries: Default::default(),
            state_dir: None,
            serve: None,
        })
    }

    fn want(tag: &str) -> Want {
        Want::deploy(ServiceName::new("web").unwrap(), Tag::new(tag).unwrap())
    }

    fn plan(digit: &str) -> Digest {
        Digest::new(format!("sha256:{}", digit.repeat(64))).unwrap()
    }

    fn message(refused: Result<Digest, Refusal>) -> String {
        refused.unwrap_err().failure().unwrap().message.clone()
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_agreed_to_is_so_once() {
        let (questions, shop) = (Questions::default(), project("shop"));
        let state = questions.put(&want("v2"), &plan("a"), &shop);
        assert_eq!(questions.take(&state, &want("v2"), &shop).unwrap(), plan("a"));
        assert!(message(questions.take(&state, &want("v2"), &shop)).contains("used already"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_state_that_nobody_gave_out_says_nothing() {
        let (questions, shop) = (Questions::default(), project("shop"));
        let state = questions.put(&want("v2"), &plan("a"), &shop);
        for forged in ["", "0", &"0".repeat(32), &state.to_uppercase(), &format!("{state} "), &state[1..]] {
            if forged != state {
                assert!(
                    message(questions.take(forged, &want("v2"), &shop)).contains("not known"),
                    "{forged:?}"
                );
            }
        }
        // And it uses up none that was.
        assert!(questions.take(&state, &want("v2"), &shop).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn it_holds_for_these_arguments_and_this_configuration_alone() {
        let (questions, shop) = (Questions::default(), project("shop"));
        let state = questions.put(&want("v2"), &plan("a"), &shop);
        assert!(message(questions.take(&state, &want("v3"), &shop)).contains("arguments"));
        assert!(message(questions.take(&state, &want("v2"), &shop)).contains("not known"), "it was used");
        let state = questions.put(&want("v2"), &plan("a"), &shop);
        assert!(message(questions.take(&state, &want("v2"), &project("other"))).contains("lockgate.yaml"));
    }

    #[tokio::test(start_paused = true)]
    async fn it_does_not_hold_for_ever() {
        let (questions, shop) = (Questions::default(), project("shop"));
        let state = questions.put(&want("v2"), &plan("a"), &shop);
        tokio::time::advance(Duration::from_secs(CONFIRM_MINUTES_MAX * 60 + 1)).await;
        assert!(message(questions.take(&state, &want("v2"), &shop)).contains("too old"));
    }

    #[tokio::test(start_paused = true)]
    async fn of_too_many_the_oldest_is_forgotten() {
        let (questions, shop) = (Questions::default(), project("shop"));
        let states: Vec<String> =
            (0..=QUESTIONS_MAX).map(|_| questions.put(&want("v2"), &plan("a"), &shop)).collect();
        assert!(questions.take(&states[0], &want("v2"), &shop).is_err());
        assert!(states[1..].iter().all(|state| questions.take(state, &want("v2"), &shop).is_ok()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_digest_agrees_once_to_a_plan_that_was_shown() {
        let (questions, shop) = (Questions::default(), project("shop"));
        let digest = plan("a");
        let take = |tag: &str| questions.take_by_plan(digest.as_str(), &want(tag), &shop);
        assert!(message(take("v2")).contains("no plan with this digest was shown"));
        questions.put(&want("v2"), &digest, &shop);
        assert!(message(take("v3")).contains("for these arguments"));
        assert_eq!(take("v2").unwrap(), digest);
        assert!(message(take("v2")).contains("used already"));
    }
}
