//! Requests for sessions of other nodes (protocol.md item 28).
//!
//! A session lives in one process, and its token names it. A request that lands elsewhere is passed
//! on to that process over HTTP, and its answer passed back. Where processes can be reached stands
//! in what they share ([`Addresses`]), signed, so that nobody else can have tokens sent to them.
//!
//! What is passed on is the path, the body and its type, and the session's token, and it is marked.
//! A process believes nothing else of a marked request: it is answered for a session that is here
//! already, begins none, counts for no client, and is not passed on again. So whoever marks a
//! request themselves gains nothing by it, and a client's address is decided where its request
//! came in.

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use aws_lc_rs::hmac;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header::CONTENT_TYPE, request::Parts,
};
use parking_lot::Mutex;
use quikapp_actors::fanout::NodeId;
use quikapp_storage::Addresses;
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::{Instant, interval, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{TOKEN_HEADER, TokenKey};
use crate::auth::Secret;

/// Marks a request that was passed on.
const PASSED_ON: HeaderName = HeaderName::from_static("x-quikapp-passed-on");
const MARK: HeaderValue = HeaderValue::from_static("1");

/// Polls that are passed on at a time; a further one is answered with 503. Each keeps a connection,
/// of which a node takes 4,096 from one address by default.
const POLLS: usize = 4096;
/// POSTs, each of which holds a body.
const POSTS: usize = 64;
/// For so long a request waits for its turn.
const TURN: Duration = Duration::from_secs(2);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// What an answer may take beyond what the owner waits itself.
const GRACE: Duration = Duration::from_secs(5);

/// How often a process says where it is; it is forgotten after 10 s.
const BEAT: Duration = Duration::from_secs(2);
/// For so long an address is not asked for again.
const KNOWN_FOR: Duration = Duration::from_secs(5);
/// Addresses that are remembered; above this all are asked for again.
const KNOWN: usize = 1024;

/// Keeps these signatures apart from others that the same secret may make.
const PURPOSE: &[u8] = b"quikapp node address v1";

/// The processes that share sessions' requests with this one. Cloning shares it.
#[derive(Debug, Clone)]
pub struct Nodes(Arc<Inner>);

struct Inner {
    node: NodeId,
    secret: Secret,
    key: hmac::Key,
    addresses: Arc<dyn Addresses>,
    known: Mutex<HashMap<NodeId, (String, Instant)>>,
    client: reqwest::Client,
    polls: Semaphore,
    posts: Semaphore,
}

/// The session of a request is on another node.
pub(super) struct Owner {
    pub(super) node: NodeId,
    pub(super) token: String,
}

/// What came of passing a request on.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Passed {
    /// The owner's answer.
    Answer(StatusCode, Bytes),
    /// The owner is gone, or does not know the session.
    Gone,
    /// Whether the owner has got it is not known.
    TimedOut,
    /// Too many are being passed on.
    Busy,
}

