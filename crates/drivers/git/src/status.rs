//! What `git status --porcelain=v2 --branch -z` says.

use lockgate_ports::UNCLEAN_MAX;

/// The name by which git says that no branch is checked out.
const DETACHED: &str = "(detached)";

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Status {
    pub branch: Option<String>,
    /// Relative to the repository's root, at most [`UNCLEAN_MAX`].
    pub unclean: Vec<String>,
}

/// `own` is a folder in which nothing counts, with `/` behind it: Lockgate's own.
pub(crate) fn parse(said: &str, own: &str) -> Status {
    let mut status = Status::default();
    let mut records = said.split('\0');
    while let Some(record) = records.next() {
        if let Some(name) = record.strip_prefix("# branch.head ") {
            status.branch = Some(name.to_owned()).filter(|name| name != DETACHED);
            continue;
        }
        // Kind, and how many words stand before the path.
        let words = match record.as_bytes().first() {
            Some(b'1') => 8,
            Some(b'2') => {
                // The path that it had before is a record of its own.
                records.next();
                9
            }
            Some(b'u') => 10,
            Some(b'?') => 1,
            _ => continue,
        };
        let Some(path) = record.splitn(words + 1, ' ').nth(words) else { continue };
        if !path.starts_with(own) && status.unclean.len() < UNCLEAN_MAX {
            status.unclean.push(path.to_owned());
        }
    }
    status
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As git 2.47 writes it.
    #[test]
    fn what_is_not_as_the_commit_has_it_is_told_by_its_path() {
        let said = "# branch.oid 0123456789abcdef0123456789abcdef01234567\0# branch.head kim/fix\0\
                    1 .M N... 100644 100644 100644 aaa bbb a file.py\0\
                    2 R. N... 100644 100644 100644 aaa bbb R100 new name.py\0old name.py\0\
                    u UU N... 100644 100644 100644 100644 a b c both.py\0\
                    ? shop/.lockgate/\0? shop/notes.txt\0! ignored\0";
        let status = parse(said, "shop/.lockgate/");
        assert_eq!(status.branch.as_deref(), Some("kim/fix"));
        assert_eq!(status.unclean, ["a file.py", "new name.py", "both.py", "shop/notes.txt"]);
        assert_eq!(parse("# branch.head (detached)\0", ".lockgate/"), Status::default());
    }

    #[test]
    fn no_answer_makes_it_stumble_and_many_paths_are_bounded() {
        for said in ["", "\0\0", "1", "2 x", "u a b", "?", "? ", "# branch.head"] {
            assert!(parse(said, ".lockgate/").unclean.iter().all(String::is_empty), "{said:?}");
        }
        let many: String = (0..100).map(|number| format!("? {number}\0")).collect();
        assert_eq!(parse(&many, ".lockgate/").unclean.len(), UNCLEAN_MAX);
    }
}
