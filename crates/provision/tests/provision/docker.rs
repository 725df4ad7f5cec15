//! Docker is installed by the real scripts, and doubles of apt and what is around it.

use std::path::Path;

use lockgate_model::{FailureKind, Millis, SetupState};
use lockgate_provision::{Wanted, look, make};

use crate::bare::Bare;
use crate::cutting::{Cutting, Heard};

const ALL: [&str; 10] =
    ["apt-get", "dpkg", "dpkg-query", "service", "journalctl", "usermod", "sudo", "id", "date", "sleep"];

fn wanted() -> Wanted {
    Wanted { docker: true, ..Wanted::nothing(Millis::from_secs(1)) }
}

/// The scripts ask this machine what system it is.
fn is_debian() -> bool {
    let is = std::fs::read_to_string("/etc/os-release").unwrap_or_default().contains("ID=debian");
    if !is {
        eprintln!("skipped: this machine is no Debian");
    }
    is
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    Path::new("/proc/self").metadata().unwrap().uid() == 0
}

/// What is told of Docker: its state, and what of it.
async fn told(host: &Cutting) -> (SetupState, String) {
    let plan = look(host, &wanted()).await.unwrap();
    let item = &plan.items[0];
    let hint = item.hint.as_ref().map(|hint| format!(" | {hint}")).unwrap_or_default();
    (item.state, format!("{}{hint}", item.note.clone().unwrap_or_default()))
}

async fn installed(host: &Cutting) -> Result<Heard, lockgate_ports::PortError> {
    let heard = Heard::default();
    let plan = look(host, &wanted()).await?;
    make(host, &wanted(), &plan, &heard).await.map(|_| heard)
}

