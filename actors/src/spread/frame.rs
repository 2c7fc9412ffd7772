//! Broadcasts as bytes between nodes.
//!
//! A frame: version (1), node (u64), number of its first broadcast (u64), then broadcasts until its
//! end. A broadcast: flags (u8), the node it is for (u64) and its place in a log (u64) where flags
//! say so, topic, alias where flags say so, event (each u16 length and UTF-8), payload (u32 length
//! and bytes). Integers are big-endian.

use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use quikapp_protocol::{Json, Payload};
use quikapp_storage::Seq;

use crate::fanout::{Broadcast, NodeId};

const VERSION: u8 = 1;

/// What a frame has before its broadcasts, and a broadcast beside its names and its payload.
const HEADER: usize = 1 + 8 + 8;
pub(super) const OVERHEAD: usize = 1 + 8 + 8 + 3 * 2 + 4;

const IS_BINARY: u8 = 1;
const HAS_ALIAS: u8 = 2;
const HAS_SEQ: u8 = 4;
const IS_DIRECT: u8 = 8;

/// A broadcast, and the one node it is for if it is not for all.
#[derive(Debug, Clone)]
pub(super) struct Parcel {
    pub(super) to: Option<NodeId>,
    pub(super) broadcast: Arc<Broadcast>,
}

/// Bytes that are no frame of this version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a frame of broadcasts")]
pub(super) struct Unreadable;

/// A frame that was heard.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) node: NodeId,
    /// The number of the first of `said`; the others follow.
    pub(super) first: u64,
    pub(super) said: Vec<Said>,
}

/// A broadcast of a frame, not yet looked into: most have no subscribers here.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) to: Option<NodeId>,
    is_binary: bool,
    seq: Option<Seq>,
    topic: Bytes,
    alias: Option<Bytes>,
    event: Bytes,
    payload: Bytes,
}

/// Whether its names fit their length fields.
pub(super) fn has_form(broadcast: &Broadcast) -> bool {
    let names = [
        broadcast.topic().len(),
        broadcast.alias().map_or(0, |alias| alias.len()),
        broadcast.event().len(),
    ];
    names.iter().all(|len| u16::try_from(*len).is_ok())
        && u32::try_from(broadcast.payload().as_bytes().len()).is_ok()
}

/// Writes broadcasts, each of which [`has_form`].
pub(super) fn write(node: NodeId, first: u64, parcels: &[Parcel]) -> Bytes {
    let sizes = parcels.iter().map(|it| OVERHEAD + weight(&it.broadcast));
    let mut out = BytesMut::with_capacity(HEADER + sizes.sum::<usize>());
    out.put_u8(VERSION);
    out.put_u64(node.0);
    out.put_u64(first);
    for parcel in parcels {
        write_parcel(&mut out, parcel);
    }
    out.freeze()
}

/// The bytes of a broadcast's names and its payload.
pub(super) fn weight(broadcast: &Broadcast) -> usize {
    let alias = broadcast.alias().map_or(0, |alias| alias.len());
    let names = broadcast.topic().len() + alias + broadcast.event().len();
    names + broadcast.payload().as_bytes().len()
}

fn write_parcel(out: &mut BytesMut, parcel: &Parcel) {
    let broadcast = &parcel.broadcast;
    let flag = |holds: bool, flag: u8| if holds { flag } else { 0 };
    out.put_u8(
        flag(broadcast.payload().is_binary(), IS_BINARY)
            | flag(broadcast.alias().is_some(), HAS_ALIAS)
            | flag(broadcast.seq().is_some(), HAS_SEQ)
            | flag(parcel.to.is_some(), IS_DIRECT),
    );
    if let Some(to) = parcel.to {
        out.put_u64(to.0);
    }
    if let Some(seq) = broadcast.seq() {
        out.put_u64(seq.0);
    }
    write_name(out, broadcast.topic());
    if let Some(alias) = broadcast.alias() {
        write_name(out, alias);
    }
    write_name(out, broadcast.event());
    let payload = broadcast.payload().as_bytes();
    #[expect(clippy::cast_possible_truncation, reason = "it has a form")]
    out.put_u32(payload.len() as u32);
    out.put_slice(payload);
}

fn write_name(out: &mut BytesMut, name: &str) {
    #[expect(clippy::cast_possible_truncation, reason = "it has a form")]
    out.put_u16(name.len() as u16);
    out.put_slice(name.as_bytes());
}

/// Whether a frame is of this node, by its first bytes.
pub(super) fn is_of(frame: &[u8], node: NodeId) -> bool {
    frame.first() == Some(&VERSION) && frame.get(1..9) == Some(&node.0.to_be_bytes())
}

/// Reads a frame.
pub(super) fn read(mut frame: Bytes) -> Result<Frame, Unreadable> {
    if frame.try_get_u8().ok() != Some(VERSION) {
        return Err(Unreadable);
    }
    let (node, first) = (NodeId(number(&mut frame)?), number(&mut frame)?);
    let mut said = Vec::new();
    while !frame.is_empty() {
        said.push(read_said(&mut frame)?);
    }
    Ok(Frame { node, first, said })
}

fn read_said(from: &mut Bytes) -> Result<Said, Unreadable> {
    let flags = from.try_get_u8().map_err(|_| Unreadable)?;
    let has = |flag: u8| flags & flag != 0;
    Ok(Said {
        is_binary: has(IS_BINARY),
        to: match has(IS_DIRECT) {
            true => Some(NodeId(number(from)?)),
            false => None,
        },
        seq: match has(HAS_SEQ) {
            true => Some(Seq(number(from)?)),
            false => None,
        },
        topic: name(from)?,
        alias: match has(HAS_ALIAS) {
            true => Some(name(from)?),
            false => None,
        },
        event: name(from)?,
        payload: {
            let len = from.try_get_u32().map_err(|_| Unreadable)?;
            take(from, len as usize)?
        },
    })
}

fn number(from: &mut Bytes) -> Result<u64, Unreadable> {
    from.try_get_u64().map_err(|_| Unreadable)
}

fn name(from: &mut Bytes) -> Result<Bytes, Unreadable> {
    let len = from.try_get_u16().map_err(|_| Unreadable)?;
    take(from, usize::from(len))
}

fn take(from: &mut Bytes, len: usize) -> Result<Bytes, Unreadable> {
    if from.len() < len {
        return Err(Unreadable);
    }
    Ok(from.split_to(len))
}

impl Said {
    /// The topic it was published on.
    pub(super) fn topic(&self) -> Result<&str, Unreadable> {
        text(&self.topic)
    }

    /// The broadcast, checked: what is not JSON would break every frame that it is written into. It
    /// does not keep the frame alive.
    pub(super) fn broadcast(&self) -> Result<Broadcast, Unreadable> {
        let payload = match self.is_binary {
            true => Payload::Binary(Bytes::copy_from_slice(&self.payload)),
            false => {
                let json = Json::parse(text(&self.payload)?.to_owned());
                Payload::Json(json.map_err(|_| Unreadable)?)
            }
        };
        let mut broadcast = Broadcast::new(self.topic()?, text(&self.event)?, payload);
        if let Some(alias) = &self.alias {
            broadcast = broadcast.with_alias(text(alias)?);
        }
        if let Some(seq) = self.seq {
            broadcast = broadcast.with_seq(seq);
        }
        Ok(broadcast)
    }
}

fn text(bytes: &[u8]) -> Result<&str, Unreadable> {
    std::str::from_utf8(bytes).map_err(|_| Unreadable)
}
