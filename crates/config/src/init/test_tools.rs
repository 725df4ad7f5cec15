//! What a runner of GitHub's has to be given before a test can run there: its images have Node with npm and yarn, Go, Rust, Java with
//! Maven and Gradle, pipx, and a Python into which nothing may be installed.
//! Source: <https://github.com/actions/runner-images/blob/main/images/ubuntu/Ubuntu2404-Readme.md>

use std::path::Path;

use super::read;

/// A step of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TestTool {
    /// A Python of this version, and what these files name, installed with pip; `with_pytest`: pytest, too, for none of them
    /// names it.
    Python { version: String, files: Vec<&'static str>, with_pytest: bool },
    /// Installs one program.
    Run { name: &'static str, command: &'static str },
}

const REQUIREMENTS: [&str; 3] = ["requirements.txt", "requirements-dev.txt", "dev-requirements.txt"];
/// The newest one, where no Dockerfile says which.
const ANY_PYTHON: &str = "3.x";

/// For the command of `test`, which runs in `dir`.
pub fn needed(test: &str, dir: &Path) -> Vec<TestTool> {
    let words: Vec<&str> = test
        .split(|c: char| !(c.is_ascii_alphanumeric() || "-_.".contains(c)))
        .filter(|word| !word.is_empty())
        .collect();
    let has = |word: &str| words.contains(&word);
    let mut tools = Vec::new();
    for (word, command) in [
        ("uv", "pipx install uv"),
        ("poetry", "pipx install poetry"),
        ("pipenv", "pipx install pipenv"),
        ("tox", "pipx install tox"),
        ("bun", "npm install --global bun"),
    ] {
        if has(word) {
            tools.push(TestTool::Run { name: word_name(word), command });
        }
    }
    if has("pnpm") || (has("yarn") && has("--immutable")) {
        tools.push(TestTool::Run { name: "Package manager", command: "corepack enable" });
    }
    let by_pip = ["python", "python3", "pytest"].iter().any(|word| has(word)) && tools.is_empty();
    if by_pip {
        let texts = REQUIREMENTS.map(|file| (file, read(&dir.join(file))));
        let files: Vec<&'static str> =
            texts.iter().filter(|(_, text)| text.is_some()).map(|(file, _)| *file).collect();
        let named = texts.iter().filter_map(|(_, text)| text.as_deref()).any(|text| text.contains("pytest"));
        let with_pytest = has("pytest") && !named;
        if !files.is_empty() || with_pytest {
            tools.push(TestTool::Python { version: python_version(dir), files, with_pytest });
        }
    }
    tools
}

fn word_name(word: &str) -> &'static str {
    match word {
        "bun" => "Package manager",
        "tox" => "Test runner",
        _ => "Package manager of Python",
    }
}

/// That of the image that the Dockerfile begins with, such as `FROM python:3.12-slim`.
fn python_version(dir: &Path) -> String {
    let dockerfile = read(&dir.join("Dockerfile")).unwrap_or_default();
    let version = dockerfile.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        words.next().filter(|word| word.eq_ignore_ascii_case("FROM"))?;
        let image = words.find(|word| !word.starts_with("--"))?;
        let (name, tag) = image.rsplit_once(':')?;
        (name.rsplit('/').next() == Some("python")).then(|| {
            let end = tag.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(tag.len());
            tag[..end].to_owned()
        })
    });
    version.filter(|version| version.contains('.')).unwrap_or_else(|| ANY_PYTHON.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runner_gets_what_the_test_calls() {
        let dir = tempfile::tempdir().unwrap();
        let names = |test: &str| {
            needed(test, dir.path()).iter().map(|tool| format!("{tool:?}")).collect::<Vec<_>>().join("; ")
        };
        for nothing in [
            "npm ci && npm test",
            "yarn install --frozen-lockfile && yarn test",
            "go test ./...",
            "python3 -m unittest",
        ] {
            assert_eq!(names(nothing), "", "{nothing}");
        }
        assert!(names("uv run --locked pytest").contains("pipx install uv"));
        assert!(names("cd api && poetry install && poetry run pytest").contains("pipx install poetry"));
        assert!(names("pnpm install --frozen-lockfile && pnpm test").contains("corepack enable"));
        assert!(names("yarn install --immutable && yarn test").contains("corepack enable"));
        assert!(names("bun install && bun run test").contains("npm install --global bun"));
        std::fs::write(dir.path().join("requirements.txt"), "flask\n").unwrap();
        std::fs::write(dir.path().join("Dockerfile"), "FROM --platform=x docker.io/python:3.12-slim AS a\n")
            .unwrap();
        let python = |with_pytest| TestTool::Python {
            version: "3.12".into(),
            files: vec!["requirements.txt"],
            with_pytest,
        };
        assert_eq!(needed("pytest -q", dir.path()), [python(true)]);
        assert_eq!(needed("python3 -m unittest", dir.path()), [python(false)]);
        std::fs::write(dir.path().join("requirements.txt"), "flask\npytest==8\n").unwrap();
        std::fs::write(dir.path().join("Dockerfile"), "FROM python\n").unwrap();
        let TestTool::Python { version, with_pytest, .. } = &needed("pytest", dir.path())[0] else {
            panic!()
        };
        assert_eq!((version.as_str(), *with_pytest), ("3.x", false));
    }
}
