//! Unix sockets.

use std::os::unix::fs::PermissionsExt;

use lockgate_model::{ListenAt, Serve};
use lockgate_server::{Listeners, ServeError};
use lockgate_sockets::Listener;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;

use crate::support::{Setup, rest, start};

fn at(path: &std::path::Path) -> Serve {
    let listen = vec![ListenAt::Unix(path.to_owned())];
    Serve { listen, tls: None, plain_http: false, endpoints: Default::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_for_the_group_replaces_what_nobody_listens_at_and_goes_with_the_server() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("serve.sock");
    // As a process leaves it that was killed.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let server = start(Setup { listen: at(&path).listen, ..Setup::default() }).await;
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o660);
    let mut stream = UnixStream::connect(&path).await.unwrap();
    stream
        .write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc")
        .await
        .unwrap();
    assert!(rest(&mut stream).await.ends_with("3 bytes from unix"));
    // Somebody who lives is not pushed aside.
    let error = Listeners::open(&at(&path), Vec::new(), false).unwrap_err();
    assert!(
        matches!(&error, ServeError::Listen { .. }) && error.to_string().contains("somebody listens there"),
        "{error}"
    );
    server.stop().await;
    assert!(!path.exists());
}

#[tokio::test]
async fn a_file_that_is_no_socket_stays() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data");
    std::fs::write(&path, "precious").unwrap();
    let error = Listeners::open(&at(&path), Vec::new(), false).unwrap_err();
    assert!(error.to_string().contains("a file that is no socket"), "{error}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
}

/// A successor takes what is still configured, binds what is new, and lets go the rest; a service manager's sockets are
/// all taken, but not for plain HTTP that others can reach.
#[tokio::test]
async fn sockets_that_were_passed_on_are_matched_with_the_configuration() {
    let bound = |text: &str| Listener::Tcp(std::net::TcpListener::bind(text).unwrap());
    let address = |listener: &Listener| match listener {
        Listener::Tcp(listener) => ListenAt::Tcp(listener.local_addr().unwrap()),
        Listener::Unix(_) => panic!("not by TCP"),
    };
    let dir = tempfile::tempdir().unwrap();
    let new = ListenAt::Unix(dir.path().join("new.sock"));
    let (kept, dropped) = (bound("127.0.0.1:0"), bound("127.0.0.2:0"));
    let (kept_at, dropped_at) = (address(&kept), address(&dropped));
    let any = ListenAt::Tcp("127.0.0.1:0".parse().unwrap());
    let serve = |listen: &[&ListenAt]| Serve {
        listen: listen.iter().map(|place| (*place).clone()).collect(),
        tls: None,
        plain_http: false,
        endpoints: Default::default(),
    };
    let taken = Listeners::open(&serve(&[&any, &new]), vec![kept, dropped], true).unwrap();
    let mut places = taken.places();
    places.sort();
    assert_eq!(places, [kept_at, new.clone()]);
    let ListenAt::Tcp(dropped_at) = dropped_at else { panic!() };
    assert!(tokio::net::TcpStream::connect(dropped_at).await.is_err());

    let (first, second) = (bound("127.0.0.1:0"), bound("127.0.0.2:0"));
    let both = [address(&first), address(&second)];
    assert_eq!(Listeners::open(&serve(&[&new]), vec![first, second], false).unwrap().places(), both);
    let open = Listeners::open(&serve(&[&new]), vec![bound("0.0.0.0:0")], false).unwrap_err();
    assert!(matches!(open, ServeError::PlainHttp { .. }), "{open}");
}
