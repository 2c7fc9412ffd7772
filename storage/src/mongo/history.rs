//! The folded view of messages: pages, single messages, pins, "delete for me", and search.

use mongodb::bson::{Bson, Document, doc};

use super::{
    MongoLog,
    doc::{self, Fields, bytes, int, limit as at_most},
    schema::{ENTRIES, HIDDEN},
};
use crate::{
    Conversation, ConversationId, Member, Message, MessageId, MessageSearch, Page, Seq, StoreError,
    UserId,
    spans::{self, Span},
    words::Query,
};

/// Messages that search reads at a time.
const SCAN_PAGE: usize = 200;

impl MongoLog {
    /// Messages by id.
    pub(super) async fn messages_by_id(
        &self,
        id: &ConversationId,
        ids: &[MessageId],
    ) -> Result<Vec<Message>, StoreError> {
        let Some(tail) = self.tail(id).await? else {
            return Ok(Vec::new());
        };
        let ids: Vec<_> = ids.iter().map(|id| bytes(id.0.as_bytes())).collect();
        let entries = self.db.collection(ENTRIES);
        let found = entries.find(doc! {
            "conv": id.as_str(),
            "id": { "$in": ids },
            "line": { "$exists": true },
            "seq": { "$lte": int(tail.0) },
        });
        self.decoded(found).await
    }

    /// Pinned messages, oldest first.
    pub(super) async fn pinned_messages(
        &self,
        id: &ConversationId,
    ) -> Result<Vec<Message>, StoreError> {
        let Some(tail) = self.tail(id).await? else {
            return Ok(Vec::new());
        };
        let entries = self.db.collection(ENTRIES);
        let pinned = entries
            .find(doc! { "conv": id.as_str(), "pinned": true, "seq": { "$lte": int(tail.0) } })
            .sort(doc! { "seq": 1 });
        self.decoded(pinned).await
    }

    /// Hides a message from one person.
    pub(super) async fn hide(
        &self,
        id: &ConversationId,
        user: &UserId,
        message: MessageId,
    ) -> Result<(), StoreError> {
        let entries = self.db.collection(ENTRIES);
        let of = doc! { "conv": id.as_str(), "id": bytes(message.0.as_bytes()) };
        let found = self.db.read(entries.find_one(of).into_future()).await?;
        let Some(found) = found else { return Ok(()) };
        let hidden = self.db.collection(HIDDEN);
        let place = doc! {
            "conv": id.as_str(),
            "user": user.as_str(),
            "seq": found.integer("seq")?,
        };
        self.db
            .insert_new(hidden.insert_one(place).into_future())
            .await
            .map(drop)
    }

    /// A page of what is visible, ascending.
    pub(super) async fn history_page(
        &self,
        conversation: &Conversation,
        visible: &[Member],
        hidden_for: &UserId,
        thread: Option<MessageId>,
        page: Page,
        limit: usize,
    ) -> Result<Vec<Message>, StoreError> {
        let visible = spans::of_members(visible, conversation.tail);
        let (spans, newest_first) = match page {
            Page::Latest => (visible, true),
            Page::Before(Seq(0)) => return Ok(Vec::new()),
            Page::Before(seq) => (spans::clip(&visible, 0, seq.0 - 1), true),
            Page::After(seq) => {
                let above = spans::clip(&visible, seq.0.saturating_add(1), u64::MAX);
                (above, false)
            }
        };
        if spans.is_empty() || limit == 0 {
            return Ok(Vec::new());
        }
        let line = Line {
            conversation: &conversation.id,
            line: Some(doc::line(thread)),
            hidden: self.hidden(&conversation.id, hidden_for).await?,
        };
        let mut found = self.find_in(&line, &spans, newest_first, limit).await?;
        if newest_first {
            found.reverse();
        }
        Ok(found)
    }

    /// Search, newest first.
    pub(super) async fn search_messages(
        &self,
        id: &ConversationId,
        search: &MessageSearch,
    ) -> Result<(Vec<Message>, Option<Seq>), StoreError> {
        let nothing = (Vec::new(), None);
        let Some(query) = Query::parse(&search.query) else {
            return Ok(nothing);
        };
        let Some(tail) = self.tail(id).await? else {
            return Ok(nothing);
        };
        let line = Line {
            conversation: id,
            line: None,
            hidden: self.hidden(id, &search.hidden_for).await?,
        };
        let visible = spans::of_members(&search.visible, tail);
        let mut below = search.before.map_or(u64::MAX, |seq| seq.0);
        let (mut found, mut left) = (Vec::new(), search.scan.max(1));
        loop {
            let spans = spans::clip(&visible, 0, below.saturating_sub(1));
            if spans.is_empty() {
                return Ok((found, None));
            }
            let page = self
                .find_in(&line, &spans, true, left.min(SCAN_PAGE))
                .await?;
            let Some(last) = page.last() else {
                return Ok((found, None));
            };
            below = last.seq.0;
            for message in page {
                let seq = message.seq;
                if query.matches(&message.text) {
                    found.push(message);
                }
                left -= 1;
                if left == 0 || found.len() == search.limit.max(1) {
                    return Ok((found, Some(seq)));
                }
            }
        }
    }

    async fn find_in(
        &self,
        line: &Line<'_>,
        spans: &[Span],
        newest_first: bool,
        limit: usize,
    ) -> Result<Vec<Message>, StoreError> {
        let within = spans.iter().map(|span| {
            doc! { "seq": { "$gte": int(span.from), "$lte": int(span.to) } }
        });
        let mut filter = doc! {
            "conv": line.conversation.as_str(),
            "line": line.line.as_deref().map_or_else(
                || Bson::Document(doc! { "$exists": true }),
                |line| Bson::String(line.to_owned()),
            ),
            "$or": within.collect::<Vec<Document>>(),
        };
        if !line.hidden.is_empty() {
            filter.insert("seq", doc! { "$nin": line.hidden.clone() });
        }
        let direction = if newest_first { -1 } else { 1 };
        let entries = self.db.collection(ENTRIES);
        let found = entries
            .find(filter)
            .sort(doc! { "seq": direction })
            .limit(at_most(limit));
        self.decoded(found).await
    }

    /// What a person has deleted for themselves.
    async fn hidden(&self, id: &ConversationId, user: &UserId) -> Result<Vec<i64>, StoreError> {
        let hidden = self.db.collection(HIDDEN);
        let of = hidden.find(doc! { "conv": id.as_str(), "user": user.as_str() });
        let found = self.db.all(of).await?;
        found.iter().map(|place| place.integer("seq")).collect()
    }

    /// The confirmed tail.
    pub(super) async fn tail(&self, id: &ConversationId) -> Result<Option<Seq>, StoreError> {
        let found = self.find_conversation(id).await?;
        found.map(|found| found.seq("tail")).transpose()
    }

    async fn decoded(
        &self,
        found: mongodb::action::Find<'_, Document>,
    ) -> Result<Vec<Message>, StoreError> {
        self.db.all(found).await?.iter().map(doc::message).collect()
    }
}

/// Which messages of a conversation, for whom.
struct Line<'a> {
    conversation: &'a ConversationId,
    /// One timeline, or all.
    line: Option<String>,
    hidden: Vec<i64>,
}
