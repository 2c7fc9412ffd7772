//! The projection that decides for everybody in a conversation, batch by batch.

use std::sync::Arc;

use async_trait::async_trait;
use quikapp_storage::{
    Consumer, Conversation, Entry, Member, Person, Profile, ProjectionStep, SharedStore,
    StoreError, Timestamp,
};
use tokio::sync::mpsc;

use super::{EntrySeen, MayNotify, Recipient, decide};
use crate::{
    Clock,
    delivery::Projection,
    people::{Chosen, People, Shown, Status},
};

/// Members whose snapshots are taken together.
const BATCH: usize = 256;
/// Of an entry older than this nobody is told any more: it was found again after a long outage,
/// or by a consumer that is new here.
const FRESH_MS: i64 = 3_600_000;
/// In larger conversations unread messages are not counted for everybody.
const COUNTED_UP_TO: usize = 256;

/// Follows the log and says who may have to be told. Its cursor is durable: what was written
/// while it was down is decided when it is back, unless it is an hour old by then.
///
/// The outlet is bounded. When it is full, this projection waits and falls behind, which its lag
/// metric shows; nothing is dropped, and neither the writer nor another projection waits for it.
/// With nobody at the other end any more, it goes on and says nothing.
pub struct Notifier {
    store: SharedStore,
    people: People,
    clock: Arc<dyn Clock>,
    outlet: mpsc::Sender<MayNotify>,
}

impl Notifier {
    /// A projection for [`Delivery`](crate::delivery::Delivery), and its outlet.
    pub fn new(
        store: SharedStore,
        people: People,
        clock: Arc<dyn Clock>,
        capacity: usize,
    ) -> (Arc<Self>, mpsc::Receiver<MayNotify>) {
        let (outlet, receiver) = mpsc::channel(capacity);
        let notifier = Self {
            store,
            people,
            clock,
            outlet,
        };
        (Arc::new(notifier), receiver)
    }

    /// Decides about one entry for every member.
    async fn announce(
        &self,
        conversation: &Conversation,
        entry: &EntrySeen,
    ) -> Result<(), StoreError> {
        let mut after = None;
        let mut is_counted = true;
        loop {
            let id = &conversation.id;
            let members = self.store.members(id, after.as_ref(), BATCH).await?;
            is_counted &= after.is_none() && members.len() < COUNTED_UP_TO;
            let recipients = self.recipients(conversation, &members).await?;
            let now = self.clock.now();
            for recipient in &recipients {
                if let Some(mut told) = decide(entry, recipient, now) {
                    if is_counted {
                        let user = &recipient.person.user;
                        told.unread = Some(self.store.unread(id, user).await?);
                    }
                    self.tell(told).await;
                }
            }
            match members.last() {
                Some(last) if members.len() == BATCH => after = Some(last.user.clone()),
                _ => return Ok(()),
            }
        }
    }

    async fn tell(&self, told: MayNotify) {
        let reason = match told.reason {
            super::Reason::Group => "group",
            super::Reason::Direct => "direct",
            super::Reason::Mention => "mention",
            super::Reason::Urgent => "urgent",
        };
        metrics::counter!("quikapp_may_notify_total", "reason" => reason).increment(1);
        // An error means that nobody listens any more.
        let _ = self.outlet.send(told).await;
    }

    /// How these members are at the moment.
    async fn recipients(
        &self,
        conversation: &Conversation,
        members: &[Member],
    ) -> Result<Vec<Recipient>, StoreError> {
        let (id, workspace) = (&conversation.id, &conversation.workspace);
        let mut mutes = Vec::with_capacity(members.len());
        for member in members {
            mutes.push(self.store.registers(id, &member.user).await?.mute);
        }
        let person = |member: &Member| Person {
            workspace: workspace.clone(),
            user: member.user.clone(),
        };
        let online: Vec<_> = members
            .iter()
            .map(|member| self.people.myself(&person(member)))
            .collect();
        let away: Vec<_> = members
            .iter()
            .zip(&online)
            .filter(|(_, seen)| seen.is_none())
            .map(|(member, _)| member.user.clone())
            .collect();
        let profiles = self.store.profiles(workspace, &away).await?;
        let chosen = |member: &Member| {
            let is_theirs = |profile: &&Profile| profile.person.user == member.user;
            let profile = profiles.iter().find(is_theirs);
            profile.map(Chosen::of).unwrap_or_default().status
        };
        let all = members.iter().zip(mutes).zip(online);
        let recipients = all.map(|((member, mute), online)| Recipient {
            person: person(member),
            from_seq: member.from_seq,
            mute,
            status: match &online {
                Some(seen) => chosen_of(seen.status),
                None => chosen(member),
            },
            is_connected: online.is_some(),
            devices: online
                .into_iter()
                .flat_map(|seen| seen.devices)
                .filter_map(|device| device.device_id)
                .collect(),
        });
        Ok(recipients.collect())
    }

    fn is_fresh(&self, at: Timestamp) -> bool {
        self.clock.now().0.saturating_sub(at.0) <= FRESH_MS
    }
}

/// What somebody who is connected chose, as they see themselves.
fn chosen_of(shown: Shown) -> Status {
    match shown {
        Shown::Online | Shown::Offline => Status::Online,
        Shown::Away => Status::Away,
        Shown::Busy => Status::Busy,
        Shown::Dnd => Status::Dnd,
        Shown::Invisible => Status::Invisible,
    }
}

#[async_trait]
impl Projection for Notifier {
    fn consumer(&self) -> Consumer {
        Consumer::NOTIFY
    }

    async fn project(&self, step: &ProjectionStep, entries: &[Entry]) -> Result<bool, StoreError> {
        if let Some(conversation) = self.store.conversation(&step.conversation).await? {
            for entry in entries.iter().filter(|entry| self.is_fresh(entry.at)) {
                if let Some(seen) = EntrySeen::of(&conversation, entry) {
                    self.announce(&conversation, &seen).await?;
                }
            }
        }
        self.store.move_projection(step).await
    }
}