#[tokio::test]
async fn a_bare_host_gets_docker_and_a_second_time_nothing_is_done() {
    if !is_debian() || !is_root() {
        return;
    }
    let bare = Bare::new(&ALL);
    let host = bare.host(None);
    let (state, note) = told(&host).await;
    assert!(
        state == SetupState::Make
            && note.starts_with("docker.io, ca-certificates, apparmor, docker-compose of Debian"),
        "{note}"
    );
    assert_eq!(bare.called(), Vec::<String>::new(), "looking changes nothing");
    let host = bare.host(None);
    let heard = installed(&host).await.unwrap();
    assert_eq!(host.calls(), 3, "a look, the installation, a look");
    assert_eq!(heard.made(), ["docker engine and Compose"]);
    assert!(heard.said().iter().any(|line| line.contains("Setting up docker.io")), "{:?}", heard.said());
    insta::assert_snapshot!(bare.called().join("\n"), @r"
    dpkg --configure -a --force-confdef --force-confold
    apt-get -q -y -o DPkg::Lock::Timeout=30 -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold update
    apt-get -q -y -o DPkg::Lock::Timeout=30 -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold install --no-install-recommends --no-remove --fix-broken docker.io ca-certificates apparmor docker-compose
    service docker start
    ");
    let again = bare.host(None);
    assert!(installed(&again).await.unwrap().made().is_empty());
    assert_eq!((again.calls(), bare.called().len()), (1, 0), "one request, and nothing is called");
    assert_eq!(told(&again).await, (SetupState::There, "Engine 20.10.24+dfsg1, Compose 1.29.2".to_owned()));
}

#[tokio::test]
async fn another_user_does_it_by_sudo_and_joins_the_group() {
    if !is_debian() || !is_root() {
        return;
    }
    let bare = Bare::new(&ALL);
    bare.set("sudo", "");
    let host = bare.host(Some(1234));
    let (state, note) = told(&host).await;
    assert!(
        state == SetupState::Make && note.ends_with("by apt-get with sudo; ann joins the group docker"),
        "{note}"
    );
    installed(&host).await.unwrap();
    let sudo: Vec<String> = bare.called().into_iter().filter(|line| line.starts_with("sudo ")).collect();
    insta::assert_snapshot!(sudo.join("\n"), @r"
    sudo -n -- env LC_ALL=C DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 dpkg --configure -a --force-confdef --force-confold
    sudo -n -- env LC_ALL=C DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 apt-get -q -y -o DPkg::Lock::Timeout=30 -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold update
    sudo -n -- env LC_ALL=C DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 apt-get -q -y -o DPkg::Lock::Timeout=30 -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold install --no-install-recommends --no-remove --fix-broken docker.io ca-certificates apparmor docker-compose
    sudo -n -- timeout 10 docker version --format {{.Server.Version}}
    sudo -n -- service docker start
    sudo -n -- timeout 10 docker version --format {{.Server.Version}}
    sudo -n -- usermod -a -G docker -- ann
    ");
    assert_eq!(told(&host).await.0, SetupState::There);
    // Docker is there, and this user has left the group.
    std::fs::remove_file(bare.path("member")).unwrap();
    assert_eq!(told(&host).await, (SetupState::Make, "ann joins the group docker".to_owned()));
    installed(&host).await.unwrap();
    assert!(!bare.called().iter().any(|line| line.contains("apt-get")), "nothing is installed for that");
}

#[tokio::test]
async fn without_sudo_nothing_is_called_and_what_root_would_type_is_said() {
    if !is_debian() || !is_root() {
        return;
    }
    let bare = Bare::new(&ALL);
    let error = installed(&bare.host(Some(1234))).await.unwrap_err();
    assert_eq!(error.kind, FailureKind::Refused);
    assert!(error.message.contains("only root can, and there is no sudo without a password"), "{error}");
    let hints = error.hints().to_string();
    assert!(hints.contains("`apt-get update && apt-get install -y"), "{hints}");
    assert!(hints.contains("usermod -a -G docker ann`"), "{hints}");
    assert!(bare.called().is_empty());
}

#[tokio::test]
async fn somebody_else_s_apt_is_waited_for_and_not_for_ever() {
    if !is_debian() || !is_root() {
        return;
    }
    let bare = Bare::new(&ALL);
    bare.set("case", "lock 3");
    let heard = installed(&bare.host(None)).await.unwrap();
    assert_eq!(bare.called().iter().filter(|line| line.ends_with(" update")).count(), 4);
    let locked = heard.said().into_iter().filter(|line| line.contains("Could not get lock")).count();
    assert_eq!(locked, 1, "it is told once");
    let bare = Bare::new(&ALL);
    bare.set("case", "lock 1000");
    let error = installed(&bare.host(None)).await.unwrap_err();
    assert_eq!(error.kind, FailureKind::TimedOut, "{error}");
    assert!(
        error.message.contains("did not end within 300 s") && error.message.contains("held by process 4711"),
        "{error}"
    );
    assert!(!bare.called().iter().any(|line| line.contains(" install ")), "nothing is installed meanwhile");
}

#[tokio::test]
async fn what_keeps_apt_from_it_is_said_with_its_last_words_and_what_to_do() {
    if !is_debian() || !is_root() {
        return;
    }
    for (case, kind, says, hint) in [
        (
            "space",
            FailureKind::DiskFull,
            "You don't have enough free space in /var/cache/apt/archives/.",
            "df -h",
        ),
        ("unknown", FailureKind::NotFound, "Unable to locate package docker-compose", "universe"),
        ("network", FailureKind::Other, "Temporary failure resolving 'deb.debian.org'", "apt-get update"),
    ] {
        let bare = Bare::new(&ALL);
        bare.set("case", case);
        let error = installed(&bare.host(None)).await.unwrap_err();
        assert_eq!(error.kind, kind, "{case}: {error}");
        assert!(error.message.contains(says), "{case}: {error}");
        assert!(error.hints().to_string().contains(hint), "{case}: {:?}", error.hints());
        assert!(error.logs.iter().any(|line| line.contains("E: ")), "{case}: {:?}", error.logs);
        // Where that is over it goes on.
        bare.set("case", "");
        installed(&bare.host(None)).await.unwrap();
    }
}

#[tokio::test]
async fn what_dpkg_was_in_the_middle_of_is_ended_first() {
    if !is_debian() || !is_root() {
        return;
    }
    let bare = Bare::new(&ALL);
    bare.set("case", "interrupted");
    installed(&bare.host(None)).await.unwrap();
    let called = bare.called();
    assert!(called[0].starts_with("dpkg --configure -a"), "{called:?}");
}

#[tokio::test]
async fn an_engine_that_does_not_start_is_said_with_its_own_words() {
    if !is_debian() || !is_root() {
        return;
    }
    let bare = Bare::new(&ALL);
    bare.set("broken", "");
    let error = installed(&bare.host(None)).await.unwrap_err();
    assert_eq!(error.kind, FailureKind::Unhealthy, "{error}");
    assert!(error.logs.iter().any(|line| line.contains("iptables not found")), "{:?}", error.logs);
    // It is there now, and only has to start.
    let (state, note) = told(&bare.host(None)).await;
    assert_eq!((state, note.as_str()), (SetupState::Make, "its engine does not run, and is started"));
    std::fs::remove_file(bare.path("broken")).unwrap();
    bare.called();
    installed(&bare.host(None)).await.unwrap();
    assert_eq!(bare.called(), ["service docker start"]);
}

#[tokio::test]
async fn docker_from_elsewhere_is_left_alone_and_a_half_one_is_not_mixed() {
    if !is_debian() || !is_root() {
        return;
    }
    let bare = Bare::new(&ALL);
    ["docker", "docker-compose"].iter().for_each(|double| bare.add(double));
    bare.set("engine", "");
    let (state, note) = told(&bare.host(None)).await;
    assert_eq!(
        (state, note.as_str()),
        (SetupState::There, "Engine 20.10.24+dfsg1, Compose 1.29.2, from somewhere else than a package")
    );
    bare.set("packages", "docker-ce\ndocker-ce-cli\n");
    assert!(told(&bare.host(None)).await.1.ends_with("from docker.com"));
    std::fs::remove_file(bare.path("bin/docker-compose")).unwrap();
    let error = installed(&bare.host(None)).await.unwrap_err();
    assert!(error.message.contains("Docker is from docker.com, and it has no Compose"), "{error}");
    assert!(error.hints().to_string().contains("apt-get install docker-compose-plugin"));
    assert!(bare.called().is_empty(), "nothing is done");
    // Whoever makes the host ready may still be at it.
    let waiting = Wanted { wait_for: Some("/no/such/file".into()), ..wanted() };
    let plan = look(&bare.host(None), &waiting).await.unwrap();
    assert!(plan.items.iter().all(|item| item.state == SetupState::Waits), "{plan:#?}");
}
