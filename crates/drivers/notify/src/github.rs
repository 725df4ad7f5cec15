//! Deployments of a repository of GitHub's, and how they go.
//!
//! A run is one deployment (<https://docs.github.com/en/rest/deployments/deployments>), and each thing that is told of it a
//! status of that one (<https://docs.github.com/en/rest/deployments/statuses>).

mod answer;
#[cfg(test)]
mod tests;

use async_trait::async_trait;
use lockgate_model::Secret;
use lockgate_ports::{Check, Message, MessageKind, Notifier, PortError, Posted};
use reqwest::Url;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use serde_json::json;

use crate::plain;
use crate::post::{Answer, Parcel, Post};

/// The newest of the versions that GitHub keeps working: <https://docs.github.com/en/rest/about-the-rest-api/api-versions>.
const API_VERSION: &str = "2026-03-10";
const API_VERSION_HEADER: HeaderName = HeaderName::from_static("x-github-api-version");
/// Of an answer, which has the deployment and its creator in it, so much is read.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// The environment that GitHub takes for production where nobody says which is.
const PRODUCTION: &str = "production";
/// Longest description of a status, in characters.
const DESCRIPTION_CHARS_MAX: usize = 140;

/// A repository whose deployments say what is live where.
#[derive(Debug)]
pub struct GitHub {
    token: Secret,
    repository: String,
    api: String,
    names_services: bool,
    post: Post,
}

impl GitHub {
    /// `repository` is `owner/name`, `api` the REST API's base URL without a slash at its end (`https://api.github.com`).
    #[must_use]
    pub fn new(token: Secret, repository: String, api: String) -> Self {
        Self { token, repository, api, names_services: false, post: Post::default() }
    }

    /// Whether the project has several services. Then each has environments of its own (`prod/web`): a status `success` makes all
    /// earlier deployments of the same repository *and environment name* inactive, whatever their `task` is.
    /// Source: `auto_inactive` of <https://docs.github.com/en/rest/deployments/statuses#create-a-deployment-status>.
    #[must_use]
    pub fn naming_services(self, names_services: bool) -> Self {
        Self { names_services, ..self }
    }

    /// What GitHub calls the environment.
    fn environment(&self, message: &Message) -> String {
        match self.names_services {
            true => format!("{}/{}", message.environment, message.service),
            false => message.environment.to_string(),
        }
    }

    fn url(&self, path: &str) -> Result<Url, PortError> {
        Url::parse(&format!("{}/repos/{}/deployments{path}", self.api, self.repository)).map_err(|_| {
            PortError::other("the API of GitHub is not a URL").hint("it looks like https://api.github.com")
        })
    }

    fn headers(&self) -> Result<HeaderMap, PortError> {
        let mut bearer = HeaderValue::from_str(&format!("Bearer {}", self.token.reveal()))
            .map_err(|_| PortError::other("the token of GitHub cannot be sent"))?;
        bearer.set_sensitive(true);
        Ok(HeaderMap::from_iter([
            (AUTHORIZATION, bearer),
            (ACCEPT, HeaderValue::from_static("application/vnd.github+json")),
            (API_VERSION_HEADER, HeaderValue::from_static(API_VERSION)),
        ]))
    }

    async fn ask(&self, path: &str, body: &serde_json::Value, repeatable: bool) -> Result<String, PortError> {
        let parcel = Parcel {
            who: "GitHub",
            url: self.url(path)?,
            headers: self.headers()?,
            json: body.to_string().into_bytes(),
            repeatable,
            answer_bytes_max: ANSWER_BYTES_MAX,
        };
        let judge = |answer: &Answer| answer::judge(&self.repository, answer);
        self.post.deliver(parcel, judge).await
    }

