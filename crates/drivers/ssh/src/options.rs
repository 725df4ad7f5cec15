//! The user's own options for `ssh`.

use lockgate_model::FailureKind;
use lockgate_ports::PortError;

/// Options with a value: `-i key` or `-ikey`.
const WITH_VALUE: &str = "BbceFIiJlmop";
/// Options without one.
const ALONE: &str = "46AaCgKkqvXxYy";

/// Checks that every argument is an option that says how to connect, for a word that is none would become the host,
/// and one that says what to do (`-N`, `-W`, `-S` …) would do something else than is relied on.
///
/// # Errors
/// `Refused`, naming the argument.
pub(crate) fn check(options: &[String]) -> Result<(), PortError> {
    let mut rest = options.iter();
    while let Some(option) = rest.next() {
        let mut letters = option.strip_prefix('-').unwrap_or_default().chars();
        let known = match letters.next() {
            Some(letter) if WITH_VALUE.contains(letter) => {
                !letters.as_str().is_empty() || rest.next().is_some()
            }
            Some(letter) => ALONE.contains(letter) && letters.all(|letter| ALONE.contains(letter)),
            None => false,
        };
        if !known {
            return Err(PortError::new(FailureKind::Refused, format!("{option:?} is not an option for ssh here"))
                .hint("options say how to connect, each word on its own: [\"-i\", \"key\", \"-o\", \"IdentitiesOnly=yes\"]"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn options_that_say_how_to_connect_pass() {
        for good in [
            &["-i", "key"][..],
            &["-ikey", "-F", "file"],
            &["-p", "2222", "-o", "IdentitiesOnly=yes"],
            &["-J", "jump", "-4", "-vv", "-A"],
            &[],
        ] {
            assert!(check(&words(good)).is_ok(), "{good:?}");
        }
    }

    #[test]
    fn others_are_refused() {
        for bad in [
            &["evil"][..],
            &["-i"],
            &["-i", "key", "evil"],
            &["-N"],
            &["-W", "x:1"],
            &["-S", "x"],
            &["--"],
            &[""],
        ] {
            assert!(check(&words(bad)).is_err(), "{bad:?}");
        }
    }
}
