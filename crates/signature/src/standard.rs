//! Standard Webhooks' way: the HMAC of `id.time.body`, in base64.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::Mac;

use crate::SigningSecret;

/// Which message it is: the same in every attempt to deliver it.
pub const ID_HEADER: &str = "webhook-id";
/// When this attempt was made, in seconds since 1970.
pub const TIMESTAMP_HEADER: &str = "webhook-timestamp";
/// `v1,` and the base64 of the HMAC; several with spaces between them.
pub const SIGNATURE_HEADER: &str = "webhook-signature";
/// Longest id, in bytes.
pub const ID_BYTES_MAX: usize = 200;
/// The year 9999 has as many.
const TIMESTAMP_DIGITS_MAX: usize = 12;

/// Which message a call is, and when it was sent. Checked when made.
///
/// An id has letters, digits, `_`, `-` and `:` alone: with a full stop in it `a.1` sent at 2 would be signed as `a` sent at 1
/// with `2.` before its body, and with a brace a body that GitHub signed could be read as an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    id: &'a str,
    /// As it was written, for that is what is signed.
    time: &'a str,
    seconds: i64,
}

/// Why an id and a time make no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadMessage {
    /// See [`Message`].
    #[error("an id is 1 to {ID_BYTES_MAX} letters, digits, '_', '-' and ':'")]
    Id,
    /// No digits, more than twelve, or something else among them.
    #[error("a time is seconds since 1970, at most {TIMESTAMP_DIGITS_MAX} digits")]
    Time,
}

impl<'a> Message<'a> {
    /// From the values of [`ID_HEADER`] and [`TIMESTAMP_HEADER`].
    ///
    /// # Errors
    /// [`BadMessage`], which says what is allowed.
    pub fn new(id: &'a str, time: &'a str) -> Result<Self, BadMessage> {
        let may = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b':');
        if id.is_empty() || id.len() > ID_BYTES_MAX || !id.bytes().all(may) {
            return Err(BadMessage::Id);
        }
        let digits = time.len() <= TIMESTAMP_DIGITS_MAX && time.bytes().all(|byte| byte.is_ascii_digit());
        let seconds = time.parse().ok().filter(|_| digits).ok_or(BadMessage::Time)?;
        Ok(Self { id, time, seconds })
    }

    /// The sender's name for it.
    #[must_use]
    pub fn id(&self) -> &'a str {
        self.id
    }

    /// When it was sent, in seconds since 1970, by the sender's clock.
    #[must_use]
    pub fn seconds(&self) -> i64 {
        self.seconds
    }
}

impl SigningSecret {
    /// The value of [`SIGNATURE_HEADER`] for the very bytes of a body: `v1,` and 44 characters of base64.
    #[must_use]
    pub fn sign_standard(&self, message: &Message<'_>, body: &[u8]) -> String {
        let parts: [&[u8]; 5] = [message.id.as_bytes(), b".", message.time.as_bytes(), b".", body];
        let sum = parts.into_iter().fold(self.standard(), Mac::chain_update).finalize().into_bytes();
        format!("v1,{}", STANDARD.encode(sum))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example in Standard Webhooks' specification of its libraries.
    #[test]
    fn the_standards_own_example_comes_out() {
        let secret = SigningSecret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let message = Message::new("msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330").unwrap();
        assert_eq!(
            secret.sign_standard(&message, b"{\"test\": 2432232314}"),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
    }

    #[test]
    fn an_id_and_a_time_are_what_they_must_be() {
        let message = Message::new("msg_2KWPBgLlAfxdpx2AI54pPJ85f4W", "1674087231").unwrap();
        assert_eq!((message.id(), message.seconds()), ("msg_2KWPBgLlAfxdpx2AI54pPJ85f4W", 1_674_087_231));
        for id in ["", "a.b", "a b", "{", "é", "a\n", &"x".repeat(201)] {
            assert_eq!(Message::new(id, "1"), Err(BadMessage::Id), "{id:?}");
        }
        for time in ["", "-1", "+1", " 1", "1.5", "1e9", "9999999999999", "99999999999999999999", "١"] {
            assert_eq!(Message::new("a", time), Err(BadMessage::Time), "{time:?}");
        }
    }
}
