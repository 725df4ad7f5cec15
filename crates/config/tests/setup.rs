//! What hosts need, how they are reached, and where values are to be had.

mod common;

use common::{bad, good, parse_with, with};
use lockgate_model::{HostFolder, HostProgram, HostSetup, Millis, Project, ValueSource};

const SERVICE: &str = "image: acme/monarch\nport: 8000";

const PROCESS: &str = "command: ./server\nhealth: /health";

fn setup(project: &Project) -> &HostSetup {
    let slots = project.environments[1].slots().expect("it is deployed to");
    slots.setup.as_deref().expect("it is set up")
}

fn prod(keys: &str) -> Project {
    good(&with(SERVICE, keys))
}

/// Mistakes in the environment: `line: message | hint`.
fn wrong(keys: &str) -> String {
    let service = if keys.starts_with("runtime: process") { PROCESS } else { SERVICE };
    let error = bad(&with(service, keys));
    let hint = error.hint().unwrap_or_default().to_owned();
    format!("{}: {} | {hint}", error.line().unwrap_or_default(), error.message())
}

#[test]
fn a_droplet_is_waited_for_and_gets_a_compose_file() {
    let project = prod(
        "strategy: recreate\nsetup: { wait_for: /opt/setup_complete, patience: 20m }\nruntime: { compose: { dir: /opt/monarch, upload: docker-compose.yml } }",
    );
    let setup = setup(&project);
    assert_eq!(setup.wait_for.as_deref(), Some("/opt/setup_complete"));
    assert_eq!(setup.patience, Millis::from_secs(20 * 60));
    let upload: Vec<_> = setup.upload.iter().map(|one| (one.from.as_str(), one.to.as_str())).collect();
    assert_eq!(upload, [("docker-compose.yml", "docker-compose.yml")]);
}

#[test]
fn uploads_keep_their_place_below_the_first_one_s_folder() {
    let project = prod(
        "strategy: recreate\nruntime: { compose: { file: /opt/x/stack.yml, upload: [./deploy/stack.yml, deploy/conf/nginx.conf] } }",
    );
    let setup = setup(&project);
    let upload: Vec<_> = setup.upload.iter().map(|one| one.to.as_str()).collect();
    assert_eq!(upload, ["stack.yml", "conf/nginx.conf"]);
    assert_eq!((setup.wait_for.clone(), setup.patience), (None, Millis::from_secs(15 * 60)), "the defaults");
}

#[test]
fn folders_have_owners_and_modes() {
    let project = prod(
        "runtime: compose\nsetup:\n  folders:\n    /opt/a/: { owner: \"1000:1000\", mode: 0750 }\n    /opt/b: {}\n    /opt/c: { owner: deploy, mode: \"2775\" }",
    );
    let folder = |path: &str, owner: Option<&str>, mode| HostFolder {
        path: path.into(),
        owner: owner.map(str::to_owned),
        mode,
    };
    assert_eq!(
        setup(&project).folders,
        [
            folder("/opt/a", Some("1000:1000"), Some(0o750)),
            folder("/opt/b", None, None),
            folder("/opt/c", Some("deploy"), Some(0o2775))
        ]
    );
    let without = prod("runtime: compose");
    assert!(without.environments[1].slots().unwrap().setup.is_none(), "hosts are as they are");
}

#[test]
fn docker_is_installed_where_that_is_said_and_nowhere_else() {
    assert!(setup(&prod("runtime: compose\nsetup: { docker: install }")).installs_docker);
    assert!(!setup(&prod("runtime: compose\nsetup: {}")).installs_docker);
}

#[test]
fn the_program_for_hosts_is_the_one_that_runs_or_files_or_none() {
    let program = |lockgate: &str| {
        let keys = format!("runtime: process\nrouter: builtin\nsetup: {{ {lockgate} }}");
        setup(&good(&with(PROCESS, &keys))).program.clone()
    };
    let files = |names: &[&str]| HostProgram::Files(names.iter().map(|name| (*name).to_owned()).collect());
    assert_eq!(program(""), HostProgram::Running);
    assert_eq!(program("lockgate: true"), HostProgram::Running);
    assert_eq!(program("lockgate: false"), HostProgram::Off);
    assert_eq!(program("lockgate: dist/lockgate-aarch64"), files(&["dist/lockgate-aarch64"]));
    let both = "lockgate: [dist/lockgate-x86_64, /opt/lockgate-aarch64]";
    assert_eq!(program(both), files(&["dist/lockgate-x86_64", "/opt/lockgate-aarch64"]));
}

