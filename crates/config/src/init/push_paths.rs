//! Globs of `watch` as GitHub's `paths:` has them. Each pattern matches at least what the glob does: `ship` looks again, and more closely.

use crate::interpolate;

/// Alternatives of `{…}` that one glob may come to.
const EXPANDED_MAX: usize = 50;

/// Of one glob, for a lockgate.yaml in `folder` of the repository (empty: its root). `None` where it cannot be said.
pub fn patterns(glob: &str, folder: &str) -> Option<Vec<String>> {
    // What a variable holds is not known.
    let text = if interpolate::refers(glob) { None } else { interpolate::fill(glob, &|_| None).ok() }?;
    let (base, glob) = match text.strip_prefix('/') {
        Some(glob) => (String::new(), glob.to_owned()),
        None if folder.is_empty() => (String::new(), text),
        None => (format!("{}/", literal(folder)), text),
    };
    let mut expanded = vec![glob];
    while let Some(at) = expanded.iter().position(|one| one.contains('{')) {
        let one = expanded.swap_remove(at);
        expanded.extend(alternatives(&one)?);
        if expanded.len() > EXPANDED_MAX {
            return None;
        }
    }
    expanded.sort();
    expanded.dedup();
    Some(expanded.iter().map(|one| format!("{base}{}", pattern(one))).collect())
}

/// Of the first innermost `{…}`.
fn alternatives(glob: &str) -> Option<Vec<String>> {
    let close = glob.find('}')?;
    let open = glob[..close].rfind('{')?;
    // An escaped brace, or one within a class, is too rare to be told apart.
    if glob.contains('\\') || glob.contains('[') {
        return None;
    }
    let (before, after) = (&glob[..open], &glob[close + 1..]);
    Some(glob[open + 1..close].split(',').map(|one| format!("{before}{one}{after}")).collect())
}

fn pattern(glob: &str) -> String {
    let mut out = String::new();
    let mut chars = glob.chars();
    while let Some(c) = chars.next() {
        match c {
            // There it is a mark behind a character: none or one of it.
            '?' => out.push('*'),
            '[' => {
                out.push('*');
                // A `]` at a class's beginning is one of it; the class ends at the next.
                let mut is_first = true;
                for c in chars.by_ref() {
                    if c == ']' && !is_first {
                        break;
                    }
                    is_first = is_first && "!^".contains(c);
                }
            }
            '\\' => out += &literal(&chars.next().map(String::from).unwrap_or_default()),
            '*' => out.push('*'),
            other => out += &literal(&other.to_string()),
        }
    }
    // Three would be one and two.
    while out.contains("***") {
        out = out.replace("***", "**");
    }
    out
}

/// Signs that mean something there.
fn literal(text: &str) -> String {
    text.chars().flat_map(|c| if "*?+[]!\\".contains(c) { vec!['\\', c] } else { vec![c] }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_become_patterns_that_match_no_less() {
        for (glob, folder, expected) in [
            ("src/**", "", Some(vec!["src/**"])),
            ("**/*.py", "app", Some(vec!["app/**/*.py"])),
            ("/.github/**", "app", Some(vec![".github/**"])),
            ("**/*.{ts,tsx}", "", Some(vec!["**/*.ts", "**/*.tsx"])),
            ("a?c", "", Some(vec!["a*c"])),
            ("[!a]b[]x]c+", "", Some(vec!["*b*c\\+"])),
            ("\\*a", "", Some(vec!["\\*a"])),
            ("$${A}", "", Some(vec!["$A"])),
            ("src/${APP}/**", "", None),
            ("{a,b", "", None),
            ("[{]", "", None),
            ("{a,{b,c}}", "", Some(vec!["a", "b", "c"])),
        ] {
            let expected = expected.map(|all| all.into_iter().map(str::to_owned).collect::<Vec<_>>());
            assert_eq!(patterns(glob, folder), expected, "{glob}");
        }
        assert_eq!(patterns(&"{a,b}".repeat(7), ""), None, "128 of them");
    }
}
