//! The host suite, for hosts that are this machine by whatever way: it listens here and looks at processes here.

use std::time::Duration;

use lockgate_model::{FailureKind, Millis};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};
use tokio::time::Instant;

use crate::{Command, Endpoint, FILE_BYTES_MAX, Host, Request, Swapped, http};

/// Longest wait for something that must come true.
const CONDITION_SECONDS_MAX: u64 = 15;
/// Between two looks.
const LOOK_MILLIS: u64 = 10;
/// Largest difference of clocks on one machine.
const CLOCK_MILLIS_MAX: u64 = 5_000;
/// Callers that increment one counter at once.
const SWAPPERS: u64 = 8;
/// Bound of a command that must be killed: enough to start on a busy machine.
const KILLED_AFTER: Millis = Millis::from_secs(3);
/// Longest connect.
const CONNECT: Millis = Millis::from_secs(5);

/// Arguments that a shell would take for something else.
const HOSTILE: &[&str] = &[
    "",
    " ",
    "two  words",
    "'",
    "\"",
    "it's \"quoted\" `twice`",
    "line\nbreak\n",
    "\n",
    "tab\tand\rreturn",
    "$(touch pwned)",
    "$HOME ${HOME} `id`",
    "; touch pwned",
    "a && b || c | d > e < f &",
    "* ? [a-z] ~ {a,b}",
    "-rf",
    "--",
    "--help",
    "\\",
    "\\n\\0 100%s %d",
    "!history #comment",
    "naïve – 日本語 – āŁĂ – 🚀",
    "\u{7f}\u{1b}[31m",
];

/// Everything that the port promises. `dir` is an empty folder of this machine, seen under the same path by the host.
///
/// # Panics
/// With what was wanted and what was seen.
pub async fn suite(host: &dyn Host, dir: &str) {
    commands(host, dir).await;
    super::lines::commands(host, dir).await;
    killing(host, dir).await;
    files(host, dir).await;
    swapping(host, dir).await;
    a_lock_that_is_held_is_waited_for_and_its_holder_named(host, dir).await;
    super::own::files(host, &format!("{dir}/own")).await;
    super::upload::files(host, &format!("{dir}/uploads")).await;
    connections(host, dir).await;
    space_and_clock(host, dir).await;
}

/// [`Host::exec`], but for bounds.
///
/// # Panics
/// See [`suite`].
pub async fn commands(host: &dyn Host, dir: &str) {
    arguments_arrive_as_they_are(host, dir).await;
    environment_and_input_arrive_as_they_are(host).await;
    let output = host.exec(&Command::new(["sh", "-c", "echo out; echo err >&2; exit 7"])).await.unwrap();
    assert_eq!((output.code, output.stdout_text().as_str()), (7, "out\n"), "exit code and output");
    assert_eq!(output.stderr_text(), "err\n", "error output");
    for code in [0, 1, 2, 75, 99, 125, 126, 127, 255] {
        let output = host.exec(&Command::new(["sh", "-c", &format!("exit {code}")])).await.unwrap();
        assert_eq!(output.code, code, "exit code");
    }
    let output = host.exec(&Command::new(["sh", "-c", "kill -9 $$"])).await.unwrap();
    assert_eq!(output.code, 128 + 9, "a command killed by a signal");
    let missing = host.exec(&Command::new(["lockgate-no-such-program", "x"])).await.unwrap_err();
    assert_eq!(missing.kind, FailureKind::NotFound, "a missing program: {missing}");
    let missing = host.exec(&Command::new(["/nowhere/program"]).stdin("input")).await.unwrap_err();
    assert_eq!(missing.kind, FailureKind::NotFound, "a missing program with input: {missing}");
    let missing = host.exec(&Command::new(["true"]).cwd(format!("{dir}/nowhere"))).await.unwrap_err();
    assert_eq!(missing.kind, FailureKind::NotFound, "a missing working folder: {missing}");
    let output = host.exec(&Command::new(["pwd"]).cwd(dir)).await.unwrap();
    assert_eq!(output.stdout_text().trim_end(), dir, "working folder");
    long_output_is_cut_at_the_front(host).await;
}

