//! Which files count.

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use lockgate_model::{Failure, FailureKind};

/// The globs of a service.
#[derive(Debug)]
pub(crate) struct Watched {
    /// `None`: every file counts.
    globs: Option<Globs>,
}

#[derive(Debug)]
struct Globs {
    /// From the repository's root.
    rooted: GlobSet,
    /// From the project's folder.
    beside: GlobSet,
    folder: String,
}

impl Watched {
    /// `folder` is the project's, as seen from the repository's root: `` or `shop/`.
    ///
    /// # Errors
    /// `Refused` for what is no glob, which the configuration does not let pass.
    pub(crate) fn new(watch: &[String], folder: &str) -> Result<Self, Failure> {
        if watch.is_empty() {
            return Ok(Self { globs: None });
        }
        let (rooted, beside): (Vec<&String>, Vec<&String>) =
            watch.iter().partition(|glob| glob.starts_with('/'));
        let globs = Globs { rooted: set(&rooted)?, beside: set(&beside)?, folder: folder.to_owned() };
        Ok(Self { globs: Some(globs) })
    }

    /// The first of these files, relative to the repository's root, that counts.
    pub(crate) fn first<'f>(&self, files: &'f [String]) -> Option<&'f str> {
        files.iter().map(String::as_str).find(|file| match &self.globs {
            None => true,
            Some(Globs { rooted, beside, folder }) => {
                rooted.is_match(file)
                    || file.strip_prefix(folder.as_str()).is_some_and(|file| beside.is_match(file))
            }
        })
    }
}

fn set(globs: &[&String]) -> Result<GlobSet, Failure> {
    let refused = |error: globset::Error| {
        Failure::new(FailureKind::Refused, format!("`watch` has no glob of files: {error}"))
    };
    let mut builder = GlobSetBuilder::new();
    for glob in globs {
        let pattern = glob.strip_prefix('/').unwrap_or(glob);
        builder.add(GlobBuilder::new(pattern).literal_separator(true).build().map_err(refused)?);
    }
    builder.build().map_err(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(watch: &[&str], folder: &str, files: &[&str]) -> Option<String> {
        let own = |all: &[&str]| all.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>();
        let files = own(files);
        Watched::new(&own(watch), folder).unwrap().first(&files).map(str::to_owned)
    }

    #[test]
    fn a_glob_is_relative_to_the_project_and_with_a_slash_to_the_repository() {
        for (watch, folder, file, counts) in [
            ("**/*.py", "", "app.py", true),
            ("**/*.py", "", "a/b/app.py", true),
            ("*.py", "", "a/app.py", false),
            ("src/**", "", "src/a/b", true),
            ("src/**", "", "docs/src/a", false),
            ("Dockerfile", "", "Dockerfile", true),
            ("Dockerfile", "shop/", "Dockerfile", false),
            ("Dockerfile", "shop/", "shop/Dockerfile", true),
            ("/.github/workflows/**", "shop/", ".github/workflows/ship.yml", true),
            (".github/workflows/**", "shop/", ".github/workflows/ship.yml", false),
            ("{a,b}/[0-9].txt", "", "b/7.txt", true),
        ] {
            assert_eq!(first(&[watch], folder, &[file]).is_some(), counts, "{watch} in {folder:?}: {file}");
        }
        assert_eq!(first(&["*.py", "*.txt"], "", &["a.md", "b.txt", "c.py"]).as_deref(), Some("b.txt"));
        assert_eq!(first(&[], "shop/", &["README.md"]).as_deref(), Some("README.md"));
        assert_eq!(first(&[], "", &[]), None);
    }
}
