use lockgate_local::Local;

use super::*;

/// A folder of `docker`'s own, and what stands in the variables.
struct Scene {
    dir: tempfile::TempDir,
    seen: Surroundings,
}

impl Scene {
    fn new(docker_host: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().to_str().unwrap().to_owned();
        let seen = Surroundings { docker_host: docker_host.to_owned(), config, ..Surroundings::default() };
        Self { dir, seen }
    }

    fn current(mut self, name: &str) -> Self {
        let config = serde_json::json!({ "auths": {}, "currentContext": name }).to_string();
        self.seen.config_json = Some(config.into_bytes());
        self
    }

    /// As `docker context create` writes it.
    fn context(self, name: &str, endpoint: serde_json::Value) -> Self {
        let folder = self.dir.path().join("contexts/meta").join(hex(name));
        std::fs::create_dir_all(&folder).unwrap();
        let meta = serde_json::json!({ "Name": name, "Metadata": {}, "Endpoints": { "docker": endpoint } });
        std::fs::write(folder.join("meta.json"), meta.to_string()).unwrap();
        self
    }

    async fn find(&self, key: Option<&str>) -> Result<EngineAddress, PortError> {
        let mut locator = Locator::new(Arc::new(Local::new()), key.map(str::to_owned), None);
        locator.surroundings = OnceCell::new_with(Some(self.seen.clone()));
        locator.address().await.cloned()
    }
}

fn hex(name: &str) -> String {
    Sha256::digest(name).iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn shown(scene: Scene, key: Option<&str>) -> (String, ToldBy, bool) {
    let found = scene.find(key).await.unwrap();
    (found.to_string(), found.told_by, found.elsewhere.is_some())
}

#[tokio::test]
async fn the_key_comes_before_the_variable_and_that_before_the_context() {
    let rootless = serde_json::json!({ "Host": "unix:///run/user/1000/docker.sock", "SkipTLSVerify": false });
    let scene = |host: &str| Scene::new(host).context("rootless", rootless.clone()).current("rootless");
    let key = Some("/run/key.sock");
    assert_eq!(shown(scene("tcp://x"), key).await, ("unix:///run/key.sock".into(), ToldBy::Key, false));
    let variable = ("tcp://10.0.0.5:2375".into(), ToldBy::Variable, true);
    assert_eq!(shown(scene("tcp://10.0.0.5"), None).await, variable);
    let context = ToldBy::Context("rootless".into());
    assert_eq!(
        shown(scene(""), None).await,
        ("unix:///run/user/1000/docker.sock".into(), context.clone(), false)
    );
    let mut by_variable = Scene::new("").context("rootless", rootless.clone());
    by_variable.seen.context = "rootless".into();
    assert_eq!(shown(by_variable, None).await.1, context);
    let usual = ("unix:///var/run/docker.sock".into(), ToldBy::Default, false);
    assert_eq!(shown(Scene::new("").current("default"), None).await, usual);
    assert_eq!(shown(Scene::new(""), None).await, usual);
}

#[tokio::test]
async fn over_the_network_the_variables_of_docker_say_whether_with_tls() {
    let mut scene = Scene::new("tcp://build.example.com");
    scene.seen.tls_verify = "1".into();
    scene.seen.cert_path = "/etc/certs".into();
    let found = scene.find(None).await.unwrap();
    assert_eq!(found.to_string(), "tcp://build.example.com:2376");
    assert_eq!(found.certificates.as_deref(), Some("/etc/certs"));
    assert_eq!(
        found.variables(),
        [
            ("DOCKER_HOST", "tcp://build.example.com:2376".to_owned()),
            ("DOCKER_TLS_VERIFY", "1".to_owned()),
            ("DOCKER_CERT_PATH", "/etc/certs".to_owned()),
            ("REQUESTS_CA_BUNDLE", "/etc/certs/ca.pem".to_owned()),
        ]
    );
    scene.seen.tls = "1".into();
    scene.seen.tls_verify = String::new();
    let refused = scene.find(None).await.unwrap_err();
    assert!(refused.message.contains("would trust whoever answers"), "{refused}");
    // A socket needs none, and Compose is told of none.
    let socket = scene.find(Some("/run/x.sock")).await.unwrap();
    assert_eq!(socket.variables()[1].1, "");
    for (text, wanted, elsewhere) in [
        ("tcp://localhost:1234/", "tcp://localhost:1234", None),
        ("tcp://[::1]:99", "tcp://[::1]:99", None),
        ("tcp://[fd00::2]", "tcp://[fd00::2]:2375", Some("fd00::2")),
        ("web1:2375", "tcp://web1:2375", Some("web1")),
    ] {
        let found = Scene::new(text).find(None).await.unwrap();
        assert_eq!((found.to_string().as_str(), found.elsewhere.as_deref()), (wanted, elsewhere), "{text}");
    }
}

#[tokio::test]
async fn what_cannot_be_honoured_is_refused_with_what_to_type() {
    for (text, hint) in [
        ("ssh://ann@web1", "`hosts: [\"ann@web1\"]`, and `unset DOCKER_HOST`"),
        ("ssh://ann@web1:2222", "`hosts: [\"ssh://ann@web1:2222\"]`"),
        ("npipe:////./pipe/docker_engine", "unix:///path/to/docker.sock or tcp://HOST:PORT"),
        ("fd://", "tcp://HOST:PORT"),
        ("tcp://", "tcp://HOST:PORT"),
        ("tcp://web1:port", "tcp://HOST:PORT"),
        ("tcp://web1:2375/docker", "tcp://HOST:PORT"),
    ] {
        let refused = Scene::new(text).find(None).await.unwrap_err();
        assert_eq!(refused.kind, FailureKind::Refused, "{text}");
        assert!(refused.message.starts_with("DOCKER_HOST on local is "), "{refused}");
        let hints = refused.hints().to_string();
        assert!(hints.contains(hint), "{text}: {hints}");
    }
    let ssh = serde_json::json!({ "Host": "ssh://ann@web1" });
    let refused = Scene::new("").context("web", ssh).current("web").find(None).await.unwrap_err();
    assert!(refused.hints().to_string().contains("`docker context use default`"), "{refused:?}");
}

#[tokio::test]
async fn a_context_that_is_gone_or_trusts_anybody_is_not_passed_over() {
    let gone = Scene::new("").current("gone").find(None).await.unwrap_err();
    assert_eq!(gone.kind, FailureKind::NotFound);
    assert!(gone.message.contains("Docker's context gone is not on local"), "{gone}");
    let lax = serde_json::json!({ "Host": "tcp://10.0.0.5:2376", "SkipTLSVerify": true });
    let refused = Scene::new("").context("lax", lax).current("lax").find(None).await.unwrap_err();
    assert!(refused.message.contains("skips TLS verification"), "{refused}");
    let mut broken = Scene::new("");
    broken.seen.config_json = Some(b"{ \"auths\": hunter2".to_vec());
    let error = broken.find(None).await.unwrap_err();
    assert!(error.message.contains("is not valid, line 1") && !error.message.contains("hunter2"), "{error}");
}

#[tokio::test]
async fn another_host_is_asked_for_the_same_things() {
    let (there, here) = (there(&Local::new()).await.unwrap(), here(&Local::new(), None).await.unwrap());
    assert_eq!(there.config, here.config);
    assert_eq!((there.docker_host, there.context), (here.docker_host, here.context));
    assert_eq!(there.config_json, here.config_json.filter(|content| !content.is_empty()));
}
