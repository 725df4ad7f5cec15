//! Circles between the modules of one crate: none uses a module that uses it, be it over others.
//!
//! A module is a file. It uses another one by a path (`crate::labels::label`, `super::Plan`, in `use` or in code), or by
//! calling a method that the other one adds to a type of a third: `impl Compose` in `start.rs` makes `self.start_slot()`
//! in `runtime.rs` an arrow to `start.rs`. What a parent only declares or hands on (`mod x; pub use x::Y`) is no arrow, and
//! neither is what tests use.
//!
//! Read by words, not by a compiler: arrows that macros make are not seen.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result};

mod words;

use words::{Word, after_use, words};

/// The names on the way from the crate's root; empty: the root.
type Module = Vec<String>;

/// What is known of a module, and where each of its names comes from.
struct Modules {
    texts: BTreeMap<Module, Vec<Word>>,
    /// Names that a module hands on, with the whole path as it is written there.
    handed_on: BTreeMap<(Module, String), Vec<String>>,
    /// Methods that a module adds to another module's type, whose names nothing else in the crate has.
    added: BTreeMap<String, Module>,
}

/// One line for each circle in the crate whose sources are in `src`.
///
/// # Errors
/// Those of reading files.
pub fn check(src: &Path) -> Result<Vec<String>> {
    let mut texts = BTreeMap::new();
    for file in crate::files::rust_files(src)? {
        let inside = file.strip_prefix(src).context("a file outside of its folder")?.with_extension("");
        let mut module: Module = inside.iter().map(|part| part.to_string_lossy().into_owned()).collect();
        if module.last().is_some_and(|last| last == "mod") {
            module.pop();
        }
        if module == ["lib"] || module == ["main"] {
            module.clear();
        }
        let is_test = |name: &String| name == "tests" || name.ends_with("_tests");
        if !module.iter().any(is_test) {
            texts.insert(module, std::fs::read_to_string(file)?);
        }
    }
    Ok(circles(&texts))
}

fn circles(texts: &BTreeMap<Module, String>) -> Vec<String> {
    let modules = Modules::read(texts);
    let arrows: BTreeMap<&Module, BTreeMap<Module, String>> =
        modules.texts.keys().map(|module| (module, modules.arrows(module))).collect();
    let reached: BTreeMap<&Module, BTreeSet<Module>> =
        arrows.keys().map(|module| (*module, reached(module, &arrows))).collect();
    let mut told = BTreeSet::new();
    let mut circles = Vec::new();
    for (module, beyond) in &reached {
        let back = |other: &&Module| reached.get(*other).is_some_and(|others| others.contains(*module));
        let circle: BTreeSet<&Module> = beyond.iter().filter(back).collect();
        if !circle.contains(module) || circle.iter().any(|one| told.contains(*one)) {
            continue;
        }
        told.extend(circle.iter().copied().cloned());
        let within = circle.iter().flat_map(|from| {
            let there = arrows.get(*from).into_iter().flatten().filter(|(to, _)| circle.contains(to));
            there.map(|(to, by)| format!("{} → {} ({by})", shown(from), shown(to)))
        });
        circles.push(within.collect::<Vec<_>>().join(", "));
    }
    circles
}

/// All that can be come to from a module by one arrow or more; itself only where it is in a circle.
fn reached(module: &Module, arrows: &BTreeMap<&Module, BTreeMap<Module, String>>) -> BTreeSet<Module> {
    let mut reached = BTreeSet::new();
    let mut open = vec![module.clone()];
    while let Some(one) = open.pop() {
        let next = arrows.get(&one).into_iter().flat_map(BTreeMap::keys);
        open.extend(next.filter(|next| reached.insert((*next).clone())).cloned().collect::<Vec<_>>());
    }
    reached
}

fn shown(module: &Module) -> String {
    module.join("::")
}

impl Modules {
    fn read(texts: &BTreeMap<Module, String>) -> Self {
        let shipped = |text: &String| {
            // Tests stand at a file's end.
            words(text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default())
        };
        let texts: BTreeMap<Module, Vec<Word>> =
            texts.iter().map(|(module, text)| (module.clone(), shipped(text))).collect();
        let mut handed_on = BTreeMap::new();
        for (module, text) in &texts {
            for path in uses(text).filter(|(is_public, _)| *is_public).flat_map(|(_, paths)| paths) {
                if let Some(name) = path.last() {
                    handed_on.insert((module.clone(), name.clone()), path);
                }
            }
        }
        let added = added(&texts);
        Self { texts, handed_on, added }
    }

