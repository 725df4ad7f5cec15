//! A workflow of GitHub Actions that asks a daemon for a deployment.

use std::fmt::Write;

use lockgate_model::{CommitSha, InvalidName, ServiceName};

/// Where the workflow lies in a repository.
pub const WORKFLOW_PATH: &str = ".github/workflows/deploy.yml";

// Others' actions, by the commits that their own repositories' tags name.
pub(super) const CHECKOUT: &str = "actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1";
const LOGIN: &str = "docker/login-action@4907a6ddec9925e35a0a9e82d7399ccc52663121 # v4.1.0";
const BUILD_PUSH: &str = "docker/build-push-action@53b7df96c91f9c12dcc8a07bcb9ccacbed38856a # v7.3.0";
/// Above the time that a build takes and `trigger` waits.
const JOB_MINUTES_MAX: u32 = 90;
/// How long `trigger` asks again while somebody else deploys.
const WAIT: &str = "10m";
const BRANCH_CHARS_MAX: usize = 100;
const IMAGE_CHARS_MAX: usize = 200;
/// The registry for which a job's own token is a login.
const GHCR: &str = "ghcr.io";
/// What Docker calls a registry that has no name in front of an image's.
const DOCKER_HUB: &str = "docker.io";

/// What is to be in the workflow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workflow {
    /// When it runs.
    pub on: On,
    /// The branch that is pushed or merged to.
    pub branch: Branch,
    /// The repository that the workflow builds and pushes to. `None`: something else builds.
    pub build: Option<BuiltImage>,
    /// `None`: the only one that the endpoint has.
    pub service: Option<ServiceName>,
    /// Lockgate's own action. `None`: the workflow fetches the program by itself.
    pub action: Option<PinnedAction>,
}

/// When a workflow runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum On {
    /// What was pushed to the branch is deployed.
    Push,
    /// What waits in the branch's merge queue is deployed, and merged when that was good.
    MergeQueue,
}

/// A branch whose name needs no quotes and is no pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Branch(String);

/// An image's repository, without a tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuiltImage(String);

/// `OWNER/REPOSITORY@` and the 40 digits of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PinnedAction(String);

fn invalid(kind: &'static str, name: &str, reason: &'static str) -> InvalidName {
    InvalidName { kind, name: name.to_owned(), reason }
}

impl Branch {
    /// # Errors
    /// [`InvalidName`], which says what is allowed.
    pub fn new(name: &str) -> Result<Self, InvalidName> {
        let may = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'/');
        let first = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
        match first && name.len() <= BRANCH_CHARS_MAX && name.bytes().all(may) {
            true => Ok(Self(name.to_owned())),
            false => {
                let reason = "a branch here is at most 100 letters, digits, '.', '_', '-' and '/', and begins with one of the first two";
                Err(invalid("branch", name, reason))
            }
        }
    }
}

impl Branch {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl BuiltImage {
    /// # Errors
    /// [`InvalidName`], which says what is allowed.
    pub fn new(name: &str) -> Result<Self, InvalidName> {
        let may = |byte: u8| {
            byte.is_ascii_lowercase()
                || byte.is_ascii_digit()
                || matches!(byte, b'.' | b'_' | b'-' | b'/' | b':')
        };
        let (path, first) = (name.rsplit('/').next().unwrap_or_default(), name.bytes().next());
        let is_fine = name.len() <= IMAGE_CHARS_MAX
            && name.bytes().all(may)
            && first.is_some_and(|byte| byte.is_ascii_alphanumeric())
            && !path.is_empty()
            && !path.contains(':');
        match is_fine {
            true => Ok(Self(name.to_owned())),
            false => Err(invalid(
                "image",
                name,
                "an image here is a repository without tag, such as ghcr.io/acme/web",
            )),
        }
    }

