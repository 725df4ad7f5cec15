//! Whether a call is signed.

use std::str;

use subtle::{Choice, ConstantTimeEq};

use crate::github::GITHUB_HEADER;
use crate::secret::{SigningSecret, SigningSecrets};
use crate::standard::{BadMessage, ID_HEADER, Message, SIGNATURE_HEADER, TIMESTAMP_HEADER};

/// Longest list of signatures that is looked at, in bytes: some twenty of them.
const LIST_BYTES_MAX: usize = 1024;

/// One header of a call, as it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Header<'a> {
    /// It is not there.
    #[default]
    Absent,
    /// There once, with this value.
    Once(&'a [u8]),
    /// There more than once: which one is meant cannot be told.
    Repeated,
}

impl<'a> Header<'a> {
    /// From all values that came under its name.
    pub fn of(values: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut values = values.into_iter();
        match (values.next(), values.next()) {
            (None, _) => Header::Absent,
            (Some(value), None) => Header::Once(value),
            (Some(_), Some(_)) => Header::Repeated,
        }
    }
}

/// The headers of a call that say who it is from.
#[derive(Debug, Clone, Copy, Default)]
pub struct Headers<'a> {
    /// [`GITHUB_HEADER`].
    pub github: Header<'a>,
    /// [`ID_HEADER`].
    pub id: Header<'a>,
    /// [`TIMESTAMP_HEADER`].
    pub timestamp: Header<'a>,
    /// [`SIGNATURE_HEADER`].
    pub signature: Header<'a>,
}

/// What a valid signature says beside whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// `None` with GitHub's signature alone, which is over the body and nothing else.
    pub message: Option<SignedMessage>,
}

/// A [`Message`] that was signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedMessage {
    /// The sender's name for it: see [`Message::id`].
    pub id: String,
    /// When it was sent, in seconds since 1970, by the sender's clock.
    pub seconds: i64,
}

/// Why a call is not signed: for the log and the audit. Whoever called is told none of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unsigned {
    /// No signature at all.
    #[error("no signature")]
    Missing,
    /// Only GitHub's signature by SHA-1, which proves nothing any more.
    #[error("x-hub-signature alone, which is SHA-1: {GITHUB_HEADER} is wanted")]
    Sha1,
    /// A header that belongs to a signature is there more than once.
    #[error("{0} is there more than once")]
    Repeated(&'static str),
    /// A part of a signature is missing.
    #[error(
        "{0} is missing: {ID_HEADER}, {TIMESTAMP_HEADER} and {SIGNATURE_HEADER} come together or not at all, also beside {GITHUB_HEADER}"
    )]
    Incomplete(&'static str),
    /// A header has not the form that it must have.
    #[error("{0} has not the form of one")]
    Malformed(&'static str),
    /// None of the secrets makes this signature of this body.
    #[error("{0} is not ours: another secret, or another body")]
    Wrong(&'static str),
}

impl SigningSecrets {
    /// Whether a call with these headers and these very bytes as its body is signed by one of the secrets. Every signature that
    /// is there must be valid. It takes the same time whatever is wrong: the sums are made for every secret in any case.
    ///
    /// # Errors
    /// [`Unsigned`].
    pub fn verify(&self, headers: &Headers<'_>, body: &[u8]) -> Result<Signed, Unsigned> {
        let github = github(headers);
        let standard = standard(headers);
        // What is summed up where there is nothing to compare with.
        let other = Message::new("none", "0").map_err(|_| Unsigned::Missing)?;
        let (message, list) = match &standard {
            Ok(Some((message, list))) => (*message, *list),
            Ok(None) | Err(_) => (other, ""),
        };
        let given = github.ok().flatten().unwrap_or_default();
        let (mut by_github, mut by_standard) = (Choice::from(0), Choice::from(0));
        for secret in self.iter() {
            by_github |= secret.sign_github(body).as_bytes().ct_eq(given);
            by_standard |= is_listed(secret, &message, body, list);
        }
        let (github, standard) = (github?, standard?);
        if github.is_some() && !bool::from(by_github) {
            return Err(Unsigned::Wrong(GITHUB_HEADER));
        }
        if standard.is_some() && !bool::from(by_standard) {
            return Err(Unsigned::Wrong(SIGNATURE_HEADER));
        }
        match (github, standard) {
            (None, None) => Err(Unsigned::Missing),
            (_, standard) => Ok(Signed { message: standard.map(|(message, _)| signed(&message)) }),
        }
    }
}

fn signed(message: &Message<'_>) -> SignedMessage {
    SignedMessage { id: message.id().to_owned(), seconds: message.seconds() }
}

fn is_listed(secret: &SigningSecret, message: &Message<'_>, body: &[u8], list: &str) -> Choice {
    let ours = secret.sign_standard(message, body);
    list.split(' ').fold(Choice::from(0), |found, one| found | ours.as_bytes().ct_eq(one.as_bytes()))
}

/// The value of GitHub's header; `None` without one.
fn github<'a>(headers: &Headers<'a>) -> Result<Option<&'a [u8]>, Unsigned> {
    let Some(value) = once(headers.github, GITHUB_HEADER)? else { return Ok(None) };
    let digits = value.strip_prefix(b"sha256=").ok_or(Unsigned::Malformed(GITHUB_HEADER))?;
    match digits.len() == 64 && digits.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')) {
        true => Ok(Some(value)),
        false => Err(Unsigned::Malformed(GITHUB_HEADER)),
    }
}

