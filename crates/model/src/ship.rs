//! What `lockgate.yaml` says of the jobs before a deployment: when there is something to ship, how it is tested, how its
//! image is built and called.

use std::collections::BTreeMap;
use std::fmt;

use crate::tag_pieces::{self, NoDigits, Piece, SHA_DIGITS, pieces};
use crate::{CommitSha, Millis, Secret, Tag};

/// What a service is shipped with. By default its tests are none, and its image is built from the project's folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ship {
    /// Globs of files; without a change to one that matches there is nothing to ship. Relative to the project's folder; one
    /// that begins with `/` starts at the repository's. Empty: every change counts.
    pub watch: Vec<String>,
    /// What is run before anything is built. `None`: nothing.
    pub test: Option<Test>,
    /// How its image is built.
    pub build: Build,
}

/// A test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Test {
    /// For `sh -c` in the project's folder, as it is written.
    pub run: String,
    /// A failure is told, and what comes next goes on.
    pub allow_failure: bool,
    /// After which it is ended, and has failed.
    pub timeout: Millis,
}

/// How an image is built and called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Build {
    /// With which program.
    pub with: BuildTool,
    /// `linux/amd64`, `linux/arm/v7`. Empty: the builder's own.
    pub platforms: Vec<String>,
    /// Not empty. The first is the release's and names the commit.
    pub tags: Vec<ImageTag>,
    /// The build's folder; a relative one starts at the project's.
    pub context: String,
    /// The Dockerfile; a relative one starts at the build's folder. `None`: `Dockerfile` there.
    pub file: Option<String>,
    /// Build arguments. They are handed over in the builder's environment, and an image's history tells them.
    pub args: BTreeMap<String, Secret>,
}

impl Default for Build {
    /// `docker build .`, tagged with the commit.
    fn default() -> Self {
        Self {
            with: BuildTool::Docker,
            platforms: Vec::new(),
            tags: vec![ImageTag::commit()],
            context: ".".to_owned(),
            file: None,
            args: BTreeMap::new(),
        }
    }
}

/// A program that builds images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BuildTool {
    /// `docker build`, then `docker push`.
    Docker,
    /// `docker buildx build --push`.
    Buildx,
    /// `depot build --push`.
    Depot,
}

impl BuildTool {
    /// All of them, in the order of the documentation.
    pub const ALL: [BuildTool; 3] = [BuildTool::Docker, BuildTool::Buildx, BuildTool::Depot];

    /// As `lockgate.yaml` has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            BuildTool::Docker => "docker",
            BuildTool::Buildx => "buildx",
            BuildTool::Depot => "depot",
        }
    }
}

/// How an image is tagged: text with `{sha}`, `{sha:.8}`, `{branch}` and `{git_tag}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageTag {
    text: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    /// The first so many digits.
    Sha(usize),
    Branch,
    GitTag,
}

/// Why a text is no [`ImageTag`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidImageTag(pub &'static str);

/// What the placeholders stand for.
#[derive(Debug, Clone, Copy)]
pub struct TagVars<'a> {
    /// For `{sha}`.
    pub commit: &'a CommitSha,
    /// What was built is not quite the commit: `-dirty` stands behind its digits.
    pub is_dirty: bool,
    /// For `{branch}`; `None`: no branch is checked out.
    pub branch: Option<&'a str>,
    /// For `{git_tag}`: one tag for each. Empty: the commit has none.
    pub git_tags: &'a [String],
}

impl ImageTag {
    /// `{sha}`: the tag is the commit.
    #[must_use]
    pub fn commit() -> Self {
        Self { text: "{sha}".to_owned(), parts: vec![Part::Sha(SHA_DIGITS)] }
    }

    /// # Errors
    /// [`InvalidImageTag`]: a placeholder that there is not, or text that no tag may have.
    pub fn new(text: &str) -> Result<Self, InvalidImageTag> {
        let pieces = pieces(text).map_err(InvalidImageTag)?.into_iter();
        let parts = pieces.map(part).collect::<Result<Vec<_>, _>>()?;
        let template = Self { text: text.to_owned(), parts };
        let sample = "0".repeat(SHA_DIGITS);
        let whole = template.filled(&sample, Some("main"), Some("v1"));
        match whole.map(Tag::new) {
            Some(Ok(_)) => Ok(template),
            Some(Err(invalid)) => Err(InvalidImageTag(invalid.reason)),
            None => Err(InvalidImageTag("it can never be filled in")),
        }
    }