    /// Which modules `module` uses, each with one word of the program that says so. The root is none of them: it holds
    /// what all others hand on.
    fn arrows(&self, module: &Module) -> BTreeMap<Module, String> {
        let mut arrows = BTreeMap::new();
        let Some(text) = self.texts.get(module).filter(|_| !module.is_empty()) else { return arrows };
        let mut add = |to: Option<Module>, by: &dyn Fn() -> String| {
            if let Some(to) = to.filter(|to| to != module && !to.is_empty()) {
                arrows.entry(to).or_insert_with(by);
            }
        };
        let imported = uses(text).filter(|(is_public, _)| !is_public).flat_map(|(_, paths)| paths);
        for path in imported.chain(paths(text)) {
            add(self.target(module, &path), &|| path.join("::"));
        }
        for (index, name) in text.iter().enumerate().skip(1) {
            let is_called = match text.get(index + 1).map(String::as_str) {
                Some("(") => true,
                Some("::") => text.get(index + 2).is_some_and(|word| word == "<"),
                _ => false,
            };
            if is_called && matches!(text[index - 1].as_str(), "." | "::") {
                add(self.added.get(name).cloned(), &|| format!(".{name}()"));
            }
        }
        arrows
    }

    /// The module in which a path that is written in `module` ends. `None` for one that leads out of the crate.
    fn target(&self, module: &Module, path: &[String]) -> Option<Module> {
        let (first, mut rest) = path.split_first()?;
        let mut at = match first.as_str() {
            "crate" => Module::new(),
            "self" => module.clone(),
            "super" => {
                let mut up = module[..module.len().saturating_sub(1)].to_vec();
                while let Some(("super", more)) = rest.split_first().map(|(next, more)| (next.as_str(), more))
                {
                    up.pop();
                    rest = more;
                }
                up
            }
            child => {
                let child = joined(module, child);
                self.texts.contains_key(&child).then_some(child)?
            }
        };
        while let Some((name, more)) = rest.split_first() {
            let inner = joined(&at, name);
            if self.texts.contains_key(&inner) {
                at = inner;
            } else {
                // Where it is handed on from, that module is meant. A name cannot be handed on in a circle.
                let from = self.handed_on.get(&(at.clone(), name.clone()));
                return from.and_then(|path| self.target(&at, path)).or(Some(at));
            }
            rest = more;
        }
        Some(at)
    }
}

fn joined(module: &Module, name: &str) -> Module {
    module.iter().cloned().chain([name.to_owned()]).collect()
}

/// Each `use` of a file: whether it hands on (`pub`), and its paths.
fn uses(text: &[Word]) -> impl Iterator<Item = (bool, Vec<Vec<String>>)> + '_ {
    let at = text.iter().enumerate().filter(|(_, word)| *word == "use").map(|(index, _)| index);
    at.map(|index| {
        let before = index.checked_sub(1).and_then(|index| text.get(index));
        (before.is_some_and(|word| word == "pub" || word == ")"), after_use(&text[index + 1..]))
    })
}

/// Paths outside of `use`, as far as they begin at a module that can be told: `crate::a::b`, `super::b`, `child::f`.
fn paths(text: &[Word]) -> Vec<Vec<String>> {
    let mut paths = Vec::new();
    let mut index = 0;
    while index < text.len() {
        if text[index] == "use" {
            index += text[index..].iter().position(|word| word == ";").unwrap_or(text.len() - index);
            continue;
        }
        let mut path = vec![text[index].clone()];
        while let [mark, name, ..] = &text[(index + 1).min(text.len())..]
            && mark == "::"
        {
            path.push(name.clone());
            index += 2;
        }
        index += 1;
        if path.len() > 1 {
            paths.push(path);
        }
    }
    paths
}

