//! Real processes that are stopped at the worst moments.

use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use lockgate_model::FailureKind;
use lockgate_ports::Swapped;
use rustix::process::Signal;

use super::*;
use crate::files;

/// How long a swap may take that nobody keeps waiting.
const PROMPT: Duration = Duration::from_secs(LOCK_SECONDS_MAX / 2);
/// How long anything in these tests may take to come true.
const WAIT_SECONDS_MAX: u64 = 20;
/// What the other process is to do, and with which file.
const ROLE: &str = "LOCKGATE_TEST_SWAP";

/// Another process of this program. It says a line when it has come to the point, and ends when it is told to go on.
struct Other {
    child: Child,
    said: BufReader<std::process::ChildStdout>,
}

impl Other {
    fn start(role: &str, path: &Path) -> Other {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["swap::tests::other", "--exact", "--ignored", "--nocapture"]);
        command.env(ROLE, format!("{role} {}", path.display())).process_group(0);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let said = BufReader::new(child.stdout.take().unwrap());
        Other { child, said }
    }

    /// Lines of the test runner itself are skipped.
    fn says(&mut self, wanted: &str) {
        let mut line = String::new();
        while self.said.read_line(&mut line).unwrap() > 0 {
            if line.trim_end().ends_with(wanted) {
                return;
            }
            line.clear();
        }
        panic!("it never said {wanted:?}");
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed()).unwrap()
    }

    /// It, and all of its process group.
    fn stop(&self) {
        rustix::process::kill_process_group(self.pid(), Signal::STOP).unwrap();
        let bound = Instant::now() + Duration::from_secs(WAIT_SECONDS_MAX);
        while !self.is_stopped() {
            assert!(Instant::now() < bound, "it was not stopped");
            std::thread::yield_now();
        }
    }

    fn is_stopped(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        stat.rsplit_once(')').unwrap().1.trim_start().starts_with('T')
    }

    fn go_on(&self) {
        rustix::process::kill_process_group(self.pid(), Signal::CONT).unwrap();
    }

    fn tell(&mut self) {
        self.child.stdin.as_mut().unwrap().write_all(b"x").unwrap();
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait()) {
            eprintln!("the other process stays: {error}");
        }
    }
}

/// Not a test: what the other process does.
#[test]
#[ignore = "the other process of the tests here"]
fn other() {
    let role = std::env::var(ROLE).unwrap();
    let (role, path) = role.split_once(' ').unwrap();
    let path = PathBuf::from(path);
    let lock = path.with_extension("json.lock");
    match role {
        // Its child says that it holds the lock, and reads from this one's input.
        "swaps" => {
            let new = path.with_extension("new");
            std::fs::write(&new, "theirs").unwrap();
            std::fs::write(&lock, "").unwrap();
            let mut swap = Swap::new(&path, &lock, &new, Some(b"old")).unwrap();
            let (told, tells) = std::io::pipe().unwrap();
            let input = std::io::stdin().as_fd().try_clone_to_owned().unwrap();
            swap.hook = Some((tells.into(), input));
            let came = std::thread::spawn(move || {
                let swapped = swap_with(swap);
                println!("came {swapped}");
            });
            assert_eq!(rustix::io::read(&told, &mut [0; 1]).unwrap(), 1);
            println!("locked");
            came.join().unwrap();
        }
        "waits" => {
            println!("ready");
            assert_eq!(rustix::io::read(std::io::stdin(), &mut [0; 1]).unwrap(), 1);
            println!("came {:?}", files::swap(&path, Some(b"old"), b"theirs").unwrap());
        }
        // As this program did it itself once.
        "holds" => {
            let file = std::fs::File::create(&lock).unwrap();
            file.lock().unwrap();
            println!("locked");
            assert_eq!(rustix::io::read(std::io::stdin(), &mut [0; 1]).unwrap(), 1);
        }
        other => panic!("{other}"),
    }
}

fn swap_with(swap: Swap<'_>) -> String {
    format!("{:?}", swap.run().unwrap())
}

struct Place {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

impl Place {
    fn new() -> Place {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lease.json");
        assert_eq!(files::swap(&path, None, b"old").unwrap(), Swapped::Yes);
        Place { _folder: folder, path }
    }

