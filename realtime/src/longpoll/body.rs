//! Reading a POST's body, bounded in size and time.

use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use tokio::time::timeout;

/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// How long the rest of a body that is too large is read and thrown away. A connection that is
/// closed with unread bytes is reset, and the client would never see why.
const SWALLOW_TIMEOUT: Duration = Duration::from_secs(2);

/// A body that is not there.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum BodyError {
    /// It is larger than the limit.
    TooLarge,
    /// It did not arrive, or not in time.
    Broken,
}

/// The whole body, if it has at most `limit` bytes.
pub(super) async fn read(mut body: Body, limit: usize) -> Result<Bytes, BodyError> {
    let read = timeout(BODY_TIMEOUT, collect(&mut body, limit)).await;
    let read = read.unwrap_or(Err(BodyError::Broken));
    if read == Err(BodyError::TooLarge) {
        // Whatever has not come by then is the client's loss.
        let _ = timeout(SWALLOW_TIMEOUT, swallow(&mut body, limit)).await;
    }
    read
}

async fn collect(body: &mut Body, limit: usize) -> Result<Bytes, BodyError> {
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| BodyError::Broken)?;
        let data = frame.into_data().unwrap_or_default();
        if whole.len() + data.len() > limit {
            return Err(BodyError::TooLarge);
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.freeze())
}

/// Reads on, as long as that is cheap.
async fn swallow(body: &mut Body, mut left: usize) {
    while let Some(Ok(frame)) = body.frame().await {
        left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
        if left == 0 {
            return;
        }
    }
}
