//! Requests that open a WebSocket, read and answered without an HTTP connection around them.
//!
//! Nearly every connection consists of one such request, which comes in one piece, and of what is
//! said on the socket. Anything else (another path, a body, a request in pieces) is left to hyper,
//! which reads it from its beginning; so is the answer to a request that opened no socket.

use std::mem::MaybeUninit;

use axum::body::Body;
use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Request, Uri,
    header::{CONTENT_LENGTH, EXPECT, TRANSFER_ENCODING, UPGRADE},
};
use httparse::Status;

/// A request with more headers is left to hyper.
const MAX_HEADERS: usize = 48;

/// Headers that say that more belongs to the request than its head.
const OF_A_BODY: [HeaderName; 3] = [CONTENT_LENGTH, TRANSFER_ENCODING, EXPECT];

/// The request with which these bytes begin, if it asks for an upgrade and is whole and has no
/// body; and how many bytes it takes.
pub(super) fn parse(bytes: &Bytes) -> Option<(Request<Body>, usize)> {
    let mut headers = [const { MaybeUninit::uninit() }; MAX_HEADERS];
    let mut parsed = httparse::Request::new(&mut []);
    let Ok(Status::Complete(length)) = parsed.parse_with_uninit_headers(bytes, &mut headers) else {
        return None;
    };
    if (parsed.method, parsed.version) != (Some("GET"), Some(1)) {
        return None;
    }
    let path = bytes.slice_ref(parsed.path?.as_bytes());
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = Uri::from_maybe_shared(path).ok()?;
    *request.headers_mut() = header_map(bytes, parsed.headers)?;
    let asks = request.headers().contains_key(UPGRADE);
    let goes_on = OF_A_BODY
        .iter()
        .any(|name| request.headers().contains_key(name));
    (asks && !goes_on).then_some((request, length))
}

fn header_map(bytes: &Bytes, headers: &[httparse::Header<'_>]) -> Option<HeaderMap> {
    let mut map = HeaderMap::with_capacity(headers.len());
    for header in headers {
        let name = HeaderName::from_bytes(header.name.as_bytes()).ok()?;
        let value = HeaderValue::from_maybe_shared(bytes.slice_ref(header.value)).ok()?;
        map.append(name, value);
    }
    Some(map)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use http::header::HOST;

    use super::*;

    const REQUEST: &str = "GET /socket/websocket?vsn=2.0.0 HTTP/1.1\r\nHost: a.example\r\n\
                           Upgrade: websocket\r\nX-Twice: 1\r\nx-twice: 2\r\n\r\n";

    fn parsed(text: &str) -> Option<(Request<Body>, usize)> {
        parse(&Bytes::copy_from_slice(text.as_bytes()))
    }

    #[test]
    fn a_request_in_one_piece_is_read_and_what_follows_is_not() {
        let (request, length) = parsed(&format!("{REQUEST}\u{1}\u{2}")).unwrap();
        assert_eq!(length, REQUEST.len());
        assert_eq!(request.method(), "GET");
        assert_eq!(request.uri().path(), "/socket/websocket");
        assert_eq!(request.uri().query(), Some("vsn=2.0.0"));
        assert_eq!(request.headers()[HOST], "a.example");
        let twice: Vec<_> = request.headers().get_all("x-twice").into_iter().collect();
        assert_eq!(twice, ["1", "2"]);
    }

    #[test]
    fn everything_else_is_left_to_hyper() {
        let without = |line: &str| REQUEST.replace(line, "");
        let with = |line: &str| REQUEST.replace("X-Twice: 1", line);
        let many: String = (0..MAX_HEADERS).map(|n| format!("x-{n}: 1\r\n")).collect();
        for other in [
            String::new(),
            REQUEST[..REQUEST.len() - 1].to_owned(),
            REQUEST.replace("GET", "POST"),
            REQUEST.replace("1.1\r", "1.0\r"),
            REQUEST.replace("vsn=2.0.0", "vsn=<\u{7f}>"),
            without("Upgrade: websocket\r\n"),
            with("Content-Length: 0"),
            with("Transfer-Encoding: chunked"),
            with("Expect: 100-continue"),
            with("X Twice: 1"),
            with(&many),
            "\u{16}\u{3}\u{1} not HTTP at all\r\n\r\n".to_owned(),
        ] {
            assert!(parsed(&other).is_none(), "{other:?}");
        }
    }
}
