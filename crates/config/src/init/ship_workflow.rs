//! A workflow of GitHub Actions that ships by itself: test, build, deploy, each on a runner of its own. System C.

use std::fmt::{Result, Write};
use std::path::Path;

use super::github_actions::{Branch, CHECKOUT, fetch};
use super::shipped::ShippedService;
use super::test_tools::{TestTool, needed};
use super::variables::{Form, Variable};
use super::write::{comment, quoted, scalar};
use super::{given, push_paths};

// Others' actions, by the commits that their own repositories' tags name.
const SETUP_PYTHON: &str = "actions/setup-python@5fda3b95a4ea91299a34e894583c3862153e4b97 # v7.0.0";
const SETUP_QEMU: &str = "docker/setup-qemu-action@96fe6ef7f33517b61c61be40b68a1882f3264fb8 # v4.2.0";
const SETUP_BUILDX: &str = "docker/setup-buildx-action@37fe631027851001ddb9b187196cc803df7f5f0e # v4.3.0";
const SETUP_DEPOT: &str = "depot/setup-action@91bc8495a33ebfc504ffc89e5674379ccf23c29c # v1.7.2";
/// Beside the test's own time: the checkout, and what the test needs.
const TEST_MORE_MINUTES: u64 = 15;
const BUILD_MINUTES_MAX: u64 = 90;
/// A host may still be being made.
const DEPLOY_MINUTES_MAX: u64 = 90;
/// Longest that GitHub lets a job run.
const JOB_MINUTES_MAX: u64 = 360;

/// What is to be in the workflow.
#[derive(Debug, Clone)]
pub struct ShipWorkflow {
    pub shipped: ShippedService,
    /// The branch that is pushed to.
    pub branch: Branch,
    /// Of lockgate.yaml, in the repository: empty at its root.
    pub folder: String,
    /// The configuration's name, where it is not lockgate.yaml.
    pub config: Option<String>,
    /// What the test needs on a runner.
    tools: Vec<TestTool>,
    /// The repository has submodules.
    pub has_submodules: bool,
}

/// One of the workflow's secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretToSet {
    pub name: String,
    /// For people.
    pub what: String,
    pub is_optional: bool,
    /// How it is set, typed in the repository.
    pub command: String,
}

/// What a job is called, and the `--job` of `ship`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Job {
    Test,
    Build,
    Deploy,
}

impl Job {
    fn name(self) -> &'static str {
        match self {
            Job::Test => "test",
            Job::Build => "build",
            Job::Deploy => "deploy",
        }
    }

    fn needs(self, variable: &Variable) -> bool {
        match self {
            Job::Test => variable.test,
            Job::Build => variable.build,
            Job::Deploy => variable.deploy,
        }
    }
}

impl ShipWorkflow {
    /// `dir`: the folder of lockgate.yaml, which is looked at for what the test needs.
    #[must_use]
    pub fn new(shipped: ShippedService, branch: Branch, dir: &Path) -> Self {
        let tools = shipped.test.as_ref().map(|test| needed(&test.command, dir)).unwrap_or_default();
        Self { shipped, branch, folder: String::new(), config: None, tools, has_submodules: false }
    }

    /// Where it lies in a repository.
    #[must_use]
    pub fn path(&self) -> String {
        match self.shipped.is_one_of_several {
            false => ".github/workflows/ship.yml".to_owned(),
            true => format!(".github/workflows/ship-{}.yml", self.shipped.service),
        }
    }

    /// The secrets that it reads, those first that it cannot do without.
    #[must_use]
    pub fn secrets(&self) -> Vec<SecretToSet> {
        let own = self.shipped.variables.values().filter(|one| given::by_runner(&one.name).is_none());
        let mut secrets: Vec<SecretToSet> = own
            .map(|one| SecretToSet {
                name: one.name.clone(),
                what: comment(&one.what),
                is_optional: one.is_optional,
                command: command(one),
            })
            .collect();
        secrets.sort_by_key(|secret| secret.is_optional);
        secrets
    }

