//! Folders and files.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use lockgate_model::{FailureKind, Millis, SetupState};
use lockgate_provision::{HostPlan, Wanted, WantedFile, WantedFolder, look, make};

use crate::cutting::{Cutting, Heard};

/// Most requests on a host on which all is there.
const ROUND_TRIPS_MAX: usize = 8;

struct Scene {
    dir: tempfile::TempDir,
}

impl Scene {
    fn new() -> Scene {
        Scene { dir: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// A Compose folder with a Compose file and another one further below, and a folder that containers mount.
    fn wanted(&self, compose: &str) -> Wanted {
        let mut wanted = Wanted::nothing(Millis::from_secs(1));
        let folder = |path: String, mode, is_ours| WantedFolder { path, owner: None, mode, is_ours };
        wanted.folders = vec![
            folder(self.text("opt/it's here"), None, true),
            folder(self.text("opt/it's here/data"), Some(0o750), false),
        ];
        let file = |name: &str, content: &str| {
            WantedFile::new(self.text(&format!("opt/it's here/{name}")), name, content.into())
        };
        wanted.files = vec![file("docker-compose.yml", compose), file("conf/app.toml", "a = 1\n")];
        wanted.files[0].rivals = vec![self.text("opt/it's here/compose.yaml")];
        wanted
    }
}

async fn made(host: &Cutting, wanted: &Wanted) -> Vec<String> {
    let heard = Heard::default();
    let plan = look(host, wanted).await.unwrap();
    let count = make(host, wanted, &plan, &heard).await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(count, heard.made().len());
    heard.made()
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o7777
}

fn states(plan: &HostPlan) -> Vec<SetupState> {
    plan.items.iter().map(|item| item.state).collect()
}

#[tokio::test]
async fn what_is_missing_is_made_and_a_second_time_nothing_is() {
    let (scene, host) = (Scene::new(), Cutting::never());
    let wanted = scene.wanted("services: {}\n");
    let plan = look(&host, &wanted).await.unwrap();
    assert_eq!(states(&plan), [SetupState::Make; 4], "{plan:#?}");
    let all = ["folder it's here", "folder data", "file docker-compose.yml", "file app.toml"];
    assert_eq!(made(&host, &wanted).await, all);
    assert_eq!(fs::read_to_string(scene.path("opt/it's here/docker-compose.yml")).unwrap(), "services: {}\n");
    assert_eq!(fs::read_to_string(scene.path("opt/it's here/conf/app.toml")).unwrap(), "a = 1\n");
    assert_eq!(mode(&scene.path("opt/it's here")), 0o755);
    assert_eq!(mode(&scene.path("opt/it's here/data")), 0o750);
    let again = Cutting::never();
    assert!(made(&again, &wanted).await.is_empty());
    assert!(again.calls() <= ROUND_TRIPS_MAX && again.calls() == 1, "{} requests", again.calls());
}

#[tokio::test]
async fn only_a_file_whose_bytes_differ_is_replaced_and_only_what_is_wanted_of_a_folder_is_changed() {
    let (scene, host) = (Scene::new(), Cutting::never());
    made(&host, &scene.wanted("services: {}\n")).await;
    let before = scene.path("opt/it's here/conf/app.toml").metadata().unwrap().ino();
    fs::set_permissions(scene.path("opt/it's here"), fs::Permissions::from_mode(0o700)).unwrap();
    fs::set_permissions(scene.path("opt/it's here/data"), fs::Permissions::from_mode(0o700)).unwrap();
    let wanted = scene.wanted("services: { web: {} }\n");
    assert_eq!(made(&host, &wanted).await, ["folder data", "file docker-compose.yml"]);
    assert_eq!(
        scene.path("opt/it's here/conf/app.toml").metadata().unwrap().ino(),
        before,
        "it is the same file"
    );
    assert_eq!(mode(&scene.path("opt/it's here")), 0o700, "nobody said a mode");
    assert_eq!(mode(&scene.path("opt/it's here/data")), 0o750);
}

#[tokio::test]
async fn an_owner_is_given_by_who_may() {
    if !is_root() {
        return;
    }
    let (scene, host) = (Scene::new(), Cutting::never());
    let mut wanted = scene.wanted("x");
    wanted.folders[1].owner = Some("1234:5678".into());
    assert_eq!(made(&host, &wanted).await.len(), 4);
    let seen = scene.path("opt/it's here/data").metadata().unwrap();
    assert_eq!((seen.uid(), seen.gid()), (1234, 5678));
    wanted.folders[1].owner = Some("root".into());
    let plan = look(&host, &wanted).await.unwrap();
    assert!(plan.items[1].note.as_ref().unwrap().contains("belongs to"), "{plan:#?}");
    assert_eq!(made(&host, &wanted).await, ["folder data"]);
    assert!(made(&host, &wanted).await.is_empty());
    wanted.folders[1].owner = Some("no-such-user-here".into());
    let plan = look(&host, &wanted).await.unwrap();
    let error = make(&host, &wanted, &plan, &Heard::default()).await.unwrap_err();
    assert_eq!(error.kind, FailureKind::NotFound, "{error}");
}

fn is_root() -> bool {
    Path::new("/proc/self").metadata().unwrap().uid() == 0
}

/// What is odd, how it comes to be, and what is said of it.
type Case = (&'static str, fn(&Scene), &'static str);

#[tokio::test]
async fn what_cannot_be_is_said_with_what_to_do_and_nothing_is_made() {
    let cases: [Case; 6] = [
        (
            "a rival",
            |scene| fs::write(scene.path("opt/it's here/compose.yaml"), "").unwrap(),
            "take it in its place",
        ),
        (
            "a link in the place of the file",
            |scene| {
                fs::write(scene.path("elsewhere"), "precious").unwrap();
                symlink(scene.path("elsewhere"), scene.path("opt/it's here/docker-compose.yml")).unwrap();
            },
            "a link",
        ),
        (
            "a folder in the place of the file",
            |scene| fs::create_dir(scene.path("opt/it's here/docker-compose.yml")).unwrap(),
            "no file",
        ),
        (
            "a file in the place of a folder",
            |scene| fs::write(scene.path("opt/it's here/data"), "").unwrap(),
            "no folder",
        ),
        (
            "a link that leads nowhere",
            |scene| symlink("/no/such", scene.path("opt/it's here/data")).unwrap(),
            "no folder",
        ),
        (
            "a folder that everybody may write to",
            |scene| {
                fs::set_permissions(scene.path("opt/it's here"), fs::Permissions::from_mode(0o777)).unwrap()
            },
            "everybody may write",
        ),
    ];
    for (what, prepare, said) in cases {
        let (scene, host) = (Scene::new(), Cutting::never());
        fs::create_dir_all(scene.path("opt/it's here")).unwrap();
        prepare(&scene);
        let wanted = scene.wanted("services: {}\n");
        let plan = look(&host, &wanted).await.unwrap();
        let error = make(&host, &wanted, &plan, &Heard::default()).await.unwrap_err();
        assert_eq!(error.kind, FailureKind::Refused, "{what}: {error}");
        assert!(error.message.contains(said) && !error.hints().is_empty(), "{what}: {error}");
        assert!(!scene.path("opt/it's here/conf").exists(), "{what}: something was made");
        if scene.path("elsewhere").exists() {
            assert_eq!(fs::read_to_string(scene.path("elsewhere")).unwrap(), "precious");
        }
    }
}

#[tokio::test]
async fn broken_off_anywhere_it_goes_on_from_there() {
    for most in 0..8 {
        let scene = Scene::new();
        let old = scene.wanted("services: {}\n");
        if most % 2 == 0 {
            made(&Cutting::never(), &old).await;
        }
        let wanted = scene.wanted("services: { web: {} }\n");
        let cut = Cutting::after(most);
        let ended = async {
            let plan = look(&cut, &wanted).await?;
            make(&cut, &wanted, &plan, &Heard::default()).await
        };
        let is_cut = ended.await.is_err();
        let compose = scene.path("opt/it's here/docker-compose.yml");
        if let Ok(text) = fs::read_to_string(&compose) {
            assert!(
                text == "services: {}\n" || text == "services: { web: {} }\n",
                "{most}: a part of {text:?}"
            );
        }
        let rest = made(&Cutting::never(), &wanted).await;
        assert!(is_cut || rest.is_empty(), "{most}: {rest:?}");
        assert!(look(&Cutting::never(), &wanted).await.unwrap().is_done());
        assert_eq!(fs::read_to_string(compose).unwrap(), "services: { web: {} }\n");
    }
}

#[tokio::test]
async fn where_root_is_needed_and_nobody_can_be_root_that_is_said() {
    if !is_root() {
        return;
    }
    let scene = Scene::new();
    fs::set_permissions(scene.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let host = Cutting::as_user(1234);
    let wanted = scene.wanted("x");
    let error = look(&host, &wanted).await.unwrap().require().unwrap_err();
    assert!(error.message.contains("without root, and there is no sudo without a password"), "{error}");
    assert!(error.hints().to_string().contains("install -d -o 1234"), "{error:?}");
    // What is there, and root's, is as good as one's own.
    fs::create_dir_all(scene.path("opt/it's here/data")).unwrap();
    fs::set_permissions(scene.path("opt/it's here/data"), fs::Permissions::from_mode(0o750)).unwrap();
    let mut folders = wanted.clone();
    folders.files.clear();
    assert!(look(&host, &folders).await.unwrap().is_done());
    std::os::unix::fs::chown(scene.path("opt/it's here"), Some(4321), None).unwrap();
    let error = look(&host, &folders).await.unwrap().require().unwrap_err();
    assert!(error.message.contains("could put something else in the place"), "{error}");
}
