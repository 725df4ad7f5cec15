//! The least of RFC 6455 that echoes: handshake key, data frames, ping, close. No extensions, no sub-protocols.

use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

/// Longest frame that is echoed; a longer one closes the connection with 1009.
const FRAME_BYTES_MAX: u64 = 1024 * 1024;

const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xA;
const GOING_AWAY: u16 = 1001;
const PROTOCOL_ERROR: u16 = 1002;
const TOO_BIG: u16 = 1009;

/// The `Sec-WebSocket-Accept` that answers a `Sec-WebSocket-Key` (RFC 6455, 4.2.2).
pub(crate) fn accept_of(key: &[u8]) -> String {
    base64(&sha1(&[key, GUID].concat()))
}

/// Echoes frames until the peer closes or the app stops (then the peer is told 1001).
pub(crate) async fn echo(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    stopping: CancellationToken,
) -> io::Result<()> {
    loop {
        // A half-read frame is lost when we stop, which is no loss: nothing is echoed any more.
        let frame = tokio::select! {
            frame = read_frame(&mut stream) => frame?,
            () = stopping.cancelled() => Frame::Refused(GOING_AWAY),
        };
        match frame {
            Frame::Gone => return Ok(()),
            Frame::Refused(code) => {
                write_frame(&mut stream, 0x80 | CLOSE, &code.to_be_bytes()).await?;
                return stream.shutdown().await;
            }
            Frame::Whole { head, payload } => match head & 0x0F {
                CLOSE => {
                    write_frame(&mut stream, 0x80 | CLOSE, &payload).await?;
                    return stream.shutdown().await;
                }
                PING => write_frame(&mut stream, 0x80 | PONG, &payload).await?,
                PONG => {}
                _ => write_frame(&mut stream, head, &payload).await?,
            },
        }
    }
}

enum Frame {
    /// `head` is the first byte: the final bit and the opcode.
    Whole { head: u8, payload: Vec<u8> },
    /// To be closed with this code.
    Refused(u16),
    /// The peer hung up between frames.
    Gone,
}

async fn read_frame(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Frame> {
    let head = match stream.read_u8().await {
        Ok(head) => head,
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(Frame::Gone),
        Err(error) => return Err(error),
    };
    let second = stream.read_u8().await?;
    let length = match second & 0x7F {
        126 => u64::from(stream.read_u16().await?),
        127 => stream.read_u64().await?,
        short => u64::from(short),
    };
    let reserved_bits = head & 0x70 != 0;
    let unmasked = second & 0x80 == 0;
    let unknown_opcode = !matches!(head & 0x0F, 0..=2 | CLOSE | PING | PONG);
    if reserved_bits || unmasked || unknown_opcode {
        return Ok(Frame::Refused(PROTOCOL_ERROR));
    }
    if length > FRAME_BYTES_MAX {
        return Ok(Frame::Refused(TOO_BIG));
    }
    let mut mask = [0; 4];
    stream.read_exact(&mut mask).await?;
    let mut payload = vec![0; length as usize];
    stream.read_exact(&mut payload).await?;
    payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
    Ok(Frame::Whole { head, payload })
}

async fn write_frame(stream: &mut (impl AsyncWrite + Unpin), head: u8, payload: &[u8]) -> io::Result<()> {
    let mut frame = vec![head];
    match payload.len() {
        short @ ..126 => frame.push(short as u8),
        medium @ 126..=0xFFFF => {
            frame.push(126);
            frame.extend((medium as u16).to_be_bytes());
        }
        long => {
            frame.push(127);
            frame.extend((long as u64).to_be_bytes());
        }
    }
    frame.extend(payload);
    stream.write_all(&frame).await?;
    stream.flush().await
}

/// SHA-1 (RFC 3174). It only proves that we speak WebSocket; nothing secret depends on it.
fn sha1(message: &[u8]) -> [u8; 20] {
    let mut state: [u32; 5] = [0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0];
    let mut padded = message.to_vec();
    padded.push(0x80);
    padded.resize(padded.len().next_multiple_of(64), 0);
    if padded.len() - message.len() < 9 {
        padded.resize(padded.len() + 64, 0);
    }
    let length_at = padded.len() - 8;
    padded[length_at..].copy_from_slice(&(message.len() as u64 * 8).to_be_bytes());
    for block in padded.chunks_exact(64) {
        let mut words = [0u32; 80];
        for (word, bytes) in words.iter_mut().zip(block.chunks_exact(4)) {
            *word = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        }
        for i in 16..80 {
            words[i] = (words[i - 3] ^ words[i - 8] ^ words[i - 14] ^ words[i - 16]).rotate_left(1);
        }
        let [mut a, mut b, mut c, mut d, mut e] = state;
        for (i, word) in words.iter().enumerate() {
            let (mix, constant) = match i {
                0..20 => ((b & c) | (!b & d), 0x5A827999u32),
                20..40 => (b ^ c ^ d, 0x6ED9EBA1),
                40..60 => ((b & c) | (b & d) | (c & d), 0x8F1BBCDC),
                _ => (b ^ c ^ d, 0xCA62C1D6),
            };
            let next =
                a.rotate_left(5).wrapping_add(mix).wrapping_add(e).wrapping_add(constant).wrapping_add(*word);
            (e, d, c, b, a) = (d, c, b.rotate_left(30), a, next);
        }
        for (sum, part) in state.iter_mut().zip([a, b, c, d, e]) {
            *sum = sum.wrapping_add(part);
        }
    }
    let mut digest = [0; 20];
    for (bytes, word) in digest.chunks_exact_mut(4).zip(state) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    digest
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let group =
            chunk.iter().fold(0u32, |group, byte| group << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for i in 0..4 {
            let letter = ALPHABET[(group >> (18 - 6 * i)) as usize & 63] as char;
            text.push(if i <= chunk.len() { letter } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn the_accept_key_is_the_one_of_the_rfc() {
        assert_eq!(accept_of(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn sha1_agrees_with_published_vectors_around_the_block_edge() {
        assert_eq!(hex(&sha1(b"")), "da39a3ee5e6b4b0d3255bfef95601890afd80709");
        assert_eq!(hex(&sha1(b"abc")), "a9993e364706816aba3e25717850c26c9cd0d89d");
        let two_blocks = b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
        assert_eq!(hex(&sha1(two_blocks)), "84983e441c3bd26ebaae4aa1f95129e5e54670f1");
        assert_eq!(hex(&sha1(&[b'a'; 64])), "0098ba824b5c16427bd7a1122a5a442a25ec644d");
    }

    #[test]
    fn base64_pads_like_rfc_4648() {
        for (plain, encoded) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(base64(plain.as_bytes()), encoded);
        }
    }
}
