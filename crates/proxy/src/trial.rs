//! One question to an address by the proxy itself, before it gets users: this process may live in another view of the
//! network than whoever deploys.

use std::io;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderName, HeaderValue};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use crate::pool::Dial;
use crate::wire::{ErrorKind, ErrorView, TryRequest, TryView};

/// How long the address may take to accept a connection.
const CONNECT_SECONDS_MAX: u64 = 3;
/// How long it may then take to begin its answer, which says nothing about whether it is reached.
const ANSWER_SECONDS_MAX: u64 = 4;
const HEADERS_MAX: usize = 64;

/// # Errors
/// `Invalid` for what is no address or no request.
pub(crate) async fn try_out(wanted: TryRequest) -> Result<TryView, ErrorView> {
    let invalid = |why: String| ErrorView::new(ErrorKind::Invalid, why);
    let dial = Dial::parse(&wanted.dial).map_err(invalid)?;
    let request = request(&wanted).map_err(invalid)?;
    let asked = match dial {
        Dial::Tcp(host, port) => ask(TcpStream::connect((host, port)), request).await,
        Dial::Unix(path) => ask(UnixStream::connect(path), request).await,
    };
    Ok(match asked {
        Ok(status) => TryView { reached: true, status: status.map(|status| status.as_u16()), why: None },
        Err(why) => TryView { reached: false, status: None, why: Some(why) },
    })
}

fn request(wanted: &TryRequest) -> Result<Request<Empty<Bytes>>, String> {
    if wanted.headers.len() > HEADERS_MAX {
        return Err(format!("more than {HEADERS_MAX} headers"));
    }
    let target: Uri = wanted.target.parse().map_err(|_| "the target is no path".to_owned())?;
    let mut request = Request::new(Empty::new());
    *request.uri_mut() = target;
    for (name, value) in &wanted.headers {
        let (name, value) = (name.parse::<HeaderName>(), HeaderValue::from_str(value));
        let (Ok(name), Ok(value)) = (name, value) else { return Err("a header is none".to_owned()) };
        request.headers_mut().insert(name, value);
    }
    if !request.headers().contains_key(HOST) {
        let host = HeaderValue::from_str(&wanted.dial).unwrap_or(HeaderValue::from_static("localhost"));
        request.headers_mut().insert(HOST, host);
    }
    Ok(request)
}

/// `None`: it accepted the connection and did not answer, or not by HTTP. `Err`: why there is no connection.
async fn ask<S>(
    connecting: impl Future<Output = io::Result<S>>,
    request: Request<Empty<Bytes>>,
) -> Result<Option<StatusCode>, String>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let connected = tokio::time::timeout(Duration::from_secs(CONNECT_SECONDS_MAX), connecting).await;
    let late = |_| format!("it does not accept a connection within {CONNECT_SECONDS_MAX} s");
    let stream = connected.map_err(late)?.map_err(|error| error.to_string())?;
    let exchange = async {
        let (mut requests, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
        let mut answer = pin!(requests.send_request(request));
        let answer = tokio::select! {
            biased;
            answer = answer.as_mut() => answer,
            // It may have ended behind the answer.
            _ = connection => answer.await,
        };
        answer.ok().map(|answer| answer.status())
    };
    Ok(tokio::time::timeout(Duration::from_secs(ANSWER_SECONDS_MAX), exchange).await.ok().flatten())
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    fn wanted(dial: &str) -> TryRequest {
        let headers = vec![("host".to_owned(), "shop.example".to_owned())];
        TryRequest { dial: dial.to_owned(), target: "/health?x=1".into(), headers }
    }

    #[tokio::test]
    async fn an_address_that_answers_is_reached_and_sees_the_question() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let dial = listener.local_addr().unwrap().to_string();
        let app = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            stream.write_all(b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n").await.unwrap();
            String::from_utf8(head).unwrap()
        });
        let view = try_out(wanted(&dial)).await.unwrap();
        assert_eq!(view, TryView { reached: true, status: Some(503), why: None });
        let head = app.await.unwrap();
        assert!(
            head.starts_with("GET /health?x=1 HTTP/1.1\r\n") && head.contains("host: shop.example"),
            "{head}"
        );
    }

    #[tokio::test]
    async fn where_nobody_listens_or_no_name_leads_it_says_why() {
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
        for dial in [free.as_str(), "nobody.invalid:80", "unix:/nowhere/app.sock"] {
            let view = try_out(wanted(dial)).await.unwrap();
            assert!(!view.reached && view.why.is_some_and(|why| !why.is_empty()), "{dial}");
        }
        for (dial, target) in [("nonsense", "/"), ("127.0.0.1:1", "no path")] {
            let refused = try_out(TryRequest { target: target.into(), ..wanted(dial) }).await.unwrap_err();
            assert_eq!(refused.kind, ErrorKind::Invalid);
        }
    }
}