async fn arguments_arrive_as_they_are(host: &dyn Host, dir: &str) {
    let wanted: Vec<String> = HOSTILE.iter().map(|text| (*text).to_owned()).collect();
    // One NUL after every argument: nothing an argument can hold looks like the end of one.
    let command = Command::new(["sh", "-c", r#"for one; do printf "%s\0" "$one"; done"#, "sh"]).cwd(dir);
    let command = wanted.iter().fold(command, |command, one| command.arg(one));
    let output = host.exec(&command).await.unwrap();
    let stdout = output.stdout_text();
    let seen: Vec<&str> = stdout.strip_suffix('\0').unwrap_or(&stdout).split('\0').collect();
    assert_eq!(seen, wanted, "arguments");
    let made = host.read(&format!("{dir}/pwned")).await.unwrap();
    assert_eq!(made.content, None, "an argument was run as a command");
}

async fn environment_and_input_arrive_as_they_are(host: &dyn Host) {
    for (index, value) in HOSTILE.iter().enumerate() {
        let command =
            Command::new(["sh", "-c", r#"printf %s "$LOCKGATE_VALUE""#]).env("LOCKGATE_VALUE", *value);
        // With and without input: the two may take different ways.
        let command = if index % 2 == 0 { command } else { command.stdin("unread\ninput\n") };
        let output = host.exec(&command).await.unwrap();
        assert_eq!(output.stdout_text(), *value, "environment");
    }
    let bytes: Vec<u8> = (0..200_000_u32).map(|n| u8::try_from(n % 256).unwrap_or(0)).collect();
    let output = host.exec(&Command::new(["cat"]).stdin(bytes.clone())).await.unwrap();
    assert!(output.stdout == bytes, "input of {} bytes came back as {}", bytes.len(), output.stdout.len());
    let output = host.exec(&Command::new(["cat"])).await.unwrap();
    assert_eq!(output.stdout, b"", "no input is an end at once");
    let output = host.exec(&Command::new(["true"]).stdin(bytes)).await.unwrap();
    assert_eq!(output.code, 0, "a program need not read its input");
}

async fn long_output_is_cut_at_the_front(host: &dyn Host) {
    let script = "head -c 3000000 /dev/zero; head -c 3000000 /dev/zero >&2; printf end; printf end >&2";
    let output = host.exec(&Command::new(["sh", "-c", script])).await.unwrap();
    for (name, bytes) in [("output", &output.stdout), ("error output", &output.stderr)] {
        assert_eq!(bytes.len(), 1024 * 1024, "{name} is cut at a MiB");
        assert!(bytes.ends_with(b"\0end"), "{name} keeps its end");
    }
}

/// A command is killed, with what it started, when its bound passes and when its future is dropped, whether its lines are
/// told or not.
///
/// # Panics
/// See [`suite`].
pub async fn killing(host: &dyn Host, dir: &str) {
    let run = async |command: &Command, is_told: bool| match is_told {
        true => host.exec_lines(command, &mut |_| {}).await.map(drop),
        false => host.exec(command).await.map(drop),
    };
    for (input, is_told) in [("", false), ("some input\n", false), ("", true), ("some input\n", true)] {
        let (pids, script) =
            (format!("{dir}/pids"), "sleep 300 & echo $$ $! >pids.tmp && mv pids.tmp pids; wait");
        let command = Command::new(["sh", "-c", script]).cwd(dir).stdin(input);
        let error = run(&command.clone().timeout(KILLED_AFTER), is_told).await.unwrap_err();
        assert_eq!(error.kind, FailureKind::TimedOut, "a command over its bound: {error}");
        assert!(error.outcome_unknown());
        ended(host, &pids).await;

        let mut call = Box::pin(run(&command, is_told));
        let started = until("the command runs", async || host.read(&pids).await.unwrap().content.is_some());
        tokio::select! {
            result = &mut call => panic!("a command that sleeps ended: {result:?}"),
            () = started => {}
        }
        drop(call);
        ended(host, &pids).await;
    }
}

/// Waits until every process named in the file has ended, and removes the file.
async fn ended(host: &dyn Host, pids: &str) {
    let named = host.read(pids).await.unwrap().content.expect("the command wrote its process ids");
    for pid in String::from_utf8(named).unwrap().split_ascii_whitespace() {
        let stat = format!("/proc/{pid}/stat");
        until(&format!("process {pid} has ended"), async || match host.read(&stat).await {
            // It ended between the opening and the reading.
            Err(error) if error.to_string().contains("No such process") => true,
            Err(error) => panic!("{stat}: {error}"),
            Ok(file) => match file.content {
                None => true,
                // A zombie has ended.
                Some(text) => String::from_utf8_lossy(&text)
                    .rsplit_once(')')
                    .is_some_and(|(_, rest)| rest.starts_with(" Z")),
            },
        })
        .await;
    }
    host.remove(pids).await.unwrap();
}

async fn until(what: &str, condition: impl AsyncFn() -> bool) {
    let bound = Instant::now() + Duration::from_secs(CONDITION_SECONDS_MAX);
    while !condition().await {
        assert!(Instant::now() < bound, "not within {CONDITION_SECONDS_MAX} s: {what}");
        tokio::time::sleep(Duration::from_millis(LOOK_MILLIS)).await;
    }
}

/// [`Host::read`], [`Host::write`], [`Host::remove`].
///
/// # Panics
/// See [`suite`].
pub async fn files(host: &dyn Host, dir: &str) {
    let path = format!("{dir}/deep/er/it's a $(file)");
    assert_eq!(host.read(&path).await.unwrap().content, None, "a missing file");
    host.remove(&path).await.unwrap();
    let bytes: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    for (content, mode) in
        [(b"".as_slice(), 0o600), (b"no newline", 0o644), (b"x\n\n", 0o600), (&bytes, 0o755)]
    {
        host.write(&path, content, mode).await.unwrap();
        assert!(
            host.read(&path).await.unwrap().content.as_deref() == Some(content),
            "what was written is read"
        );
        let listed = host.exec(&Command::new(["ls", "-l", "--", &path])).await.unwrap().stdout_text();
        let shown = match mode {
            0o600 => "-rw-------",
            0o644 => "-rw-r--r--",
            _ => "-rwxr-xr-x",
        };
        assert!(listed.starts_with(shown), "mode {mode:o} of {listed}");
    }
    let listed =
        host.exec(&Command::new(["ls", "-A", &format!("{dir}/deep/er")])).await.unwrap().stdout_text();
    assert_eq!(listed, "it's a $(file)\n", "no temporary file is left");
    whole_or_not_at_all(host, &path).await;
    host.remove(&path).await.unwrap();
    assert_eq!(host.read(&path).await.unwrap().content, None, "a removed file");
    assert!(host.write(dir, b"x", 0o644).await.is_err(), "a folder is not overwritten");
    assert!(host.read(dir).await.is_err(), "a folder is not read");
    several_at_once(host, dir).await;
    let large = format!("{dir}/large");
    let make = format!("head -c {} /dev/zero >large", 4 * 1024 * 1024 + 1);
    assert!(host.exec(&Command::new(["sh", "-c", &make]).cwd(dir)).await.unwrap().ok());
    let error = host.read(&large).await.unwrap_err();
    assert_eq!(error.kind, FailureKind::TooLarge, "a file over 4 MiB: {error}");
    host.remove(&large).await.unwrap();
    nothing_is_written_that_cannot_be_read_back(host, &large).await;
}

/// Each is what [`Host::read`] says of it.
async fn several_at_once(host: &dyn Host, dir: &str) {
    let named = |name: &str| format!("{dir}/several/{name}");
    let bytes: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    let written = [("a b", b"one\n".as_slice()), ("empty", b""), ("*", b"\nthere\n"), ("large", &bytes)];
    for (name, content) in written {
        host.write(&named(name), content, 0o644).await.unwrap();
    }
    let link = "ln -s nowhere dangling && ln -s 'a b' link && mkdir folder";
    assert!(host.exec(&Command::new(["sh", "-c", link]).cwd(named(""))).await.unwrap().ok());
    let names = ["large", "missing", "*", "a b", "folder", "empty", "dangling", "no/such", "link", "a\nb"];
    let paths = names.map(named);
    let together = host.read_each(&paths).await;
    assert_eq!(together.len(), paths.len());
    for (path, seen) in paths.iter().zip(together) {
        match (host.read(path).await, seen) {
            (Ok(alone), Ok(seen)) => assert!(alone.content == seen.content, "{path}"),
            (Err(alone), Err(seen)) => assert_eq!(alone.message, seen.message, "{path}"),
            (alone, seen) => panic!("{path}: {alone:?} alone, {seen:?} with others"),
        }
    }
    assert!(host.read_each(&[]).await.is_empty());
}

async fn nothing_is_written_that_cannot_be_read_back(host: &dyn Host, path: &str) {
    let bytes = vec![b'x'; FILE_BYTES_MAX + 1];
    let largest = Some(&bytes[1..]);
    host.write(path, &bytes[1..], 0o644).await.unwrap();
    assert!(host.read(path).await.unwrap().content.as_deref() == largest, "the largest file is read back");
    let written = host.write(path, &bytes, 0o644).await.unwrap_err();
    assert_eq!(written.kind, FailureKind::Refused, "one byte more: {written}");
    let swapped = host.swap(path, largest, &bytes).await.unwrap_err();
    assert_eq!(swapped.kind, FailureKind::Refused, "one byte more: {swapped}");
    assert!(host.read(path).await.unwrap().content.as_deref() == largest, "the file is as it was");
    host.remove(path).await.unwrap();
    host.remove(&format!("{path}.lock")).await.unwrap();
}

/// A reader beside a writer sees one content or the other.
async fn whole_or_not_at_all(host: &dyn Host, path: &str) {
    let contents = [vec![b'a'; 50_000], vec![b'b'; 70_000]];
    host.write(path, &contents[0], 0o644).await.unwrap();
    let write = async {
        for round in 0..10 {
            host.write(path, &contents[round % 2], 0o644).await.unwrap();
        }
    };
    let read = async {
        for _ in 0..10 {
            let seen = host.read(path).await.unwrap().content.expect("it is never missing");
            assert!(contents.contains(&seen), "a part of a file was read: {} bytes", seen.len());
        }
    };
    tokio::join!(write, read);
}

/// [`Host::swap`].
///
/// # Panics
/// See [`suite`].
pub async fn swapping(host: &dyn Host, dir: &str) {
    let path = format!("{dir}/made/by/swap");
    let seen = async || host.read(&path).await.unwrap().content;
    assert_eq!(
        host.swap(&path, Some(b""), b"1").await.unwrap(),
        Swapped::No,
        "an empty file is not a missing one"
    );
    assert_eq!(seen().await, None);
    assert_eq!(host.swap(&path, None, b"1\0\n").await.unwrap(), Swapped::Yes, "a missing file as expected");
    assert_eq!(host.swap(&path, None, b"2").await.unwrap(), Swapped::No, "a file where none was expected");
    assert_eq!(host.swap(&path, Some(b"1\0"), b"2").await.unwrap(), Swapped::No, "another content");
    assert_eq!(seen().await.as_deref(), Some(b"1\0\n".as_slice()), "not swapped, not changed");
    assert_eq!(host.swap(&path, Some(b"1\0\n"), b"").await.unwrap(), Swapped::Yes, "the content expected");
    assert_eq!(host.swap(&path, Some(b""), b"0").await.unwrap(), Swapped::Yes, "an empty file as expected");
    let listed = host.exec(&Command::new(["ls", "-l", &path])).await.unwrap().stdout_text();
    assert!(listed.starts_with("-rw-r--r--"), "mode of a swapped file: {listed}");

    let one = || increment(host, &path);
    tokio::join!(one(), one(), one(), one(), one(), one(), one(), one());
    assert_eq!(seen().await, Some(SWAPPERS.to_string().into_bytes()), "every increment counts once");
    let listed =
        host.exec(&Command::new(["ls", "-A", &format!("{dir}/made/by")])).await.unwrap().stdout_text();
    assert_eq!(listed, "swap\nswap.lock\n", "no temporary file is left");
}

/// By this process, which is where the host is.
async fn a_lock_that_is_held_is_waited_for_and_its_holder_named(host: &dyn Host, dir: &str) {
    let path = format!("{dir}/locked/file");
    assert_eq!(host.swap(&path, None, b"1").await.unwrap(), Swapped::Yes);
    let lock = std::fs::File::open(format!("{path}.lock")).unwrap();
    lock.lock().unwrap();
    let began = std::time::Instant::now();
    let error = host.swap(&path, Some(b"1"), b"2").await.unwrap_err();
    assert_eq!(error.kind, FailureKind::TimedOut, "{error}");
    let pid = std::process::id();
    assert!(error.message.contains(&format!("{path}.lock was locked for 10 s by process {pid}")), "{error}");
    assert!(error.hints().to_string().contains(&format!("`ps -fp {pid}`")));
    assert!(began.elapsed() < Duration::from_secs(25), "{:?}", began.elapsed());
    lock.unlock().unwrap();
    assert_eq!(
        host.swap(&path, Some(b"1"), b"2").await.unwrap(),
        Swapped::Yes,
        "it waits for nobody any more"
    );
    let listed = std::fs::read_dir(format!("{dir}/locked")).unwrap().count();
    assert_eq!(listed, 2, "no temporary file is left");
}

/// Adds one to the decimal number in a file, by compare-and-swap, as often as it takes; a missing file is 0.
///
/// # Panics
/// When the file holds no number, or too many others are always first.
pub async fn increment(host: &dyn Host, path: &str) {
    let bound = Instant::now() + Duration::from_secs(CONDITION_SECONDS_MAX);
    loop {
        let seen = host.read(path).await.unwrap().content;
        let text = String::from_utf8(seen.clone().unwrap_or_else(|| b"0".to_vec())).unwrap();
        let next = text.parse::<u64>().unwrap() + 1;
        if host.swap(path, seen.as_deref(), next.to_string().as_bytes()).await.unwrap() == Swapped::Yes {
            return;
        }
        assert!(Instant::now() < bound, "no increment within {CONDITION_SECONDS_MAX} s");
    }
}

/// [`Host::connect`].
///
/// # Panics
/// See [`suite`].
pub async fn connections(host: &dyn Host, dir: &str) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = Endpoint::Tcp(listener.local_addr().unwrap().to_string());
    for _ in 0..2 {
        let accept = async { echo(listener.accept().await.unwrap().0).await };
        tokio::join!(accept, says_and_hears(host, &endpoint));
    }
    drop(listener);
    unreachable(host, &endpoint).await;

    let path = format!("{dir}/socket");
    let listener = UnixListener::bind(&path).unwrap();
    let endpoint = Endpoint::Unix(path.clone());
    for _ in 0..2 {
        let accept = async { echo(listener.accept().await.unwrap().0).await };
        tokio::join!(accept, says_and_hears(host, &endpoint));
    }
    drop(listener);
    unreachable(host, &endpoint).await;
    host.remove(&path).await.unwrap();
    unreachable(host, &endpoint).await;
}

async fn echo(mut stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin) {
    let mut heard = [0; 5];
    stream.read_exact(&mut heard).await.unwrap();
    stream.write_all(&heard).await.unwrap();
    stream.write_all(b" back").await.unwrap();
}

async fn says_and_hears(host: &dyn Host, endpoint: &Endpoint) {
    let mut stream = host.connect(endpoint, CONNECT).await.unwrap();
    stream.write_all(b"hello").await.unwrap();
    let mut heard = Vec::new();
    stream.read_to_end(&mut heard).await.unwrap();
    assert_eq!(heard, b"hello back", "through {endpoint}");
}

/// Where nothing listens a request fails as unreachable, in the connect or, through a forwarder, right after it.
async fn unreachable(host: &dyn Host, endpoint: &Endpoint) {
    let error = http::send(host, endpoint, Request::get("/", CONNECT)).await.unwrap_err();
    assert_eq!(error.kind, FailureKind::Unreachable, "nothing listens on {endpoint}: {error}");
}

/// [`Host::disk_free_mib`] and the clock of [`Host::read`].
///
/// # Panics
/// See [`suite`].
pub async fn space_and_clock(host: &dyn Host, dir: &str) {
    let free = host.disk_free_mib(dir).await.unwrap();
    assert!(free > 0, "free space");
    let beside = host.disk_free_mib(&format!("{dir}/not/yet/there")).await.unwrap();
    assert!(free.abs_diff(beside) < 1024, "a missing folder counts as its parent: {free} and {beside} MiB");
    assert!(host.disk_free_mib("/").await.unwrap() > 0);

    let first = host.read(dir_file(dir).as_str()).await.unwrap().now;
    let here = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let here = u64::try_from(here.as_millis()).unwrap_or(0);
    let there = u64::try_from(first.0).unwrap_or(0);
    assert!(here.abs_diff(there) < CLOCK_MILLIS_MAX, "clock of the host {there}, of this machine {here}");
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let second = host.read(dir_file(dir).as_str()).await.unwrap().now;
    let passed = second.since(first).0;
    assert!((1_000..60_000).contains(&passed), "1.1 s later its clock says {passed} ms");
}

fn dir_file(dir: &str) -> String {
    format!("{dir}/clock")
}
