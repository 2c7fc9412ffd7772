//! What a message of the generator carries: who sent it as which one and when it was due, sealed,
//! so that a receiver recognizes a message that was altered, and one that is not of this run.
//!
//! The mark is printable ASCII without quotes: it survives any server that takes a string apart
//! and encodes it anew.

use std::{io::Write as _, sync::LazyLock};

use memchr::{memchr, memmem::Finder};
use uuid::{Builder, Uuid};

use crate::clock::Nanos;

const MAGIC: &[u8] = b"qb1.";
static FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(MAGIC));

/// What fills a message up to the wished size.
const FILLER: u8 = b'x';

/// A message's identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Drawn for each run of each generator.
    pub(crate) run: u32,
    pub(crate) room: u32,
    /// The number of the publisher in its room.
    pub(crate) sender: u32,
    /// Counts the publisher's messages from 1.
    pub(crate) n: u32,
    /// When it was to be sent.
    pub(crate) at: Nanos,
}

/// Why something is no message of the generator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unmarked {
    /// It has no mark at all.
    Missing,
    /// It has one that does not fit it.
    Broken,
}

impl Mark {
    /// Appends the mark, filled up to `size` bytes if it is shorter.
    pub(crate) fn write(&self, size: usize, out: &mut Vec<u8>) {
        let start = out.len();
        let Self {
            run,
            room,
            sender,
            n,
            at,
        } = self;
        // Writing to memory does not fail.
        let _ = write!(out, "qb1.{run:x}.{room:x}.{sender:x}.{n:x}.{at:x}.");
        // The seal and its point are 9 bytes.
        let size = size.max(out.len() - start + 9);
        let _ = write!(out, "{:08x}.", self.seal(size));
        out.resize(start + size, FILLER);
    }

    /// A UUIDv7 (RFC 9562, 5.7) of the message, made at that time: no other message of any run has
    /// the same, save by a coincidence of 62 bits.
    pub(crate) fn uuid(&self, unix_ms: u64) -> Uuid {
        let who = mix(u64::from(self.run) << 32 | u64::from(self.room));
        let mixed = mix(who ^ (u64::from(self.sender) << 32 | u64::from(self.n)));
        let mut random = [0; 10];
        random[..2].copy_from_slice(&(self.n as u16).to_be_bytes());
        random[2..].copy_from_slice(&mixed.to_be_bytes());
        Builder::from_unix_timestamp_millis(unix_ms, &random).into_uuid()
    }

    /// Finds and checks the mark in what was received.
    pub(crate) fn read(received: &[u8]) -> Result<Self, Unmarked> {
        let start = FINDER.find(received).ok_or(Unmarked::Missing)?;
        let content = &received[start..];
        let end = memchr(b'"', content).unwrap_or(content.len());
        Self::parse(&content[..end]).ok_or(Unmarked::Broken)
    }

    fn parse(content: &[u8]) -> Option<Self> {
        let mut rest = &content[MAGIC.len()..];
        let mark = Self {
            run: small(field(&mut rest)?)?,
            room: small(field(&mut rest)?)?,
            sender: small(field(&mut rest)?)?,
            n: small(field(&mut rest)?)?,
            at: field(&mut rest)?,
        };
        let seal = small(field(&mut rest)?)?;
        let is_whole = seal == mark.seal(content.len()) && rest.iter().all(|&byte| byte == FILLER);
        is_whole.then_some(mark)
    }

    /// Not a secret: it finds faults, not forgers.
    fn seal(&self, size: usize) -> u32 {
        let words = [
            u64::from(self.run) << 32 | u64::from(self.room),
            u64::from(self.sender) << 32 | u64::from(self.n),
            self.at,
            size as u64,
        ];
        let mixed = words.iter().fold(0, |state, word| mix(state ^ word));
        (mixed >> 32) as u32
    }
}

/// The finalizer of splitmix64.
pub(crate) fn mix(mut word: u64) -> u64 {
    word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// Takes a hexadecimal number of at most 64 bits and the point behind it.
fn field(rest: &mut &[u8]) -> Option<u64> {
    let mut value: u64 = 0;
    let mut length = 0;
    while let Some(digit) = rest.get(length).and_then(|&byte| digit(byte)) {
        value = value << 4 | u64::from(digit);
        length += 1;
    }
    let is_number = (1..=16).contains(&length) && rest.get(length) == Some(&b'.');
    is_number.then(|| {
        *rest = &rest[length + 1..];
        value
    })
}

fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    }
}

fn small(value: u64) -> Option<u32> {
    value.try_into().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    fn written(mark: &Mark, size: usize) -> Vec<u8> {
        let mut out = Vec::new();
        mark.write(size, &mut out);
        out
    }

    const MARK: Mark = Mark {
        run: 0xfeed_beef,
        room: 3,
        sender: 15,
        n: 1_000_000,
        at: 123_456_789_012,
    };

    #[test]
    fn a_message_has_the_size_that_was_asked_for() {
        for size in [64, 65, 1000] {
            assert_eq!(written(&MARK, size).len(), size);
        }
        assert!(written(&MARK, 0).len() < 64, "the mark alone is short");
    }

    #[test]
    fn its_uuid_is_of_version_7_and_of_no_other_message() {
        let at = 0x017f_22e2_79b0;
        let uuid = MARK.uuid(at);
        assert_eq!(uuid.get_version(), Some(uuid::Version::SortRand));
        assert_eq!(uuid.get_variant(), uuid::Variant::RFC4122);
        assert_eq!(uuid.as_u128() >> 80, u128::from(at));
        let others = [
            Mark { run: 1, ..MARK },
            Mark { room: 4, ..MARK },
            Mark { sender: 16, ..MARK },
            Mark {
                n: 1_000_001,
                ..MARK
            },
        ];
        assert!(others.iter().all(|other| other.uuid(at) != MARK.uuid(at)));
    }

    #[test]
    fn it_is_found_in_json() {
        let text = String::from_utf8(written(&MARK, 64)).unwrap();
        let frame = format!(r#"[null,null,"t","e",{{"d":"{text}","k":1}}]"#);
        assert_eq!(Mark::read(frame.as_bytes()), Ok(MARK));
        assert_eq!(Mark::read(br#"["e",{}]"#), Err(Unmarked::Missing));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(run: u32, room: u32, sender: u32, n: u32, at: u64, size in 0_usize..300) {
            let mark = Mark { run, room, sender, n, at };
            prop_assert_eq!(Mark::read(&written(&mark, size)), Ok(mark));
        }

        #[test]
        fn any_altered_byte_is_noticed(at in 0_usize..64, byte in 0x23_u8..0x7f) {
            let mut content = written(&MARK, 64);
            prop_assume!(content[at] != byte);
            content[at] = byte;
            prop_assert!(Mark::read(&content).is_err());
        }

        #[test]
        fn a_shortened_message_is_noticed(end in 0_usize..64) {
            prop_assert!(Mark::read(&written(&MARK, 64)[..end]).is_err());
        }
    }
}