/// The message and its list of signatures; `None` without any of the three headers.
fn standard<'a>(headers: &Headers<'a>) -> Result<Option<(Message<'a>, &'a str)>, Unsigned> {
    let all = [
        (headers.id, ID_HEADER),
        (headers.timestamp, TIMESTAMP_HEADER),
        (headers.signature, SIGNATURE_HEADER),
    ];
    if all.iter().all(|(header, _)| *header == Header::Absent) {
        return Ok(None);
    }
    let text = |(header, name): (Header<'a>, &'static str)| {
        let value = once(header, name)?.ok_or(Unsigned::Incomplete(name))?;
        str::from_utf8(value).map_err(|_| Unsigned::Malformed(name))
    };
    let [id, timestamp, signature] = all;
    let (id, timestamp, list) = (text(id)?, text(timestamp)?, text(signature)?);
    let message = Message::new(id, timestamp).map_err(|bad| match bad {
        BadMessage::Id => Unsigned::Malformed(ID_HEADER),
        BadMessage::Time => Unsigned::Malformed(TIMESTAMP_HEADER),
    })?;
    match list.len() {
        1..=LIST_BYTES_MAX => Ok(Some((message, list))),
        _ => Err(Unsigned::Malformed(SIGNATURE_HEADER)),
    }
}

