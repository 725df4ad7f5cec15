//! The names of variables in a `.env`, or in what stands for one in a repository. No value is ever read further than its `=`.

use std::path::Path;

use super::read;

/// Where they are, the one that is in git first.
const FILES: [&str; 5] = [".env.example", ".env.sample", ".env.dist", ".env.template", ".env"];
/// As many as a line of comment can name.
const NAMES_MAX: usize = 40;
const NAME_CHARS_MAX: usize = 60;

/// Of the first of the files that is there; none where there is none.
pub fn names(dir: &Path) -> Vec<String> {
    let text = FILES.iter().find_map(|file| read(&dir.join(file))).unwrap_or_default();
    let mut names: Vec<String> = Vec::new();
    for line in text.lines() {
        let line = line.trim_start();
        let line = line.strip_prefix("export ").unwrap_or(line);
        let Some((name, _)) = line.split_once('=') else { continue };
        let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            && name.len() <= NAME_CHARS_MAX;
        if is_name && names.len() < NAMES_MAX && !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_and_values_are_not() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(names(dir.path()), Vec::<String>::new());
        std::fs::write(dir.path().join(".env"), "ONLY_HERE=1\n").unwrap();
        assert_eq!(names(dir.path()), ["ONLY_HERE"]);
        let text = "# NOT=1\nSECRET_KEY=hunter2\nexport A_1=\n  B=x=y\nSECRET_KEY=again\n1X=\nA B=\nwords\n";
        std::fs::write(dir.path().join(".env.example"), text).unwrap();
        assert_eq!(names(dir.path()), ["SECRET_KEY", "A_1", "B"]);
    }
}
