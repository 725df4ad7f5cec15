//! Who types: a person, or a job of a CI system, as it says of itself.

use lockgate_model::{By, Requester};

/// In the environment of this process.
pub fn here() -> Requester {
    of_job(&|name| std::env::var(name).ok())
        .unwrap_or_else(|| Requester::person(&lockgate_local::holder_identity().owner))
}

/// `acme/shop#17`: the project and the number of its run, by the variables that GitHub, GitLab and their kind document.
/// `None` where none of them says that it is a job.
fn of_job(env: &dyn Fn(&str) -> Option<String>) -> Option<Requester> {
    let said = |name: &str| env(name).filter(|value| !value.trim().is_empty());
    let is_true = |name: &str| said(name).is_some_and(|value| value == "true");
    let (project, number, who) = if is_true("GITHUB_ACTIONS") || is_true("GITEA_ACTIONS") {
        ("GITHUB_REPOSITORY", "GITHUB_RUN_NUMBER", "GITHUB_ACTOR")
    } else if is_true("GITLAB_CI") {
        ("CI_PROJECT_PATH", "CI_PIPELINE_IID", "GITLAB_USER_LOGIN")
    } else {
        return None;
    };
    let mut name = said(project).unwrap_or_else(|| "a job".to_owned());
    name.extend(said(number).map(|number| format!("#{number}")));
    name.extend(said(who).map(|who| format!(" for {who}")));
    Some(Requester::new(By::Ci, &name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(variables: &[(&str, &str)]) -> Option<String> {
        let env = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        of_job(&env).map(|requester| requester.to_string())
    }

    #[test]
    fn a_job_of_a_ci_system_is_named_as_it_names_itself() {
        assert_eq!(told(&[]), None);
        assert_eq!(told(&[("CI", "true"), ("GITHUB_ACTIONS", "")]), None, "nothing is known of it");
        let github = [
            ("GITHUB_ACTIONS", "true"),
            ("GITHUB_REPOSITORY", "acme/shop"),
            ("GITHUB_RUN_NUMBER", "17"),
            ("GITHUB_ACTOR", "kim"),
        ];
        assert_eq!(told(&github).unwrap(), "ci acme/shop#17 for kim");
        assert_eq!(told(&github[..1]).unwrap(), "ci a job");
        let gitlab =
            [("GITLAB_CI", "true"), ("CI_PROJECT_PATH", "acme/\u{1b}[2Jshop"), ("CI_PIPELINE_IID", "3")];
        assert_eq!(told(&gitlab).unwrap(), "ci acme/\\x1b[2Jshop#3");
    }
}
