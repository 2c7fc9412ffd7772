//! Timers: kept once, moved and deleted by version, found when due.

use uuid::Uuid;

use super::support::NOW;
use crate::{Fired, NewTimer, SharedStore, Timer, TimerKind, Timestamp};

fn new_timer(kind: TimerKind, group: &str, due_in_ms: i64) -> NewTimer {
    NewTimer {
        kind,
        id: Uuid::new_v4().to_string(),
        group: group.to_owned(),
        shard: 7,
        due_at: Timestamp(NOW.0 + due_in_ms),
        payload: r#"{"text":"später ☕"}"#.into(),
    }
}

async fn due(store: &SharedStore, shard: u16, at_ms: i64, group: &str) -> Vec<String> {
    let now = Timestamp(NOW.0 + at_ms);
    let due = store.due_timers(shard, now, usize::MAX).await;
    let due = due.expect("reads").into_iter();
    due.filter(|timer| timer.group == group)
        .map(|timer| timer.id)
        .collect()
}

/// A timer reads back as it was put; what has its kind and id already is left as it is.
pub async fn a_timer_is_kept_once(store: SharedStore) {
    let group = Uuid::new_v4().to_string();
    let new = new_timer(TimerKind::SendMessage, &group, 5);
    assert_eq!(store.put_timer(new.clone()).await, Ok(true));
    let again = NewTimer {
        due_at: Timestamp(NOW.0 + 99),
        payload: "{}".into(),
        ..new.clone()
    };
    assert_eq!(store.put_timer(again).await, Ok(false));
    let other_kind = NewTimer {
        kind: TimerKind::Expire,
        ..new.clone()
    };
    assert_eq!(store.put_timer(other_kind).await, Ok(true));
    let kept = store.timer(TimerKind::SendMessage, &new.id).await;
    let expected = Timer {
        kind: new.kind,
        id: new.id.clone(),
        group,
        shard: new.shard,
        due_at: new.due_at,
        payload: new.payload,
        version: 1,
    };
    assert_eq!(kept, Ok(Some(expected)));
    let unknown = store.timer(TimerKind::UntilDelivered, &new.id).await;
    assert_eq!(unknown, Ok(None));
}

/// Whoever knows the version moves or deletes; everybody else does nothing.
pub async fn a_timer_moves_by_its_version(store: SharedStore) {
    let new = new_timer(TimerKind::Expire, "g", 5);
    store.put_timer(new.clone()).await.expect("writes");
    let at = |version| Fired {
        kind: new.kind,
        id: new.id.clone(),
        version,
    };
    let later = Timestamp(NOW.0 + 50);
    assert_eq!(store.move_timer(&at(1), later, "{}").await, Ok(Some(2)));
    assert_eq!(store.move_timer(&at(1), NOW, "[]").await, Ok(None));
    assert_eq!(store.delete_timer(&at(1)).await, Ok(false));
    let kept = store.timer(new.kind, &new.id).await.expect("reads");
    let kept = kept.expect("is there");
    assert_eq!(
        (kept.version, kept.due_at, &*kept.payload),
        (2, later, "{}")
    );
    assert_eq!(store.delete_timer(&kept.fired()).await, Ok(true));
    assert_eq!(store.delete_timer(&kept.fired()).await, Ok(false));
    assert_eq!(store.timer(new.kind, &new.id).await, Ok(None));
}

/// Due is what lies at or before the moment, in its own shard, the earliest first.
pub async fn due_timers_come_in_order(store: SharedStore) {
    let group = Uuid::new_v4().to_string();
    let mut ids = Vec::new();
    for due_in_ms in [30, 10, 20] {
        let new = new_timer(TimerKind::Expire, &group, due_in_ms);
        ids.push(new.id.clone());
        store.put_timer(new).await.expect("writes");
    }
    assert_eq!(due(&store, 7, 9, &group).await, Vec::<String>::new());
    let expected = [ids[1].clone(), ids[2].clone()];
    assert_eq!(due(&store, 7, 20, &group).await, expected);
    assert_eq!(due(&store, 6, 99, &group).await, Vec::<String>::new());
    let first = store.due_timers(7, Timestamp(i64::MAX), 1).await;
    assert_eq!(first.expect("reads").len(), 1, "the limit holds");
}

/// A group's timers of one kind, the earliest first.
pub async fn timers_are_listed_by_group(store: SharedStore) {
    let group = format!("w\u{1f}{}", Uuid::new_v4());
    let late = new_timer(TimerKind::SendMessage, &group, 9);
    let early = new_timer(TimerKind::SendMessage, &group, 4);
    let other = new_timer(TimerKind::Expire, &group, 1);
    for timer in [&late, &early, &other] {
        store.put_timer(timer.clone()).await.expect("writes");
    }
    let list = |limit| {
        let (store, group) = (store.clone(), group.clone());
        async move {
            let found = store.timers_of(TimerKind::SendMessage, &group, limit).await;
            let found = found.expect("reads").into_iter();
            found.map(|timer| timer.id).collect::<Vec<_>>()
        }
    };
    assert_eq!(list(9).await, [early.id.clone(), late.id]);
    assert_eq!(list(1).await, [early.id]);
}
