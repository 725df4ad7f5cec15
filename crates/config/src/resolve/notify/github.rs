//! Deployments in a repository of GitHub's.

use lockgate_model::NotifyTo;

use super::super::reader::{Reader, quote, variable};
use super::{encrypted_api, token};
use crate::at::At;
use crate::error::{Kind, Problem};
use crate::raw_notify as raw;

const GITHUB_API: &str = "https://api.github.com";
/// Set in every job of GitHub Actions, as the next one.
const GITHUB_API_VARIABLE: &str = "GITHUB_API_URL";
const GITHUB_REPOSITORY_VARIABLE: &str = "GITHUB_REPOSITORY";
/// Longest name of an owner and of a repository, with the slash between them.
const REPOSITORY_CHARS_MAX: usize = 39 + 1 + 100;
const REPOSITORY_HINT: &str = "write `repository: owner/name`";

pub fn notifier(reader: &mut Reader<'_>, source: &At<raw::GitHub>) -> Option<NotifyTo> {
    let github = &source.value;
    let token = token(reader, &github.token)?;
    let api = encrypted_api(reader, github.api.as_ref(), GITHUB_API_VARIABLE, GITHUB_API);
    let (place, repository) = match &github.repository {
        Some(repository) => (repository.place, reader.text(repository)?),
        None => match variable(reader.env, GITHUB_REPOSITORY_VARIABLE) {
            Some(repository) => (source.place, repository),
            None => {
                let message = "`github` needs a `repository`, for GITHUB_REPOSITORY is not set";
                reader.report(Problem::new(Kind::MissingKey, source.place, message).hint(REPOSITORY_HINT));
                return None;
            }
        },
    };
    if !is_repository(&repository) {
        let shown = quote(&At { value: &repository, place });
        reader.invalid(place, format!("{shown} is no repository"), REPOSITORY_HINT);
        return None;
    }
    Some(NotifyTo::GitHub { token, repository, api: api? })
}

/// `owner/name`, of the characters that GitHub has in both: it is a part of URLs.
fn is_repository(text: &str) -> bool {
    let may = |one: char| one.is_ascii_alphanumeric() || matches!(one, '-' | '_' | '.');
    let is_name = |part: &str| !part.is_empty() && part.chars().all(may) && !matches!(part, "." | "..");
    text.len() <= REPOSITORY_CHARS_MAX
        && text.split_once('/').is_some_and(|(owner, name)| is_name(owner) && is_name(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_is_an_owner_and_a_name() {
        for good in ["acme/web", "a-b/c.d_e"] {
            assert!(is_repository(good), "{good}");
        }
        for bad in ["web", "acme/", "/web", "acme/web/x", "acme/..", "acme/w?x", "acme/w b", ""] {
            assert!(!is_repository(bad), "{bad:?}");
        }
    }
}
