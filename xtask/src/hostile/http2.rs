//! As much HTTP/2 as it takes to be a nuisance: frames written by hand.

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const ACK: u8 = 1;
const END_STREAM_AND_HEADERS: u8 = 0x5;
const END_HEADERS: u8 = 0x4;
const INITIAL_WINDOW_SIZE: u16 = 4;

/// A frame as it goes over the wire.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// Preface and settings with this window for every stream.
pub fn open(window: u32) -> Vec<u8> {
    let mut payload = INITIAL_WINDOW_SIZE.to_be_bytes().to_vec();
    payload.extend(window.to_be_bytes());
    let mut bytes = PREFACE.to_vec();
    bytes.extend(frame(SETTINGS, 0, 0, &payload));
    bytes.extend(frame(SETTINGS, ACK, 0, &[]));
    bytes
}

/// A request without a body; a header block without Huffman and without the dynamic table.
pub fn get(stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, END_STREAM_AND_HEADERS, stream, &block(0x82, path))
}

/// The head of a request whose body follows.
pub fn post(stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, &block(0x83, path))
}

/// A part of a body, not the last.
pub fn data(stream: u32, bytes: &[u8]) -> Vec<u8> {
    frame(DATA, 0, stream, bytes)
}

fn block(method: u8, path: &str) -> Vec<u8> {
    let text = |name: u8, value: &str| {
        let mut bytes = vec![name, value.len() as u8];
        bytes.extend(value.as_bytes());
        bytes
    };
    // :method, :scheme http, then :path (4) and :authority (1) as literals without indexing.
    let mut bytes = vec![method, 0x86];
    bytes.extend(text(0x04, path));
    bytes.extend(text(0x01, "app.example"));
    bytes
}
