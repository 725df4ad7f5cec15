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
/// Longest description of a status, in characters.
const DESCRIPTION_CHARS_MAX: usize = 140;

/// A repository whose deployments say what is live where.
#[derive(Debug)]
pub struct GitHub {
    token: Secret,
    repository: String,
    api: String,
    post: Post,
}

impl GitHub {
    /// `repository` is `owner/name`, `api` the REST API's base URL without a slash at its end (`https://api.github.com`).
    #[must_use]
    pub fn new(token: Secret, repository: String, api: String) -> Self {
        Self { token, repository, api, post: Post::default() }
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
        let Some(release) = &message.release else { return Ok(None) };
        let at = release.commit.as_ref().map_or_else(|| release.tag.to_string(), ToString::to_string);
        let body = json!({
            "ref": at,
            "environment": message.environment,
            "description": cut(&plain::headline(message)),
            // What was built is deployed, whatever else was pushed since, and whether it may be is for gates to say.
            "auto_merge": false,
            "required_contexts": [],
            "payload": {
                "service": message.service,
                "tag": release.tag,
                "digest": release.digest,
                "run": message.run,
            },
        });
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
        let said = match &message.failure {
            Some(failure) => format!("{}: {}", failure.kind.as_str(), failure.message),
            None => plain::headline(message),
        };
        let status = json!({ "state": state(message.kind), "description": cut(&said) });
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
