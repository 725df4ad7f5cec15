//! What must not be told: what this machine's environment and the configuration hold as secrets.

use lockgate_model::{
    Mask, Monitor, NotifyTo, Project, Secret, StateLocation, is_secret_name, secret_variables,
};

/// Of this process's environment, which the programs of gates have too.
pub fn of_environment() -> Vec<Secret> {
    let variables: Vec<(String, String)> = std::env::vars_os()
        .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()))
        .collect();
    secret_variables(variables.iter().map(|(name, value)| (name.as_str(), value.as_str()))).collect()
}

/// Of the environment and of the project: where people are told, logins for registries, what calls are signed with, the key for hosts and the store, and those variables of services whose names say so. (What
/// else is in a service's `env` is masked where that service's app or gates speak.)
pub fn of_project(project: &Project) -> Vec<Secret> {
    let told = project.notify.iter().flat_map(|notify| match &notify.to {
        NotifyTo::Slack { webhook: secret, .. }
        | NotifyTo::SlackBot { token: secret, .. }
        | NotifyTo::GitHub { token: secret, .. } => vec![secret],
        NotifyTo::Webhook { url, headers, secret } => {
            std::iter::once(url).chain(headers.values()).chain(secret).collect()
        }
        NotifyTo::Email(email) => email.login.iter().map(|(_, password)| password).collect(),
    });
    let variables = project.services.values().flat_map(|service| &service.env);
    let named = variables.filter(|(name, _)| is_secret_name(name)).map(|(_, value)| value);
    let mut secrets = of_environment();
    let logins = project.registries.values().map(|login| &login.password);
    let signing =
        project.serve.iter().flat_map(|serve| serve.endpoints.values()).flat_map(|one| &one.secrets);
    secrets.extend(told.chain(named).chain(logins).chain(signing).chain(&project.ssh.key).cloned());
    for soak in project.environments.iter().flat_map(|environment| &environment.soaks) {
        let Monitor::Prometheus(prometheus) = &soak.monitor;
        secrets.extend(prometheus.token.clone());
        // One without a password is no secret, and is told.
        secrets.extend(Some(&prometheus.url).filter(|url| url.reveal().contains('@')).cloned());
    }
    if let StateLocation::Postgres(url) = &project.state {
        secrets.extend(url.secrets().cloned());
    }
    secrets
}

pub fn mask(project: &Project) -> Mask {
    Mask::of(&of_project(project))
}
