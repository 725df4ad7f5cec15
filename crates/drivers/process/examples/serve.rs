//! A service for the tests: `serve NAME [PORT]` answers every request with NAME, on `$PORT` unless told otherwise.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};

fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().unwrap_or_default();
    let port = arguments.next().or_else(|| std::env::var("PORT").ok()).unwrap_or_default();
    let listener = TcpListener::bind(format!("127.0.0.1:{port}"))?;
    println!("{name} listens on {port}");
    for stream in listener.incoming() {
        if let Err(error) = answer(&stream?, &name) {
            eprintln!("a request broke off: {error}");
        }
    }
    Ok(())
}

fn answer(mut stream: &TcpStream, name: &str) -> std::io::Result<()> {
    for line in BufReader::new(stream).lines() {
        if line?.is_empty() {
            break;
        }
    }
    write!(stream, "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{name}", name.len())
}
