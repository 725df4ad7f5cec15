//! Every case of Lockgate's program on a host, as people are told of it.

use super::*;

/// The smallest static ELF that is a program, for a machine by its number.
fn elf(machine: u16) -> Vec<u8> {
    let mut bytes = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0];
    bytes.extend(machine.to_le_bytes());
    bytes.extend([1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0, 0, 0, 0, 0, 0]);
    bytes.extend([0; 12]);
    bytes.extend([64, 0, 56, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]);
    bytes.extend([0; 52]);
    bytes
}

const X86_64: u16 = 62;
const AARCH64: u16 = 183;

fn running() -> WantedProgram {
    let files = vec![ProgramFile::new("this program", Some("0.4.0".into()), elf(X86_64))];
    WantedProgram { files, is_named: false }
}

fn named(files: &[(&str, Vec<u8>)]) -> WantedProgram {
    let file = |(from, content): &(&str, Vec<u8>)| ProgramFile::new(*from, None, content.clone());
    WantedProgram { files: files.iter().map(file).collect(), is_named: true }
}

fn none() -> SeenProgram {
    SeenProgram {
        system: "Linux".into(),
        machine: "x86_64".into(),
        is_writable: true,
        kind: SeenKind::None,
        uid: None,
        size: None,
        sum: None,
        version: None,
        path: Some(USUAL.into()),
    }
}

fn there(version: &str) -> SeenProgram {
    SeenProgram {
        kind: SeenKind::File,
        uid: Some(0),
        size: Some(3),
        sum: Some("0".repeat(64)),
        version: Some(version.into()),
        ..none()
    }
}

fn same(content: &[u8]) -> SeenProgram {
    let digest = Digest::of(content).as_str().trim_start_matches("sha256:").to_owned();
    SeenProgram { size: Some(content.len() as u64), sum: Some(digest), ..there("0.4.0") }
}

#[track_caller]
fn told_of(wanted: &WantedProgram, seen: &SeenProgram, me: u32, power: Power) -> String {
    let (item, errand) = judge(wanted, seen, Me { uid: me }, power);
    assert_eq!(item.state == SetupState::Make, errand.is_some(), "{item:?}");
    assert_eq!(item.state == SetupState::Refused, item.hint.is_some(), "{item:?}");
    let number = errand.map(|errand| format!(" [{}]", errand.file)).unwrap_or_default();
    let hint = item.hint.map(|hint| format!("\n    {hint}")).unwrap_or_default();
    format!("{} {}{number}: {}{hint}", item.name, item.state.as_str(), item.note.unwrap_or_default())
}

fn told(wanted: &WantedProgram, seen: &SeenProgram) -> String {
    told_of(wanted, seen, 0, Power::Root)
}

#[test]
fn the_program_that_runs_goes_where_none_is_and_in_the_place_of_an_older_one() {
    let wanted = running();
    let all = [
        told(&wanted, &none()),
        told(&wanted, &there("0.3.9")),
        told(&wanted, &there("0.4.0")),
        told(&wanted, &there("0.4.1")),
        told(&wanted, &there("0.4.0-rc.1")),
        told(&wanted, &there("odd")),
        told(&wanted, &SeenProgram { version: None, ..there("") }),
        told(&wanted, &same(&elf(X86_64))),
        told(&wanted, &SeenProgram { kind: SeenKind::Link, ..same(&elf(X86_64)) }),
        told(&wanted, &SeenProgram { path: Some("/home/ann/bin/lockgate".into()), ..none() }),
    ];
    insta::assert_snapshot!(all.join("\n"));
}

#[test]
fn a_named_one_is_chosen_by_the_host_s_machine_and_replaces_whatever_is_there() {
    let both = named(&[("dist/x", elf(X86_64)), ("dist/arm", elf(AARCH64))]);
    let arm = |seen: SeenProgram| SeenProgram { machine: "arm64".into(), ..seen };
    let all = [
        told(&both, &none()),
        told(&both, &arm(none())),
        told(&both, &there("9.9.9")),
        told(&both, &arm(same(&elf(AARCH64)))),
        told(&both, &SeenProgram { machine: "riscv64".into(), ..none() }),
        told(&both, &SeenProgram { system: "FreeBSD".into(), ..none() }),
        told(&named(&[("dist/script", b"#!/bin/sh\n".to_vec())]), &none()),
        told(&named(&[("dist/x", elf(X86_64)), ("dist/script", Vec::new())]), &arm(none())),
    ];
    insta::assert_snapshot!(all.join("\n"));
}

#[test]
fn what_cannot_be_replaced_stays_unless_somebody_named_another() {
    let by_name = named(&[("dist/x", elf(X86_64))]);
    let dynamic = WantedProgram {
        files: vec![ProgramFile::new("this program", Some("0.4.0".into()), b"dynamic".to_vec())],
        is_named: false,
    };
    let link = SeenProgram { kind: SeenKind::Link, ..there("0.3.0") };
    let other = SeenProgram { kind: SeenKind::Other, version: None, ..none() };
    let bob_s = SeenProgram { uid: Some(1234), ..there("0.3.0") };
    let all = [
        told(&by_name, &link),
        told(&running(), &link),
        told(&by_name, &other),
        told(&running(), &other),
        told(&by_name, &bob_s),
        told(&running(), &bob_s),
        told(&dynamic, &there("0.3.0")),
        told(&dynamic, &none()),
    ];
    insta::assert_snapshot!(all.join("\n"));
}

#[test]
fn what_this_user_may_not_write_is_put_there_by_sudo_or_refused() {
    let far = |seen: SeenProgram| SeenProgram { is_writable: false, ..seen };
    let by_name = named(&[("dist/x", elf(X86_64))]);
    let all = [
        told_of(&running(), &far(none()), 1000, Power::Sudo),
        told_of(&running(), &far(none()), 1000, Power::None),
        told_of(&running(), &far(there("0.3.0")), 1000, Power::None),
        told_of(&by_name, &far(there("0.3.0")), 1000, Power::Sudo),
        told_of(&by_name, &far(there("0.3.0")), 1000, Power::None),
        told_of(&running(), &SeenProgram { path: None, ..far(none()) }, 1000, Power::None),
    ];
    insta::assert_snapshot!(all.join("\n"));
    let (_, errand) = judge(&running(), &far(none()), Me { uid: 1000 }, Power::Sudo);
    assert_eq!(errand, Some(Errand { file: 0, path: USUAL.into(), is_by_sudo: true }));
}
