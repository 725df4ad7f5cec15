//! The jobs in their order: what is done, what is not, and why.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use futures_util::future::FutureExt;
use lockgate_local::Local;
use lockgate_model::{
    Begun, Checksum, CommitSha, Commits, Delivery, Digest, Failure, FailureKind, Holder, HostId,
    HostObserved, HostSetup, Job, LeaseRecord, Mask, Millis, Observed, PlanPlace, Progress, Project,
    Reference, Refusal, Rejection, Release, Repository, RouterObserved, RunId, Secret, Service,
    ServiceStatus, ShipEvent, Slot, SlotObserved, SlotState, Timestamp,
};
use lockgate_ports::fake::{FakeBuilder, FakeGit, FakeRegistry, NoFaults};
use lockgate_ports::registry::MEDIA_TYPES;
use lockgate_ports::{Between, Changed, Head, Manifest, PortError, Registry};
use lockgate_ship::{Asked, Parts, PushRange, Ready, Shipped, Stopped, Voice, ship};

const HEAD: &str = "0123456789abcdef0123456789abcdef01234567";
const LIVE: &str = "fedcba9876543210fedcba9876543210fedcba98";
const OTHER: &str = "7777777777777777777777777777777777777777";
const IMAGE: &str = "registry.example/acme/web";

fn sha(text: &str) -> CommitSha {
    CommitSha::new(text).unwrap()
}

#[derive(Default)]
struct Heard(Mutex<Vec<ShipEvent>>);

impl Voice for Heard {
    fn tell(&self, event: &ShipEvent) {
        self.0.lock().unwrap().push(event.clone());
    }
}

/// A project, its clone, its builder and its registry; commit [`LIVE`] is live.
struct Yard {
    project: Project,
    git: FakeGit,
    builder: FakeBuilder,
    registry: FakeRegistry,
    live: Option<&'static str>,
    /// What is otherwise on the host.
    amend: fn(&mut ServiceStatus),
    heard: Heard,
    root: tempfile::TempDir,
}

impl Yard {
    /// `service` are lines of the service, indented by four.
    fn with(service: &str) -> Self {
        let text = format!(
            "project: shop\nservices:\n  web:\n    image: {IMAGE}\n    port: 5000\n{service}environments:\n  prod:\n    \
             runtime: {{ compose: {{ dir: \"/srv/{{service}}/{{slot}}\" }} }}\n    router: builtin\n"
        );
        let root = tempfile::tempdir().unwrap();
        let project = lockgate_config::parse(&text, "lockgate.yaml", root.path(), &|_| None)
            .unwrap_or_else(|error| panic!("{error:?}\n{text}"));
        let registry = FakeRegistry::new(Arc::new(NoFaults));
        let head = Head {
            commit: sha(HEAD),
            author: "Kim".into(),
            subject: "Say hello".into(),
            at: Timestamp(7_000),
            branch: Some("main".into()),
            tags: Vec::new(),
            unclean: Vec::new(),
            absent_submodules: Vec::new(),
            is_shallow: false,
            folder: String::new(),
        };
        let mut git = FakeGit::at(head);
        git.changed = Changed::Files(vec!["src/app.py".into()]);
        let builder = FakeBuilder::pushing_to(registry.clone());
        Self {
            project,
            git,
            builder,
            registry,
            live: Some(LIVE),
            amend: |_| {},
            heard: Heard::default(),
            root,
        }
    }

    fn head(&mut self) -> &mut Head {
        self.git.head.as_mut().unwrap()
    }

    fn service(&self) -> &Service {
        self.project.services.values().next().unwrap()
    }

    async fn ship(&self, asked: &Asked) -> Result<Shipped, Stopped> {
        let (host, mask) = (Local::new(), Mask::of(&[Secret::new("hunter2-hunter2")]));
        let (live, amend) = (self.live, self.amend);
        let status = move || {
            let mut seen = status(live);
            amend(&mut seen);
            async move { Ok(seen) }.boxed()
        };
        let parts = Parts {
            project: &self.project,
            service: self.service(),
            environment: &self.project.environments[0],
            git: &self.git,
            builder: &self.builder,
            registry: &self.registry,
            host: &host,
            status: &status,
            voice: &self.heard,
            mask: &mask,
            now: &|| Timestamp(9_000),
            owner: "kim@desk",
        };
        ship(&parts, asked).await
    }