    /// Its id. `None` where it is not known what was to be deployed, so that there is nothing to point at.
    async fn deployment(&self, message: &Message) -> Result<Option<String>, PortError> {
        let release = message.release.as_ref();
        let at = match (release, &message.commit) {
            (Some(release), _) => release.commit.clone().unwrap_or_else(|| release.tag.to_string()),
            (None, Some(commit)) => commit.id.clone(),
            (None, None) => return Ok(None),
        };
        let mut body = json!({
            "ref": at,
            "environment": self.environment(message),
            "description": cut(&plain::headline(message)),
            // What was built is deployed, whatever else was pushed since, and whether it may be is for gates to say.
            "auto_merge": false,
            "required_contexts": [],
            "payload": payload(message),
        });
        if self.names_services {
            body["task"] = format!("deploy:{}", message.service).into();
            // GitHub takes this one alone for production, and `production/web` for none.
            body["production_environment"] = (message.environment.as_str() == PRODUCTION).into();
        }
        let told = self.ask("", &body, false).await?;
        answer::id(&told).map(Some)
    }
}

#[async_trait]
impl Notifier for GitHub {
    fn name(&self) -> String {
        format!("github {}", self.repository)
    }

    async fn send(&self, message: &Message, earlier: Option<&Posted>) -> Result<Option<Posted>, PortError> {
        let id = match earlier {
            Some(earlier) => earlier.as_str().to_owned(),
            None => match self.deployment(message).await? {
                Some(id) => id,
                None => return Ok(None),
            },
        };
        let mut status = json!({ "state": state(message.kind), "description": cut(&said(message)) });
        if let Some(link) = message.requester.as_ref().and_then(|requester| requester.link.as_ref()) {
            status["log_url"] = link.as_str().into();
        }
        if let Some(url) = &message.url {
            status["environment_url"] = url.as_str().into();
        }
        // The same status twice says the same.
        self.ask(&format!("/{id}/statuses"), &status, true).await?;
        Ok(Some(Posted::new(id)))
    }

    async fn check(&self) -> Check {
        let name = self.name();
        match self.url("").and_then(|_| self.headers()) {
            Ok(_) => Check::ok(name, "a token that may write deployments is tried with the first of them"),
            Err(error) => {
                let mend = error.hints().joined().unwrap_or_else(|| "mend it under `notify`".to_owned());
                Check::bad(name, error.message, mend)
            }
        }
    }
}

/// For whoever listens to deployments.
fn payload(message: &Message) -> serde_json::Value {
    let mut payload = json!({ "service": message.service });
    let release = message.release.as_ref();
    for (name, value) in [
        (
            "tag",
            release
                .map(|release| json!(release.tag))
                .or_else(|| message.asked.as_ref().map(|asked| json!(asked))),
        ),
        ("digest", release.map(|release| json!(release.digest))),
        ("run", message.run.map(|run| json!(run))),
        ("requester", message.requester.as_ref().map(|requester| json!(requester))),
        ("changes", message.changes.as_ref().map(|changes| json!(changes))),
    ] {
        if let Some(value) = value {
            payload[name] = value;
        }
    }
    payload
}

/// What happened, in one line.
fn said(message: &Message) -> String {
    let mut said = match (&message.failure, message.job) {
        (Some(failure), Some(job)) => {
            format!("{} in the job {}: {}", failure.kind.as_str(), job.as_str(), failure.message)
        }
        (Some(failure), None) => format!("{}: {}", failure.kind.as_str(), failure.message),
        (None, _) => plain::headline(message),
    };
    if let Some(warning) = message.warnings.first() {
        said.push_str(&format!("; warning: {}", warning.message));
    }
    said
}

/// In GitHub's words.
fn state(kind: MessageKind) -> &'static str {
    match kind {
        MessageKind::Starting => "in_progress",
        MessageKind::Success => "success",
        MessageKind::RolledBack | MessageKind::Failed => "failure",
        MessageKind::Critical | MessageKind::Unknown => "error",
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(DESCRIPTION_CHARS_MAX) {
        None => text.to_owned(),
        Some(_) => text.chars().take(DESCRIPTION_CHARS_MAX - 1).chain(['…']).collect(),
    }
}
