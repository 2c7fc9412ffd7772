//! Search by the beginnings of words.

use super::support::{Room, seqs, user};
use crate::{MessageSearch, Seq, SharedStore};

async fn search(room: &Room, name: &str, query: &str) -> MessageSearch {
    MessageSearch {
        visible: room.membership(name).await,
        hidden_for: user(name),
        query: query.to_owned(),
        before: None,
        limit: 100,
        scan: 1000,
    }
}

async fn find(room: &Room, name: &str, query: &str) -> Vec<u64> {
    let search = search(room, name, query).await;
    let found = room.store.search(&room.id, &search).await;
    let (messages, next) = found.expect("reads");
    assert_eq!(next, None, "all was looked at");
    seqs(&messages)
}

/// Every word of the query begins a word of the text; newest first.
pub async fn words_match_by_prefix(store: SharedStore) {
    let mut room = Room::new(&store, &["ana"]).await;
    for text in ["The quick brown fox", "quicksilver", "a fox, quickly!", ""] {
        room.say("ana", text).await;
    }
    assert_eq!(find(&room, "ana", "quick").await, [3, 2, 1]);
    assert_eq!(find(&room, "ana", "FOX qui").await, [3, 1]);
    assert_eq!(find(&room, "ana", "ick").await, [0; 0]);
    assert_eq!(find(&room, "ana", "quick dog").await, [0; 0]);
    assert_eq!(
        find(&room, "ana", " -- ").await,
        [0; 0],
        "no words, nothing found"
    );
}

/// Case is folded in every script; scripts without spaces are found inside a run.
pub async fn scripts_and_case_are_folded(store: SharedStore) {
    let mut room = Room::new(&store, &["ana"]).await;
    for text in [
        "ПРИВЕТ, мир",
        "Une ÉCOLE",
        "你好世界",
        "Straße",
        "🎉 party 🎉",
    ] {
        room.say("ana", text).await;
    }
    let cases = [
        ("привет", 1),
        ("école", 2),
        ("世界", 3),
        ("STRASSE", 4),
        ("PART", 5),
    ];
    for (query, expected) in cases {
        assert_eq!(find(&room, "ana", query).await, [expected], "{query}");
    }
}

/// Whatever the page and however little is looked at a time, every match comes once.
pub async fn pages_visit_every_message_once(store: SharedStore) {
    let mut room = Room::new(&store, &["ana"]).await;
    for turn in 0..30 {
        let text = if turn % 3 == 0 { "needle" } else { "hay" };
        room.say("ana", text).await;
    }
    let expected: Vec<u64> = (1..=30).rev().filter(|seq| seq % 3 == 1).collect();
    for (limit, scan) in [(2, 1000), (100, 4), (3, 7), (1, 1)] {
        let mut search = search(&room, "ana", "needle").await;
        (search.limit, search.scan) = (limit, scan);
        let mut found = Vec::new();
        loop {
            let page = store.search(&room.id, &search).await;
            let (messages, next) = page.expect("reads");
            assert!(messages.len() <= limit, "a page of {}", messages.len());
            found.extend(seqs(&messages));
            let Some(next) = next else { break };
            assert!(
                search.before.is_none_or(|before| next < before),
                "it moves on"
            );
            search.before = Some(next);
        }
        assert_eq!(found, expected, "limit {limit}, scan {scan}");
    }
}

/// Neither from before one's time, nor hidden for oneself.
pub async fn nobody_finds_what_they_may_not_see(store: SharedStore) {
    let mut room = Room::new(&store, &["ana"]).await;
    room.say("ana", "needle").await;
    room.join("bob").await;
    let hidden = room.say("ana", "needle").await;
    let seen = room.say("ana", "needle").await;
    room.leave("bob").await;
    room.say("ana", "needle").await;
    store
        .hide_message(&room.id, &user("bob"), hidden.id)
        .await
        .expect("hides");
    assert_eq!(find(&room, "bob", "needle").await, [seen.seq.0]);
    assert_eq!(find(&room, "ana", "needle").await, [6, 4, 3, 1]);
    let mut below = search(&room, "ana", "needle").await;
    below.before = Some(Seq(4));
    let (messages, _) = store.search(&room.id, &below).await.expect("reads");
    assert_eq!(seqs(&messages), [3, 1]);
}