    fn registry(&self) -> &str {
        let first = self.0.split_once('/').map(|(first, _)| first);
        first.filter(|first| first.contains(['.', ':']) || *first == "localhost").unwrap_or(DOCKER_HUB)
    }
}

impl PinnedAction {
    /// # Errors
    /// [`InvalidName`], which says what is allowed.
    pub fn new(name: &str) -> Result<Self, InvalidName> {
        let part = |part: &str| {
            let may = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
            !part.is_empty() && part.len() <= BRANCH_CHARS_MAX && part.bytes().all(may)
        };
        let is_fine = name.split_once('@').is_some_and(|(repository, commit)| {
            let parts = repository.split_once('/');
            parts.is_some_and(|(owner, repository)| part(owner) && part(repository))
                && CommitSha::new(commit).is_ok()
        });
        match is_fine {
            true => Ok(Self(name.to_owned())),
            false => Err(invalid(
                "action",
                name,
                "an action is pinned as OWNER/REPOSITORY@ and all 40 digits of a commit",
            )),
        }
    }
}

/// The text of the file.
#[must_use]
pub fn github_actions(workflow: &Workflow) -> String {
    let mut out = String::new();
    // Writing to a `String` cannot fail.
    let _ = write(&mut out, workflow);
    out
}

fn write(out: &mut String, workflow: &Workflow) -> std::fmt::Result {
    head(out, workflow)?;
    let group = workflow.service.as_ref().map_or("all", ServiceName::as_str);
    writeln!(out, "jobs:\n  deploy:")?;
    if workflow.on == On::MergeQueue {
        writeln!(
            out,
            "    # A pull request passes by this job's being left out; what counts is the merge queue."
        )?;
        writeln!(out, "    if: github.event_name == 'merge_group'")?;
    }
    writeln!(out, "    runs-on: ubuntu-24.04")?;
    writeln!(out, "    timeout-minutes: {JOB_MINUTES_MAX}")?;
    writeln!(
        out,
        "    # One after the other, in order; without `queue: max` GitHub drops all that wait but the newest."
    )?;
    writeln!(out, "    concurrency:\n      group: deploy-{group}\n      queue: max")?;
    match &workflow.build {
        None => writeln!(out, "    permissions: {{}}\n    steps:")?,
        Some(image) => {
            writeln!(out, "    permissions:\n      contents: read")?;
            if image.registry() == GHCR {
                writeln!(out, "      packages: write")?;
            }
            writeln!(out, "    steps:")?;
            build(out, image)?;
        }
    }
    match &workflow.action {
        Some(action) => by_action(out, workflow, action),
        None => by_program(out, workflow),
    }
}

fn head(out: &mut String, workflow: &Workflow) -> std::fmt::Result {
    let mut notes = vec![
        "- secret LOCKGATE_WEBHOOK_SECRET: what the endpoint has as `secrets:` in lockgate.yaml, at least 16 bytes",
        "- variable LOCKGATE_URL: the endpoint, such as https://deploy.shop.example/deploy",
    ];
    notes.push("- variable LOCKGATE_CACERT, only where no public authority vouches for the endpoint's certificate: that of your own authority,");
    notes.push("  or the endpoint's own where it signs itself, the whole file (PEM): `cat cert.pem`");
    if workflow.action.is_none() {
        notes.push("- variables LOCKGATE_PROGRAM_URL and LOCKGATE_PROGRAM_SHA256: where the static program is fetched from, and its");
        notes.push("  checksum, which the release names");
    }
    if workflow.build.as_ref().is_some_and(|image| image.registry() != GHCR) {
        notes.push(
            "- variable REGISTRY_USER and secret REGISTRY_PASSWORD: the login with which the image is pushed",
        );
    }
    writeln!(out, "# Made by `lockgate init github-actions`. It needs, in the repository's settings:")?;
    for note in notes {
        writeln!(out, "# {note}")?;
    }
    if workflow.on == On::MergeQueue {
        writeln!(
            out,
            "# The job `deploy` is to be a required check of the branch, and the branch is to have a merge queue."
        )?;
    }
    writeln!(out, "name: deploy")?;
    let branch = &workflow.branch.0;
    match workflow.on {
        On::Push => writeln!(out, "on:\n  push:\n    branches: [\"{branch}\"]")?,
        On::MergeQueue => writeln!(
            out,
            "on:\n  pull_request:\n    branches: [\"{branch}\"]\n  merge_group:\n    types: [checks_requested]\n    branches: [\"{branch}\"]"
        )?,
    }
    writeln!(out, "permissions: {{}}")
}

/// The tag is the whole commit, as an endpoint's `tag:` has it where it says nothing else.
fn build(out: &mut String, image: &BuiltImage) -> std::fmt::Result {
    let registry = image.registry();
    let (user, password) = match registry == GHCR {
        true => ("github.actor", "secrets.GITHUB_TOKEN"),
        false => ("vars.REGISTRY_USER", "secrets.REGISTRY_PASSWORD"),
    };
    writeln!(out, "      - uses: {CHECKOUT}\n        with:\n          persist-credentials: false")?;
    writeln!(out, "      - uses: {LOGIN}\n        with:\n          registry: {registry}")?;
    writeln!(out, "          username: ${{{{ {user} }}}}\n          password: ${{{{ {password} }}}}")?;
    writeln!(out, "      - uses: {BUILD_PUSH}\n        with:\n          context: .\n          push: true")?;
    writeln!(out, "          # As `tag:` of the endpoint says; without one it is the whole commit.")?;
    writeln!(out, "          tags: {}:${{{{ github.sha }}}}", image.0)
}

fn committed_at(on: On) -> &'static str {
    match on {
        On::Push => "${{ github.event.head_commit.timestamp }}",
        On::MergeQueue => "${{ github.event.merge_group.head_commit.timestamp }}",
    }
}

