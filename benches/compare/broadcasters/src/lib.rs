//! Broadcasters that do only what a load test of them needs: whoever is connected to a path gets
//! what anyone there sends. They show what the kernel and the runtime cost without a product.
//!
//! The handshake answers without looking at the client's key, which `quikapp bench` allows.

/// Text, close and pong.
pub const TEXT: u8 = 1;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

/// The answer to any request for a WebSocket.
pub const UPGRADE: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Accept: -\r\n\r\n";

/// The path of a request whose head is complete, and how long the head is.
pub fn request(bytes: &[u8]) -> Option<(String, usize)> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let line = bytes[..end].split(|&byte| byte == b'\r').next()?;
    let path = line.split(|&byte| byte == b' ').nth(1)?;
    Some((String::from_utf8_lossy(path).into_owned(), end))
}

/// Appends a frame of a server.
pub fn write_frame(opcode: u8, payload: &[u8], out: &mut Vec<u8>) {
    out.push(0x80 | opcode);
    match payload.len() {
        short @ 0..=125 => out.push(short as u8),
        medium @ 126..=65_535 => {
            out.push(126);
            out.extend_from_slice(&(medium as u16).to_be_bytes());
        }
        long => {
            out.push(127);
            out.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(payload);
}

/// Takes the first frame of a client out of what was read: opcode, payload, and the bytes taken.
pub fn read_frame(bytes: &[u8]) -> Option<(u8, Vec<u8>, usize)> {
    let (&first, &second) = (bytes.first()?, bytes.get(1)?);
    let (start, length) = match second & 0x7f {
        126 => (
            4,
            u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?).into(),
        ),
        127 => (
            10,
            u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?) as usize,
        ),
        short => (2, usize::from(short)),
    };
    let key: [u8; 4] = bytes.get(start..start + 4)?.try_into().ok()?;
    let masked = bytes.get(start + 4..start + 4 + length)?;
    let payload = masked.iter().zip(key.iter().cycle()).map(|(b, k)| b ^ k);
    Some((first & 0x0f, payload.collect(), start + 4 + length))
}

/// A listener with a backlog that takes a storm.
pub fn listen() -> std::io::Result<std::net::TcpListener> {
    let port = std::env::args().nth(1).and_then(|port| port.parse().ok());
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], port.unwrap_or(0)));
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(4096)?;
    socket.set_nonblocking(true)?;
    let listener: std::net::TcpListener = socket.into();
    println!("listening on http://{}", listener.local_addr()?);
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_frames() {
        let head = b"GET /room HTTP/1.1\r\nHost: x\r\n\r\n";
        assert_eq!(request(head), Some(("/room".to_owned(), head.len())));
        assert_eq!(request(&head[..20]), None);
        for length in [0, 125, 126, 70_000] {
            let payload = vec![7; length];
            let mut frame = Vec::new();
            write_frame(TEXT, &payload, &mut frame);
            // As a client sends it: masked, here with zeros.
            let header = frame.len() - length;
            frame[1] |= 0x80;
            frame.splice(header..header, [0; 4]);
            assert_eq!(read_frame(&frame), Some((TEXT, payload, frame.len())));
            assert_eq!(read_frame(&frame[..frame.len() - 1]), None);
        }
    }
}
