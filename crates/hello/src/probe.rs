//! The health check of an image that has no shell and no curl: `HEALTHCHECK CMD ["/hello", "--probe"]`.

use crate::options::HelloOptions;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// A probe that takes longer has failed.
const PROBE_SECONDS_MAX: u64 = 5;

/// Asks the app that runs with the same options for `/health`; anything but 200 is an error that says what came.
pub fn probe(options: &HelloOptions) -> io::Result<()> {
    let host = if options.host.is_unspecified() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { options.host };
    let address = SocketAddr::from((host, options.effective_port()));
    let limit = Duration::from_secs(PROBE_SECONDS_MAX);
    let mut stream = TcpStream::connect_timeout(&address, limit)?;
    stream.set_read_timeout(Some(limit))?;
    stream.set_write_timeout(Some(limit))?;
    write!(stream, "GET /health HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut status = String::new();
    BufReader::new(stream).read_line(&mut status)?;
    match status.split(' ').nth(1) {
        Some("200") => Ok(()),
        _ => Err(io::Error::other(format!("{address}/health answered {}", status.trim_end()))),
    }
}