fn by_action(out: &mut String, workflow: &Workflow, action: &PinnedAction) -> std::fmt::Result {
    writeln!(out, "      - uses: {}\n        with:\n          url: ${{{{ vars.LOCKGATE_URL }}}}", action.0)?;
    if let Some(service) = &workflow.service {
        writeln!(out, "          service: {service}")?;
    }
    writeln!(out, "          committed-at: {}", committed_at(workflow.on))?;
    writeln!(out, "          cacert-pem: ${{{{ vars.LOCKGATE_CACERT }}}}")?;
    writeln!(out, "          wait: {WAIT}\n          secret: ${{{{ secrets.LOCKGATE_WEBHOOK_SECRET }}}}")
}

/// Lines of a script that fetch the program from `$PROGRAM_URL` to `path`, and make sure that it is the one.
pub(super) fn fetch(path: &str) -> [String; 4] {
    [
        "curl --fail --silent --show-error --location --proto '=https' --max-time 120 \\".to_owned(),
        format!("  --output \"{path}\" -- \"$PROGRAM_URL\""),
        format!("echo \"$PROGRAM_SHA256  {path}\" | sha256sum --check --quiet"),
        format!("chmod +x \"{path}\""),
    ]
}

/// Nothing that anybody wrote is a part of the script: all of it comes as variables, `GITHUB_SHA` by itself.
fn by_program(out: &mut String, workflow: &Workflow) -> std::fmt::Result {
    writeln!(out, "      - name: Deploy\n        env:")?;
    writeln!(out, "          LOCKGATE_WEBHOOK_SECRET: ${{{{ secrets.LOCKGATE_WEBHOOK_SECRET }}}}")?;
    writeln!(out, "          LOCKGATE_URL: ${{{{ vars.LOCKGATE_URL }}}}")?;
    writeln!(out, "          CACERT: ${{{{ vars.LOCKGATE_CACERT }}}}")?;
    writeln!(out, "          PROGRAM_URL: ${{{{ vars.LOCKGATE_PROGRAM_URL }}}}")?;
    writeln!(out, "          PROGRAM_SHA256: ${{{{ vars.LOCKGATE_PROGRAM_SHA256 }}}}")?;
    writeln!(out, "          COMMITTED_AT: {}", committed_at(workflow.on))?;
    writeln!(out, "        run: |")?;
    for line in fetch("$RUNNER_TEMP/lockgate") {
        writeln!(out, "          {line}")?;
    }
    for line in [
        "trust=()",
        "if [ -n \"$CACERT\" ]; then",
        "  printf '%s\\n' \"$CACERT\" >\"$RUNNER_TEMP/cacert.pem\"",
        "  trust=(\"--cacert=$RUNNER_TEMP/cacert.pem\")",
        "fi",
    ] {
        writeln!(out, "          {line}")?;
    }
    let service =
        workflow.service.as_ref().map(|service| format!("--service={service} ")).unwrap_or_default();
    writeln!(
        out,
        "          \"$RUNNER_TEMP/lockgate\" trigger {service}--committed-at=\"$COMMITTED_AT\" --wait={WAIT} \"${{trust[@]}}\" -- \"$LOCKGATE_URL\""
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_be_more_than_a_name_in_the_file_is_refused() {
        for good in ["main", "release/2.x", "v1"] {
            assert!(Branch::new(good).is_ok(), "{good}");
        }
        for bad in ["", "-x", "a b", "a\"]", "a\nb", "**", "${{ x }}", "!main", &"x".repeat(101)] {
            assert!(Branch::new(bad).is_err(), "{bad}");
        }
        for (good, registry) in [
            ("ghcr.io/acme/web", "ghcr.io"),
            ("registry.shop.example:5000/a/b", "registry.shop.example:5000"),
            ("acme/web", "docker.io"),
            ("localhost:5000/web", "localhost:5000"),
        ] {
            assert_eq!(BuiltImage::new(good).unwrap().registry(), registry);
        }
        for bad in ["", "web:v1", "Acme/web", "a b", "a/", "/a", "a@sha256", "${{ x }}"] {
            assert!(BuiltImage::new(bad).is_err(), "{bad}");
        }
        let commit = "a".repeat(40);
        assert!(PinnedAction::new(&format!("acme/lockgate@{commit}")).is_ok());
        for bad in ["", "acme/lockgate", "acme/lockgate@v1", "lockgate@main", &format!("a/b/c@{commit}")] {
            assert!(PinnedAction::new(bad).is_err(), "{bad}");
        }
    }
}