    fn content(&self) -> String {
        std::fs::read_to_string(&self.path).unwrap()
    }
}

#[test]
fn who_is_stopped_while_its_swap_holds_the_lock_keeps_nobody_out() {
    let place = Place::new();
    let mut other = Other::start("swaps", &place.path);
    other.says("locked");
    other.stop();
    let lock = std::fs::File::open(place.path.with_extension("json.lock")).unwrap();
    let holder = holder_of(lock.as_fd()).unwrap();
    assert!(holder.pid != other.child.id() && !holder.is_stopped, "what holds it is not what was stopped");
    assert_eq!(place.content(), "old");
    other.tell();
    let began = Instant::now();
    assert_eq!(files::swap(&place.path, Some(b"old"), b"ours").unwrap(), Swapped::No, "it was not lost");
    assert_eq!(files::swap(&place.path, Some(b"theirs"), b"ours").unwrap(), Swapped::Yes);
    assert!(began.elapsed() < PROMPT, "it took {:?}", began.elapsed());
    assert!(other.is_stopped());
    other.go_on();
    other.says("came Swapped");
    assert_eq!(place.content(), "ours");
}

#[test]
fn who_was_stopped_before_its_swap_finds_that_others_went_on() {
    let place = Place::new();
    let mut other = Other::start("waits", &place.path);
    other.says("ready");
    other.stop();
    other.tell();
    assert_eq!(files::swap(&place.path, Some(b"old"), b"ours").unwrap(), Swapped::Yes);
    other.go_on();
    other.says("came No");
    assert_eq!(place.content(), "ours");
}

#[test]
fn a_lock_that_is_held_for_ever_is_waited_for_for_a_while_and_its_holder_named() {
    let place = Place::new();
    let mut other = Other::start("holds", &place.path);
    other.says("locked");
    let pid = other.child.id();
    for stopped in [true, false] {
        if stopped {
            other.stop()
        } else {
            other.go_on()
        }
        let error = files::swap(&place.path, Some(b"old"), b"ours").unwrap_err();
        assert_eq!(error.kind, FailureKind::TimedOut, "{error}");
        let by = format!("lease.json.lock was locked for {LOCK_SECONDS_MAX} s by process {pid} (");
        assert!(error.message.contains(&by), "{error}");
        assert_eq!(error.message.contains("which is stopped; nothing changed"), stopped, "{error}");
        let hint = error.hints().to_string();
        let wanted = if stopped { format!("`kill -CONT {pid}`") } else { format!("`ps -fp {pid}`") };
        assert!(hint.contains(&wanted), "{hint}");
        assert_eq!(place.content(), "old");
    }
    let left = std::fs::read_dir(place.path.parent().unwrap()).unwrap().count();
    assert_eq!(left, 2, "the file and its lock");
    other.tell();
    assert!(other.child.wait().unwrap().success());
    assert_eq!(files::swap(&place.path, Some(b"old"), b"ours").unwrap(), Swapped::Yes);
}

/// The compare is of the whole file, also where it is longer than what is read at once.
#[test]
fn a_long_file_is_compared_to_its_end() {
    let place = Place::new();
    let long = vec![b'x'; PIECE_BYTES * 3];
    let longer = vec![b'x'; PIECE_BYTES * 3 + 1];
    let mut other = long.clone();
    *other.last_mut().unwrap() = b'y';
    assert_eq!(files::swap(&place.path, Some(b"old"), &long).unwrap(), Swapped::Yes);
    for wrong in [&longer, &other, &long[..PIECE_BYTES].to_vec(), &Vec::new()] {
        assert_eq!(files::swap(&place.path, Some(wrong), b"new").unwrap(), Swapped::No);
    }
    assert_eq!(files::swap(&place.path, None, b"new").unwrap(), Swapped::No);
    assert_eq!(files::swap(&place.path, Some(&long), b"new").unwrap(), Swapped::Yes);
    let left = std::fs::read_dir(place.path.parent().unwrap()).unwrap().count();
    assert_eq!(left, 2, "the file and its lock");
}

#[test]
fn the_holder_of_a_lock_is_found_among_those_of_others() {
    let locks = "1: POSIX  ADVISORY  WRITE 7 fd:01:131 0 EOF\n\
                 2: -> FLOCK  ADVISORY  WRITE 8 fd:01:131 0 EOF\n\
                 3: FLOCK  ADVISORY  WRITE 9 fd:01:1310 0 EOF\n\
                 4: FLOCK  ADVISORY  WRITE 0 fd:02:131 0 EOF\n\
                 5: FLOCK  ADVISORY  WRITE 42 fd:01:131 0 EOF\n";
    assert_eq!(holder_among(locks, "fd:01:131"), Some(42));
    assert_eq!(holder_among(locks, "fd:02:131"), None, "in another namespace");
    assert_eq!(holder_among(locks, "fd:03:131"), None);
}
