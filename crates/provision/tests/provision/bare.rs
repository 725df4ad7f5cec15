//! A machine with nothing but the usual small programs on its PATH, and doubles of what would change it. Each double says what
//! it was made from.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use crate::cutting::Cutting;

const DOUBLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/provision/doubles");
/// What Debian has without anything being installed.
const SMALL: [&str; 31] = [
    "sh",
    "cat",
    "chmod",
    "chown",
    "cp",
    "cut",
    "dd",
    "env",
    "flock",
    "grep",
    "head",
    "install",
    "ls",
    "mkdir",
    "mktemp",
    "mv",
    "readlink",
    "rm",
    "sed",
    "setpriv",
    "sha256sum",
    "stat",
    "sync",
    "tail",
    "tee",
    "timeout",
    "touch",
    "true",
    "tr",
    "uname",
    "wc",
];

pub struct Bare {
    dir: tempfile::TempDir,
}

impl Bare {
    /// With these doubles. Without one of `id` it is the real one.
    pub fn new(doubles: &[&str]) -> Bare {
        let dir = tempfile::tempdir().unwrap();
        // Others act here, too.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let bare = Bare { dir };
        let bin = bare.path("bin");
        fs::create_dir(&bin).unwrap();
        // The double of apt-get puts programs there, whoever acts.
        let mode = if doubles.is_empty() { 0o755 } else { 0o777 };
        fs::set_permissions(&bin, fs::Permissions::from_mode(mode)).unwrap();
        for name in SMALL {
            let real = ["/usr/bin", "/bin"]
                .iter()
                .map(|folder| Path::new(folder).join(name))
                .find(|path| path.exists());
            symlink(real.unwrap_or_else(|| panic!("{name} is not there")), bin.join(name)).unwrap();
        }
        if !doubles.contains(&"id") {
            symlink("/usr/bin/id", bin.join("id")).unwrap();
        }
        doubles.iter().for_each(|name| bare.add(name));
        bare
    }

    pub fn add(&self, double: &str) {
        fs::copy(Path::new(DOUBLES).join(double), self.path("bin").join(double)).unwrap();
    }

    /// A file of its state.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn set(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o666)).unwrap();
    }

    /// What the doubles were called with, and forgets it.
    pub fn called(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path("argv")).unwrap_or_default();
        fs::remove_file(self.path("argv")).ok();
        text.lines().map(str::to_owned).collect()
    }

    pub fn host(&self, user: Option<u32>) -> Cutting {
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        Cutting::with("PATH", &text(&self.path("bin")))
            .and_with("STATE", &text(self.dir.path()))
            .and_with("DOUBLES", DOUBLES)
            .and_user(user)
    }
}
