//! The long-poll sessions of one mount.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Weak},
    time::Duration,
};

use parking_lot::Mutex;
use quikapp_actors::fanout::NodeId;
use quikapp_protocol::Vsn;
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use super::{
    mailbox::Mailbox,
    task::{self, Batch},
    token::{SessionId, TokenKey},
};
use crate::{
    endpoint::{Admission, Full, Permit},
    errors::Reason,
    socket::{Inbound, Session},
};

/// POSTs that wait for a session; each is bounded in size, and further ones wait in their requests.
const WAITING_POSTS: usize = 4;

/// Finds sessions by token.
#[derive(Debug)]
pub(super) struct Sessions {
    node: NodeId,
    key: TokenKey,
    admission: Admission,
    open: Arc<Open>,
}

type Open = Mutex<HashMap<SessionId, Member>>;

/// A session, as requests reach it.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub(super) token: Arc<str>,
    pub(super) vsn: Vsn,
    pub(super) mailbox: Arc<Mailbox>,
    inbox: mpsc::Sender<Batch>,
}

/// Where the session of a token is.
#[derive(Debug)]
pub(super) enum Found {
    Here(Member),
    /// On another node, or it was once.
    There(NodeId),
    /// It has ended, or the token is not one.
    Nowhere,
}

/// What became of a POST.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Delivered {
    Taken,
    TooSlow,
    Gone,
}

/// No place for another session.
#[derive(Debug)]
pub(super) struct NoPlace(Full);

impl NoPlace {
    pub(super) fn reason(&self) -> Reason {
        self.0.reason()
    }
}

impl Sessions {
    /// The sessions of this node.
    pub(super) fn new(node: NodeId, key: TokenKey, admission: Admission) -> Self {
        Self {
            node,
            key,
            admission,
            open: Arc::default(),
        }
    }

    pub(super) fn find(&self, token: &str) -> Found {
        match self.key.verify(token) {
            Some((node, id)) if node == self.node => {
                let member = self.open.lock().get(&id).cloned();
                let member = member.filter(|member| !member.mailbox.is_gone());
                member.map_or(Found::Nowhere, Found::Here)
            }
            Some((node, _)) => Found::There(node),
            None => Found::Nowhere,
        }
    }

    /// Takes a place under the cap of sessions.
    pub(super) fn admit(&self, client: IpAddr) -> Result<Permit, NoPlace> {
        self.admission.admit(client).map_err(NoPlace)
    }

    /// Runs a session in a task of its own; its token.
    pub(super) fn start(&self, session: Session, permit: Permit, limits: task::Limits) -> Arc<str> {
        let id = SessionId::random();
        let token: Arc<str> = self.key.sign(self.node, id).into();
        let (inbox, batches) = mpsc::channel(WAITING_POSTS);
        let mailbox = Arc::new(Mailbox::new(limits.max_queued));
        let member = Member {
            token: token.clone(),
            vsn: session.vsn(),
            mailbox: mailbox.clone(),
            inbox,
        };
        self.open.lock().insert(id, member);
        metrics::gauge!("quikapp_longpoll_sessions").increment(1.0);
        let listed = Listed {
            id,
            open: Arc::downgrade(&self.open),
            _permit: permit,
        };
        tokio::spawn(async move {
            task::run(session, &mailbox, batches, limits.patience).await;
            drop(listed);
        });
        token
    }
}

impl Member {
    /// Hands messages to the session and waits until it has begun with all of them.
    pub(super) async fn deliver(&self, messages: Vec<Inbound>, window: Duration) -> Delivered {
        if self.mailbox.is_ended() {
            return Delivered::Gone;
        }
        let (taken, is_taken) = oneshot::channel();
        let delivering = async {
            let batch = Batch { messages, taken };
            self.inbox.send(batch).await.map_err(drop)?;
            is_taken.await.map_err(drop)
        };
        match timeout(window, delivering).await {
            Ok(Ok(())) => Delivered::Taken,
            Ok(Err(())) => Delivered::Gone,
            Err(_) => Delivered::TooSlow,
        }
    }
}

/// A session's entry in the table.
struct Listed {
    id: SessionId,
    open: Weak<Open>,
    _permit: Permit,
}

impl Drop for Listed {
    fn drop(&mut self) {
        metrics::gauge!("quikapp_longpoll_sessions").decrement(1.0);
        if let Some(open) = self.open.upgrade() {
            open.lock().remove(&self.id);
        }
    }
}
