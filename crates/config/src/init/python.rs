//! Python: pytest, unittest, Django, tox; pip, uv, poetry, pipenv.

use super::language::{Language, Test, globs};
use super::listing::{Listing, base};

/// The first of these that is there tells of Python.
const MARKERS: [&str; 7] =
    ["pyproject.toml", "requirements.txt", "Pipfile", "setup.py", "setup.cfg", "tox.ini", "manage.py"];
/// Where somebody who uses pytest says so.
const NAMING: [&str; 8] = [
    "pyproject.toml",
    "requirements.txt",
    "requirements-dev.txt",
    "dev-requirements.txt",
    "Pipfile",
    "setup.cfg",
    "setup.py",
    "tox.ini",
];
const LOCKS: [&str; 4] = ["uv.lock", "poetry.lock", "Pipfile.lock", ".python-version"];
const NAME: &str = "Python";
const LEAVES: &[&str] = &["__pycache__/"];

/// What makes an environment with the project's dependencies, and runs programs in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manager {
    Pip,
    Uv,
    Poetry,
    Pipenv,
}

pub fn look(files: &Listing, notes: &mut Vec<String>) -> Option<Language> {
    let because = *files.those(&MARKERS).first()?;
    let manager = manager(files);
    let test = test(files, manager);
    if manager == Manager::Pip && test.is_some() {
        let wanted = files.those(&["requirements.txt", "pyproject.toml"]);
        notes.extend(wanted.first().map(|file| {
            format!(
                "What {file} names has to be installed where `lockgate ship` runs the test: `pip install …`."
            )
        }));
    }
    if manager == Manager::Uv && !files.has("uv.lock") {
        notes.push(
            "There is no uv.lock: `uv lock` makes it; commit it, for a tree with new files is not shipped."
                .to_owned(),
        );
    }
    Some(language(files, because.to_owned(), test))
}

/// Where nothing else tells what a folder is: by its tests, or a program in the folder itself.
pub fn without_marker(files: &Listing) -> Option<Language> {
    let is_program = |file: &&str| base(file) == *file && file.ends_with(".py");
    let is_test = |file: &&str| file.ends_with(".py") && unittest_file(file);
    let because = files.files().find(is_program).or_else(|| files.files().find(is_test))?.to_owned();
    let test = test(files, Manager::Pip);
    Some(language(files, because, test))
}

fn language(files: &Listing, because: String, test: Option<Test>) -> Language {
    let mut names = MARKERS.to_vec();
    names.extend(LOCKS);
    names.extend(["requirements-dev.txt", "dev-requirements.txt", "constraints.txt", "pytest.ini"]);
    let watch = globs(files, &["py", "pyi", "pyx", "po"], &names);
    Language { name: NAME, because, test, watch, leaves: LEAVES }
}

fn manager(files: &Listing) -> Manager {
    let table = |name: &str| {
        let text = files.read("pyproject.toml").unwrap_or_default();
        text.lines().any(|line| line.trim_start().starts_with(&format!("[tool.{name}")))
    };
    if files.has("uv.lock") || table("uv") {
        Manager::Uv
    } else if files.has("poetry.lock") || table("poetry") {
        Manager::Poetry
    } else if files.has("Pipfile") {
        Manager::Pipenv
    } else {
        Manager::Pip
    }
}

/// What comes in front of a program of the project's environment.
fn runner(files: &Listing, manager: Manager) -> &'static str {
    match (manager, files.has("uv.lock"), files.has("Pipfile.lock")) {
        (Manager::Pip, _, _) => "",
        (Manager::Uv, true, _) => "uv run --locked ",
        (Manager::Uv, false, _) => "uv run ",
        (Manager::Poetry, _, _) => "poetry install && poetry run ",
        (Manager::Pipenv, _, true) => "pipenv sync --dev && pipenv run ",
        (Manager::Pipenv, _, false) => "pipenv install --dev --skip-lock && pipenv run ",
    }
}

fn test(files: &Listing, manager: Manager) -> Option<Test> {
    // Outside of an environment `python` may be another one, or none.
    let python = if manager == Manager::Pip { "python3" } else { "python" };
    let (program, because) = program(files, python)?;
    Some(Test { command: format!("{}{program}", runner(files, manager)), because })
}

fn program(files: &Listing, python: &str) -> Option<(String, String)> {
    let conftest = files.files().find(|file| base(file) == "conftest.py");
    let naming = NAMING.iter().find(|file| files.word_in("pytest", &[**file])).copied();
    let because = files.those(&["pytest.ini"]).first().copied().or(conftest).or(naming);
    if let Some(because) = because {
        let named =
            if naming == Some(because) { format!("{because} names pytest") } else { because.to_owned() };
        return Some((
            if python == "python3" { "python3 -m pytest".to_owned() } else { "pytest".to_owned() },
            named,
        ));
    }
    if files.has("manage.py") && files.files().any(|file| unittest_file(file) || base(file) == "tests.py") {
        return Some((format!("{python} manage.py test"), "manage.py".to_owned()));
    }
    if files.word_in("[testenv", &["tox.ini"]) {
        return Some(("tox run".to_owned(), "tox.ini".to_owned()));
    }
    unittest(files, python)
}

fn unittest_file(file: &str) -> bool {
    let name = base(file);
    name.ends_with(".py") && (name.starts_with("test_") || name.ends_with("_test.py"))
}

fn unittest(files: &Listing, python: &str) -> Option<(String, String)> {
    let mut tests: Vec<&str> = files.files().filter(|file| unittest_file(file)).collect();
    // Those that `discover` finds without being told a pattern.
    let plain = tests.iter().any(|file| base(file).starts_with("test"));
    if plain {
        tests.retain(|file| base(file).starts_with("test"));
    }
    let first = *tests.first()?;
    let mut command = format!("{python} -m unittest discover");
    let top = first.split_once('/').map(|(top, _)| top).filter(|top| ["test", "tests"].contains(top));
    if let Some(top) = top {
        command += &format!(" -s {top}");
        // With a package, its modules import one another from above it.
        if files.has(&format!("{top}/__init__.py")) {
            command += " -t .";
        }
    }
    if !plain {
        command += " -p '*_test.py'";
    }
    Some((command, first.to_owned()))
}
