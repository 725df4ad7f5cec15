//! Who types: a person, or a job of a CI system, as it says of itself.

use lockgate_model::{By, Link, Requester};

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
    let (project, number, who, link) = if is_true("GITHUB_ACTIONS") || is_true("GITEA_ACTIONS") {
        ("GITHUB_REPOSITORY", "GITHUB_RUN_NUMBER", "GITHUB_ACTOR", github_run(&said))
    } else if is_true("GITLAB_CI") {
        ("CI_PROJECT_PATH", "CI_PIPELINE_IID", "GITLAB_USER_LOGIN", said("CI_JOB_URL"))
    } else {
        return None;
    };
    let mut name = said(project).unwrap_or_else(|| "a job".to_owned());
    name.extend(said(number).map(|number| format!("#{number}")));
    name.extend(said(who).map(|who| format!(" for {who}")));
    // What is no link is not told.
    let link = link.and_then(|link| Link::new(link).ok());
    Some(Requester::new(By::Ci, &name).linked(link))
}

/// The page of a workflow's run.
/// Source: <https://docs.github.com/en/actions/reference/workflows-and-actions/variables>.
fn github_run(said: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    let (server, repository) = (said("GITHUB_SERVER_URL")?, said("GITHUB_REPOSITORY")?);
    let run = said("GITHUB_RUN_ID").filter(|id| id.bytes().all(|byte| byte.is_ascii_digit()))?;
    Some(format!("{}/{repository}/actions/runs/{run}", server.trim_end_matches('/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asking(variables: &[(&str, &str)]) -> Option<Requester> {
        let env = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        of_job(&env)
    }

    fn told(variables: &[(&str, &str)]) -> Option<String> {
        asking(variables).map(|requester| requester.to_string())
    }

    #[test]
    fn the_page_of_the_job_is_linked_where_it_is_a_page() {
        let link = |variables: &[(&str, &str)]| asking(variables).unwrap().link.map(String::from);
        let github = |server: &'static str, id: &'static str| {
            let [actions, repository] = [("GITHUB_ACTIONS", "true"), ("GITHUB_REPOSITORY", "acme/shop")];
            link(&[actions, repository, ("GITHUB_SERVER_URL", server), ("GITHUB_RUN_ID", id)])
        };
        let wanted = "https://github.com/acme/shop/actions/runs/42";
        assert_eq!(github("https://github.com", "42").as_deref(), Some(wanted));
        for (server, id) in
            [("javascript:x", "42"), ("https://kim:x@github.com", "42"), ("https://github.com", "4|<!here>")]
        {
            assert_eq!(github(server, id), None, "{server} {id}");
        }
        let gitlab = |url| link(&[("GITLAB_CI", "true"), ("CI_JOB_URL", url)]);
        let wanted = "https://gitlab.com/acme/shop/-/jobs/7";
        assert_eq!(gitlab(wanted).as_deref(), Some(wanted));
        assert_eq!(gitlab("https://gitlab.com/a b"), None);
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
