//! Mail, by an SMTP server (RFC 5321) of the user's: over TLS, over STARTTLS (RFC 3207), or unencrypted on this machine.

#[cfg(test)]
mod tests;

use std::time::Duration;

use async_trait::async_trait;
use lettre::message::header::ContentType;
use lettre::message::{Mailbox, Mailboxes, header};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use lockgate_model::{Email, FailureKind, SmtpSecurity, causes};
use lockgate_ports::{Check, Message, Notifier, PortError, Posted};

use crate::plain;
use crate::post::SEND_SECONDS_MAX;

/// For each answer of the server.
const ANSWER_SECONDS_MAX: u64 = 20;

/// People who are told by mail.
#[derive(Debug)]
pub struct Mail {
    email: Email,
}

impl Mail {
    /// A run's mails are one conversation: those that follow the first answer it.
    #[must_use]
    pub fn new(email: Email) -> Self {
        Self { email }
    }

    fn transport(&self) -> Result<AsyncSmtpTransport<Tokio1Executor>, PortError> {
        let Email { host, port, security, login, .. } = &self.email;
        let parameters = || TlsParameters::new_rustls(host.clone()).map_err(|error| told(&error, host));
        let tls = match security {
            SmtpSecurity::Tls => Tls::Wrapper(parameters()?),
            SmtpSecurity::StartTls => Tls::Required(parameters()?),
            SmtpSecurity::None => Tls::None,
        };
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host.as_str())
            .port(*port)
            .tls(tls)
            .timeout(Some(Duration::from_secs(ANSWER_SECONDS_MAX)));
        if let Some((user, password)) = login {
            builder = builder.credentials(Credentials::new(user.clone(), password.reveal().to_owned()));
        }
        Ok(builder.build())
    }

    fn mail(
        &self,
        message: &Message,
        id: &str,
        earlier: Option<&Posted>,
    ) -> Result<lettre::Message, PortError> {
        let (from, to) = self.addresses()?;
        let mut mail = lettre::Message::builder()
            .from(from)
            .mailbox(header::To::from(to))
            .message_id(Some(id.to_owned()))
            .subject(plain::headline(message));
        if let Some(earlier) = earlier {
            mail = mail.in_reply_to(earlier.as_str().to_owned()).references(earlier.as_str().to_owned());
        }
        mail.header(ContentType::TEXT_PLAIN)
            .body(plain::whole(message))
            .map_err(|error| PortError::other(format!("the mail cannot be written: {error}")))
    }

    fn addresses(&self) -> Result<(Mailbox, Mailboxes), PortError> {
        let parse = |text: &str| {
            text.parse::<Mailbox>().map_err(|_| {
                PortError::other(format!("{text:?} is no address for mail")).hint("mend it under `notify`")
            })
        };
        let to = self.email.to.iter().map(|to| parse(to)).collect::<Result<Vec<_>, _>>()?;
        Ok((parse(&self.email.from)?, to.into_iter().collect()))
    }
}

#[async_trait]
impl Notifier for Mail {
    fn name(&self) -> String {
        format!("email {}", self.email.host)
    }

    async fn send(&self, message: &Message, earlier: Option<&Posted>) -> Result<Option<Posted>, PortError> {
        let host = &self.email.host;
        let id = id(message, host);
        let mail = self.mail(message, &id, earlier)?;
        let sending = self.transport()?;
        let sent = tokio::time::timeout(Duration::from_secs(SEND_SECONDS_MAX), sending.send(mail)).await;
        match sent {
            Ok(Ok(_)) => Ok(Some(earlier.cloned().unwrap_or_else(|| Posted::new(id)))),
            Ok(Err(error)) => Err(told(&error, host)),
            Err(_) => {
                Err(PortError::timed_out(format!("{host} does not answer within {SEND_SECONDS_MAX} s")))
            }
        }
    }

    async fn check(&self) -> Check {
        let name = self.name();
        let bound = Duration::from_secs(ANSWER_SECONDS_MAX);
        let asked = async {
            self.addresses()?;
            let connected = self.transport()?.test_connection().await;
            connected.map_err(|error| told(&error, &self.email.host))
        };
        let late = || PortError::timed_out(format!("no answer within {ANSWER_SECONDS_MAX} s"));
        match tokio::time::timeout(bound, asked).await.unwrap_or_else(|_| Err(late())) {
            Ok(true) => Check::ok(name, "the server takes mail, and the login where there is one"),
            Ok(false) => Check::bad(name, "the server does not take mail now", "look at its log"),
            Err(error) => {
                let mend = error.hints().joined().unwrap_or_else(|| "mend it under `notify`".to_owned());
                Check::bad(name, error.message, mend)
            }
        }
    }
}

/// The same for the same message, so that a server or reader that hears it twice can know.
fn id(message: &Message, host: &str) -> String {
    let (kind, at) = (message.kind.as_str(), message.at.0);
    match message.run {
        Some(run) => format!("<{run}.{kind}@lockgate.{host}>"),
        None => format!("<{}.{}.{at}.{kind}@lockgate.{host}>", message.service, message.environment),
    }
}

/// The server's words are not repeated: it may echo what it was told.
fn told(error: &lettre::transport::smtp::Error, host: &str) -> PortError {
    if let Some(code) = error.status().map(u16::from) {
        let said = format!("{host} answers {code}");
        return match code {
            530 | 534 | 535 | 538 => PortError::new(FailureKind::Unauthorized, said).hint(
                "look at `user` and `password`; many servers want a password of its own for each program",
            ),
            550..=553 => PortError::new(FailureKind::Refused, said)
                .hint("the server does not take mail from this sender, or for one of the receivers"),
            400..=499 => PortError::unreachable(said).hint("the server takes no mail now: see its log"),
            _ => PortError::other(said).hint("the server does not want this mail: see its log"),
        };
    }
    let causes = causes(error);
    let cause = causes.last().map(ToString::to_string).unwrap_or_default();
    if error.is_timeout() {
        return PortError::timed_out(format!("{host} does not answer"));
    }
    if error.is_tls() || causes.iter().any(|cause| cause.is::<rustls::Error>()) {
        let hint = "`smtps://` is TLS from the first byte on, `smtp://` STARTTLS; the certificate must be one that this machine trusts";
        return PortError::new(FailureKind::Refused, format!("no encrypted connection to {host}: {cause}"))
            .hint(hint);
    }
    PortError::unreachable(format!("cannot talk to {host}: {cause}")).hint("look at `smtp` under `notify`")
}
