//! What clients that are deployed already send beside the commit. It changes nothing: it must be what the configuration says.

use lockgate_model::{Health, Service, Tag, Template, Vars};

use super::refused::{Refused, shown};
use super::signed_call::SignedCall;

/// `repository:tag`, by the service's `image` and the endpoint's `tag`.
pub fn image(service: &Service, tag: &Tag, given: &str) -> Result<(), Refused> {
    let Some(image) = &service.image else {
        return Err(Refused::bad(
            format!("`image` is {}, and service {} has no image", shown(given), service.name),
            "leave the deployment of this service to `lockgate deploy`",
        ));
    };
    let wanted = format!("{image}:{tag}");
    match given == wanted {
        true => Ok(()),
        false => Err(Refused::bad(
            format!(
                "`image` is {}, and by the configuration this commit's is {}",
                shown(given),
                shown(&wanted)
            ),
            "mend the client, or `image` of the service or `tag` of the endpoint in lockgate.yaml",
        )),
    }
}

/// The endpoint's `container_name`.
pub fn container_name(call: &SignedCall<'_>, service: &Service, given: &str) -> Result<(), Refused> {
    let wanted = filled(call, service, call.endpoint.container_name.as_ref());
    same("container_name", given, wanted.as_deref())
}

/// The endpoint's `healthcheck_url`; without that the service's URL and the path of its health check.
pub fn healthcheck_url(call: &SignedCall<'_>, service: &Service, given: &str) -> Result<(), Refused> {
    let wanted =
        filled(call, service, call.endpoint.healthcheck_url.as_ref()).or_else(|| derived(call, service));
    same("healthcheck_url", given, wanted.as_deref())
}

/// What is wanted is not shown: it may hold a token.
fn same(name: &str, given: &str, wanted: Option<&str>) -> Result<(), Refused> {
    match wanted {
        Some(wanted) if wanted == given => Ok(()),
        Some(_) => Err(Refused::bad(
            format!("`{name}` is {}, and the configuration says something else", shown(given)),
            format!("mend the client, or `{name}` of the endpoint in lockgate.yaml"),
        )),
        None => Err(Refused::bad(
            format!("`{name}` is {}, and the configuration says nothing of it", shown(given)),
            format!("add `{name}:` to the endpoint in lockgate.yaml, or send none"),
        )),
    }
}

fn filled(call: &SignedCall<'_>, service: &Service, template: Option<&Template>) -> Option<String> {
    let vars = Vars {
        service: Some(&service.name),
        environment: Some(&call.endpoint.environment),
        ..Vars::default()
    };
    template?.fill(&vars).ok()
}

fn derived(call: &SignedCall<'_>, service: &Service) -> Option<String> {
    let environment = call.project.environment(&call.endpoint.environment);
    let url = service.urls.get(&call.endpoint.environment).or_else(|| environment?.url.as_ref())?;
    match &service.health {
        Health::Http(http) => Some(format!("{}{}", url.trim_end_matches('/'), http.path)),
        Health::Docker(_) | Health::Command(_) => None,
    }
}