    /// As it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether two commits have different ones.
    #[must_use]
    pub fn names_commit(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Sha(_)))
    }

    /// The tags that it makes: none where it names a branch or a git tag and there is none, several for several git tags.
    /// What no image's tag may have becomes `-`.
    #[must_use]
    pub fn fill(&self, vars: &TagVars<'_>) -> Vec<Tag> {
        let is_by_tag = self.parts.contains(&Part::GitTag);
        let git_tags: Vec<Option<&str>> = match is_by_tag {
            true => vars.git_tags.iter().map(|tag| Some(tag.as_str())).collect(),
            false => vec![None],
        };
        let one = |git_tag: Option<&str>| {
            let mut filled = self.filled(vars.commit.as_str(), vars.branch, git_tag)?;
            if vars.is_dirty {
                filled.push_str("-dirty");
            }
            Tag::new(filled).ok()
        };
        git_tags.into_iter().filter_map(one).collect()
    }

    fn filled(&self, sha: &str, branch: Option<&str>, git_tag: Option<&str>) -> Option<String> {
        let mut tag = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => tag.push_str(text),
                Part::Sha(digits) => tag.push_str(tag_pieces::first(sha, *digits)),
                Part::Branch => tag.push_str(&legal(branch?)),
                Part::GitTag => tag.push_str(&legal(git_tag?)),
            }
        }
        Some(tag)
    }
}

fn part(piece: Piece<'_>) -> Result<Part, InvalidImageTag> {
    let hole = match piece {
        Piece::Text(text) => return Ok(Part::Text(text.to_owned())),
        Piece::Hole("branch") => return Ok(Part::Branch),
        Piece::Hole("git_tag") => return Ok(Part::GitTag),
        Piece::Hole(hole) => hole,
    };
    match hole.strip_prefix("sha").map_or(Err(NoDigits::Unknown), tag_pieces::digits) {
        Ok(digits) => Ok(Part::Sha(digits)),
        Err(NoDigits::Count) => Err(InvalidImageTag("`{sha:.N}` has 7 to 40 digits")),
        Err(NoDigits::Unknown) => {
            Err(InvalidImageTag("known placeholders are `{sha}`, `{sha:.8}`, `{branch}` and `{git_tag}`"))
        }
    }
}

/// A branch or a git tag as a part of an image's tag.
fn legal(name: &str) -> String {
    let is_legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    name.chars().map(|c| if is_legal(c) { c } else { '-' }).collect()
}

impl fmt::Display for ImageTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA: &str = "0123456789abcdef0123456789abcdef01234567";

    fn filled(template: &str, is_dirty: bool, branch: Option<&str>, git_tags: &[&str]) -> Vec<String> {
        let commit = CommitSha::new(SHA).unwrap();
        let git_tags: Vec<String> = git_tags.iter().map(|tag| (*tag).to_owned()).collect();
        let vars = TagVars { commit: &commit, is_dirty, branch, git_tags: &git_tags };
        let tags = ImageTag::new(template).unwrap().fill(&vars);
        tags.into_iter().map(String::from).collect()
    }

    #[test]
    fn tags_are_made_of_the_commit_its_branch_and_its_tags() {
        let main = Some("main");
        assert_eq!(filled("{sha}", false, main, &[]), [SHA]);
        assert_eq!(filled("sha-{sha:.8}", false, main, &[]), ["sha-01234567"]);
        assert_eq!(filled("latest", false, main, &[]), ["latest"]);
        assert_eq!(filled("{branch}-{sha:.7}", false, Some("kim/fix #1"), &[]), ["kim-fix--1-0123456"]);
        assert_eq!(filled("{branch}", false, None, &[]), [""; 0], "no branch is checked out");
        assert_eq!(filled("{git_tag}", false, main, &["v1", "web/v2"]), ["v1", "web-v2"]);
        assert_eq!(filled("{git_tag}", false, main, &[]), [""; 0]);
        assert_eq!(filled("{branch}", false, Some("-x"), &[]), [""; 0], "no tag begins so");
    }

    /// An image of a tree with changes must never stand for the commit, nor for what a moving tag leads people to.
    #[test]
    fn what_was_built_from_a_changed_tree_has_tags_of_its_own() {
        assert_eq!(filled("{sha:.8}", true, None, &[]), ["01234567-dirty"]);
        assert_eq!(filled("latest", true, None, &[]), ["latest-dirty"]);
    }

    #[test]
    fn what_makes_no_tag_is_refused_with_the_reason() {
        for (text, reason) in [
            ("{tag}", "known placeholders are"),
            ("{sha:.6}", "7 to 40 digits"),
            ("{sha:.+8}", "7 to 40 digits"),
            ("{sha:8}", "known placeholders are"),
            ("{sha", "without `}`"),
            ("a b", "only letters"),
            ("-{sha}", "starts with"),
            ("", "1 to 128"),
        ] {
            let InvalidImageTag(said) = ImageTag::new(text).unwrap_err();
            assert!(said.contains(reason), "{text:?}: {said}");
        }
        assert!(ImageTag::new("sha-{sha:.8}").unwrap().names_commit());
        assert!(!ImageTag::new("{branch}").unwrap().names_commit());
    }
}
