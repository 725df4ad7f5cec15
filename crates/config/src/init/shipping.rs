//! What `lockgate ship` needs to know of a service: how it is tested, what its image is built from, which files count.

use std::path::Path;

use super::language::{self, Language, Test};
use super::listing::{Listing, base};
use super::{dockerfile, list, migrations, read, shown};

/// Where an image is built from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Below the folder that is looked at; empty for that folder itself.
    pub folder: String,
    /// Within it.
    pub dockerfile: String,
}

/// What is proposed of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shipping {
    pub source: Source,
    /// For `sh` in the folder of lockgate.yaml. Absent: no tests were found.
    pub test: Option<Test>,
    /// Globs. Empty: nothing tells which files count, so all do.
    pub watch: Vec<String>,
    /// A migration's command, and what tells of it.
    pub before_switch: Option<(&'static str, &'static str)>,
}

pub const DOCKERFILE: &str = "Dockerfile";
/// Files of which each tells of a language, where they lie in a folder below.
const TELLING: [&str; 7] =
    ["pyproject.toml", "requirements.txt", "package.json", "go.mod", "Cargo.toml", "pom.xml", "build.gradle"];
/// Of those, so many are named.
const TELLING_SHOWN: usize = 5;
const WORKFLOWS: &str = ".github/workflows";

impl Source {
    /// The folder itself, with a Dockerfile of the usual name.
    pub fn here() -> Self {
        Self { folder: String::new(), dockerfile: DOCKERFILE.to_owned() }
    }

    fn path(&self) -> String {
        self.below(&self.dockerfile)
    }

    fn below(&self, path: &str) -> String {
        if self.folder.is_empty() { path.to_owned() } else { format!("{}/{path}", self.folder) }
    }
}

/// What is there in `dir`. `beside` are further files that count. `None`, with a note, where no image can be built.
pub fn look(dir: &Path, source: Source, beside: &[&str], notes: &mut Vec<String>) -> Option<Shipping> {
    let path = source.path();
    if !dir.join(&path).is_file() {
        let why = if dir.join(&path).exists() { "is no file" } else { "is not there" };
        notes.push(format!("{} {why}, so no `build` is proposed.", shown(&path)));
        return None;
    }
    let Some(text) = read(&dir.join(&path)) else {
        notes.push(format!("{} was passed over: it cannot be read.", shown(&path)));
        return None;
    };
    let folder = dir.join(&source.folder);
    let files = Listing::of(&folder);
    let mut own = Vec::new();
    let languages = language::all(&files, &mut own);
    let test = test(&languages, &files, &mut own);
    if !files.is_whole {
        own.push(
            "There are more files than were looked at: see whether `watch` names all that count.".to_owned(),
        );
    }
    if source.folder.is_empty() {
        notes.extend(own);
    } else {
        notes.extend(own.into_iter().map(|note| format!("In {}: {note}", shown(&source.folder))));
    }
    let watch = watch(dir, &source, &text, &files, &languages, beside);
    if let Some(test) = &test {
        notes.extend(unignored(dir, &folder, &languages, &test.because));
    }
    if source.folder.is_empty()
        && dockerfile::copies_all(&text)
        && !ignores(&files, ".dockerignore", ".lockgate")
    {
        notes.push("Keep Lockgate's own files out of images: `echo .lockgate >> .dockerignore`.".to_owned());
    }
    let test = test.map(|test| match source.folder.as_str() {
        "" => test,
        folder => Test { command: format!("cd {} && {}", shell_words::quote(folder), test.command), ..test },
    });
    Some(Shipping { test, watch, before_switch: migrations::look(&files), source })
}

/// The first language's that has one; what is left open is noted.
fn test(languages: &[Language], files: &Listing, notes: &mut Vec<String>) -> Option<Test> {
    let named = |language: &Language| format!("{} ({})", language.name, language.because);
    let chosen = languages.iter().find(|language| language.test.is_some());
    match (languages, chosen) {
        ([], _) => notes.push(untold(files)),
        ([only], None) => {
            notes.push(format!("No tests were found for {}: write `test` when there are some.", named(only)));
        }
        ([_], Some(_)) => {}
        (several, chosen) => {
            let names: Vec<String> = several.iter().map(named).collect();
            let rest = match chosen {
                None => "no tests were found".to_owned(),
                Some(chosen) => format!("the test is that of {}", chosen.name),
            };
            notes.push(format!("Found {}: {rest}.", names.join(" and ")));
            let others =
                several.iter().filter(|other| chosen.is_some_and(|chosen| chosen.name != other.name));
            for (other, test) in others.filter_map(|other| Some((other, other.test.as_ref()?))) {
                notes.push(format!("That of {} would be `{}`.", other.name, test.command));
            }
        }
    }
    chosen.and_then(|language| language.test.clone())
}

/// No language: those of folders below are named, as in a repository of several apps.
fn untold(files: &Listing) -> String {
    let below: Vec<&str> = files
        .files()
        .filter(|file| file.contains('/') && TELLING.contains(&base(file)))
        .take(TELLING_SHOWN)
        .collect();
    match below.as_slice() {
        [] => "Nothing here tells in what it is written: write `test` by hand.".to_owned(),
        below => format!(
            "Nothing here tells in what it is written, but below there is {}: write `test` by hand, such as `cd FOLDER && …`.",
            list(below.iter().copied())
        ),
    }
}

fn watch(
    dir: &Path,
    source: &Source,
    dockerfile: &str,
    files: &Listing,
    languages: &[Language],
    beside: &[&str],
) -> Vec<String> {
    let mut own: Vec<String> = languages.iter().flat_map(|language| language.watch.clone()).collect();
    own.extend(dockerfile::copied(dockerfile, files));
    // Where nothing tells what an image is made of, every change counts.
    if own.is_empty() {
        return Vec::new();
    }
    own.push(source.dockerfile.clone());
    own.extend(files.those(&[".dockerignore"]).into_iter().map(str::to_owned));
    let mut watch: Vec<String> = own.iter().map(|glob| source.below(glob)).collect();
    watch.extend(beside.iter().map(|file| (*file).to_owned()));
    if dir.join(WORKFLOWS).is_dir() {
        watch.push(format!("{WORKFLOWS}/**"));
    }
    let mut seen = Vec::new();
    watch.retain(|glob| {
        !seen.contains(glob) && {
            seen.push(glob.clone());
            true
        }
    });
    watch
}

/// What the test leaves behind that git would not ignore.
fn unignored(dir: &Path, folder: &Path, languages: &[Language], because: &str) -> Option<String> {
    let tested =
        languages.iter().find(|one| one.test.as_ref().is_some_and(|test| test.because == because))?;
    let listed: String = [dir, folder].iter().filter_map(|one| read(&one.join(".gitignore"))).collect();
    let has = |leaf: &str| listed.contains(leaf.trim_end_matches('/'));
    let missing: Vec<&str> = tested.leaves.iter().copied().filter(|leaf| !has(leaf)).collect();
    (!missing.is_empty()).then(|| {
        let commands: Vec<String> =
            missing.iter().map(|leaf| format!("`echo {leaf} >> .gitignore`")).collect();
        format!("A tree with files that git does not know is not shipped: {}.", commands.join(", "))
    })
}

fn ignores(files: &Listing, file: &str, name: &str) -> bool {
    files.read(file).is_some_and(|text| text.lines().any(|line| line.trim().trim_matches('/') == name))
}
