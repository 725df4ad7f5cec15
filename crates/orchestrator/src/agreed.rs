//! A run that somebody has agreed to is by the plan that they were shown, or it does not begin.

use lockgate_model::{Digest, Failure, FailureKind, Plan};

/// Names a plan whole, with the queries of URLs that are not shown: two plans with the same one do the same.
///
/// # Errors
/// `Other`; there is no plan that cannot be written.
pub(crate) fn digest(plan: &Plan) -> Result<Digest, Failure> {
    let written =
        serde_json::to_vec(plan).map_err(|error| Failure::new(FailureKind::Other, error.to_string()))?;
    Ok(Digest::of(&written))
}

/// `agreed`: `None` where nobody was asked.
///
/// # Errors
/// `Conflict` where it is another plan.
pub(crate) fn require(agreed: Option<&Digest>, plan: &Plan) -> Result<(), Failure> {
    match agreed {
        Some(agreed) if digest(plan)? != *agreed => Err(other_plan(
            "what would be done now is not what was agreed to: something has changed since; nothing was changed",
        )),
        Some(_) | None => Ok(()),
    }
}

/// What was left would have to be brought to its end first, which is not in the plan.
pub(crate) fn unfinished() -> Failure {
    Failure::new(
        FailureKind::Conflict,
        "a run was left unfinished here, and bringing it to its end was not agreed to; nothing was changed",
    )
    .hint("`lockgate resume` finishes or undoes it; then ask again")
}

fn other_plan(message: &str) -> Failure {
    Failure::new(FailureKind::Conflict, message).hint("ask again: there is a new plan to agree to")
}
