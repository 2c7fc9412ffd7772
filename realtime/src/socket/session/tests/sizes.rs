//! What an idle connection owns. Tens of thousands of them are open at a time, so a field that is
//! hardly ever used stands in a box, and nothing that has been emptied keeps its room.

use std::{future::poll_fn, task::Poll};

use quikapp_protocol::{Encoded, Vsn};
use serde_json::json;

use super::{super::slot::Slot, app::app};
use crate::{
    socket::{FrameSink, Inbound, Session},
    testing::connect_info,
};

/// Forgets what it is given.
struct Nobody;

impl FrameSink for Nobody {
    fn send(&mut self, _: &Encoded) {}
}

async fn with_topics(count: usize) -> Session {
    let (mount, _) = app();
    let info = connect_info(Vsn::V2, &[]);
    let mut session = mount.connect(info).await.unwrap();
    for number in 0..count {
        let topic = format!("room:{number}");
        // A note waits for the join, so that there was something to forget.
        let join = json!(["1", "1", topic, "phx_join", { "after_join": true }]);
        session.receive(Inbound::Text(join.to_string().into()));
    }
    poll_fn(|cx| {
        let _ = session.poll(cx, &mut Nobody);
        Poll::Ready(())
    })
    .await;
    assert_eq!(session.channels(), count);
    session
}

#[test]
fn a_session_and_its_topics_are_small() {
    let sizes = (size_of::<Session>(), size_of::<Slot>());
    assert!(sizes.0 <= 376 && sizes.1 <= 144, "{sizes:?} bytes");
}

#[tokio::test]
async fn a_joined_topic_keeps_nothing_of_its_join() {
    let mut session = with_topics(1).await;
    let room = session.slots.find("room:0").unwrap();
    let slot = session.slots.get(room).unwrap();
    assert!(slot.is_settled() && slot.pending.owns_nothing());
    assert_eq!(session.inbox.capacity() + session.filled.capacity(), 0);
}

#[tokio::test]
async fn topics_have_no_room_for_many_others() {
    for (topics, most) in [(1, 1), (2, 2), (3, 4), (10, 15)] {
        let session = with_topics(topics).await;
        let room = session.slots.room();
        assert!(room <= most, "{topics} topics in room for {room}");
    }
}
