//! What calls are signed with. Only `lockgate serve` needs it: a person who looks at what is live has no variable for it, so
//! what is wrong with a value is said only where the file is read to be served. No value is in a message.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lockgate_model::{SIGNING_SECRET_BYTES_MIN, Secret};

use super::reader::Reader;
use crate::Purpose;
use crate::at::At;
use crate::error::{Kind, Place, Problem};

/// Two to rotate, and the same again for who rotates slowly. Each costs every stranger's call an HMAC.
const SECRETS_MAX: usize = 4;
const SECRET_BYTES_MAX: usize = 1024;
/// How a secret of Standard Webhooks begins; base64 follows.
const WHSEC: &str = "whsec_";

/// The secrets of all endpoints so far, and where they stand.
#[derive(Default)]
pub struct Taken(Vec<(Secret, Place)>);

/// Those that are good.
pub fn all(reader: &mut Reader<'_>, list: &At<Vec<At<String>>>, taken: &mut Taken) -> Vec<Secret> {
    let count = list.value.len();
    if count == 0 || count > SECRETS_MAX {
        let message = format!("an endpoint has {count} secrets");
        let hint = format!(
            "write 1 to {SECRETS_MAX}: `secrets: [\"${{WEBHOOK_SECRET}}\"]`; a second one is for while you change it"
        );
        reader.invalid(list.place, message, hint);
    }
    let before = reader.problems.len();
    let mut secrets = Vec::new();
    for source in &list.value {
        let Some(secret) = secret(reader, source) else { continue };
        if let Some((_, place)) = taken.0.iter().find(|(known, _)| *known == secret) {
            // A call that was signed for one endpoint would be good for the other: the path is not signed.
            let message = format!("this secret is the one of line {} again", place.line);
            reader.conflict(
                source.place,
                message,
                "give every endpoint secrets of its own, and name each once",
            );
            continue;
        }
        taken.0.push((secret.clone(), source.place));
        secrets.push(secret);
    }
    if reader.purpose != Purpose::Serve {
        reader.problems.truncate(before);
    }
    secrets
}

/// One that is good.
pub fn secret(reader: &mut Reader<'_>, source: &At<String>) -> Option<Secret> {
    let make = |name: &str| format!("export {name}=$(openssl rand -hex 32), and give it to whoever signs");
    let text = reader.fill_or(&source.value, source.place, make)?;
    if text.is_empty() {
        let message = "a secret is empty: everybody could sign with it";
        reader.report(Problem::new(Kind::InvalidValue, source.place, message).hint(empty_hint(source)));
        return None;
    }
    if text.contains(char::is_control) || text.trim() != text {
        let hint = "write it on one line without blanks around it; where it comes from a file, mind the line break at its end";
        reader.invalid(
            source.place,
            "a secret has a line break, control character or a blank at its end",
            hint,
        );
        return None;
    }
    // A key of Standard Webhooks is as long as what it decodes to.
    let bytes = match text.strip_prefix(WHSEC) {
        None => text.len(),
        Some(encoded) => match STANDARD.decode(encoded) {
            Ok(key) => key.len(),
            Err(_) => {
                let message = "a secret begins with `whsec_`, and what follows is not base64";
                reader.invalid(source.place, message, "copy it again, whole, from whoever signs");
                return None;
            }
        },
    };
    if !(SIGNING_SECRET_BYTES_MIN..=SECRET_BYTES_MAX).contains(&bytes) {
        let message = match bytes < SIGNING_SECRET_BYTES_MIN {
            true => {
                format!("a secret is shorter than {SIGNING_SECRET_BYTES_MIN} bytes, so it can be guessed")
            }
            false => format!("a secret is longer than {SECRET_BYTES_MAX} bytes"),
        };
        reader.invalid(source.place, message, "`openssl rand -hex 32` makes a good one");
        return None;
    }
    Some(Secret::new(text))
}

fn empty_hint(source: &At<String>) -> String {
    match source.value.starts_with("${") {
        true => "set the variable to what `openssl rand -hex 32` prints, or remove this line".to_owned(),
        false => "write `\"${WEBHOOK_SECRET}\"`, and set the variable to what `openssl rand -hex 32` prints"
            .to_owned(),
    }
}
