//! Joining a conversation.

use quikapp_actors::{
    conversation::payload::MemberPayload, presence::room_of, registers::payload::ThreadPayload,
};
use quikapp_protocol::{Json, Payload};
use quikapp_storage::{ConversationId, DeviceId, Member, Seq, UserId};

use super::{
    ChatChannel, State,
    params::{ChatJoin, ChatJoined, MarkState, RegistersState},
    replay::{self, Replay},
};
use crate::{
    auth::Principal,
    channel::{Context, json},
    channels::{
        payload::read,
        room::{Room, device_of},
    },
    errors::{Reason, Refusal},
    policy::ConversationAct,
};

/// Members listed in the reply.
const MEMBERS: usize = 100;
/// Threads that are looked at for something unread.
const THREADS: usize = 100;
/// Members read at once to count them.
const COUNT_PAGE: usize = 1_000;

/// What there is to replay.
enum Missed {
    /// The client named neither a place nor a device, or one that follows the stream over all:
    /// nothing.
    Nothing,
    Gap(Replay),
    /// Too much, or what the device has is not known: it is new here, or was forgotten.
    Unknown,
}

impl ChatChannel {
    pub(super) async fn enter(
        &self,
        cx: &mut Context<Principal>,
        params: &Payload,
    ) -> Result<(State, Payload), Refusal> {
        let params: ChatJoin = read(params)?;
        let id = conversation_of(cx)?;
        self.check(cx, &id, ConversationAct::Read).await?;
        let device = device_of(&cx.assigns(), params.device_id.as_deref())?;
        // From here on broadcasts wait behind the reply; what is read below may overlap them.
        cx.subscribe_now();
        let tail = self.backend.conversations.observe(&id).await?;
        let visible = self.visible_to_member(cx, &id).await?;
        let place = self.place_of(cx, &id, params.last_seq, device.as_ref());
        let missed = match place.await? {
            Some(after) => self.missed(cx, &id, &visible, after, tail).await?,
            None if self.is_unknown(cx, device.as_ref()).await? => Missed::Unknown,
            None => Missed::Nothing,
        };
        if let Some(device) = &device {
            let person = &cx.assigns().person;
            self.backend.delivery.device_joined(person, device);
        }
        let version = params.registers_version.unwrap_or_default();
        let mut reply = self.joined(cx, &id, tail, version).await?;
        let catching_up = begin(cx, missed, &mut reply);
        let room = room_of(cx.assigns().workspace(), cx.source());
        let room = Room::new(room.clone(), room, params.mode);
        let room = Room::enter(&self.backend, cx, room, device.clone()).await?;
        let state = State {
            conversation: id,
            device,
            room,
            catching_up,
            brought: None,
            has_typed: false,
        };
        Ok((state, json(&reply)))
    }

    /// The intervals of the membership, one of which has not ended. What the policy remembers may
    /// be half a second old, and a join lasts; whoever is removed after this look hears of it on
    /// the topic.
    async fn visible_to_member(
        &self,
        cx: &Context<Principal>,
        id: &ConversationId,
    ) -> Result<Vec<Member>, Refusal> {
        let store = &self.backend.store;
        let visible = store.membership(id, cx.assigns().user()).await?;
        if visible.iter().all(|interval| interval.to_seq.is_some()) {
            return Err(Reason::NotAParticipant.into());
        }
        Ok(visible)
    }

    /// The reply of who missed nothing.
    async fn joined(
        &self,
        cx: &Context<Principal>,
        id: &ConversationId,
        tail: Seq,
        registers_version: u64,
    ) -> Result<ChatJoined, Refusal> {
        let (members, member_count) = self.members(id).await?;
        let registers = self.registers(cx, id, registers_version, member_count);
        Ok(ChatJoined {
            conversation_id: id.clone(),
            last_seq: tail,
            registers: registers.await?,
            member_count,
            members,
            gap: None,
            more: false,
            reset_required: false,
        })
    }

    async fn missed(
        &self,
        cx: &Context<Principal>,
        id: &ConversationId,
        visible: &[Member],
        after: Seq,
        tail: Seq,
    ) -> Result<Missed, Refusal> {
        let store = &self.backend.store;
        let (now, config) = (cx.now(), self.backend.delivery.config());
        if replay::is_out_of_reach(store, id, visible, after, tail, now, config).await? {
            return Ok(Missed::Unknown);
        }
        let replay = replay::read(store, id, visible, after).await?;
        Ok(Missed::Gap(replay))
    }

