//! The app that is deployed: `hello`, which can be told to misbehave.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::SystemTime;

/// The `hello` of this target folder, built when it is missing or older than its source.
pub fn hello() -> &'static Path {
    static HELLO: OnceLock<PathBuf> = OnceLock::new();
    HELLO.get_or_init(|| {
        let folder = Path::new(env!("CARGO_BIN_EXE_lockgate")).parent().expect("a binary lies in a folder");
        let hello = folder.join("hello");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../hello/src");
        if modified(&hello) < newest(&source) {
            build(folder);
        }
        hello
    })
}

fn build(folder: &Path) {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--package", "lockgate-hello", "--bin", "hello"]);
    cargo.arg("--manifest-path").arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Cargo.toml"));
    cargo.arg("--target-dir").arg(folder.parent().expect("a profile's folder lies in the target folder"));
    match folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => {}
        Some(profile) => drop(cargo.args(["--profile", profile])),
    }
    let status = cargo.status().expect("cargo starts");
    assert!(status.success(), "hello could not be built: {status}");
}

fn modified(path: &Path) -> SystemTime {
    std::fs::metadata(path).and_then(|meta| meta.modified()).unwrap_or(SystemTime::UNIX_EPOCH)
}

fn newest(folder: &Path) -> SystemTime {
    let entries = std::fs::read_dir(folder).expect("the source of hello is there");
    let times = entries.map(|entry| {
        let path = entry.expect("its folder can be read").path();
        if path.is_dir() { newest(&path) } else { modified(&path) }
    });
    times.max().unwrap_or(SystemTime::UNIX_EPOCH)
}
