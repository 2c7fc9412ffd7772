//! The projection that decides for everybody in a conversation, batch by batch.

use std::{collections::HashMap, sync::Arc};

use async_trait::async_trait;
use quikapp_storage::{
    Consumer, Conversation, DocumentKind, Entry, Member, Person, Profile, ProjectionStep,
    SharedStore, StoreError, Timestamp, UserId, WorkspaceId,
};

use super::{EntrySeen, MayNotify, Recipient, Sink, decide};
use crate::{
    Clock,
    delivery::Projection,
    people::{Chosen, People},
    preferences::Preferences,
};

/// Members whose snapshots are taken together.
const BATCH: usize = 256;
/// Of an entry older than this nobody is told any more: it was found again after a long outage,
/// or by a consumer that is new here.
const FRESH_MS: i64 = 3_600_000;
/// In larger conversations unread messages are not counted for everybody.
const COUNTED_UP_TO: usize = 256;

/// Follows the log and says who may have to be told. Its cursor is durable and moves once every
/// sink has taken what was decided: what was written while it was down, or was not taken, is
/// decided when it is back, unless it is an hour old by then.
///
/// Nothing is queued: while a sink is slow this projection falls behind, which its lag metric
/// shows; nothing is dropped, and neither the writer nor another projection waits for it.
pub struct Notifier {
    store: SharedStore,
    people: People,
    clock: Arc<dyn Clock>,
    sinks: Vec<Sink>,
}

impl Notifier {
    /// A projection for [`Delivery`](crate::delivery::Delivery). A node with nobody to tell runs
    /// none: it would decide in vain about every message and every member.
    pub fn new(
        store: SharedStore,
        people: People,
        clock: Arc<dyn Clock>,
        sinks: Vec<Sink>,
    ) -> Option<Arc<Self>> {
        (!sinks.is_empty()).then(|| {
            Arc::new(Self {
                store,
                people,
                clock,
                sinks,
            })
        })
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
            let mut told = Vec::new();
            for recipient in &recipients {
                if let Some(mut one) = decide(entry, recipient, now) {
                    if is_counted {
                        let user = &recipient.person.user;
                        one.unread = Some(self.store.unread(id, user).await?);
                    }
                    told.push(one);
                }
            }
            self.tell(told).await?;
            match members.last() {
                Some(last) if members.len() == BATCH => after = Some(last.user.clone()),
                _ => return Ok(()),
            }
        }
    }

    /// Returns once every sink has taken it.
    async fn tell(&self, told: Vec<MayNotify>) -> Result<(), StoreError> {
        if told.is_empty() {
            return Ok(());
        }
        let told: Arc<[MayNotify]> = told.into();
        for sink in &self.sinks {
            if let Err(error) = sink.offer(Arc::clone(&told)).await {
                let sink = sink.name();
                tracing::warn!(sink, %error, "decisions not taken");
                metrics::counter!("quikapp_may_notify_not_taken_total", "sink" => sink)
                    .increment(1);
                return Err(StoreError::Unavailable(format!("{sink}: {error}")));
            }
        }
        for one in told.iter() {
            let reason = one.reason.as_str();
            metrics::counter!("quikapp_may_notify_total", "reason" => reason).increment(1);
        }
        Ok(())
    }

    /// How these members are at the moment.
    async fn recipients(
        &self,
        conversation: &Conversation,
        members: &[Member],
    ) -> Result<Vec<Recipient>, StoreError> {
        let (id, workspace) = (&conversation.id, &conversation.workspace);
        let users: Vec<_> = members.iter().map(|member| member.user.clone()).collect();
        let mutes = self.store.mutes(id, &users).await?;
        let mut preferences = self.preferences(workspace, &users).await?;
        let person = |member: &Member| Person {
            workspace: workspace.clone(),
            user: member.user.clone(),
        };
        let online: Vec<_> = members
            .iter()
            .map(|member| self.people.connected(&person(member)))
            .collect();
        let status = |at: usize| online[at].as_ref().and_then(|it| it.status);
        let unsure = (0..members.len()).filter(|at| status(*at).is_none());
        let unsure: Vec<_> = unsure.map(|at| members[at].user.clone()).collect();
        let profiles = self.store.profiles(workspace, &unsure).await?;
        let now = self.clock.now();
        let chosen = |member: &Member| {
            let is_theirs = |profile: &&Profile| profile.person.user == member.user;
            let profile = profiles.iter().find(is_theirs);
            let chosen = profile.map(|profile| Chosen::of(profile, now));
            chosen.unwrap_or_default().status
        };
        let all = members.iter().zip(mutes).zip(online);
        let recipients = all.map(|((member, mute), online)| Recipient {
            person: person(member),
            from_seq: member.from_seq,
            mute,
            preferences: preferences.remove(&member.user).unwrap_or_default(),
            status: match online.as_ref().and_then(|it| it.status) {
                Some(status) => status,
                None => chosen(member),
            },
            is_connected: online.is_some(),
            devices: online.map(|it| it.devices).unwrap_or_default(),
        });
        Ok(recipients.collect())
    }

    /// What those of them prefer who have said so.
    async fn preferences(
        &self,
        workspace: &WorkspaceId,
        users: &[UserId],
    ) -> Result<HashMap<UserId, Preferences>, StoreError> {
        let kind = DocumentKind::Preferences;
        let documents = self.store.documents(kind, workspace, users).await?;
        let theirs = documents.into_iter().map(|document| {
            let preferences = Preferences::of(Some(&document.json));
            (document.person.user, preferences)
        });
        Ok(theirs.collect())
    }

    fn is_fresh(&self, at: Timestamp) -> bool {
        self.clock.now().0.saturating_sub(at.0) <= FRESH_MS
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
