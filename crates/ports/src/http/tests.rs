use std::error::Error;

use async_trait::async_trait;
use lockgate_model::HostId;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::*;
use crate::{Command, Effect, Ended, HostFile, HostStream, LineSink, Output, Swapped, Upload, Uploaded};

/// What stands at the other end.
#[derive(Clone, Copy, PartialEq)]
enum Other {
    Nobody,
    /// It takes the request and says nothing.
    Silent,
    /// It takes the request and hangs up.
    HangsUp,
    /// It had hung up before anything was sent.
    HadHungUp,
    /// It never lets anybody connect.
    NeverConnects,
    NoHttp,
}

struct Line(Other, HostId);

#[async_trait]
impl Host for Line {
    fn id(&self) -> &HostId {
        &self.1
    }

    async fn connect(&self, _: &Endpoint, _: Millis) -> Result<Box<dyn HostStream>, PortError> {
        match self.0 {
            Other::Nobody => return Err(PortError::unreachable("nobody listens").without_effect()),
            Other::NeverConnects => std::future::pending().await,
            _ => {}
        }
        let (ours, theirs) = tokio::io::duplex(4096);
        match self.0 {
            Other::HadHungUp => drop(theirs),
            other => drop(tokio::spawn(answer(other, theirs))),
        }
        Ok(Box::new(ours))
    }

    async fn exec(&self, _: &Command) -> Result<Output, PortError> {
        unreachable!("only connected to")
    }

    async fn exec_lines(&self, _: &Command, _: &mut dyn LineSink) -> Result<Ended, PortError> {
        unreachable!("only connected to")
    }

    async fn read(&self, _: &str) -> Result<HostFile, PortError> {
        unreachable!("only connected to")
    }

    async fn read_own(&self, _: &str) -> Result<HostFile, PortError> {
        unreachable!("only connected to")
    }

    async fn write(&self, _: &str, _: &[u8], _: u32) -> Result<(), PortError> {
        unreachable!("only connected to")
    }

    async fn write_own(&self, _: &str, _: &[u8], _: u32) -> Result<(), PortError> {
        unreachable!("only connected to")
    }

    async fn upload(&self, _: Upload<'_>) -> Result<Uploaded, PortError> {
        unreachable!("only connected to")
    }

    async fn names(&self, _: &str, _: &str) -> Result<Vec<String>, PortError> {
        unreachable!("only connected to")
    }

    async fn remove(&self, _: &str) -> Result<(), PortError> {
        unreachable!("only connected to")
    }

    async fn swap(&self, _: &str, _: Option<&[u8]>, _: &[u8]) -> Result<Swapped, PortError> {
        unreachable!("only connected to")
    }

    async fn disk_free_mib(&self, _: &str) -> Result<u64, PortError> {
        unreachable!("only connected to")
    }
}

async fn answer(other: Other, mut stream: DuplexStream) {
    let mut heard = [0; 4096];
    assert!(stream.read(&mut heard).await.unwrap() > 0, "a request");
    match other {
        Other::Silent => std::future::pending().await,
        Other::NoHttp => stream.write_all(b"220 smtp.example.com\r\n").await.unwrap(),
        _ => {}
    }
}

async fn failing(other: Other, method: &'static str) -> PortError {
    let host = Line(other, HostId::new("web1").unwrap());
    let request = Request { method, ..Request::get("/x", Millis::from_secs(3)) };
    send(&host, &Endpoint::Tcp("127.0.0.1:1".into()), request).await.unwrap_err()
}

#[tokio::test(start_paused = true)]
async fn what_was_not_sent_or_only_looks_certainly_changed_nothing() {
    use FailureKind::{Other as Odd, TimedOut, Unreachable};
    let table = [
        (Other::Nobody, "PUT", Unreachable, Effect::None),
        (Other::NeverConnects, "PUT", TimedOut, Effect::None),
        (Other::HadHungUp, "POST", Unreachable, Effect::None),
        (Other::HangsUp, "PATCH", Unreachable, Effect::Unknown),
        (Other::HangsUp, "GET", Unreachable, Effect::None),
        (Other::Silent, "PUT", TimedOut, Effect::Unknown),
        (Other::Silent, "HEAD", TimedOut, Effect::None),
        (Other::NoHttp, "DELETE", Odd, Effect::Unknown),
        (Other::NoHttp, "GET", Odd, Effect::None),
    ];
    for (index, (other, method, kind, effect)) in table.into_iter().enumerate() {
        let error = failing(other, method).await;
        assert_eq!((error.kind, error.effect()), (kind, effect), "row {index}: {error}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_broke_the_connection_is_kept() {
    let error = failing(Other::HangsUp, "PUT").await;
    assert!(error.source().is_some_and(|cause| cause.is::<hyper::Error>()), "{error:?}");
}

#[test]
fn retry_after_is_seconds_or_a_date_by_the_answer_s_own_clock() {
    for (asked, date, wanted) in [
        (Some("3"), None, Some(3)),
        (Some(" 0 "), None, Some(0)),
        (Some("99999999999999999999"), None, Some(u64::MAX)),
        (Some("Thu, 26 Nov 2026 17:00:07 GMT"), Some("Thu, 26 Nov 2026 17:00:00 GMT"), Some(7)),
        (Some("Thu, 26 Nov 2026 16:00:00 GMT"), Some("Thu, 26 Nov 2026 17:00:00 GMT"), Some(0)),
        (Some("Thu, 26 Nov 2026 17:00:07 GMT"), None, None),
        (Some("-1"), None, None),
        (Some("soon"), Some("later"), None),
        (Some(""), None, None),
        (None, None, None),
    ] {
        let headers = [("retry-after", asked), ("date", date)];
        let headers =
            headers.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())));
        let answer = Answer { status: 429, headers: headers.collect(), ..Answer::default() };
        let seen = answer.retry_after().map(|wait| wait.as_secs());
        assert_eq!(seen, wanted, "{asked:?} {date:?}");
    }
}
