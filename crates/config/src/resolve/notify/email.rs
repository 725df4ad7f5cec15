//! Mail.

use lockgate_model::{Email, NotifyTo, RegistryHost, Secret, SmtpSecurity};

use super::super::reader::Reader;
use super::optional;
use crate::at::At;
use crate::raw_notify as raw;

/// Of submission with TLS from the first byte on (RFC 8314).
const SMTPS_PORT: u16 = 465;
/// Of submission (RFC 6409).
const SMTP_PORT: u16 = 587;
/// Of a server on this machine, which is not encrypted.
const LOOPBACK_PORT: u16 = 25;
/// Receivers of one message.
const RECEIVERS_MAX: usize = 50;
const SMTP_HINT: &str = "write `smtps://mail.example.com`, or `smtp://mail.example.com:587` for STARTTLS";

pub fn notifier(reader: &mut Reader<'_>, raw: &raw::Email) -> Option<NotifyTo> {
    let text = reader.fill_or(&raw.smtp.value, raw.smtp.place, optional(&raw.smtp))?;
    if text.trim().is_empty() {
        return None;
    }
    let Some((security, host, port)) = server(text.trim()) else {
        // The text is not quoted: somebody may have written a password into it.
        reader.invalid(raw.smtp.place, "`smtp` is no server for mail", SMTP_HINT);
        return None;
    };
    let login = login(reader, raw);
    let from = reader.line("`from`", &raw.from).filter(|from| is_address(reader, "`from`", &raw.from, from));
    let mut to = Vec::new();
    for source in &raw.to.value {
        let receiver = reader.line("`to`", source);
        to.extend(receiver.filter(|receiver| is_address(reader, "`to`", source, receiver)));
    }
    let count = raw.to.value.len();
    if count == 0 || count > RECEIVERS_MAX {
        let message = format!("`to` has {count} receivers");
        reader.invalid(raw.to.place, message, format!("write 1 to {RECEIVERS_MAX} addresses"));
    }
    let whole = to.len() == count && count > 0 && count <= RECEIVERS_MAX;
    let (login, from) = (login?, from?);
    whole.then_some(NotifyTo::Email(Email { host, port, security, login, from, to }))
}

/// How, where and at which port.
fn server(text: &str) -> Option<(SmtpSecurity, String, u16)> {
    let (is_tls, place) = match (text.strip_prefix("smtps://"), text.strip_prefix("smtp://")) {
        (Some(place), _) => (true, place),
        (None, Some(place)) => (false, place),
        (None, None) => return None,
    };
    let place = place.strip_suffix('/').unwrap_or(place);
    // As a registry's, it is a host with or without a port.
    let checked = RegistryHost::new(place).ok()?;
    let (host, port) = match place.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port.parse().ok()?)),
        _ => (place, None),
    };
    let (security, usual) = match (is_tls, checked.is_loopback()) {
        (true, _) => (SmtpSecurity::Tls, SMTPS_PORT),
        (false, true) => (SmtpSecurity::None, LOOPBACK_PORT),
        (false, false) => (SmtpSecurity::StartTls, SMTP_PORT),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    Some((security, host.to_owned(), port.unwrap_or(usual)))
}

/// `None`: it is wrong, `Some(None)`: there is none.
fn login(reader: &mut Reader<'_>, raw: &raw::Email) -> Option<Option<(String, Secret)>> {
    match (&raw.user, &raw.password) {
        (None, None) => Some(None),
        (Some(user), Some(password)) => {
            let user = reader.line("`user`", user);
            let password = reader.line("`password`", password);
            Some(Some((user?, Secret::new(password?))))
        }
        (Some(only), None) => {
            reader.invalid(only.place, "`user` needs a `password`", "add `password: \"${SMTP_PASSWORD}\"`");
            None
        }
        (None, Some(only)) => {
            reader.invalid(only.place, "`password` needs a `user`", "add `user`, the account's name");
            None
        }
    }
}

/// Roughly: the library that sends it knows exactly.
fn is_address(reader: &mut Reader<'_>, what: &str, source: &At<String>, text: &str) -> bool {
    let address = text.rsplit_once('<').map_or(text, |(_, rest)| rest.trim_end_matches('>'));
    let is_one = address
        .split_once('@')
        .is_some_and(|(user, host)| !user.is_empty() && !host.is_empty() && !host.contains('@'))
        && !address.contains(char::is_whitespace);
    if !is_one {
        let hint = "write one address, such as `deploys@example.com` or `Deploys <deploys@example.com>`";
        reader.invalid(source.place, format!("{what} has no address"), hint);
    }
    is_one
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_encrypted_unless_it_is_on_this_machine() {
        let host = |name: &str| name.to_owned();
        for (text, wanted) in [
            ("smtps://mail.example.com", Some((SmtpSecurity::Tls, host("mail.example.com"), 465))),
            ("smtp://mail.example.com", Some((SmtpSecurity::StartTls, host("mail.example.com"), 587))),
            ("smtp://mail.example.com:2525/", Some((SmtpSecurity::StartTls, host("mail.example.com"), 2525))),
            ("smtp://127.0.0.1:1025", Some((SmtpSecurity::None, host("127.0.0.1"), 1025))),
            ("smtp://localhost", Some((SmtpSecurity::None, host("localhost"), 25))),
            ("smtp://lee:hunter2@mail.example.com", None),
            ("mail.example.com", None),
            ("smtp://", None),
            ("smtp://mail.example.com:99999", None),
        ] {
            assert_eq!(server(text), wanted, "{text}");
        }
    }
}
