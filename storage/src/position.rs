//! Stream cursors that are a position in the order of commits, with the name of the store that
//! issued them.

use uuid::Uuid;

use crate::StreamCursor;

/// Writes a cursor.
pub(super) fn format(store: Uuid, pos: u64) -> StreamCursor {
    StreamCursor(format!("{}.{pos}", store.simple()))
}

/// Reads a cursor of this store.
pub(super) fn parse(store: Uuid, cursor: &StreamCursor) -> Option<u64> {
    let (issuer, pos) = cursor.0.split_once('.')?;
    let digits = pos.bytes().all(|byte| byte.is_ascii_digit());
    let issuer = Uuid::try_parse(issuer).ok()?;
    (digits && issuer == store).then(|| pos.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn a_cursor_reads_back_in_its_own_store_only(store: u128, other: u128, pos in 0..u64::MAX / 2) {
            let (store, other) = (Uuid::from_u128(store), Uuid::from_u128(other));
            let cursor = format(store, pos);
            assert!(cursor.0.len() <= 64);
            assert_eq!(parse(store, &cursor), Some(pos));
            assert_eq!(parse(other, &cursor), (other == store).then_some(pos));
        }

        #[test]
        fn junk_is_no_cursor(text in ".{0,64}") {
            assert_eq!(parse(Uuid::nil(), &StreamCursor(text)), None);
        }
    }
}
