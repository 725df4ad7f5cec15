//! Which of an environment's variables hold secrets, as far as their names tell.

use crate::Secret;

/// A shorter value of a variable that is only named like a secret would make holes in words.
const BYTES_MIN: usize = 6;
/// Anywhere in a name.
const SAYS_SO: &[&str] =
    &["TOKEN", "SECRET", "PASSWORD", "PASSWD", "PASSPHRASE", "CREDENTIAL", "WEBHOOK", "APIKEY"];
/// As one of a name's words.
const WORDS: &[&str] = &["PASS", "PWD", "KEYS", "AUTH", "DSN", "CRED", "CREDS", "JWT", "COOKIE"];
/// The last word of a name whose value is a place where a secret lies.
const PLACES: &[&str] = &["FILE", "PATH", "DIR", "SOCK"];

/// Whether a variable of this name holds a secret: `API_TOKEN`, `PGPASSWORD`, `AWS_SECRET_ACCESS_KEY`, `SENTRY_DSN`, and
/// not `TOKEN_FILE`, `SSH_AUTH_SOCK`, `PWD`, `GIT_AUTHOR_NAME` or `KEYBOARD`. Upper and lower case are the same.
#[must_use]
pub fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    // The shell's, which are folders.
    if matches!(name.as_str(), "PWD" | "OLDPWD") {
        return false;
    }
    let words = || name.split(|character: char| !character.is_ascii_alphanumeric());
    if words().next_back().is_some_and(|last| PLACES.contains(&last)) {
        return false;
    }
    SAYS_SO.iter().any(|part| name.contains(part))
        || words().any(|word| WORDS.contains(&word) || word.ends_with("KEY"))
}

/// What an environment holds as secrets: the values of six bytes or more whose names say so ([`is_secret_name`]), and
/// the passwords in URLs, whatever the name.
pub fn secret_variables<'a>(
    variables: impl IntoIterator<Item = (&'a str, &'a str)> + 'a,
) -> impl Iterator<Item = Secret> + 'a {
    variables.into_iter().filter_map(|(name, value)| {
        let secret = if is_secret_name(name) { Some(value) } else { password(value) };
        secret.filter(|secret| secret.len() >= BYTES_MIN).map(Secret::new)
    })
}

/// The password of `scheme://user:password@host…`.
pub(crate) fn password(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let (user, _) = authority.rsplit_once('@')?;
    user.split_once(':').map(|(_, password)| password).filter(|password| !password.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_secrets() {
        for name in [
            "API_TOKEN",
            "api_token",
            "PGPASSWORD",
            "MYSQL_PWD",
            "AWS_SECRET_ACCESS_KEY",
            "STRIPE_KEY",
            "SSHKEY",
            "SENTRY_DSN",
            "SLACK_WEBHOOK_URL",
            "BASIC_AUTH",
            "DB_PASS",
            "GOOGLE_CREDENTIALS",
            "npm_config__auth",
        ] {
            assert!(is_secret_name(name), "{name}");
        }
        for name in [
            "PWD",
            "OLDPWD",
            "PATH",
            "HOME",
            "TOKEN_FILE",
            "SSH_AUTH_SOCK",
            "XAUTHORITY",
            "GIT_AUTHOR_NAME",
            "KEYBOARD",
            "COMPASS",
            "SSL_CERT_FILE",
            "PASSENGERS",
            "IMAGE_TAG",
        ] {
            assert!(!is_secret_name(name), "{name}");
        }
    }

    #[test]
    fn an_environment_gives_its_secrets() {
        let variables = [
            ("API_TOKEN", "hunter2"),
            ("BASIC_AUTH", "basic"),
            ("DATABASE_URL", "postgres://shop:hunter3@db/x"),
            ("HOMEPAGE", "https://example.com:8080/a:b@c"),
            ("LANG", "en_US.UTF-8"),
        ];
        let secrets: Vec<Secret> = secret_variables(variables).collect();
        let values: Vec<&str> = secrets.iter().map(Secret::reveal).collect();
        assert_eq!(values, ["hunter2", "hunter3"]);
    }

    #[test]
    fn a_urls_password_ends_at_the_last_at_sign() {
        assert_eq!(password("redis://:p@ss@h/x"), Some("p@ss"));
        for none in ["https://example.com/a:b@c", "a:b@c", "https://user@host", "https://user:@host", ""] {
            assert_eq!(password(none), None, "{none}");
        }
    }
}
