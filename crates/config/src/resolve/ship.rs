//! What a service is shipped with: when, tested how, built and called how.

use std::collections::BTreeMap;

use globset::GlobBuilder;
use lockgate_model::{Build, BuildTool, ImageTag, Millis, Secret, Ship, Test};

use super::reader::{Reader, quote};
use crate::at::{At, Either};
use crate::error::{Kind, Place, Problem};
use crate::part::Part;
use crate::{raw, raw_ship};

pub const TEST_TIMEOUT: Millis = Millis::from_secs(30 * 60);
const TEST_TIMEOUT_MIN: Millis = Millis::from_secs(1);
const TEST_TIMEOUT_MAX: Millis = Millis::from_secs(6 * 3_600);
/// Globs of one service, and its image's tags.
const GLOBS_MAX: usize = 200;
const TAGS_MAX: usize = 20;
const PLATFORMS_MAX: usize = 20;
/// Longest glob.
const GLOB_CHARS_MAX: usize = 500;
/// What a builder itself reads from its environment, in which the arguments' values are handed over.
const TAKEN: [&str; 3] = ["PATH", "HOME", "TMPDIR"];
const TAKEN_BEGINNINGS: [&str; 6] = ["DOCKER_", "BUILDX_", "BUILDKIT_", "DEPOT_", "LD_", "GIT_"];

/// `image` is the service's.
pub fn resolve(reader: &mut Reader<'_>, raw: &raw::Service, image: Option<&str>) -> Ship {
    let watch = raw.watch.as_ref().map(|watch| self::watch(reader, watch)).unwrap_or_default();
    let test = raw.test.as_ref().and_then(|test| self::test(reader, test));
    if let (Some(build), None, None) = (&raw.build, image, &raw.image) {
        let hint = "write `image: ghcr.io/acme/web`: it is what the image is called";
        reader.report(Problem::new(Kind::MissingKey, build.place, "`build` without `image`").hint(hint));
    }
    let build = match raw.build.as_ref().map(|build| (&build.value, build.place)) {
        None => Build::default(),
        Some((Either::Full(full), _)) => self::build(reader, full),
        Some((Either::Short(context), place)) => {
            let context = folder(reader, "`build`", &At { value: context.clone(), place });
            Build { context: context.unwrap_or_default(), ..Build::default() }
        }
    };
    Ship { watch, test, build }
}

fn watch(reader: &mut Reader<'_>, source: &At<Vec<At<String>>>) -> Vec<String> {
    if source.value.is_empty() {
        let hint = "leave `watch` out: then every commit is shipped";
        reader.invalid(source.place, "`watch` is empty, so nothing would ever be shipped", hint);
    }
    bounded(reader, "globs", source, GLOBS_MAX);
    source.value.iter().filter_map(|glob| self::glob(reader, glob)).collect()
}

fn glob(reader: &mut Reader<'_>, source: &At<String>) -> Option<String> {
    let text = reader.line("a glob", source)?;
    let pattern = text.strip_prefix('/').unwrap_or(&text);
    let hint = "write one such as `src/**`, `**/*.py` or, from the repository's root, `/.github/**`";
    let is_glob = GlobBuilder::new(pattern).literal_separator(true).build().is_ok();
    let climbs = pattern.split('/').any(|part| part == "..");
    if pattern.is_empty() || !is_glob || climbs || text.chars().count() > GLOB_CHARS_MAX {
        reader.invalid(source.place, format!("{} is no glob of files here", quote(source)), hint);
        return None;
    }
    if pattern.starts_with('!') {
        reader.invalid(source.place, "a glob of `watch` cannot take files away", "name those that count");
        return None;
    }
    Some(text)
}

fn test(reader: &mut Reader<'_>, source: &At<Either<raw_ship::Test>>) -> Option<Test> {
    let (run, place, full) = match &source.value {
        Either::Short(run) => (run, source.place, None),
        Either::Full(full) => (&full.run.value, full.run.place, Some(full)),
    };
    if run.trim().is_empty() || run.contains('\0') {
        reader.invalid(place, "`test` is empty", "write the command, such as `pytest -q`, or leave it out");
        return None;
    }
    let allow_failure = full.and_then(|full| full.allow_failure.as_ref()).is_some_and(|allow| allow.value);
    let timeout = match full.and_then(|full| full.timeout.as_ref()) {
        Some(timeout) => reader.span_within("`timeout`", timeout, TEST_TIMEOUT_MIN, TEST_TIMEOUT_MAX)?,
        None => TEST_TIMEOUT,
    };
    Some(Test { run: run.clone(), allow_failure, timeout })
}

