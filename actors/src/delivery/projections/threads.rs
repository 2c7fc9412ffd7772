//! Counts per thread, for those who follow it.

use std::collections::HashMap;

use async_trait::async_trait;
use quikapp_storage::{
    Consumer, Entry, MessageId, ProjectionStep, SharedStore, StoreError, ThreadEntry, UserId,
};

use super::{THREAD_ROOT, message_with};
use crate::delivery::Projection;

/// See the module.
pub(in crate::delivery) struct Threads {
    pub(in crate::delivery) store: SharedStore,
}

#[async_trait]
impl Projection for Threads {
    fn consumer(&self) -> Consumer {
        Consumer::THREADS
    }

    async fn project(&self, step: &ProjectionStep, entries: &[Entry]) -> Result<bool, StoreError> {
        let mut answers = Vec::new();
        for entry in entries {
            let Some(message) = message_with(entry, &[&THREAD_ROOT]) else {
                continue;
            };
            if let Some(root) = message.thread_root {
                answers.push(ThreadEntry {
                    root,
                    seq: entry.seq,
                    sender: entry.sender.clone(),
                    followers: message.mentions,
                });
            }
        }
        if answers.is_empty() {
            return self.store.move_projection(step).await;
        }
        let authors = self.authors(step, &answers).await?;
        for answer in &mut answers {
            answer.followers.extend(authors.get(&answer.root).cloned());
        }
        self.store.project_threads(step, answers).await
    }
}

impl Threads {
    /// Who sent the messages that the threads hang on: they follow them.
    async fn authors(
        &self,
        step: &ProjectionStep,
        answers: &[ThreadEntry],
    ) -> Result<HashMap<MessageId, UserId>, StoreError> {
        let mut roots: Vec<MessageId> = answers.iter().map(|answer| answer.root).collect();
        roots.sort_unstable();
        roots.dedup();
        let found = self.store.messages(&step.conversation, &roots).await?;
        let authors = found.into_iter();
        Ok(authors.map(|root| (root.id, root.sender)).collect())
    }
}
