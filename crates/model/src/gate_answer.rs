//! What a gate answered that was asked alone.

use serde::{Deserialize, Serialize};

use crate::{EnvironmentName, Evidence, Exit, Failure, FailureKind, Judgement, Moment, ServiceName};

/// Which gates to ask.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckWant {
    /// Whose gates.
    pub service: ServiceName,
    /// `None`: the only one that is deployed to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<EnvironmentName>,
    /// Those before a deployment, or those after the switch.
    pub moment: Moment,
}

/// It is also what `check --format json` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct GateAnswer {
    /// The gate's name, as `lockgate.yaml` has it or derives it.
    pub gate: String,
    /// What the gate answered.
    pub judgement: Judgement,
    /// What was seen, where it passes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Vec<Evidence>>,
    /// Why it does not pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
}

impl GateAnswer {
    /// `answer` is the evidence of a pass, or why the gate does not pass.
    #[must_use]
    pub fn new(gate: impl Into<String>, answer: Result<Vec<Evidence>, Failure>) -> Self {
        let gate = gate.into();
        match answer {
            Ok(evidence) => {
                Self { gate, judgement: Judgement::Pass, evidence: Some(evidence), failure: None }
            }
            Err(failure) => {
                let judgement = match failure.kind {
                    FailureKind::GateNotYet => Judgement::NotYet,
                    _ => Judgement::Fail,
                };
                Self { gate, judgement, evidence: None, failure: Some(failure) }
            }
        }
    }

    /// Of all of them: one that failed counts more than one that says *not yet*.
    #[must_use]
    pub fn exit(answers: &[GateAnswer]) -> Exit {
        let says = |judgement| answers.iter().any(|answer| answer.judgement == judgement);
        match (says(Judgement::Fail), says(Judgement::NotYet)) {
            (true, _) => Exit::Failed,
            (false, true) => Exit::NotYet,
            (false, false) => Exit::Succeeded,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gates_together_say_what_the_worst_of_them_says() {
        let answer = |kind| GateAnswer::new("g", Err(Failure::new(kind, "x")));
        let (passes, not_yet, fails) = (
            GateAnswer::new("g", Ok(Vec::new())),
            answer(FailureKind::GateNotYet),
            answer(FailureKind::GateFailed),
        );
        let exit = |answers: &[&GateAnswer]| {
            GateAnswer::exit(&answers.iter().map(|one| (*one).clone()).collect::<Vec<_>>()).code()
        };
        assert_eq!(exit(&[&passes]), 0);
        assert_eq!(exit(&[&not_yet, &passes]), 5);
        assert_eq!(exit(&[&not_yet, &fails]), 1);
        assert_eq!(exit(&[&fails, &not_yet]), 1);
    }
}
