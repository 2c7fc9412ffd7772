//! A stream of which something was read before.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A stream that is read from the beginning, though its first bytes have been taken out of it.
#[derive(Debug)]
pub(crate) struct Rewound<S> {
    before: Bytes,
    stream: S,
}

impl<S> Rewound<S> {
    /// `before` is read first.
    pub(crate) fn new(before: Bytes, stream: S) -> Self {
        Self { before, stream }
    }

    /// The stream, and what was read before and is not read again yet.
    pub(crate) fn into_parts(self) -> (S, Bytes) {
        (self.stream, self.before)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Rewound<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.before.is_empty() {
            return Pin::new(&mut this.stream).poll_read(cx, buf);
        }
        let count = this.before.len().min(buf.remaining());
        buf.put_slice(&this.before[..count]);
        this.before.advance(count);
        if this.before.is_empty() {
            this.before = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Rewound<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn what_was_read_is_read_again_and_then_what_follows() {
        let (ours, mut theirs) = duplex(16);
        theirs.write_all(b"defg").await.unwrap();
        let mut stream = Rewound::new(Bytes::from_static(b"abc"), ours);
        let mut two = [0; 2];
        stream.read_exact(&mut two).await.unwrap();
        assert_eq!(&two, b"ab");
        let (rest, mut four) = (stream.read_u8().await.unwrap(), [0; 4]);
        stream.read_exact(&mut four).await.unwrap();
        assert_eq!((rest, &four), (b'c', b"defg"));
    }

    #[test]
    fn what_is_not_read_again_is_handed_on() {
        let (ours, _theirs) = duplex(1);
        let stream = Rewound::new(Bytes::from_static(b"abc"), ours);
        assert_eq!(stream.into_parts().1, "abc");
    }
}
