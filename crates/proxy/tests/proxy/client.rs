//! Clients: one connection each, and the admin interface.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use lockgate_proxy::{ErrorView, InFlight, RouteSpec, RouteView, StatusView};
use serde::de::DeserializeOwned;
use tokio::net::{TcpStream, UnixStream};

pub type Body = Full<Bytes>;

pub fn get(path: &str) -> Request<Body> {
    Request::builder().uri(path).header("host", "app.example").body(Body::default()).unwrap()
}

pub fn post(path: &str, body: impl Into<Bytes>) -> Request<Body> {
    let builder = Request::builder().method(Method::POST).uri(path).header("host", "app.example");
    builder.body(Full::new(body.into())).unwrap()
}

pub async fn text(response: Response<Incoming>) -> Result<(StatusCode, String), hyper::Error> {
    let status = response.status();
    let bytes = response.into_body().collect().await?.to_bytes();
    Ok((status, String::from_utf8_lossy(&bytes).into_owned()))
}

/// A new keep-alive connection.
pub async fn connect(address: SocketAddr) -> std::io::Result<SendRequest<Body>> {
    let stream = TcpStream::connect(address).await?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(std::io::Error::other)?;
    tokio::spawn(connection.with_upgrades());
    Ok(sender)
}

/// One request on a connection of its own.
pub async fn once(address: SocketAddr, request: Request<Body>) -> (StatusCode, String) {
    let mut sender = connect(address).await.unwrap();
    text(sender.send_request(request).await.unwrap()).await.unwrap()
}

/// A WebSocket-like connection to `/socket`.
pub async fn socket(address: SocketAddr) -> TokioIo<hyper::upgrade::Upgraded> {
    let mut request = get("/socket");
    request.headers_mut().insert("connection", "Upgrade".parse().unwrap());
    request.headers_mut().insert("upgrade", "websocket".parse().unwrap());
    let mut sender = connect(address).await.unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    TokioIo::new(hyper::upgrade::on(response).await.unwrap())
}

/// The admin interface of the proxy in a folder.
#[derive(Clone)]
pub struct Admin(PathBuf);

impl Admin {
    pub fn of(dir: &Path) -> Self {
        Self(dir.join("admin.sock"))
    }

    pub async fn raw(
        &self,
        method: Method,
        path: &str,
        header: Option<(&str, &str)>,
        body: Vec<u8>,
    ) -> Result<(StatusCode, String), String> {
        let stream = UnixStream::connect(&self.0).await.map_err(|error| error.to_string())?;
        let shaken = handshake::<_, Body>(TokioIo::new(stream)).await;
        let (mut sender, connection) = shaken.map_err(|error| error.to_string())?;
        tokio::spawn(connection);
        let builder = Request::builder().method(method).uri(path).header("host", "admin");
        let builder = header.into_iter().fold(builder, |builder, (name, value)| builder.header(name, value));
        let request = builder.body(Full::from(body)).unwrap();
        let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
        text(response).await.map_err(|error| error.to_string())
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        header: Option<(&str, &str)>,
        body: Vec<u8>,
    ) -> Result<T, (StatusCode, ErrorView)> {
        let (status, text) = self.raw(method, path, header, body).await.expect("the admin interface answers");
        if status.is_success() {
            Ok(serde_json::from_str(&text).unwrap())
        } else {
            Err((status, serde_json::from_str(&text).unwrap()))
        }
    }

    pub async fn status(&self) -> StatusView {
        self.call(Method::GET, "/v1/status", None, Vec::new()).await.unwrap()
    }

    pub async fn route(&self, id: &str) -> RouteView {
        self.call(Method::GET, &format!("/v1/routes/{id}"), None, Vec::new()).await.unwrap()
    }

    pub async fn in_flight(&self, id: &str, slot: &str) -> InFlight {
        self.route(id).await.in_flight.get(slot).copied().unwrap_or_default()
    }

    pub async fn try_put(
        &self,
        id: &str,
        spec: &RouteSpec,
        header: Option<(&str, &str)>,
    ) -> Result<RouteView, (StatusCode, ErrorView)> {
        let body = serde_json::to_vec(spec).unwrap();
        self.call(Method::PUT, &format!("/v1/routes/{id}"), header, body).await
    }

    pub async fn put(&self, id: &str, spec: &RouteSpec) -> RouteView {
        self.try_put(id, spec, None).await.unwrap()
    }

    pub async fn delete(&self, id: &str, if_match: &str) -> Result<RouteView, (StatusCode, ErrorView)> {
        self.call(Method::DELETE, &format!("/v1/routes/{id}"), Some(("if-match", if_match)), Vec::new()).await
    }
}
