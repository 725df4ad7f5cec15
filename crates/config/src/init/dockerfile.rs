//! A Dockerfile, as far as it tells of ports and of the files that an image is made of.

use super::listing::Listing;

/// The first port that it exposes.
pub fn exposed(dockerfile: &str) -> Option<u16> {
    dockerfile.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        words.next().filter(|word| word.eq_ignore_ascii_case("EXPOSE"))?;
        words.next()?.split('/').next()?.parse().ok().filter(|port| *port > 0)
    })
}

/// Whether it copies the whole folder that it is built from.
pub fn copies_all(dockerfile: &str) -> bool {
    copies(dockerfile).iter().any(|source| [".", "./"].contains(&source.as_str()))
}

/// Globs of what it copies from `files`, the folder that it is built from. Nothing of what is not there, of all (`.`), or of what
/// a variable names.
pub fn copied(dockerfile: &str, files: &Listing) -> Vec<String> {
    let mut globs: Vec<String> = Vec::new();
    for glob in copies(dockerfile).iter().filter_map(|source| glob(source, files)) {
        if !globs.contains(&glob) {
            globs.push(glob);
        }
    }
    globs
}

/// What is copied from the folder, as it is written.
fn copies(dockerfile: &str) -> Vec<String> {
    let mut all = Vec::new();
    for instruction in instructions(dockerfile) {
        let mut words = instruction.split_whitespace();
        let is_copy = words
            .next()
            .is_some_and(|word| word.eq_ignore_ascii_case("COPY") || word.eq_ignore_ascii_case("ADD"));
        let rest: Vec<&str> = words.collect();
        // From another stage or image, not from the folder.
        if !is_copy || rest.iter().any(|word| word.starts_with("--from=")) {
            continue;
        }
        let mut paths = operands(&rest);
        paths.pop();
        all.extend(paths);
    }
    all
}

/// Lines, joined where one ends with a backslash.
fn instructions(dockerfile: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut open = String::new();
    for line in dockerfile.lines().filter(|line| !line.trim_start().starts_with('#')) {
        match line.trim_end().strip_suffix('\\') {
            Some(begun) => open += &format!("{begun} "),
            None => all.push(std::mem::take(&mut open) + line),
        }
    }
    all.push(open);
    all
}

/// Sources and the target: words, or a JSON list.
fn operands(words: &[&str]) -> Vec<String> {
    let plain: Vec<&str> = words.iter().copied().filter(|word| !word.starts_with("--")).collect();
    if plain.first().is_some_and(|first| first.starts_with('[')) {
        return serde_json::from_str(&plain.join(" ")).unwrap_or_default();
    }
    plain.into_iter().map(str::to_owned).collect()
}

fn glob(source: &str, files: &Listing) -> Option<String> {
    let path = source.trim_start_matches("./").trim_start_matches('/').trim_end_matches('/');
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-/*".contains(c);
    if path.is_empty()
        || path == "."
        || path.split('/').any(|part| part == "..")
        || !path.chars().all(is_plain)
    {
        return None;
    }
    if path.contains('*') {
        return Some(path.to_owned());
    }
    match files.has_folder(path) {
        true => Some(format!("{path}/**")),
        false => files.has(path).then(|| path.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_copied_from_the_folder_counts() {
        let dir = tempfile::tempdir().unwrap();
        for file in ["src/a.py", "app.conf", "web/x.html"] {
            let path = dir.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let files = Listing::of(dir.path());
        for (line, expected) in [
            ("COPY src /app", vec!["src/**"]),
            ("copy ./src/ app.conf /app/", vec!["src/**", "app.conf"]),
            ("COPY --chown=1:1 --link web/ \\\n  app.conf /", vec!["web/**", "app.conf"]),
            ("ADD [\"src\", \"app.conf\", \"/\"]", vec!["src/**", "app.conf"]),
            ("COPY *.conf /", vec!["*.conf"]),
            ("COPY . .", vec![]),
            ("COPY --from=build /src /src", vec![]),
            ("COPY none ${X} ../up https://example.com/x /", vec![]),
            ("COPY", vec![]),
            ("COPY [\"src\"", vec![]),
            ("# COPY src /", vec![]),
        ] {
            assert_eq!(copied(line, &files), expected, "{line}");
        }
    }
}