    async fn all(&self) -> Result<Shipped, Stopped> {
        self.ship(&Asked::default()).await
    }

    /// What of the jobs was told, in short.
    fn told(&self) -> Vec<String> {
        let events = self.heard.0.lock().unwrap();
        let short = |event: &ShipEvent| match event {
            ShipEvent::JobStarted { job, .. } => format!("{} begins", job.as_str()),
            ShipEvent::JobLine { text, .. } => format!("| {text}"),
            ShipEvent::JobEnded { job, ok: true, .. } => format!("{} is done", job.as_str()),
            ShipEvent::JobEnded { job, ok: false, .. } => format!("{} has failed", job.as_str()),
            ShipEvent::ShipNote { note } => note.clone(),
        };
        events.iter().map(short).collect()
    }

    async fn in_registry(&self, tag: &str) -> Option<Digest> {
        let reference = Reference::Tag(tag.parse().unwrap());
        let found = self.registry.resolve(&Repository::new(IMAGE).unwrap(), &reference).await;
        found.ok().map(|found| found.digest)
    }
}

fn release(commit: &str) -> Release {
    Release {
        service: "web".parse().unwrap(),
        tag: commit.parse().unwrap(),
        digest: Digest::of(commit.as_bytes()),
        image: Some(IMAGE.into()),
        commit: Some(commit.into()),
        provenance: None,
    }
}

fn status(live: Option<&str>) -> ServiceStatus {
    let serving = |commit: &str| {
        let release = release(commit);
        let slot = SlotObserved {
            release: Some(release),
            state: SlotState::Running,
            started_at: None,
            restarts: 0,
            endpoint: None,
            replicas: Vec::new(),
        };
        HostObserved {
            router: RouterObserved { target: Some(Slot::Blue), ..RouterObserved::default() },
            slots: BTreeMap::from([(Slot::Blue, slot)]),
            ..HostObserved::default()
        }
    };
    let hosts = live.map(|commit| (HostId::local(), serving(commit))).into_iter().collect();
    ServiceStatus {
        service: "web".parse().unwrap(),
        environment: "prod".parse().unwrap(),
        observed: Observed { hosts },
        leases: BTreeMap::new(),
        wanted: BTreeMap::new(),
        clocks: BTreeMap::new(),
        unseen: BTreeMap::new(),
    }
}

fn ready(shipped: Result<Shipped, Stopped>) -> Ready {
    match shipped {
        Ok(Shipped::Deploy { ready, .. }) => ready,
        other => panic!("{other:?}"),
    }
}

fn skipped(shipped: Result<Shipped, Stopped>) -> String {
    match shipped {
        Ok(Shipped::Skipped { why, .. }) => why,
        other => panic!("{other:?}"),
    }
}