#[test]
fn what_is_wrong_with_a_setup_is_said_where_it_stands() {
    let all: Vec<String> = [
        "setup: {}",
        "runtime: compose\nsetup: { wait_for: setup_complete }",
        "runtime: compose\nsetup: { wait_for: /opt/../x }",
        "runtime: compose\nsetup: { wait_for: / }",
        "runtime: compose\nsetup: { patience: soon }",
        "runtime: compose\nsetup: { patients: 1m }",
        "runtime: compose\nsetup: { docker: yes please }",
        "runtime: compose\nsetup: { docker: [install] }",
        "runtime: process\nsetup: { docker: install }",
        "runtime: process\nrouter: builtin\nsetup: { lockgate: [] }",
        "runtime: process\nrouter: builtin\nsetup: { lockgate: {} }",
        "runtime: process\nrouter: builtin\nsetup: { lockgate: \"\" }",
        "runtime: compose\nrouter: none\nsetup: { lockgate: dist/lockgate }",
        "runtime: compose\nsetup: { folders: { data: {} } }",
        "runtime: compose\nsetup: { folders: { /d: { owner: \"a b\" } } }",
        "runtime: compose\nsetup: { folders: { /d: { mode: rwx } } }",
        "runtime: compose\nsetup: { folders: { /d: { mode: 99 } } }",
        "runtime: { compose: { dir: \"/opt/{service}/{slot}\", upload: [] } }",
        "runtime: { compose: { dir: \"/opt/{service}/{slot}\", upload: stack.yml } }",
        "runtime: { compose: { file: /opt/prod.yml, upload: docker-compose.yml } }",
        "runtime: { compose: { dir: \"/opt/{service}/{slot}\", upload: ../docker-compose.yml } }",
        "runtime: { compose: { dir: \"/opt/{service}/{slot}\", upload: [a/compose.yml, b/x.conf] } }",
        "runtime: { compose: { dir: \"/opt/{service}/{slot}\", upload: [compose.yml, ./compose.yml] } }",
    ]
    .into_iter()
    .map(wrong)
    .collect();
    insta::assert_snapshot!(all.join("\n"), @r##"
    10: an environment without a runtime has no hosts to set up | add `runtime: compose`, or leave `setup` out
    11: `wait_for` `setup_complete` is no absolute path | write it from `/` on, without `..`, such as /opt/setup_complete
    11: `wait_for` `/opt/../x` is no absolute path | write it from `/` on, without `..`, such as /opt/setup_complete
    11: `wait_for` `/` is no absolute path | write it from `/` on, without `..`, such as /opt/setup_complete
    11: `patience` `soon` is not valid | write a length of time such as 250ms, 60s, 10m or 2h (a bare number is seconds), at least 1ms
    11: unknown key `patients` | did you mean `patience`?
    11: `docker` `yes please` is not valid | write `docker: install`, or leave it out where Docker is brought by other means
    11: expected text or a number | `lockgate schema` tells what each key takes
    11: `docker: install` installs what nothing here needs: services are processes | leave it out, or write `runtime: compose`
    12: `lockgate` is empty | name a file, `lockgate: dist/lockgate-aarch64`, or write `lockgate: false`
    12: expected a file, a list of files, or `false`, found a mapping | `lockgate schema` tells what each key takes
    12: `lockgate` is empty | write a value, or leave the key out
    12: `lockgate` names a program that no host here needs: it is for `router: builtin` | leave it out
    11: the folder `data` is no absolute path | write it from `/` on, without `..`, such as /opt/setup_complete
    11: `owner` `a b` is not valid | write `user`, `user:group`, or numbers: "1000:1000"
    11: `mode` `rwx` is not valid | write it as chmod has it: "0750"
    11: `mode` `99` is not valid | write it as chmod has it: "0750"
    10: `upload` is empty | name the Compose file first: `upload: docker-compose.yml`
    10: Compose does not look for `stack.yml` in a folder | call it docker-compose.yml, or write `file: /…/stack.yml` in the place of `dir`
    10: `file` and the first of `upload`, `docker-compose.yml`, have different names | name the Compose file first, and call it as on the host
    10: `upload` has `..` in it | write the path that is meant
    10: `b/x.conf` is not below the folder of the first of `upload` | each file keeps its place below the Compose file's folder: put them beside it
    10: `./compose.yml` is uploaded twice | keep one of them
    "##);
}

const OPENSSH: &str = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW\n-----END OPENSSH PRIVATE KEY-----";
/// Its cipher is aes256-ctr.
const LOCKED: &str = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAACmFlczI1Ni1jdHIAAAAGYmNyeXB0AAAAGAAAABDsecre\n-----END OPENSSH PRIVATE KEY-----";
const KNOWN: &str = "web1 ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ\n";

fn with_ssh(ssh: &str) -> String {
    format!("{}ssh: {ssh}\n", with(SERVICE, "runtime: compose"))
}

const FROM_VARIABLES: &str = "{ key: \"${KEY:-}\", known_hosts: \"${KNOWN:-}\", user: \"${WHO:-}\" }";

#[test]
fn the_key_comes_from_a_variable_in_whatever_shape_ci_keeps_it() {
    for key in [OPENSSH.to_owned(), format!("{OPENSSH}\n\n"), OPENSSH.replace('\n', "\r\n")] {
        let env = [("KEY", key.as_str()), ("KNOWN", KNOWN), ("WHO", "deploy")];
        let project = parse_with(&with_ssh(FROM_VARIABLES), &env).unwrap();
        assert_eq!(project.ssh.key.as_ref().unwrap().reveal(), format!("{OPENSSH}\n"));
        assert_eq!(project.ssh.known_hosts.as_deref(), Some(KNOWN));
        assert_eq!(project.ssh.user.as_deref(), Some("deploy"));
    }
    let project = parse_with(&with_ssh(FROM_VARIABLES), &[]).unwrap();
    assert_eq!(
        project.ssh,
        lockgate_model::Ssh::default(),
        "without the variables it is as without the keys"
    );
}

#[test]
fn what_is_wrong_with_a_key_is_said_without_it() {
    let lost = OPENSSH.replace('\n', " ");
    let half = OPENSSH.replace("-----END OPENSSH PRIVATE KEY-----", "");
    let cases = [
        ("KEY", "~/.ssh/s3cr3t"),
        ("KEY", "ssh-ed25519 s3cr3t ann@web"),
        ("KEY", "PuTTY-User-Key-File-3: s3cr3t"),
        ("KEY", lost.as_str()),
        ("KEY", half.as_str()),
        ("KEY", LOCKED),
        ("KNOWN", "ssh-ed25519 s3cr3t"),
        ("KNOWN", "@cert-authority s3cr3t ssh-ed25519"),
        ("WHO", "-s3cr3t"),
        ("WHO", "s3cr3t@web"),
    ];
    let mut all = Vec::new();
    for (name, value) in cases {
        let error = parse_with(&with_ssh(FROM_VARIABLES), &[(name, value)]).unwrap_err();
        let said = format!("{error:?}{}", error.plain());
        assert!(!said.contains("s3cr3t") && !said.contains("b3Blbn"), "{said}");
        all.push(format!("{} | {}", error.message(), error.hint().unwrap_or_default()));
    }
    let believes = with_ssh("{ known_hosts: \"${KNOWN}\", accept_new_host_keys: true }");
    let error = parse_with(&believes, &[("KNOWN", KNOWN)]).unwrap_err();
    all.push(format!("{} | {}", error.message(), error.hint().unwrap_or_default()));
    insta::assert_snapshot!(all.join("\n"), @r##"
    `key` is no private key | it is the key itself; a file is named by `options: [-i, FILE]`
    `key` is a public key | the private one is the file without `.pub`
    `key` is PuTTY's, which ssh does not read | have puttygen export it as an OpenSSH key
    `key` has lost its line breaks | give it whole, from `-----BEGIN …` to `-----END …`, with its line breaks, as `cat KEY` prints it
    `key` is no private key, or not the whole of it | give it whole, from `-----BEGIN …` to `-----END …`, with its line breaks, as `cat KEY` prints it
    `key` has a passphrase, which nobody can type here | make one without, for this alone: `ssh-keygen -t ed25519 -N '' -f KEY`; or leave `key` out and use an agent
    `known_hosts` has a line that is no host with its key | write what `ssh-keyscan HOST` prints: a host, the kind of its key, and the key, on one line
    `known_hosts` has a line that is no host with its key | write what `ssh-keyscan HOST` prints: a host, the kind of its key, and the key, on one line
    `user` is no name to log in with | write the name alone, such as root or deploy
    `user` is no name to log in with | write the name alone, such as root or deploy
    `known_hosts` are the only keys that are believed, and `accept_new_host_keys` believes any | keep one of them
    "##);
}

#[test]
fn values_come_from_the_environment_files_and_programs() {
    let text = with(
        "image: acme/monarch\nenv:\n  HOST: \"${HOST}\"\n  PORT: 6379\n  RATIO: 1.50\n  ON: true\n  TOKEN: { command: \"op read 'op://shop/a b'\" }\n  CERT: { file: ../secrets/cert.pem }\n  SOPS: { command: [sops, -d, x.yaml] }",
        "runtime: compose",
    );
    let project = parse_with(&text, &[("HOST", "db.internal")]).unwrap();
    let service = project.services.values().next().unwrap();
    let values: Vec<(&str, &str)> =
        service.env.iter().map(|(name, value)| (name.as_str(), value.reveal())).collect();
    assert_eq!(values, [("HOST", "db.internal"), ("ON", "true"), ("PORT", "6379"), ("RATIO", "1.50")]);
    let command =
        |words: &[&str]| ValueSource::Command(words.iter().map(|word| (*word).to_owned()).collect());
    let sources: Vec<_> =
        service.env_from.iter().map(|(name, source)| (name.as_str(), source.clone())).collect();
    let wanted = [
        ("CERT", ValueSource::File("../secrets/cert.pem".into())),
        ("SOPS", command(&["sops", "-d", "x.yaml"])),
        ("TOKEN", command(&["op", "read", "op://shop/a b"])),
    ];
    assert_eq!(sources, wanted);
}

#[test]
fn what_is_wrong_with_a_source_is_said() {
    let all: Vec<String> = [
        "A: {}",
        "A: { file: x, command: y }",
        "A: { fiel: x }",
        "A: { command: \"\" }",
        "A: { command: \"op 'read\" }",
        "A: { command: \"op read ${TOKEN}\" }",
        "A: { file: \"\" }",
        "A: [x]",
    ]
    .into_iter()
    .map(|variable| {
        let error = bad(&with(&format!("image: a/b\nenv:\n  {variable}"), "runtime: compose"));
        format!(
            "{}: {} | {}",
            error.line().unwrap_or_default(),
            error.message(),
            error.hint().unwrap_or_default()
        )
    })
    .collect();
    insta::assert_snapshot!(all.join("\n"), @r##"
    6: a value comes from a `file` or from a `command` | write exactly one: `{ file: ./secret }` or `{ command: op read op://vault/item/field }`
    6: a value comes from a `file` or from a `command` | write exactly one: `{ file: ./secret }` or `{ command: op read op://vault/item/field }`
    6: unknown key `fiel` | did you mean `file`?
    6: `command` is empty | write the program and its arguments
    6: `command` has an open quote | close it, or write a list
    6: `command` cannot have `${…}`: everybody on this machine sees a program's arguments | the program has this environment: it finds what it needs there
    6: `file` is empty | write a value, or leave the key out
    6: expected text or a number | `lockgate schema` tells what each key takes
    "##);
}