impl Nodes {
    /// `node` is this process, fresh at every start; `secret` is that of all of them: who has another
    /// one is not answered. A connection to another process is used again within `idle`, before that
    /// one closes it.
    pub fn new(
        node: NodeId,
        addresses: Arc<dyn Addresses>,
        secret: &Secret,
        idle: Duration,
    ) -> Result<Self, reqwest::Error> {
        let purpose = hmac::sign(
            &hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()),
            PURPOSE,
        );
        let client = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(idle)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()?;
        Ok(Self(Arc::new(Inner {
            node,
            secret: secret.clone(),
            key: hmac::Key::new(hmac::HMAC_SHA256, purpose.as_ref()),
            addresses,
            known: Mutex::default(),
            client,
            polls: Semaphore::new(POLLS),
            posts: Semaphore::new(POSTS),
        })))
    }

    /// Says where this process can be reached (`http://10.0.0.3:4000`), until `stop`.
    pub async fn advertise(self, address: String, stop: CancellationToken) {
        let signed = self.sign(self.0.node, &address);
        let mut beats = interval(BEAT);
        while stop.run_until_cancelled(beats.tick()).await.is_some() {
            if let Err(error) = self.0.addresses.put(self.0.node.0, &signed).await {
                tracing::debug!(%error, "other nodes are not told where this one is");
            }
        }
    }

    pub(crate) fn node(&self) -> NodeId {
        self.0.node
    }

    /// Signs the tokens of sessions so that the other nodes know them.
    pub(crate) fn token_key(&self) -> TokenKey {
        TokenKey::new(self.0.secret.as_bytes())
    }

    /// Passes a request on to the node of its session, which may take `window` to answer.
    pub(super) async fn pass_on(
        &self,
        owner: &Owner,
        parts: &Parts,
        body: Bytes,
        window: Duration,
    ) -> Passed {
        let Some(_turn) = self.turn(&parts.method).await else {
            return Passed::Busy;
        };
        let Some(address) = self.find(owner.node).await else {
            return Passed::Gone;
        };
        let Ok(token) = HeaderValue::from_str(&owner.token) else {
            return Passed::Gone;
        };
        let mut request = self
            .0
            .client
            .request(
                parts.method.clone(),
                format!("{address}{}", parts.uri.path()),
            )
            .timeout(window + GRACE)
            .header(PASSED_ON, MARK)
            .header(TOKEN_HEADER, token)
            .body(body);
        if let Some(content_type) = parts.headers.get(CONTENT_TYPE) {
            request = request.header(CONTENT_TYPE, content_type);
        }
        let passed = answered(request).await;
        let outcome = match &passed {
            Passed::Answer(..) => "answered",
            Passed::Gone | Passed::Busy => "gone",
            Passed::TimedOut => "timed_out",
        };
        metrics::counter!("quikapp_longpoll_passed_on_total", "outcome" => outcome).increment(1);
        if passed == Passed::Gone {
            self.0.known.lock().remove(&owner.node);
        }
        passed
    }

    /// A place among what is passed on at a time.
    async fn turn(&self, method: &Method) -> Option<SemaphorePermit<'_>> {
        let places = match *method == Method::POST {
            true => &self.0.posts,
            false => &self.0.polls,
        };
        timeout(TURN, places.acquire()).await.ok()?.ok()
    }

    /// Where a node is, by what is known or shared. While nothing can be asked, what was known
    /// longer ago will do.
    async fn find(&self, node: NodeId) -> Option<String> {
        let known = self.0.known.lock().get(&node).cloned();
        if let Some((address, at)) = &known
            && at.elapsed() < KNOWN_FOR
        {
            return Some(address.clone());
        }
        let Ok(found) = self.0.addresses.find(node.0).await else {
            return known.map(|(address, _)| address);
        };
        let address = self.verify(node, &found?)?;
        let mut known = self.0.known.lock();
        if known.len() >= KNOWN {
            known.clear();
        }
        known.insert(node, (address.clone(), Instant::now()));
        Some(address)
    }

    fn sign(&self, node: NodeId, address: &str) -> String {
        let signature = hmac::sign(&self.0.key, &signed(node, address));
        let signature = BASE64_URL_SAFE_NO_PAD.encode(signature);
        format!("{signature} {address}")
    }

    fn verify(&self, node: NodeId, text: &str) -> Option<String> {
        let (signature, address) = text.split_once(' ')?;
        let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).ok()?;
        hmac::verify(&self.0.key, &signed(node, address), &signature).ok()?;
        Some(address.to_owned())
    }
}

/// Whether a request was passed on by another node, or says so.
pub(super) fn is_passed_on(headers: &HeaderMap) -> bool {
    headers.contains_key(PASSED_ON)
}

fn signed(node: NodeId, address: &str) -> Vec<u8> {
    [&node.0.to_be_bytes()[..], address.as_bytes()].concat()
}

/// The owner bounds its answer itself: by what may wait for a session's poll.
async fn answered(request: reqwest::RequestBuilder) -> Passed {
    let answer = async {
        let response = request.send().await?;
        let status = response.status();
        Ok::<_, reqwest::Error>((status, response.bytes().await?))
    };
    match answer.await {
        Ok((StatusCode::NOT_FOUND, _)) => Passed::Gone,
        Ok((status, body)) => Passed::Answer(status, body),
        Err(error) => {
            let is_timeout = error.is_timeout() && !error.is_connect();
            let error = error.without_url();
            tracing::debug!(%error, "a request is not answered by the node of its session");
            match is_timeout {
                true => Passed::TimedOut,
                false => Passed::Gone,
            }
        }
    }
}

/// Never prints the token.
impl fmt::Debug for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Owner({:?})", self.node)
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nodes")
            .field("node", &self.node)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use quikapp_storage::NotShared;

    use super::*;

    #[derive(Debug)]
    struct Nobody;

    #[async_trait::async_trait]
    impl Addresses for Nobody {
        async fn put(&self, _: u64, _: &str) -> Result<(), NotShared> {
            Ok(())
        }

        async fn find(&self, _: u64) -> Result<Option<String>, NotShared> {
            Ok(None)
        }
    }

    #[test]
    fn an_address_is_believed_of_its_node_by_those_with_the_secret() {
        let nodes = |secret: &str| {
            let secret = Secret::new(secret.repeat(32)).unwrap();
            let idle = Duration::from_secs(1);
            Nodes::new(NodeId(1), Arc::new(Nobody), &secret, idle).unwrap()
        };
        let (ours, theirs) = (nodes("secret"), nodes("other"));
        let address = "http://10.0.0.3:4000";
        let text = ours.sign(NodeId(7), address);
        let verified = nodes("secret").verify(NodeId(7), &text);
        assert_eq!(verified.as_deref(), Some(address));
        assert_eq!(ours.verify(NodeId(8), &text), None, "another node's");
        assert_eq!(theirs.verify(NodeId(7), &text), None, "another secret");
        let elsewhere = text.replace("10.0.0.3", "10.0.0.4");
        assert_eq!(ours.verify(NodeId(7), &elsewhere), None);
        assert_eq!(ours.verify(NodeId(7), address), None);
    }
}