fn once<'a>(header: Header<'a>, name: &'static str) -> Result<Option<&'a [u8]>, Unsigned> {
    match header {
        Header::Absent => Ok(None),
        Header::Once(value) => Ok(Some(value)),
        Header::Repeated => Err(Unsigned::Repeated(name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = b"{\"image_sha\":\"1111111111111111111111111111111111111111\"}";
    const NEW: &str = "the secret of today";
    const OLD: &str = "the secret of last month";

    fn secrets() -> SigningSecrets {
        SigningSecrets::new([NEW, OLD]).unwrap()
    }

    fn signs(text: &str) -> SigningSecret {
        SigningSecret::new(text).unwrap()
    }

    fn github_alone(value: &[u8]) -> Result<Signed, Unsigned> {
        secrets().verify(&Headers { github: Header::Once(value), ..Headers::default() }, BODY)
    }

    #[test]
    fn every_secret_signs_and_no_other_one() {
        for secret in [NEW, OLD] {
            assert_eq!(
                github_alone(signs(secret).sign_github(BODY).as_bytes()),
                Ok(Signed { message: None })
            );
        }
        let wrong = signs("another service's secret").sign_github(BODY);
        assert_eq!(github_alone(wrong.as_bytes()), Err(Unsigned::Wrong(GITHUB_HEADER)));
        let spaced =
            signs(NEW).sign_github(b"{ \"image_sha\": \"1111111111111111111111111111111111111111\" }");
        assert_eq!(
            github_alone(spaced.as_bytes()),
            Err(Unsigned::Wrong(GITHUB_HEADER)),
            "the same JSON, other bytes"
        );
    }

    #[test]
    fn a_signature_in_any_other_spelling_is_refused() {
        let good = signs(NEW).sign_github(BODY);
        let hex = &good["sha256=".len()..];
        let long = format!("sha256={}", "a".repeat(10_000));
        for odd in [
            "",
            "sha256=",
            hex,
            &good[..good.len() - 1],
            &format!("{good}0"),
            &format!("{good} "),
            &format!(" {good}"),
            &format!("sha256={}", hex.to_uppercase()),
            &format!("SHA256={hex}"),
            &format!("sha1={}", &hex[..40]),
            &format!("sha512={hex}{hex}"),
            &format!("sha256={}", "g".repeat(64)),
            &format!("{good},{good}"),
            &long,
        ] {
            assert_eq!(github_alone(odd.as_bytes()), Err(Unsigned::Malformed(GITHUB_HEADER)), "{odd:?}");
        }
        assert_eq!(github_alone(b"sha256=\xff\xfe"), Err(Unsigned::Malformed(GITHUB_HEADER)));
    }

    #[test]
    fn a_header_that_is_missing_or_there_twice_signs_nothing() {
        let good = signs(NEW).sign_github(BODY);
        assert_eq!(secrets().verify(&Headers::default(), BODY), Err(Unsigned::Missing));
        assert_eq!(Header::of([good.as_bytes(), good.as_bytes()]), Header::Repeated);
        let twice = Headers { github: Header::Repeated, ..Headers::default() };
        assert_eq!(secrets().verify(&twice, BODY), Err(Unsigned::Repeated(GITHUB_HEADER)));

        let message = Message::new("msg_1", "1700000000").unwrap();
        let list = signs(NEW).sign_standard(&message, BODY);
        let whole = Headers {
            github: Header::Absent,
            id: Header::Once(b"msg_1"),
            timestamp: Header::Once(b"1700000000"),
            signature: Header::Once(list.as_bytes()),
        };
        assert_eq!(secrets().verify(&whole, BODY), Ok(Signed { message: Some(signed(&message)) }));
        for (without, name) in [
            (Headers { id: Header::Absent, ..whole }, ID_HEADER),
            (Headers { timestamp: Header::Absent, ..whole }, TIMESTAMP_HEADER),
            (Headers { signature: Header::Absent, ..whole }, SIGNATURE_HEADER),
        ] {
            assert_eq!(secrets().verify(&without, BODY), Err(Unsigned::Incomplete(name)));
        }
        for (twice, name) in [
            (Headers { id: Header::Repeated, ..whole }, ID_HEADER),
            (Headers { timestamp: Header::Repeated, ..whole }, TIMESTAMP_HEADER),
            (Headers { signature: Header::Repeated, ..whole }, SIGNATURE_HEADER),
        ] {
            assert_eq!(secrets().verify(&twice, BODY), Err(Unsigned::Repeated(name)));
        }
    }

    #[test]
    fn the_id_and_the_time_are_signed_with_the_body() {
        let message = Message::new("msg_1", "1700000000").unwrap();
        let list = signs(OLD).sign_standard(&message, BODY);
        let verify = |id: &[u8], time: &[u8], list: &str| {
            let headers = Headers {
                github: Header::Absent,
                id: Header::Once(id),
                timestamp: Header::Once(time),
                signature: Header::Once(list.as_bytes()),
            };
            secrets().verify(&headers, BODY).map(|signed| signed.message.is_some())
        };
        assert_eq!(verify(b"msg_1", b"1700000000", &list), Ok(true));
        assert_eq!(verify(b"msg_1", b"1700000000", &format!("v1a,abc v1,xyz {list}")), Ok(true));
        let wrong = Err(Unsigned::Wrong(SIGNATURE_HEADER));
        assert_eq!(verify(b"msg_2", b"1700000000", &list), wrong);
        assert_eq!(verify(b"msg_1", b"1700000001", &list), wrong);
        assert_eq!(verify(b"msg_1", b"01700000000", &list), wrong, "as it was written");
        for odd in
            [&list["v1,".len()..], &list[..list.len() - 1], &list.to_uppercase(), &format!("v1,{list}")]
        {
            assert_eq!(verify(b"msg_1", b"1700000000", odd), wrong, "{odd:?}");
        }
        let malformed = Err(Unsigned::Malformed(SIGNATURE_HEADER));
        assert_eq!(verify(b"msg_1", b"1700000000", ""), malformed);
        assert_eq!(verify(b"msg_1", b"1700000000", &"v1,a ".repeat(500)), malformed);
        assert_eq!(verify(b"msg.1", b"1700000000", &list), Err(Unsigned::Malformed(ID_HEADER)));
        assert_eq!(
            verify(b"msg_1", b"99999999999999999999", &list),
            Err(Unsigned::Malformed(TIMESTAMP_HEADER))
        );
    }

    #[test]
    fn a_good_signature_does_not_make_up_for_a_bad_one() {
        let message = Message::new("msg_1", "1700000000").unwrap();
        let (good, list) = (signs(NEW).sign_github(BODY), signs(NEW).sign_standard(&message, BODY));
        let bad = signs(NEW).sign_github(b"another body");
        let both = Headers {
            github: Header::Once(good.as_bytes()),
            id: Header::Once(b"msg_1"),
            timestamp: Header::Once(b"1700000000"),
            signature: Header::Once(list.as_bytes()),
        };
        assert!(secrets().verify(&both, BODY).is_ok());
        let one_bad = Headers { github: Header::Once(bad.as_bytes()), ..both };
        assert_eq!(secrets().verify(&one_bad, BODY), Err(Unsigned::Wrong(GITHUB_HEADER)));
        let other_bad = Headers { signature: Header::Once(b"v1,AAAA"), ..both };
        assert_eq!(secrets().verify(&other_bad, BODY), Err(Unsigned::Wrong(SIGNATURE_HEADER)));
    }

    /// The quickest of several rounds, each way in turn, so that what else this machine does counts for nothing.
    #[test]
    fn it_takes_the_same_time_whatever_is_wrong() {
        let body = vec![b'x'; 1024 * 1024];
        let wrong = signs("another secret").sign_github(&body);
        let given = |value| Headers { github: Header::Once(value), ..Headers::default() };
        let ways = [Headers::default(), given(b"sha256=".as_slice()), given(wrong.as_bytes())];
        let mut quickest = [std::time::Duration::MAX; 3];
        for _ in 0..9 {
            for (way, quickest) in ways.iter().zip(&mut quickest) {
                let begun = std::time::Instant::now();
                assert!(secrets().verify(way, &body).is_err());
                *quickest = begun.elapsed().min(*quickest);
            }
        }
        let (least, most) = (quickest.iter().min().unwrap(), quickest.iter().max().unwrap());
        assert!(*most < *least * 3 / 2, "{quickest:?}");
    }

    /// Both ways sum with the same key, so what is signed must tell them apart: no id begins as a JSON object does.
    #[test]
    fn what_github_signed_is_no_message_and_the_other_way_round() {
        let body = b"{\"note\":\"1.1700000000.{}\"}";
        assert_eq!(Message::new("{\"note\":\"1", "1700000000"), Err(BadMessage::Id));
        let headers = Headers {
            github: Header::Absent,
            id: Header::Once(b"{\"note\":\"1"),
            timestamp: Header::Once(b"1700000000"),
            signature: Header::Once(b"v1,AAAA"),
        };
        assert_eq!(secrets().verify(&headers, body), Err(Unsigned::Malformed(ID_HEADER)));
    }
}