    /// The text of the file.
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = String::new();
        // Writing to a `String` cannot fail.
        let _ = self.write(&mut out);
        out
    }

    fn jobs(&self) -> Vec<Job> {
        match self.shipped.test {
            Some(_) => vec![Job::Test, Job::Build, Job::Deploy],
            None => vec![Job::Build, Job::Deploy],
        }
    }

    fn write(&self, out: &mut String) -> Result {
        self.head(out)?;
        self.on(out)?;
        writeln!(out, "permissions: {{}}")?;
        writeln!(
            out,
            "# One push after the other, in order; without `queue: max` GitHub drops all that wait but the newest."
        )?;
        writeln!(out, "concurrency:\n  group: ship-{}\n  queue: max", self.shipped.environment)?;
        if !self.folder.is_empty() {
            writeln!(out, "defaults:\n  run:\n    working-directory: {}", scalar(&self.folder))?;
        }
        writeln!(out, "jobs:")?;
        let mut before = None;
        for job in self.jobs() {
            self.job(out, job, before)?;
            before = Some(job);
        }
        Ok(())
    }

    fn head(&self, out: &mut String) -> Result {
        let ShippedService { service, environment, .. } = &self.shipped;
        writeln!(
            out,
            "# Made by `lockgate init github-actions`: ships {service} to {environment}, each job after the one before."
        )?;
        writeln!(out, "# It needs, in the repository's settings:")?;
        for secret in self.secrets() {
            let optional = if secret.is_optional { ", which may be left out" } else { "" };
            writeln!(out, "# - secret {}{optional}: {}", secret.name, secret.what)?;
        }
        writeln!(
            out,
            "# - variables LOCKGATE_PROGRAM_URL and LOCKGATE_PROGRAM_SHA256: where the static program is fetched from, and its"
        )?;
        writeln!(out, "#   checksum, which the release names")?;
        writeln!(
            out,
            "# A job that fails tells whom `notify` names. Of a runner that dies or is cancelled GitHub alone tells: your settings,\n\
             # Notifications, Actions."
        )
    }

    fn on(&self, out: &mut String) -> Result {
        writeln!(out, "name: {}", scalar(&format!("ship {}", self.shipped.service)))?;
        writeln!(out, "on:\n  push:\n    branches: [{}]", quoted(self.branch.as_str()))?;
        let Some(watch) = &self.shipped.watch else { return Ok(()) };
        writeln!(
            out,
            "    # As `watch` in lockgate.yaml: make this file again when that changes.\n    paths:"
        )?;
        for pattern in watch.iter().filter_map(|glob| push_paths::patterns(glob, &self.folder)).flatten() {
            writeln!(out, "      - {}", quoted(&pattern))?;
        }
        Ok(())
    }

    fn job(&self, out: &mut String, job: Job, before: Option<Job>) -> Result {
        writeln!(out, "  {}:", job.name())?;
        if let Some(before) = before {
            writeln!(out, "    needs: {}", before.name())?;
        }
        writeln!(out, "    runs-on: ubuntu-24.04")?;
        writeln!(out, "    timeout-minutes: {}", self.minutes(job))?;
        self.permissions(out, job)?;
        writeln!(out, "    steps:\n      - uses: {CHECKOUT}\n        with:")?;
        writeln!(
            out,
            "          fetch-depth: 0 # `watch` compares with the push before\n          persist-credentials: false"
        )?;
        if self.has_submodules {
            writeln!(out, "          submodules: recursive")?;
        }
        match job {
            Job::Test => self.tools.iter().try_for_each(|one| tool(out, one))?,
            Job::Build => self.builder(out)?,
            Job::Deploy => {}
        }
        fetch_step(out)?;
        self.ship(out, job)
    }

    fn minutes(&self, job: Job) -> u64 {
        match job {
            Job::Test => {
                let own = self.shipped.test.as_ref().map_or(0, |test| test.minutes_max);
                JOB_MINUTES_MAX.min(own + TEST_MORE_MINUTES)
            }
            Job::Build => BUILD_MINUTES_MAX,
            Job::Deploy => DEPLOY_MINUTES_MAX,
        }
    }

    /// What the job's own token may do, where a job is given it.
    fn permissions(&self, out: &mut String, job: Job) -> Result {
        writeln!(out, "    permissions:\n      contents: read")?;
        if !self.shipped.variables.get("GITHUB_TOKEN").is_some_and(|token| job.needs(token)) {
            return Ok(());
        }
        if self.shipped.build.is_ghcr {
            match job {
                Job::Test => {}
                Job::Build => writeln!(out, "      packages: write")?,
                Job::Deploy => writeln!(out, "      packages: read")?,
            }
        }
        match self.shipped.writes_deployments {
            true => writeln!(out, "      deployments: write"),
            false => Ok(()),
        }
    }

    fn builder(&self, out: &mut String) -> Result {
        let build = &self.shipped.build;
        match build.with.as_str() {
            "buildx" => {
                if build.is_foreign {
                    writeln!(out, "      - uses: {SETUP_QEMU}")?;
                }
                writeln!(out, "      - uses: {SETUP_BUILDX}")
            }
            "depot" => writeln!(out, "      - uses: {SETUP_DEPOT}"),
            _ => Ok(()),
        }
    }

    /// Secrets come as variables of this one step.
    fn ship(&self, out: &mut String, job: Job) -> Result {
        let shipped = &self.shipped;
        let title = ["Test", "Build and push", "Deploy"][job as usize];
        writeln!(out, "      - name: {title}")?;
        let variables: Vec<&Variable> = shipped.variables.values().filter(|one| job.needs(one)).collect();
        if !variables.is_empty() {
            writeln!(out, "        env:")?;
        }
        for Variable { name, .. } in variables {
            match given::by_runner(name) {
                Some(_) => writeln!(out, "          {name}: ${{{{ github.token }}}}")?,
                None => writeln!(out, "          {name}: ${{{{ secrets.{name} }}}}")?,
            }
        }
        let mut words = vec!["lockgate".to_owned()];
        words.extend(self.config.iter().map(|config| format!("-c {}", shell_words::quote(config))));
        words.push("ship".to_owned());
        words.extend(shipped.is_one_of_several.then(|| shipped.service.to_string()));
        words.extend(shipped.has_other_environments.then(|| format!("--env {}", shipped.environment)));
        words.push(format!("--job {}", job.name()));
        writeln!(out, "        run: {}", plain_or_quoted(&words.join(" ")))
    }
}

