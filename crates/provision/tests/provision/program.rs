//! Lockgate's own program is put on a host's PATH. Static programs are made here, byte by byte, for x86-64.
#![cfg(target_arch = "x86_64")]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::{Child, Command};

use lockgate_model::{Millis, SetupState};
use lockgate_provision::{ProgramFile, Wanted, WantedProgram, look, make};

use crate::bare::Bare;
use crate::cutting::{Cutting, Heard};

/// A static program that prints a line and ends: `write(1, line, length)`, `exit(0)`.
fn saying(line: &str) -> Vec<u8> {
    let mut code: Vec<u8> = vec![0xb8, 1, 0, 0, 0, 0xbf, 1, 0, 0, 0, 0x48, 0x8d, 0x35, 16, 0, 0, 0, 0xba];
    code.extend(u32::try_from(line.len()).unwrap().to_le_bytes());
    code.extend([0x0f, 0x05, 0xb8, 60, 0, 0, 0, 0x31, 0xff, 0x0f, 0x05]);
    assert_eq!(code.len(), 33);
    code.extend(line.as_bytes());
    let (at, size) = (0x40_0000_u64, 120 + code.len() as u64);
    let mut elf = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 62, 0, 1, 0, 0, 0];
    for number in [at + 120, 64, 0] {
        elf.extend(number.to_le_bytes());
    }
    elf.extend([0, 0, 0, 0, 64, 0, 56, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    elf.extend([1, 0, 0, 0, 5, 0, 0, 0]);
    for number in [0, at, at, size, size, 0x1000] {
        elf.extend(number.to_le_bytes());
    }
    elf.extend(code);
    elf
}

fn wanted(version: &str) -> Wanted {
    let content = saying(&format!("lockgate {version} (of a test)\n"));
    let files = vec![ProgramFile::new("this program", Some(version.into()), content)];
    Wanted {
        program: Some(WantedProgram { files, is_named: false }),
        ..Wanted::nothing(Millis::from_secs(1))
    }
}

async fn told(host: &Cutting, wanted: &Wanted) -> (SetupState, String) {
    let plan = look(host, wanted).await.unwrap();
    (plan.items[0].state, plan.items[0].note.clone().unwrap_or_default())
}

async fn made(host: &Cutting, wanted: &Wanted) -> Vec<String> {
    let heard = Heard::default();
    let plan = look(host, wanted).await.unwrap();
    make(host, wanted, &plan, &heard).await.unwrap_or_else(|error| panic!("{error}"));
    heard.made()
}

#[tokio::test]
async fn it_is_put_where_a_login_finds_it_and_a_second_time_nothing_is_done() {
    let bare = Bare::new(&[]);
    let host = bare.host(None);
    let wanted = wanted("0.4.0");
    assert_eq!(told(&host, &wanted).await, (SetupState::Make, "0.4.0, from this program".to_owned()));
    assert_eq!(made(&host, &wanted).await, ["program lockgate"]);
    let path = bare.path("bin/lockgate");
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o7777, 0o755);
    let output = Command::new(&path).output().unwrap();
    assert_eq!(output.stdout, b"lockgate 0.4.0 (of a test)\n");
    let again = bare.host(None);
    assert!(made(&again, &wanted).await.is_empty());
    assert_eq!(again.calls(), 1);
    assert_eq!(told(&again, &wanted).await, (SetupState::There, "0.4.0".to_owned()));
}

/// Killed with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// What runs goes on: its file is replaced, not written to.
#[tokio::test]
async fn an_older_one_is_replaced_while_it_runs_and_a_newer_one_stays() {
    let bare = Bare::new(&[]);
    let (host, path) = (bare.host(None), bare.path("bin/lockgate"));
    fs::copy("/bin/sleep", &path).unwrap();
    let mut running = Running(Command::new(&path).arg("600").spawn().unwrap());
    let (_, note) = told(&host, &wanted("0.4.0")).await;
    assert!(note.ends_with("is there, and is replaced by 0.4.0, from this program"), "{note}");
    assert_eq!(made(&host, &wanted("0.4.0")).await, ["program lockgate"]);
    assert!(running.0.try_wait().unwrap().is_none(), "what ran goes on");
    let before = path.metadata().unwrap().ino();
    let newer = wanted("0.5.0");
    assert_eq!(told(&host, &newer).await.1, "0.4.0 is there, and is replaced by 0.5.0, from this program");
    made(&host, &newer).await;
    assert_ne!(path.metadata().unwrap().ino(), before);
    let (state, note) = told(&host, &wanted("0.4.0")).await;
    assert_eq!((state, note.as_str()), (SetupState::There, "0.5.0; it stays: it is newer than 0.4.0"));
    assert!(made(&host, &wanted("0.4.0")).await.is_empty());
}

#[tokio::test]
async fn one_that_is_for_another_machine_goes_nowhere() {
    let bare = Bare::new(&[]);
    let host = bare.host(None);
    let mut arm = saying("x\n");
    arm[18] = 183;
    let files = vec![ProgramFile::new("dist/arm", None, arm)];
    let program = Some(WantedProgram { files, is_named: true });
    let wanted = Wanted { program, ..Wanted::nothing(Millis::from_secs(1)) };
    let error = look(&host, &wanted).await.unwrap().require().unwrap_err();
    assert!(error.message.contains("the host is x86_64: dist/arm is for aarch64"), "{error}");
    assert!(!bare.path("bin/lockgate").exists());
}

#[tokio::test]
async fn broken_off_anywhere_it_is_the_old_one_or_the_new_one() {
    for most in 0..4 {
        let bare = Bare::new(&[]);
        made(&bare.host(None), &wanted("0.4.0")).await;
        let cut = Cutting::after(most).and_with("PATH", bare.path("bin").to_str().unwrap());
        let newer = wanted("0.5.0");
        let ended = async {
            let plan = look(&cut, &newer).await?;
            make(&cut, &newer, &plan, &Heard::default()).await
        };
        let is_cut = ended.await.is_err();
        let output = Command::new(bare.path("bin/lockgate")).output().unwrap();
        assert!(
            output.stdout == b"lockgate 0.4.0 (of a test)\n"
                || output.stdout == b"lockgate 0.5.0 (of a test)\n",
            "{most}"
        );
        let rest = made(&bare.host(None), &newer).await;
        assert!(is_cut || rest.is_empty(), "{most}: {rest:?}");
    }
}
