//! What a daemon says to whoever calls it, in the words of who calls it by `lockgate trigger`.

use std::path::Path;

use lockgate_client::End;

/// `force` of a body is `--force` here, and what is asked by curl is asked with the same certificates.
pub fn own(mut end: End, cacert: Option<&Path>) -> End {
    if let Some(error) = &mut end.answer.error {
        error.hints = std::mem::take(&mut error.hints).map(|hint| typed(&hint, cacert));
    }
    end
}

fn typed(hint: &str, cacert: Option<&Path>) -> String {
    let hint = hint.replace("`force`", "`--force`");
    let Some(file) = cacert else { return hint };
    let curl = format!("`curl -sS --cacert {} ", shell_words::quote(&file.to_string_lossy()));
    hint.replace("`curl -sS ", &curl)
}

#[cfg(test)]
mod tests {
    use lockgate_model::{DeployAnswer, DeployStatus, FailureKind};

    use super::*;

    #[test]
    fn a_hint_is_what_is_typed_here() {
        let hints = |cacert: Option<&str>| {
            let answer = DeployAnswer::refused(DeployStatus::Older, FailureKind::Conflict, "older")
                .hint("say so with `force`")
                .hint("see `curl -sS https://shop.example/runs/7`");
            let end = own(End { http: 409, answer }, cacert.map(Path::new));
            end.answer.error.unwrap().hints.iter().cloned().collect::<Vec<String>>()
        };
        assert_eq!(hints(None), ["say so with `--force`", "see `curl -sS https://shop.example/runs/7`"]);
        let own = hints(Some("my ca.pem"));
        assert_eq!(own[1], "see `curl -sS --cacert 'my ca.pem' https://shop.example/runs/7`");
    }
}