/// How one is set: GitHub's own program asks for the value, unless it is a file's.
fn command(one: &Variable) -> String {
    let name = &one.name;
    match one.form {
        Form::Key => format!("gh secret set {name} < ~/.ssh/KEY"),
        Form::KnownHosts => format!("ssh-keyscan HOST | gh secret set {name}"),
        Form::Text => format!("gh secret set {name}"),
    }
}

fn tool(out: &mut String, tool: &TestTool) -> Result {
    match tool {
        TestTool::Run { name, command } => writeln!(out, "      - name: {name}\n        run: {command}"),
        TestTool::Python { version, files, with_pytest } => {
            writeln!(
                out,
                "      - uses: {SETUP_PYTHON}\n        with:\n          python-version: {}",
                quoted(version)
            )?;
            let mut words: Vec<String> = files.iter().map(|file| format!("-r {file}")).collect();
            words.extend(with_pytest.then(|| "pytest".to_owned()));
            writeln!(
                out,
                "      - name: What the test needs\n        run: python3 -m pip install {}",
                words.join(" ")
            )
        }
    }
}

fn fetch_step(out: &mut String) -> Result {
    writeln!(out, "      - name: Lockgate\n        env:")?;
    writeln!(out, "          PROGRAM_URL: ${{{{ vars.LOCKGATE_PROGRAM_URL }}}}")?;
    writeln!(out, "          PROGRAM_SHA256: ${{{{ vars.LOCKGATE_PROGRAM_SHA256 }}}}")?;
    writeln!(out, "        run: |\n          mkdir -p \"$RUNNER_TEMP/bin\"")?;
    for line in fetch("$RUNNER_TEMP/bin/lockgate") {
        writeln!(out, "          {line}")?;
    }
    writeln!(out, "          echo \"$RUNNER_TEMP/bin\" >>\"$GITHUB_PATH\"")
}

/// A command line as YAML has it.
fn plain_or_quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./ ".contains(c);
    if text.chars().all(plain) { text.to_owned() } else { quoted(text) }
}