/// See [`Modules::added`].
fn added(texts: &BTreeMap<Module, Vec<Word>>) -> BTreeMap<String, Module> {
    let mut types: BTreeMap<&str, &Module> = BTreeMap::new();
    let mut functions: BTreeMap<&str, usize> = BTreeMap::new();
    for (module, text) in texts {
        for pair in text.windows(2) {
            match pair[0].as_str() {
                "struct" | "enum" => _ = types.insert(&pair[1], module),
                "fn" => *functions.entry(&pair[1]).or_default() += 1,
                _ => {}
            }
        }
    }
    let mut added = BTreeMap::new();
    for (module, text) in texts {
        for (of, methods) in words::methods(text) {
            if types.get(of).is_some_and(|home| *home != module) {
                let own = methods.into_iter().filter(|name| functions.get(name.as_str()) == Some(&1));
                added.extend(own.map(|name| (name, module.clone())));
            }
        }
    }
    added
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crate_of(files: &[(&str, &str)]) -> Vec<String> {
        let module =
            |path: &str| path.split("::").filter(|part| !part.is_empty()).map(str::to_owned).collect();
        circles(&files.iter().map(|(path, text)| (module(path), (*text).to_owned())).collect())
    }

    #[test]
    fn two_modules_that_use_each_other_are_a_circle() {
        let told = crate_of(&[
            ("a", "use crate::b::{self, One};"),
            ("b", "use std::fmt;\nuse crate::a::Two;"),
            ("c", "use crate::{a, b};"),
        ]);
        assert_eq!(told, ["a → b (crate::b::self), b → a (crate::a::Two)"]);
    }

    #[test]
    fn arrows_that_run_one_way_are_none() {
        let files =
            [("", "mod a; pub use a::One;"), ("a", "use crate::b;"), ("b", "fn c() { other::a::d() }")];
        assert_eq!(crate_of(&files), Vec::<String>::new());
    }

    #[test]
    fn a_circle_over_a_third_and_paths_in_code_count() {
        let told = crate_of(&[
            ("a", "fn f() { crate::b::g() }"),
            ("b", "fn g() -> crate::c::D { todo!() }"),
            ("c", "use super::a;"),
        ]);
        assert_eq!(told, ["a → b (crate::b::g), b → c (crate::c::D), c → a (super::a)"]);
    }

    #[test]
    fn a_method_that_another_file_adds_is_an_arrow_to_that_file() {
        let told = crate_of(&[
            ("home", "pub struct Home<T> { t: T } impl Home { fn all(&self) { self.start_slot(1) } }"),
            ("start", "use crate::home::Home;\nimpl<T> Home<T> { pub(crate) async fn start_slot(&self) {} }"),
        ]);
        assert_eq!(told, ["home → start (.start_slot()), start → home (crate::home::Home)"]);
        // A trait's method has many homes, and so has one whose name is used twice.
        let told = crate_of(&[
            ("home", "pub struct Home; impl Home { fn all(&self) { self.start_slot(1); self.look() } }"),
            ("other", "fn look() {}"),
            (
                "start",
                "use crate::home::Home;\nimpl Start for Home { fn start_slot(&self) {} } impl Home { fn look() {} }",
            ),
        ]);
        assert_eq!(told, Vec::<String>::new());
    }

    #[test]
    fn a_module_with_a_methods_name_is_no_call() {
        let told = crate_of(&[
            ("cli", "use crate::place::Place; fn f() { crate::place::g() }"),
            ("home", "use crate::cli::Cli; pub struct Home;"),
            ("layout", "use crate::home::Home; impl Home { fn place(&self) {} }"),
            ("place", "pub struct Place;"),
        ]);
        assert_eq!(told, Vec::<String>::new());
    }

    #[test]
    fn what_is_handed_on_is_where_it_comes_from() {
        let told = crate_of(&[
            ("", "pub use inner::deep::Thing;"),
            ("inner", "mod deep; pub use deep::Thing;"),
            ("inner::deep", "use crate::other::help;"),
            ("other", "use crate::Thing;"),
        ]);
        assert_eq!(told, ["inner::deep → other (crate::other::help), other → inner::deep (crate::Thing)"]);
    }

    #[test]
    fn words_in_comments_strings_and_tests_are_no_arrows() {
        let told = crate_of(&[
            (
                "a",
                "// crate::b::x\nfn f() -> &'static str { \"crate::b::x\" }\n/// [`crate::b`]\nfn g<'a>(c: char) { c == '\"'; }\n#[cfg(test)]\nmod tests { use crate::b; }",
            ),
            ("b", "use crate::a; fn h() { r#\"x\"#; }"),
        ]);
        assert_eq!(told, Vec::<String>::new());
    }
}
