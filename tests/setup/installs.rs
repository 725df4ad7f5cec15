//! Docker and Lockgate's own program on a host: what is there is left alone, and what is missing is said before it is made.
//! Installing Docker for real is tried by `examples/c-ship/bare`, in a machine of its own.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use super::droplet::Droplet;
use super::mode;
use crate::support::skipped;

/// The head of a static program for x86-64, which is all that is looked at.
fn fit() -> Vec<u8> {
    let mut elf = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 62, 0, 1, 0, 0, 0];
    for number in [0x40_0078_u64, 64, 0] {
        elf.extend(number.to_le_bytes());
    }
    elf.extend([0, 0, 0, 0, 64, 0, 56, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    elf.extend([1, 0, 0, 0]);
    elf.extend([0; 52]);
    elf
}

#[test]
fn docker_that_works_is_left_alone_and_said() {
    let has = |argv: &[&str]| {
        let output = Command::new(argv[0]).args(&argv[1..]).stdin(Stdio::null()).output();
        output.is_ok_and(|output| output.status.success())
    };
    if !has(&["docker", "version"])
        || !(has(&["docker", "compose", "version"]) || has(&["docker-compose", "version"]))
    {
        return skipped("Docker with its engine and Compose is not there");
    }
    let environment = "setup: { docker: install }\nruntime: { compose: { dir: HOST/opt/monarch } }";
    let Some(mut droplet) = Droplet::new("", environment) else { return };
    droplet.boots();
    let ran = droplet.run("setup --dry-run").expect(0);
    ran.says(&["docker engine and Compose", "there", "Engine ", ", Compose "]);
    let line = droplet.run("setup --dry-run --format json").expect(0).stdout;
    let plan: serde_json::Value = serde_json::from_str(line.lines().next().unwrap()).unwrap();
    assert_eq!((&plan["items"][0]["kind"], &plan["items"][0]["state"]), (&"docker".into(), &"there".into()));
    droplet.run("setup").expect(0).says(&["made folder", "; 1 made"]);
}

const BUILTIN: &str = "router: builtin\nruntime: { compose: { dir: HOST/opt/monarch } }\nsetup: ";

fn with_builtin(setup: &str) -> Option<Droplet> {
    let mut droplet = Droplet::new("port: 8000", &format!("{BUILTIN}{setup}"))?;
    fs::create_dir(droplet.host("bin")).unwrap();
    droplet.finds_programs_in("bin");
    droplet.boots();
    Some(droplet)
}

#[test]
fn the_program_of_a_host_with_the_proxy_is_brought_there_once() {
    if !cfg!(target_arch = "x86_64") {
        return skipped("this machine is no x86-64");
    }
    let Some(droplet) = with_builtin("{ lockgate: [dist/arm, dist/x86] }") else { return };
    fs::create_dir(droplet.project("dist")).unwrap();
    let mut arm = fit();
    arm[18] = 183;
    fs::write(droplet.project("dist/arm"), arm).unwrap();
    fs::write(droplet.project("dist/x86"), fit()).unwrap();
    droplet.run("setup --dry-run").expect(0).says(&[
        "program ",
        "bin/lockgate",
        "to be made",
        "from dist/x86",
    ]);
    let there = droplet.host("bin/lockgate");
    assert!(!there.exists());
    droplet.run("setup").expect(0).says(&["made program", "; 2 made"]);
    assert!(fs::read(&there).unwrap() == fit() && mode(&there) == 0o755);
    droplet.run("setup").expect(0).says(&["nothing to do"]);
    let older = "#!/bin/sh\necho lockgate 0.0.1\n";
    fs::write(&there, older).unwrap();
    droplet.run("setup --dry-run").expect(0).says(&["0.0.1 is there, and is replaced by dist/x86"]);
    droplet.run("setup").expect(0).says(&["made program", "; 1 made"]);
    assert!(fs::read(&there).unwrap() == fit());
    droplet.configure("port: 8000", &format!("{BUILTIN}{{ lockgate: false }}"));
    fs::remove_file(&there).unwrap();
    droplet.run("setup").expect(0).says(&["nothing to do"]);
    for (file, why) in [("dist/none", "is not there"), ("lockgate.yaml", "is no program for Linux")] {
        droplet.configure("port: 8000", &format!("{BUILTIN}{{ lockgate: {file} }}"));
        droplet.run("setup").expect(2).says(&[&format!("`lockgate` names {file}, which {why}")]);
    }
}

/// The one that these tests run wants this machine's libraries.
#[test]
fn a_program_that_is_not_static_goes_nowhere_and_one_that_somebody_else_brought_does() {
    if cfg!(not(target_env = "gnu")) {
        return skipped("this program is static");
    }
    let Some(droplet) = with_builtin("{}") else { return };
    droplet.run("setup").expect(1).says(&["this program is not static", "scripts/release"]);
    let there = droplet.host("bin/lockgate");
    assert!(!there.exists() && !droplet.host("opt/monarch").exists(), "nothing is begun");
    fs::write(&there, "#!/bin/sh\necho lockgate 0.0.1\n").unwrap();
    fs::set_permissions(&there, fs::Permissions::from_mode(0o755)).unwrap();
    droplet.run("setup --dry-run").expect(0).says(&["there", "0.0.1; it stays"]);
    droplet.run("setup").expect(0).says(&["made folder", "; 1 made"]);
}