    /// Where the client stands: as it says, or as its device last acknowledged.
    async fn place_of(
        &self,
        cx: &Context<Principal>,
        id: &ConversationId,
        last_seq: Option<Seq>,
        device: Option<&DeviceId>,
    ) -> Result<Option<Seq>, Refusal> {
        match (last_seq, device) {
            (Some(seq), _) => Ok(Some(seq)),
            (None, Some(device)) => {
                let (store, person) = (&self.backend.store, &cx.assigns().person);
                Ok(store.device_cursor(person, device, id).await?)
            }
            (None, None) => Ok(None),
        }
    }

    /// Whether nothing is known of what a device has that named no place and has none here. Where it
    /// has one in the stream of `user:<id>`, that is where it hears what it missed.
    async fn is_unknown(
        &self,
        cx: &Context<Principal>,
        device: Option<&DeviceId>,
    ) -> Result<bool, Refusal> {
        let Some(device) = device else {
            return Ok(false);
        };
        let (store, person) = (&self.backend.store, &cx.assigns().person);
        Ok(store.stream_cursor(person, device).await?.is_none())
    }

    async fn registers(
        &self,
        cx: &Context<Principal>,
        id: &ConversationId,
        since: u64,
        member_count: usize,
    ) -> Result<RegistersState, Refusal> {
        let store = &self.backend.store;
        let principal = cx.assigns();
        let user = principal.user();
        let own = store.registers(id, user).await?;
        let most = self.backend.conversations.receipts_up_to_members();
        let changed = match member_count <= most {
            true => store.marks_since(id, since, most).await?,
            // Of others only counts are told; the version stays what it was, for a time when
            // there are fewer.
            false => Vec::new(),
        };
        let newest = changed.iter().map(|(_, marks)| marks.version).max();
        let mut marks: Vec<_> = changed
            .into_iter()
            .map(|(user_id, marks)| MarkState {
                unread_from: marks.unread_from.filter(|_| user_id == *user),
                user_id,
                delivered: marks.delivered,
                read: marks.read,
            })
            .collect();
        if !marks.iter().any(|mark| mark.user_id == *user) {
            marks.push(MarkState {
                user_id: user.clone(),
                delivered: own.marks.delivered,
                read: own.marks.read,
                unread_from: own.marks.unread_from,
            });
        }
        Ok(RegistersState {
            version: newest.unwrap_or(since),
            marks,
            draft: own.draft.map(|draft| Json::assume_valid(draft.to_string())),
            mute: own.mute,
            unread: store.unread(id, user).await?,
            threads: self.unread_threads(id, user).await?,
        })
    }

    async fn unread_threads(
        &self,
        id: &ConversationId,
        user: &UserId,
    ) -> Result<Vec<ThreadPayload>, Refusal> {
        let threads = self.backend.store.threads(id, user, None, THREADS).await?;
        let unread = threads.into_iter().filter(|thread| thread.unread > 0);
        Ok(unread.map(ThreadPayload::from).collect())
    }

    /// The first members, and how many there are.
    async fn members(&self, id: &ConversationId) -> Result<(Vec<MemberPayload>, usize), Refusal> {
        let store = &self.backend.store;
        let mut page = store.members(id, None, COUNT_PAGE).await?;
        let first = page.iter().take(MEMBERS).map(|member| MemberPayload {
            user_id: member.user.clone(),
            role: member.role,
        });
        let first: Vec<_> = first.collect();
        let mut count = page.len();
        while page.len() == COUNT_PAGE {
            let last = page.last().map(|member| member.user.clone());
            page = store.members(id, last.as_ref(), COUNT_PAGE).await?;
            count += page.len();
        }
        Ok((first, count))
    }
}

/// Puts what was missed into the reply, and goes on behind it. The last place of a batch that the
/// client has to acknowledge before more follows.
fn begin(cx: &mut Context<Principal>, missed: Missed, reply: &mut ChatJoined) -> Option<Seq> {
    let tail = reply.last_seq;
    match missed {
        Missed::Nothing => cx.live_from(tail.next()),
        Missed::Unknown => {
            reply.reset_required = true;
            cx.live_from(tail.next());
        }
        Missed::Gap(replay) => {
            reply.last_seq = tail.max(replay.last);
            reply.more = replay.more;
            reply.gap = Some(replay.entries);
            go_on(cx, replay.last, replay.more);
            return replay.more.then_some(replay.last);
        }
    }
    None
}

/// After a batch: live from the next place, or once the client has acknowledged.
pub(super) fn go_on(cx: &mut Context<Principal>, last: Seq, more: bool) {
    if more {
        cx.catch_up();
    } else {
        cx.live_from(last.next());
    }
}

fn conversation_of(cx: &Context<Principal>) -> Result<ConversationId, Refusal> {
    let name = cx.source().strip_prefix("chat:").unwrap_or_default();
    ConversationId::parse(name).map_err(|_| Reason::ConversationNotFound.into())
}
