//! `doctor` on a host that `lockgate setup` has not made ready, or not lately.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::droplet::Droplet;
use super::{ENVIRONMENT, bare, is_ready};
use crate::support::ran::Ran;

const SERVICE: &str = "env: { VALKEY_HOST: valkey.internal }";

/// What is said of it, in the lines of that check.
fn of_setup(droplet: &Droplet, ran: &Ran) -> String {
    let shown = droplet.shown(&ran.stdout);
    let lines: Vec<&str> = shown.lines().collect();
    let at = lines.iter().position(|line| line.contains("`lockgate setup` makes")).unwrap();
    lines[at..].iter().take(2).copied().collect::<Vec<_>>().join("\n")
}

#[test]
fn a_host_that_was_never_set_up_has_setup_named_as_the_thing_to_type() {
    let Some(mut droplet) = bare(SERVICE) else { return };
    let config = fs::read_to_string(droplet.project("lockgate.yaml")).unwrap();
    let registries = "registries: { registry.example.com: { user: ci, password: hunter2-login } }\n";
    fs::write(droplet.project("lockgate.yaml"), format!("{config}{registries}")).unwrap();
    droplet.boots();
    let ran = droplet.run("doctor").expect(1);
    insta::assert_snapshot!(of_setup(&droplet, &ran), @r"
    ✗ what `lockgate setup` makes: not there yet: ready HOST/opt/setup_complete
    `lockgate setup` waits for it, and makes the rest then
    ");
    is_ready(&droplet);
    let ran = droplet.run("doctor").expect(1);
    assert!(!ran.to_string().contains("hunter2"), "{ran}");
    insta::assert_snapshot!(of_setup(&droplet, &ran), @r"
    ✗ what `lockgate setup` makes: not there: folder HOST/opt/monarch, file HOST/opt/monarch/docker-compose.yml, file HOST/opt/monarch/conf/app.toml, variables HOST/opt/monarch/.env, login registry.example.com
    `lockgate setup` makes it (`lockgate setup --dry-run` only shows it)
    ");
    assert!(!droplet.host("opt/monarch").exists(), "nothing is made");
}

#[test]
fn what_is_another_than_here_is_a_warning_and_what_cannot_be_made_an_error() {
    let Some(mut droplet) = bare(SERVICE) else { return };
    droplet.boots();
    is_ready(&droplet);
    droplet.run("setup").expect(0);
    let all_is_there = "✓ what `lockgate setup` makes: all of it is there";
    assert!(of_setup(&droplet, &droplet.run("doctor")).starts_with(all_is_there));
    // With a value that only a program has, what is there is not compared.
    droplet.configure("env: { VALKEY_HOST: valkey.internal, TOKEN: { command: [false] } }", ENVIRONMENT);
    assert!(of_setup(&droplet, &droplet.run("doctor")).starts_with(all_is_there));
    droplet.configure(SERVICE, ENVIRONMENT);
    fs::write(droplet.host("opt/monarch/docker-compose.yml"), "services: { monarch: { image: x } }\n")
        .unwrap();
    insta::assert_snapshot!(of_setup(&droplet, &droplet.run("doctor")), @r"
    ! what `lockgate setup` makes: another than here: file HOST/opt/monarch/docker-compose.yml
    `lockgate setup` brings it, and so does `lockgate ship` (`lockgate setup --dry-run` only shows it)
    ");
    fs::set_permissions(droplet.host("opt/monarch"), fs::Permissions::from_mode(0o777)).unwrap();
    droplet.run("doctor").expect(1).says(&["everybody may write there", "chmod o-w"]);
}
