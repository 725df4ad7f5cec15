//! Every case of Docker on a host, as people are told of it.

use super::*;

const ROOT: Me = Me { uid: 0 };
const ANN: Me = Me { uid: 1000 };

/// A Debian 12 without Docker.
fn bare() -> SeenDocker {
    SeenDocker {
        cli: Cli::None,
        engine: Engine::Down,
        compose: None,
        is_installed: false,
        is_broken_off: false,
        has_foreign_packages: false,
        is_member: false,
        has_apt: true,
        system: "debian".into(),
        release: Some("12".into()),
        name: "Debian GNU/Linux 12 (bookworm)".into(),
    }
}

fn on(system: &str, release: Option<&str>, name: &str) -> SeenDocker {
    SeenDocker { system: system.into(), release: release.map(str::to_owned), name: name.into(), ..bare() }
}

/// With all of the distribution's.
fn whole() -> SeenDocker {
    SeenDocker {
        cli: Cli::Distribution,
        engine: Engine::Up(Some("20.10.24".into())),
        compose: Some("1.29.2".into()),
        is_installed: true,
        ..bare()
    }
}

/// `state: note | hint`, and that there is something to do exactly where it is to be made.
#[track_caller]
fn told(seen: &SeenDocker, me: Me, power: Power) -> String {
    let (item, errand) = judge(seen, me, if me.uid == 0 { "root" } else { "ann" }, power);
    assert_eq!(item.state == SetupState::Make, errand.is_some(), "{item:?}");
    assert_eq!(item.state == SetupState::Refused, item.hint.is_some(), "{item:?}");
    let hint = item.hint.map(|hint| format!("\n    {hint}")).unwrap_or_default();
    format!("{}: {}{hint}", item.state.as_str(), item.note.unwrap_or_default())
}

#[test]
fn what_works_is_left_alone_wherever_it_is_from() {
    let from = |cli| SeenDocker { cli, has_foreign_packages: cli == Cli::DockerCom, ..whole() };
    let all = [
        whole(),
        from(Cli::DockerCom),
        from(Cli::Snap),
        from(Cli::Podman),
        from(Cli::Other),
        SeenDocker { engine: Engine::Up(None), has_apt: false, system: "alpine".into(), ..whole() },
    ];
    let told: Vec<String> = all.iter().map(|seen| told(seen, ANN, Power::Unasked)).collect();
    insta::assert_snapshot!(told.join("\n"));
}

#[test]
fn each_distribution_has_its_own_packages_and_others_are_refused() {
    let all = [
        bare(),
        on("debian", Some("13"), "Debian GNU/Linux 13 (trixie)"),
        on("debian", None, "Debian GNU/Linux forky/sid"),
        on("ubuntu", Some("20.04"), "Ubuntu 20.04.6 LTS"),
        on("ubuntu", Some("24.04"), "Ubuntu 24.04.1 LTS"),
        on("debian", Some("11"), "Debian GNU/Linux 11 (bullseye)"),
        on("debian", Some("x"), "Debian of another kind"),
        on("ubuntu", Some("18.04"), "Ubuntu 18.04"),
        on("ubuntu", None, "Ubuntu"),
        on("linuxmint", Some("22"), "Linux Mint 22"),
        on("fedora", Some("41"), "Fedora Linux 41"),
        on("", None, ""),
        SeenDocker { has_apt: false, ..bare() },
    ];
    let told: Vec<String> = all.iter().map(|seen| told(seen, ROOT, Power::Root)).collect();
    insta::assert_snapshot!(told.join("\n"));
}

#[test]
fn only_what_is_missing_is_installed() {
    let all = [
        SeenDocker { compose: None, ..whole() },
        SeenDocker { compose: Some("2.26.1".into()), ..bare() },
        SeenDocker { engine: Engine::Down, ..whole() },
        SeenDocker { is_broken_off: true, ..bare() },
        // Its program is there, its configuration has not ended.
        SeenDocker { is_broken_off: true, is_installed: false, engine: Engine::Down, ..whole() },
        SeenDocker { is_installed: false, engine: Engine::Down, ..whole() },
    ];
    let told: Vec<String> = all.iter().map(|seen| told(seen, ROOT, Power::Root)).collect();
    insta::assert_snapshot!(told.join("\n"));
}

#[test]
fn whoever_is_not_root_needs_sudo_and_joins_the_group_and_the_plan_says_so() {
    let denied = SeenDocker { engine: Engine::Denied, ..whole() };
    let all = [
        told(&bare(), ANN, Power::Sudo),
        told(&SeenDocker { is_member: true, ..bare() }, ANN, Power::Sudo),
        told(&denied, ANN, Power::Sudo),
        told(&SeenDocker { compose: None, ..denied.clone() }, ANN, Power::Sudo),
        told(&SeenDocker { is_member: true, ..denied.clone() }, ANN, Power::Sudo),
        told(&denied, ROOT, Power::Root),
        told(&bare(), ANN, Power::None),
        told(&denied, ANN, Power::None),
        told(&SeenDocker { engine: Engine::Down, is_member: true, ..whole() }, ANN, Power::None),
    ];
    insta::assert_snapshot!(all.join("\n"));
}

#[test]
fn a_half_docker_from_elsewhere_is_not_mixed_with_the_distribution_s() {
    let from = |cli, engine: Engine, compose: Option<&str>| SeenDocker {
        cli,
        engine,
        compose: compose.map(str::to_owned),
        is_installed: false,
        has_foreign_packages: matches!(cli, Cli::DockerCom | Cli::None),
        ..whole()
    };
    let up = || Engine::Up(Some("28.2.2".into()));
    let all = [
        from(Cli::DockerCom, up(), None),
        from(Cli::DockerCom, Engine::Down, Some("2.39")),
        from(Cli::DockerCom, Engine::Denied, Some("2.39")),
        from(Cli::None, Engine::Down, None),
        from(Cli::Snap, Engine::Down, Some("2.39")),
        from(Cli::Snap, Engine::Denied, Some("2.39")),
        from(Cli::Podman, Engine::Down, None),
        from(Cli::Other, up(), None),
        from(Cli::Other, Engine::Down, Some("2.39")),
    ];
    let told: Vec<String> = all.iter().map(|seen| told(seen, ANN, Power::Sudo)).collect();
    insta::assert_snapshot!(told.join("\n"));
}
