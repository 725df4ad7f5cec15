//! What a job of GitHub Actions has in its environment without being told.

/// How a runner has a variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Given {
    /// It is in every job's environment.
    Always,
    /// The job's own token, which has to be handed on.
    Token,
}

/// What GitHub's images set beside `GITHUB_…` and `RUNNER_…`.
/// Source: <https://docs.github.com/en/actions/reference/workflows-and-actions/variables#default-environment-variables>
const OF_IMAGES: [&str; 11] =
    ["CI", "HOME", "HOSTNAME", "LANG", "PATH", "PWD", "SHELL", "TEMP", "TMPDIR", "USER", "_"];

/// `None`: it has to be a secret of the repository. None of those may begin with `GITHUB_`.
pub fn by_runner(name: &str) -> Option<Given> {
    match name {
        "GITHUB_TOKEN" => Some(Given::Token),
        name if name.starts_with("GITHUB_") || name.starts_with("RUNNER_") => Some(Given::Always),
        name => OF_IMAGES.contains(&name).then_some(Given::Always),
    }
}