fn build(reader: &mut Reader<'_>, raw: &raw_ship::Build) -> Build {
    let default = Build::default();
    let with = raw.with.as_ref().and_then(|with| tool(reader, with)).unwrap_or(default.with);
    let platforms = raw.platforms.as_ref().map(|list| self::platforms(reader, list, with));
    let tags = raw.tags.as_ref().and_then(|tags| self::tags(reader, tags));
    let context = raw.context.as_ref().and_then(|context| folder(reader, "`context`", context));
    let file = raw.file.as_ref().and_then(|file| folder(reader, "`file`", file));
    Build {
        with,
        platforms: platforms.unwrap_or_default(),
        tags: tags.unwrap_or(default.tags),
        context: context.unwrap_or(default.context),
        file,
        args: reader.part(Part::BuildArgs, |reader| args(reader, &raw.args.0)),
    }
}

fn tool(reader: &mut Reader<'_>, source: &At<String>) -> Option<BuildTool> {
    let text = reader.text(source)?;
    let found = BuildTool::ALL.into_iter().find(|tool| tool.as_str() == text);
    if found.is_none() {
        let known = BuildTool::ALL.map(BuildTool::as_str).join("`, `");
        reader.invalid(
            source.place,
            format!("unknown builder {}", quote(source)),
            format!("write one of `{known}`"),
        );
    }
    found
}

fn platforms(reader: &mut Reader<'_>, source: &At<Vec<At<String>>>, with: BuildTool) -> Vec<String> {
    bounded(reader, "platforms", source, PLATFORMS_MAX);
    if with == BuildTool::Docker && source.value.len() > 1 {
        let hint = "write `with: buildx`, or keep one";
        reader.conflict(source.place, "`docker` builds for one platform at a time", hint);
    }
    let one = |source: &At<String>| {
        let text = reader.text(source)?;
        let is_word = |part: &str| {
            !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        };
        let is_platform = (2..=3).contains(&text.split('/').count()) && text.split('/').all(is_word);
        if !is_platform {
            let message = format!("{} is no platform", quote(source));
            reader.invalid(source.place, message, "write one such as `linux/amd64` or `linux/arm/v7`");
        }
        is_platform.then_some(text)
    };
    source.value.iter().filter_map(one).collect()
}

/// `None` when one was wrong.
fn tags(reader: &mut Reader<'_>, source: &At<Vec<At<String>>>) -> Option<Vec<ImageTag>> {
    bounded(reader, "tags", source, TAGS_MAX);
    let mut tags = Vec::new();
    for one in &source.value {
        let text = reader.text(one)?;
        match ImageTag::new(&text) {
            Ok(tag) => tags.push(tag),
            Err(invalid) => {
                let message = format!("the tag {} is not valid: {invalid}", quote(one));
                let hint = "write `\"{sha}\"`, `\"sha-{sha:.8}\"`, `latest` or `\"{git_tag}\"`";
                reader.invalid(one.place, message, hint);
                return None;
            }
        }
    }
    if !tags.first().is_some_and(ImageTag::names_commit) {
        let hint = "begin with it: `tags: [\"{sha}\", latest]`";
        reader.invalid(
            source.place,
            "the first of `tags` is the release's, and does not name the commit",
            hint,
        );
        return None;
    }
    Some(tags)
}

/// A path on this machine, `..` and all.
fn folder(reader: &mut Reader<'_>, what: &str, source: &At<String>) -> Option<String> {
    let text = reader.line(what, source)?;
    if text.starts_with('-') {
        let hint = "a program would take it for an option; write `./-…`";
        reader.invalid(source.place, format!("{what} starts with `-`"), hint);
        return None;
    }
    Some(text)
}

fn args(reader: &mut Reader<'_>, entries: &[(At<String>, At<String>)]) -> BTreeMap<String, Secret> {
    let mut args = BTreeMap::new();
    for (key, value) in entries {
        let name = &key.value;
        let legal = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
            && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        let is_taken = TAKEN.contains(&name.as_str())
            || TAKEN_BEGINNINGS.iter().any(|beginning| name.starts_with(beginning));
        if !legal || is_taken {
            let (message, hint) = match legal {
                true => {
                    ("the builder itself reads a variable of this name", "give the argument another name")
                }
                false => {
                    ("this key is not an argument's name", "use letters, digits and `_`, and no digit first")
                }
            };
            reader.invalid(key.place, message, hint);
        } else if let Some(value) = reader.text(value) {
            args.insert(name.clone(), Secret::new(value));
        }
    }
    args
}

fn bounded<T>(reader: &mut Reader<'_>, what: &str, source: &At<Vec<T>>, most: usize) {
    let place: Place = source.place;
    if source.value.len() > most {
        reader.invalid(place, format!("there are more than {most} {what}"), format!("at most {most} count"));
    }
}
