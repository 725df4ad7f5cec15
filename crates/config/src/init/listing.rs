//! The files of a project's folder, as far as a proposal looks.

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};

use super::read;

/// Folders within each other.
const DEPTH_MAX: usize = 8;
/// Files that are remembered, and entries of folders that are looked at for them.
const FILES_MAX: usize = 5_000;
const ENTRIES_MAX: usize = 20_000;
/// Folders that hold what others wrote or what was made of the sources. Those that begin with a dot are passed over, too.
const PASSED_OVER: [&str; 9] =
    ["__pycache__", "build", "dist", "env", "node_modules", "site-packages", "target", "vendor", "venv"];

/// Paths with `/` between their parts, those nearest to the folder first.
pub struct Listing {
    dir: PathBuf,
    files: Vec<String>,
    /// All files were seen.
    pub is_whole: bool,
}

impl Listing {
    /// Links to folders are not followed. A folder that cannot be listed has no files.
    pub fn of(dir: &Path) -> Self {
        let mut listing = Self { dir: dir.to_owned(), files: Vec::new(), is_whole: true };
        let mut folders = VecDeque::from([(String::new(), 0)]);
        let mut entries_left = ENTRIES_MAX;
        while let Some((folder, depth)) = folders.pop_front() {
            let mut names: Vec<String> = Vec::new();
            let Ok(entries) = fs::read_dir(dir.join(&folder)) else { continue };
            for entry in entries.flatten() {
                if entries_left == 0 {
                    listing.is_whole = false;
                    break;
                }
                entries_left -= 1;
                names.extend(entry.file_name().into_string());
            }
            names.sort();
            for name in names {
                let path = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
                let Ok(seen) = dir.join(&path).symlink_metadata() else { continue };
                if seen.is_dir() {
                    let passes = name.starts_with('.') || PASSED_OVER.contains(&name.as_str());
                    match depth < DEPTH_MAX {
                        _ if passes => {}
                        true => folders.push_back((path, depth + 1)),
                        false => listing.is_whole = false,
                    }
                } else if dir.join(&path).metadata().is_ok_and(|seen| seen.is_file()) {
                    match listing.files.len() < FILES_MAX {
                        true => listing.files.push(path),
                        false => listing.is_whole = false,
                    }
                }
            }
        }
        listing
    }

    /// Whether the folder itself has a file of this name.
    pub fn has(&self, name: &str) -> bool {
        self.files.iter().any(|file| file == name)
    }

    /// Those of `names` that the folder itself has.
    pub fn those<'n>(&self, names: &[&'n str]) -> Vec<&'n str> {
        names.iter().copied().filter(|name| self.has(name)).collect()
    }

    pub fn files(&self) -> impl Iterator<Item = &str> {
        self.files.iter().map(String::as_str)
    }

    /// The folder itself has a folder of this name, with a file somewhere in it.
    pub fn has_folder(&self, name: &str) -> bool {
        self.files().any(|file| file.strip_prefix(name).is_some_and(|rest| rest.starts_with('/')))
    }

    /// Whether a file somewhere ends with `.` and this.
    pub fn has_extension(&self, extension: &str) -> bool {
        self.files().any(|file| {
            base(file).rsplit_once('.').is_some_and(|(stem, last)| !stem.is_empty() && last == extension)
        })
    }

    /// The text of one of them, where it can be used.
    pub fn read(&self, name: &str) -> Option<String> {
        read(&self.dir.join(name))
    }

    /// Whether one of these files has that word in it.
    pub fn word_in(&self, word: &str, files: &[&str]) -> bool {
        files
            .iter()
            .filter(|file| self.has(file))
            .any(|file| self.read(file).is_some_and(|t| t.contains(word)))
    }
}

/// A path's last part.
pub fn base(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_wrote_and_links_to_folders_are_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        for file in ["b/deep/x.py", "a.py", "node_modules/y/z.js", ".git/config", "elsewhere/w.rs"] {
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "word").unwrap();
        }
        std::os::unix::fs::symlink(dir.path().join("elsewhere"), dir.path().join("link")).unwrap();
        std::os::unix::fs::symlink(dir.path().join("a.py"), dir.path().join("c.py")).unwrap();
        std::os::unix::fs::symlink("nowhere", dir.path().join("broken.go")).unwrap();
        let listing = Listing::of(dir.path());
        let files: Vec<&str> = listing.files().collect();
        assert_eq!(files, ["a.py", "c.py", "elsewhere/w.rs", "b/deep/x.py"]);
        assert!(listing.is_whole && listing.has("a.py") && !listing.has("x.py"));
        assert!(listing.has_extension("rs") && !listing.has_extension("go"));
        assert!(listing.has_folder("b") && !listing.has_folder("link"));
        assert!(listing.word_in("word", &["a.py"]) && !listing.word_in("other", &["a.py", "none"]));
    }

    #[test]
    fn a_folder_of_very_many_files_is_said_to_be_seen_in_part() {
        let dir = tempfile::tempdir().unwrap();
        for number in 0..=FILES_MAX {
            fs::write(dir.path().join(number.to_string()), "").unwrap();
        }
        let listing = Listing::of(dir.path());
        assert_eq!((listing.files().count(), listing.is_whole), (FILES_MAX, false));
    }
}