fn failed(shipped: Result<Shipped, Stopped>) -> (Option<Job>, FailureKind, String) {
    match shipped {
        Err(Stopped { job, refusal, .. }) => {
            let failure = refusal.failure().unwrap();
            assert!(!failure.hints.is_empty(), "{failure:?}");
            (job, failure.kind, format!("{} {}", failure.message, failure.hints))
        }
        Ok(other) => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_is_deployed_is_the_digest_that_the_registry_answers() {
    let yard = Yard::with(
        "    test: \"echo tested in $PWD\"\n    build: { tags: [\"{sha}\", latest, \"{branch}\"] }\n",
    );
    let ready = ready(yard.all().await);
    let digest = yard.in_registry(HEAD).await.unwrap();
    assert_eq!((ready.tag.as_str(), ready.artifact.digest.as_ref()), (HEAD, Some(&digest)));
    for tag in ["latest", "main"] {
        assert_eq!(yard.in_registry(tag).await.as_ref(), Some(&digest), "{tag}");
    }
    assert_eq!(ready.artifact.commit.as_deref(), Some(HEAD));
    let provenance = &ready.artifact.provenance;
    assert_eq!(provenance.change().as_deref(), Some("Say hello (Kim)"));
    assert_eq!(
        (provenance.builder.as_deref(), provenance.built_at),
        (Some("fake, kim@desk"), Some(Timestamp(9_000)))
    );
    let root = yard.root.path().canonicalize().unwrap();
    assert_eq!(
        yard.told(),
        [
            "there is something to ship: src/app.py has changed since fedcba9, which is live".to_owned(),
            "test begins".to_owned(),
            format!("| tested in {}", root.display()),
            "test is done".to_owned(),
            "the build gets the folder .lockgate, which changes with every ship: write it into .dockerignore"
                .to_owned(),
            "build begins".to_owned(),
            format!("| build {IMAGE}:{HEAD}"),
            "build is done".to_owned(),
            "push begins".to_owned(),
            format!("| push {IMAGE}:{HEAD}"),
            "push is done".to_owned(),
        ]
    );
    assert_eq!(
        yard.builder.asked(),
        [format!("build {IMAGE}:{HEAD}"), format!("push {IMAGE}:{HEAD}")],
        "once"
    );
}

#[tokio::test]
async fn a_folder_of_ours_that_a_build_would_get_is_said_until_it_is_ignored() {
    for (build, ignored, is_said) in [
        ("", "", true),
        ("    build: .\n", "*.log\n", true),
        ("    build: ..\n", "", true),
        ("    build: ./web\n", "", false),
        ("", "node_modules\n.lockgate/\n", false),
        ("", "*\n!src\n", false),
    ] {
        let yard = Yard::with(build);
        std::fs::write(yard.root.path().join(".dockerignore"), ignored).unwrap();
        ready(yard.all().await);
        let said = yard.told().iter().any(|line| line.contains(".dockerignore"));
        assert_eq!(said, is_said, "{build:?} with {ignored:?}");
    }
    // So is what lies beside the sources and is nobody's business.
    let yard = Yard::with("");
    std::fs::write(yard.root.path().join(".dockerignore"), ".lockgate\n.git\n").unwrap();
    std::fs::write(yard.root.path().join(".env"), "SECRET=x\n").unwrap();
    std::fs::create_dir(yard.root.path().join(".git")).unwrap();
    ready(yard.all().await);
    let said: Vec<String> = yard.told().into_iter().filter(|line| line.contains(".dockerignore")).collect();
    assert_eq!(
        said,
        ["the build gets the file .env, whose values would be in the image: write it into .dockerignore"]
    );
}

#[tokio::test]
async fn nothing_begins_after_a_job_that_has_failed_and_no_secret_is_told() {
    let yard = Yard::with("    test: \"echo pass hunter2-hunter2; exit 7\"\n");
    let (job, _, said) = failed(yard.all().await);
    assert_eq!(job, Some(Job::Test));
    assert!(said.contains("exit code 7") && said.contains("--job test"), "{said}");
    assert!(!said.contains("hunter2") && !format!("{:?}", yard.told()).contains("hunter2"), "{said}");
    assert_eq!(yard.builder.asked(), [""; 0]);

    let mut yard = Yard::with("    test: \"true\"\n");
    yard.builder.builds = Err(PortError::other("no such base").hint("write another"));
    assert_eq!(failed(yard.all().await).0, Some(Job::Build));
    assert_eq!(yard.builder.asked().len(), 1);
    yard.builder.builds = Ok(());
    yard.builder.pushes = Err(PortError::unreachable("connection reset").hint("ship again"));
    let (job, kind, _) = failed(yard.all().await);
    assert_eq!((job, kind), (Some(Job::Push), FailureKind::Unreachable));
    assert_eq!(yard.in_registry(HEAD).await, None);
    assert!(yard.told().iter().any(|line| line == "push has failed"), "{:?}", yard.told());
}

#[tokio::test]
async fn a_job_that_failed_says_of_which_commit_and_since_which() {
    let mut yard = Yard::with("    test: \"exit 1\"\n");
    let stopped = yard.all().await.unwrap_err();
    let artifact = stopped.artifact.unwrap();
    assert_eq!((stopped.since, artifact.commit.as_deref()), (Some(sha(LIVE)), Some(HEAD)));
    assert_eq!(artifact.provenance.change().as_deref(), Some("Say hello (Kim)"));
    assert_eq!((&artifact.digest, &artifact.provenance.builder), (&None, &None), "nothing was built");

    let before = "1111111111111111111111111111111111111111";
    let pushed = Some(PushRange { before: Some(sha(before)), after: sha(HEAD) });
    let stopped = yard.ship(&Asked { pushed, ..Asked::default() }).await.unwrap_err();
    assert_eq!(stopped.since, Some(sha(before)));
    let stopped = yard.ship(&Asked { force: true, ..Asked::default() }).await.unwrap_err();
    assert_eq!(stopped.since, None, "nobody looked");

    yard.head().unclean = vec!["src/app.py".into()];
    let stopped = yard.ship(&Asked { allow_dirty: true, ..Asked::default() }).await.unwrap_err();
    assert_eq!(stopped.artifact.unwrap().commit, Some(format!("{HEAD}-dirty")));
    let stopped = yard.all().await.unwrap_err();
    assert_eq!((stopped.job, stopped.artifact), (None, None), "it was before any job");
}

#[tokio::test]
async fn a_test_that_may_fail_is_remembered_and_one_that_takes_too_long_has_failed() {
    let yard = Yard::with("    test: { run: \"exit 1\", allow_failure: true }\n");
    let Ok(Shipped::Deploy { allowed, .. }) = yard.all().await else { panic!("{:?}", yard.told()) };
    assert!(allowed[0].message.contains("exit code 1"), "{allowed:?}");
    // Whoever is told of the deployment is told of it too.
    assert_eq!(ready(yard.all().await).artifact.allowed, allowed);
    let mut yard = Yard::with("    test: { run: \"exit 1\", allow_failure: true }\n");
    yard.builder.builds = Err(PortError::other("no such base").hint("write another"));
    let Err(Stopped { artifact: Some(artifact), .. }) = yard.all().await else { panic!("it is built") };
    assert_eq!(artifact.allowed.len(), 1, "{artifact:?}");

    let yard = Yard::with("    test: { run: \"sleep 30\", timeout: 1s }\n");
    let (job, kind, _) = failed(yard.all().await);
    assert_eq!((job, kind), (Some(Job::Test), FailureKind::TimedOut));
}

#[tokio::test]
async fn nothing_is_shipped_while_no_file_that_counts_has_changed_since_what_is_live() {
    let watch = "    watch: [\"src/**\", Dockerfile]\n    test: \"true\"\n";
    let mut yard = Yard::with(watch);
    yard.git.changed = Changed::Files(vec!["README.md".into(), "docs/src/a".into()]);
    assert_eq!(skipped(yard.all().await), "nothing that counts has changed since fedcba9, which is live");
    assert_eq!(yard.told(), [""; 0]);
    assert_eq!(*yard.git.asked.lock().unwrap(), [(sha(LIVE), sha(HEAD))]);
    // All the same.
    ready(yard.ship(&Asked { force: true, ..Asked::default() }).await);

    // One that is live already, whatever counts.
    let mut yard = Yard::with("");
    yard.live = Some(HEAD);
    assert_eq!(skipped(yard.all().await), "0123456 is live already");

    // What is not known is said, and shipped.
    for (live, changed, why) in [
        (None, Changed::Files(Vec::new()), "nothing is live yet"),
        (Some("v1"), Changed::Files(Vec::new()), "a tree with changes"),
        (Some(LIVE), Changed::Missing(sha(LIVE)), "shallow"),
        (Some(LIVE), Changed::TooMany, "more files have changed"),
    ] {
        let mut yard = Yard::with(watch);
        yard.live = live;
        yard.git.changed = changed;
        yard.head().is_shallow = true;
        ready(yard.all().await);
        assert!(yard.told()[0].contains(why), "{why}: {:?}", yard.told());
    }
}

#[tokio::test]
async fn in_ci_a_push_is_judged_by_what_it_brought() {
    let range =
        |before: Option<&str>, after: &str| Some(PushRange { before: before.map(sha), after: sha(after) });
    let before = "1111111111111111111111111111111111111111";
    let push = |before| Asked { pushed: range(before, HEAD), ..Asked::default() };
    let mut yard = Yard::with("    watch: [\"src/**\"]\n");
    ready(yard.ship(&push(Some(before))).await);
    assert!(
        yard.told()[0].contains("src/app.py has changed since 1111111, the push before"),
        "{:?}",
        yard.told()
    );

    yard.git.changed = Changed::Files(vec!["README.md".into()]);
    let why = skipped(yard.ship(&push(Some(before))).await);
    assert_eq!(why, "nothing that counts has changed since 1111111, the push before");
    // Also since the commit that is live: a push before this one may have failed.
    assert_eq!(yard.git.asked.lock().unwrap().last(), Some(&(sha(LIVE), sha(HEAD))));
    // Jobs that CI runs apart do not ask the hosts.
    let asked = Asked { job: Some(Job::Test), ..push(Some(before)) };
    let count = yard.git.asked.lock().unwrap().len();
    skipped(yard.ship(&asked).await);
    assert_eq!(yard.git.asked.lock().unwrap().len(), count + 1);

    ready(yard.ship(&push(None)).await);
    ready(yard.ship(&Asked { pushed: range(Some(before), LIVE), ..Asked::default() }).await);
    yard.git.changed = Changed::Missing(sha(before));
    ready(yard.ship(&push(Some(before))).await);
    let told = yard.told();
    for why in ["the branch is new", "not the push's last commit", "does not have 1111111"] {
        assert!(told.iter().any(|line| line.contains(why)), "{why}: {told:?}");
    }
}

#[tokio::test]
async fn a_tree_with_changes_is_refused_and_never_taken_for_its_commit() {
    let mut yard = Yard::with("    build: { tags: [\"{sha}\", latest] }\n");
    yard.head().unclean = vec!["src/app.py".into(), "a\u{1b}[2J".into()];
    let (job, kind, said) = failed(yard.all().await);
    assert_eq!((job, kind), (None, FailureKind::Refused));
    assert!(said.contains("src/app.py, a\\x1b[2J") && said.contains("--allow-dirty"), "{said}");
    let ready = ready(yard.ship(&Asked { allow_dirty: true, ..Asked::default() }).await);
    assert_eq!(ready.tag.as_str(), format!("{HEAD}-dirty"));
    assert_eq!(ready.artifact.commit, Some(format!("{HEAD}-dirty")));
    for tag in [HEAD, "latest"] {
        assert_eq!(yard.in_registry(tag).await, None, "{tag}");
    }

    let mut yard = Yard::with("");
    yard.head().absent_submodules = vec!["lib/x".into()];
    let (_, kind, said) = failed(yard.all().await);
    assert!(kind == FailureKind::Refused && said.contains("git submodule update"), "{said}");
}

#[tokio::test]
async fn jobs_that_are_run_apart_do_what_they_say_and_no_more() {
    let yard = Yard::with("    test: \"true\"\n    build: { tags: [\"{sha}\", latest] }\n");
    let apart = |job| Asked { job: Some(job), ..Asked::default() };
    // A moving tag leads to somebody's image, and is no substitute for the commit's own.
    let index = br#"{"schemaVersion":2,"manifests":[]}"#.to_vec();
    let manifest = Manifest::new(MEDIA_TYPES[0], index).unwrap();
    let latest = Reference::Tag("latest".parse().unwrap());
    yard.registry.put_manifest(&Repository::new(IMAGE).unwrap(), &latest, &manifest).await.unwrap();
    let (job, kind, said) = failed(yard.ship(&apart(Job::Deploy)).await);
    assert_eq!((job, kind), (Some(Job::Deploy), FailureKind::NotFound));
    assert!(said.contains(&format!("{IMAGE}:{HEAD} is not in its registry")), "{said}");
    assert!(said.contains("lockgate ship web --job build"), "{said}");

    let Ok(Shipped::Done { image: None, .. }) = yard.ship(&apart(Job::Test)).await else { panic!() };
    assert_eq!(yard.builder.asked(), [""; 0]);
    let Ok(Shipped::Done { image: Some(built), .. }) = yard.ship(&apart(Job::Build)).await else { panic!() };
    let found = ready(yard.ship(&apart(Job::Deploy)).await);
    assert_eq!((&found.tag, &found.artifact.digest), (&built.tag, &built.artifact.digest));
    assert_eq!(yard.builder.asked().len(), 2, "deployed as it was built");
    assert_eq!(found.artifact.provenance.change().as_deref(), Some("Say hello (Kim)"));
    // Who built it, and when, is what the image says: 2026-11-27T06:40:00Z.
    let provenance = &found.artifact.provenance;
    assert_eq!(
        (provenance.builder.as_deref(), provenance.built_at),
        (Some("fake, kim@desk"), Some(Timestamp(1_795_761_600_000)))
    );
}

#[tokio::test]
async fn a_tag_that_others_have_pushed_is_said_before_and_refused_in_between() {
    let mut yard = Yard::with("");
    let first = ready(yard.all().await);
    yard.builder.content = "v2".into();
    let anew = Asked { force: true, ..Asked::default() };
    let second = ready(yard.ship(&anew).await);
    assert_ne!(first.artifact.digest, second.artifact.digest);
    let short = first.artifact.digest.unwrap();
    let said = format!("{HEAD} led to another image before ({})", short.short());
    assert!(yard.told().iter().any(|line| line.contains(&said)), "{:?}", yard.told());

    yard.builder.claims = Some(Digest::of(b"what we pushed"));
    let (job, kind, said) = failed(yard.ship(&anew).await);
    assert_eq!((job, kind), (Some(Job::Push), FailureKind::Conflict));
    assert!(said.contains("somebody else has pushed the same tag"), "{said}");
}

/// Of a run that is not over: somebody is at it, or has left it.
fn lease(owner: Option<&str>) -> LeaseRecord {
    let holder = owner.map(|owner| Holder {
        owner: owner.into(),
        boot_id: "boot".into(),
        pid: 1,
        started: 1,
        session: String::new(),
        host: None,
        since: Timestamp(1),
        renewed_at: Timestamp(2),
        ttl: Millis::from_secs(15),
    });
    let plan = PlanPlace::Beside(Checksum::of(b""));
    let begun = Begun { run: RunId(uuid::Uuid::nil()), plan, progress: Progress::Forward, cause: None };
    LeaseRecord { token: 1, holder, unfinished: Some(begun), ..LeaseRecord::default() }
}

fn hold(status: &mut ServiceStatus, owner: Option<&str>) {
    let hosts: Vec<HostId> = status.observed.hosts.keys().cloned().collect();
    status.leases.extend(hosts.into_iter().map(|host| (host, lease(owner))));
}

fn reject(status: &mut ServiceStatus, commit: &str) {
    let release = Release { digest: Digest::of(b"bad"), commit: Some(commit.into()), ..release(commit) };
    let why = "rolled back to v1".into();
    let rejection = Rejection { release, rejected_at: Timestamp(1), by: "kim@desk".into(), why };
    status.observed.hosts.values_mut().for_each(|seen| seen.rejected = vec![rejection.clone()]);
}

#[tokio::test]
async fn nothing_is_called_live_that_a_run_has_not_settled_or_that_is_not_well() {
    let mut yard = Yard::with("");
    yard.live = Some(HEAD);
    assert_eq!(skipped(yard.all().await), "0123456 is live already");
    type Amend = fn(&mut ServiceStatus);
    let left: Amend = |status| hold(status, None);
    for (amend, told) in [
        (left, "a run was left unfinished"),
        (
            |status| status.observed.hosts.values_mut().for_each(|seen| seen.router.torn = Some("x".into())),
            "is live, and it is not well",
        ),
        (
            |status| {
                for seen in status.observed.hosts.values_mut() {
                    seen.releases = vec![seen.live().unwrap().1.release.clone().unwrap().into()];
                    seen.slots.clear();
                }
            },
            "nothing is live any more",
        ),
    ] {
        let mut yard = Yard::with("");
        (yard.live, yard.amend) = (Some(HEAD), amend);
        ready(yard.all().await);
        assert!(yard.told()[0].contains(told), "{:?}", yard.told());
    }
}

#[tokio::test]
async fn what_would_come_to_nothing_is_said_before_minutes_go_into_it() {
    let busy: fn(&mut ServiceStatus) = |status| hold(status, Some("lee@laptop"));
    let blind: fn(&mut ServiceStatus) = |status| {
        let refused = Failure::new(FailureKind::Unauthorized, "Permission denied (publickey)");
        status.unseen.insert(HostId::new("web9").unwrap(), refused);
    };
    let silent: fn(&mut ServiceStatus) = |status| {
        let silence = Failure::new(FailureKind::Unreachable, "no route");
        status.unseen.insert(HostId::new("web9").unwrap(), silence);
    };
    for (amend, kind, said) in [
        (busy, FailureKind::Conflict, "lee@laptop is at work on web in prod"),
        (blind, FailureKind::Unauthorized, "Permission denied"),
        (silent, FailureKind::Unreachable, "no route"),
    ] {
        let mut yard = Yard::with("    test: \"false\"\n");
        yard.amend = amend;
        let Err(Stopped { job: None, refusal, .. }) = yard.all().await else { panic!("it was begun") };
        let failure = refusal.failure().unwrap();
        assert_eq!(failure.kind, kind, "{failure:?}");
        assert!(failure.message.contains(said) && yard.told().is_empty(), "{failure:?} {:?}", yard.told());
        let is_busy = kind == FailureKind::Conflict;
        assert_eq!(matches!(*refusal, Refusal::Busy { .. }), is_busy, "exit code 6 is for who is at work");
        // Who only builds has nothing to do with the hosts.
        let built = yard.ship(&Asked { job: Some(Job::Build), ..Asked::default() }).await;
        assert!(matches!(built, Ok(Shipped::Done { .. })), "{built:?}");
    }
    // One that is still booting is waited for, after the build.
    let mut booting = Yard::with("    test: \"true\"\n");
    booting.amend = silent;
    let Delivery::Slots(slots) = &mut booting.project.environments[0].delivery else { panic!("slots") };
    slots.setup = Some(Box::new(HostSetup { wait_for: Some("/opt/done".into()), ..HostSetup::default() }));
    ready(booting.all().await);
}

#[tokio::test]
async fn an_older_commit_and_what_was_rejected_do_not_go_live_by_themselves() {
    let mut yard = Yard::with("    watch: [\"src/**\"]\n");
    let one = || Commits { count: 1, newest: Vec::new() };
    yard.git.between = Between::Commits { brought: Commits::default(), taken_back: one() };
    let why = skipped(yard.all().await);
    assert!(
        why.starts_with("0123456 is older than fedcba9, which is live; `lockgate rollback web`"),
        "{why}"
    );
    let push = PushRange { before: Some(sha(OTHER)), after: sha(HEAD) };
    let why = skipped(yard.ship(&Asked { pushed: Some(push), ..Asked::default() }).await);
    assert!(why.contains("is older than fedcba9"), "{why}");
    ready(yard.ship(&Asked { force: true, ..Asked::default() }).await);

    // Since the commit that was rolled back nothing but its description has changed.
    yard.git.between = Between::Commits { brought: one(), taken_back: Commits::default() };
    yard.git.unchanged_since = Some(sha(OTHER));
    yard.amend = |status| reject(status, OTHER);
    let why = skipped(yard.all().await);
    assert!(why.contains("since 7777777, which was rejected (rolled back to v1): revert it in git"), "{why}");
    yard.git.unchanged_since = None;
    ready(yard.all().await);
    // Itself is asked for by its name.
    yard.amend = |status| reject(status, HEAD);
    ready(yard.all().await);
}

#[tokio::test]
async fn what_was_built_of_a_commit_is_built_once_and_anew_when_that_is_asked_for() {
    let yard = Yard::with("    test: \"true\"\n");
    let first = ready(yard.all().await);
    let again = ready(yard.all().await);
    assert_eq!(first.artifact.digest, again.artifact.digest);
    let built = |yard: &Yard| yard.told().iter().filter(|told| *told == "build begins").count();
    assert_eq!(built(&yard), 1, "{:?}", yard.told());
    assert!(yard.told().iter().any(|told| told.contains("is not built again")), "{:?}", yard.told());
    ready(yard.ship(&Asked { force: true, ..Asked::default() }).await);
    assert_eq!(built(&yard), 2, "{:?}", yard.told());
}
