//! `exec` on another machine: no shell on the way reads the program's words.

use std::io::Write;
use std::process::Stdio;

use crate::fleet::hosts::Fleet;
use crate::support::terminal::{LOOKS, Terminal, expect_looks};

/// All that a shell would make something of.
const ODD: &str = "it's $HOME `id` \"q\" *; exit 9 \\ \n two";

#[test]
fn a_program_gets_its_words_its_input_and_the_live_slots_environment_on_the_host_that_is_meant() {
    let Some(fleet) = Fleet::start(2) else { return };
    fleet.run("deploy web v1").expect(0);
    let script = "cat; printf '%s|%s|%s' \"$1\" \"$LOCKGATE_TAG\" \"$(readlink /proc/self/ns/net)\"; echo bad >&2; exit 42";
    let said = |host: &str| {
        let args = ["exec", "web", "--host", host, "--", "sh", "-c", script, "sh", ODD];
        let mut command = fleet.command("m1", args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(b"fed in\n").unwrap();
        let output = child.wait_with_output().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), errors.as_str()), (Some(42), "bad\n"));
        String::from_utf8(output.stdout).unwrap()
    };
    let (one, two) = (said("web1"), said("web2"));
    assert!(one.starts_with(&format!("fed in\n{ODD}|v1|net:")), "{one}");
    assert_ne!(one, two, "each host has a network of its own");
    let left = || {
        let names =
            std::fs::read_dir("/tmp").unwrap().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        names.filter(|name| name.starts_with("lockgate-exec.")).count()
    };
    assert_eq!(left(), 0, "what was sent removes itself");
}

#[test]
fn a_program_there_has_a_terminal_of_the_size_of_the_persons_and_its_keys() {
    let Some(fleet) = Fleet::start(1) else { return };
    fleet.run("deploy web v1").expect(0);
    let command = fleet.command("m1", ["exec", "web", "--", "sh", "-c", LOOKS]);
    let Some(mut terminal) = Terminal::start(&command, 33, 77) else { return };
    expect_looks(&mut terminal);
    let mut command =
        fleet.command("m1", ["exec", "web", "--", "sh", "-c", "[ -t 0 ] || [ -t 1 ] || exit 5"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    assert_eq!(command.output().unwrap().status.code(), Some(5));
}
