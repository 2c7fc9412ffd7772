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
//!
//! The owner marks its answer in turn. An answer without the mark comes from somebody else: another
//! program at an address that a node once had, or a listener that is full.

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use aws_lc_rs::hmac;
use axum::response::Response;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use bytes::{Bytes, BytesMut};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header::CONTENT_TYPE, request::Parts,
};
use parking_lot::Mutex;
use quikapp_actors::fanout::NodeId;
use quikapp_storage::Addresses;
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{TOKEN_HEADER, TokenKey, token::key_for};
use crate::{auth::Secret, http_client};

/// Marks a request that was passed on.
const PASSED_ON: HeaderName = HeaderName::from_static("x-quikapp-passed-on");
/// Marks the answer of the node that has, or had, the session.
const ANSWERED: HeaderName = HeaderName::from_static("x-quikapp-answered");
const MARK: HeaderValue = HeaderValue::from_static("1");

/// Polls that are passed on to one node at a time; a further one is answered with 503. Each keeps a
/// connection, of which a node takes 4,096 from one address by default.
const POLLS: usize = 4096;
/// POSTs that are passed on to one node at a time. This bounds neither the bodies in memory, which
/// are read before they wait for their turn, nor the sum over nodes: the caps of connections do.
const POSTS: usize = 64;
/// For so long a request waits for its turn.
const TURN: Duration = Duration::from_secs(2);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// What an answer may take beyond what the owner waits itself.
const GRACE: Duration = Duration::from_secs(5);

/// How often a process says where it is; it is forgotten after 10 s.
const BEAT: Duration = Duration::from_secs(2);
/// How soon it says so again when it could not.
const RETRY: Duration = Duration::from_millis(250);
/// For so long an address is not asked for again.
const KNOWN_FOR: Duration = Duration::from_secs(5);
/// Nodes that are remembered; above this all are forgotten that nothing is passed on to just now.
const KNOWN: usize = 1024;
/// How often the log may say that a node's `https` address fails.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// Keeps these signatures apart from others that the same secret may make.
const PURPOSE: &[u8] = b"quikapp node address v1";

/// The processes that share sessions' requests with this one. Cloning shares it.
#[derive(Debug, Clone)]
pub struct Nodes(Arc<Inner>);

struct Inner {
    node: NodeId,
    /// Signs the tokens of sessions.
    tokens: TokenKey,
    /// Signs addresses.
    key: hmac::Key,
    addresses: Arc<dyn Addresses>,
    known: Mutex<HashMap<NodeId, Peer>>,
    known_for: Duration,
    client: reqwest::Client,
}

/// What this node knows of another.
#[derive(Default)]
struct Peer {
    address: Option<(String, Instant)>,
    places: Arc<Places>,
    warned: Option<Instant>,
}

/// What may be passed on to one node at a time, so that a silent one holds up no other.
struct Places {
    polls: Semaphore,
    posts: Semaphore,
}

/// The session of a request is on another node.
pub(super) struct Owner {
    pub(super) node: NodeId,
    pub(super) token: String,
}

/// What an owner is granted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    /// It may take so long to answer.
    pub(super) window: Duration,
    /// Bytes that its answer may have.
    pub(super) max_answer: usize,
}

/// What came of passing a request on.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Passed {
    /// The owner's answer.
    Answer(StatusCode, Bytes),
    /// The owner is gone, or does not know the session, or the connection was lost after sending:
    /// then the owner may have got it.
    Gone,
    /// Whether the owner has got it is not known.
    TimedOut,
    /// Too many are being passed on, or the owner takes no further connection.
    Busy,
    /// This node stops.
    Stopped,
}

impl Passed {
    /// As the metric has it.
    pub(super) fn outcome(&self) -> &'static str {
        match self {
            Self::Answer(..) => "answered",
            Self::Gone => "gone",
            Self::TimedOut => "timed_out",
            Self::Busy => "busy",
            Self::Stopped => "stopped",
        }
    }
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
        Self::with_memory(node, addresses, secret, idle, KNOWN_FOR)
    }

    /// [`Nodes::new`] that asks for an address again after `known_for`.
    pub(super) fn with_memory(
        node: NodeId,
        addresses: Arc<dyn Addresses>,
        secret: &Secret,
        idle: Duration,
        known_for: Duration,
    ) -> Result<Self, reqwest::Error> {
        let client = http_client(|client| {
            client
                .connect_timeout(CONNECT_TIMEOUT)
                .pool_idle_timeout(idle)
                .redirect(reqwest::redirect::Policy::none())
                .no_proxy()
        })?;
        Ok(Self(Arc::new(Inner {
            node,
            tokens: TokenKey::new(secret.as_bytes()),
            key: key_for(PURPOSE, secret.as_bytes()),
            addresses,
            known: Mutex::default(),
            known_for,
            client,
        })))
    }

    /// Says where this process can be reached (`http://10.0.0.3:4000`), until `stop`.
    pub async fn advertise(self, address: String, stop: CancellationToken) {
        let signed = self.sign(self.0.node, &address);
        while !stop.is_cancelled() {
            let next = match self.0.addresses.put(self.0.node.0, &signed).await {
                Ok(()) => BEAT,
                Err(error) => {
                    tracing::debug!(%error, "other nodes are not told where this one is");
                    RETRY
                }
            };
            stop.run_until_cancelled(sleep(next)).await;
        }
    }

    pub(crate) fn node(&self) -> NodeId {
        self.0.node
    }

    /// Signs the tokens of sessions so that the other nodes know them.
    pub(crate) fn token_key(&self) -> TokenKey {
        self.0.tokens.clone()
    }

    /// Passes a request on to the node of its session.
    pub(super) async fn pass_on(
        &self,
        owner: &Owner,
        parts: &Parts,
        body: Bytes,
        terms: Terms,
    ) -> Passed {
        let places = self.places(owner.node);
        let Some(_turn) = places.turn(&parts.method).await else {
            return Passed::Busy;
        };
        let Some(address) = self.find(owner.node).await else {
            return Passed::Gone;
        };
        let Ok(token) = HeaderValue::from_str(&owner.token) else {
            return Passed::Gone;
        };
        let url = format!("{address}{}", parts.uri.path());
        let mut request = self
            .0
            .client
            .request(parts.method.clone(), url)
            .timeout(terms.window + GRACE)
            .header(PASSED_ON, MARK)
            .header(TOKEN_HEADER, token)
            .body(body);
        if let Some(content_type) = parts.headers.get(CONTENT_TYPE) {
            request = request.header(CONTENT_TYPE, content_type);
        }
        let passed = answered(request, terms.max_answer).await;
        let passed = passed.unwrap_or_else(|error| self.failed(owner.node, &address, error));
        if passed == Passed::Gone {
            self.forget(owner.node);
        }
        passed
    }

    fn places(&self, node: NodeId) -> Arc<Places> {
        let mut known = self.0.known.lock();
        if known.len() >= KNOWN && !known.contains_key(&node) {
            // Places that are taken stay: else they would be given away twice.
            known.retain(|_, peer| Arc::strong_count(&peer.places) > 1);
        }
        known.entry(node).or_default().places.clone()
    }

    /// Where a node is, by what is known or shared. While nothing can be asked, or what is shared
    /// has come back empty, what was known longer ago will do: at worst nobody is there.
    async fn find(&self, node: NodeId) -> Option<String> {
        let known = self.0.known.lock().get(&node)?.address.clone();
        if let Some((address, at)) = &known
            && at.elapsed() < self.0.known_for
        {
            return Some(address.clone());
        }
        let found = self.0.addresses.find(node.0).await.ok().flatten();
        let Some(address) = found.and_then(|text| self.verify(node, &text)) else {
            return known.map(|(address, _)| address);
        };
        if let Some(peer) = self.0.known.lock().get_mut(&node) {
            peer.address = Some((address.clone(), Instant::now()));
        }
        Some(address)
    }

    fn forget(&self, node: NodeId) {
        if let Some(peer) = self.0.known.lock().get_mut(&node) {
            peer.address = None;
        }
    }

    /// A certificate that is not believed looks like a node that is gone, so the log names it.
    fn failed(&self, node: NodeId, address: &str, error: reqwest::Error) -> Passed {
        let is_timeout = error.is_timeout() && !error.is_connect();
        let error = error.without_url();
        match address.starts_with("https:") && self.is_worth_a_warning(node) {
            true => tracing::warn!(?error, address, "a node is not reached where it says it is"),
            false => tracing::debug!(?error, "a request is not answered by its session's node"),
        }
        match is_timeout {
            true => Passed::TimedOut,
            false => Passed::Gone,
        }
    }

    /// At most once a minute for each node.
    fn is_worth_a_warning(&self, node: NodeId) -> bool {
        let mut known = self.0.known.lock();
        let warned = &mut known.entry(node).or_default().warned;
        let is_due = warned.is_none_or(|at| at.elapsed() >= WARN_EVERY);
        if is_due {
            *warned = Some(Instant::now());
        }
        is_due
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

/// Says that the owner of a session has answered, and nobody else.
pub(super) fn mark(answer: &mut Response) {
    answer.headers_mut().insert(ANSWERED, MARK);
}

fn signed(node: NodeId, address: &str) -> Vec<u8> {
    [&node.0.to_be_bytes()[..], address.as_bytes()].concat()
}

/// Reads the owner's answer. What does not bear its mark is not for the client.
async fn answered(
    request: reqwest::RequestBuilder,
    max_answer: usize,
) -> Result<Passed, reqwest::Error> {
    let mut response = request.send().await?;
    let is_owners = response.headers().contains_key(ANSWERED);
    match (is_owners, response.status()) {
        (false, StatusCode::SERVICE_UNAVAILABLE) => return Ok(Passed::Busy),
        (false, _) | (true, StatusCode::NOT_FOUND) => return Ok(Passed::Gone),
        (true, _) => {}
    }
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > max_answer {
            tracing::warn!(max_answer, "the answer of a session's node is too large");
            return Ok(Passed::Gone);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Passed::Answer(response.status(), body.freeze()))
}

impl Default for Places {
    fn default() -> Self {
        Self {
            polls: Semaphore::new(POLLS),
            posts: Semaphore::new(POSTS),
        }
    }
}

impl Places {
    async fn turn(&self, method: &Method) -> Option<SemaphorePermit<'_>> {
        let places = match *method == Method::POST {
            true => &self.posts,
            false => &self.polls,
        };
        timeout(TURN, places.acquire()).await.ok()?.ok()
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

    /// Fails so often to be told, and knows nobody.
    #[derive(Debug, Default)]
    struct Nobody {
        failures: usize,
        puts: Mutex<Vec<Instant>>,
    }

    #[async_trait::async_trait]
    impl Addresses for Nobody {
        async fn put(&self, _: u64, _: &str) -> Result<(), NotShared> {
            let mut puts = self.puts.lock();
            puts.push(Instant::now());
            match puts.len() <= self.failures {
                true => Err(NotShared("away".into())),
                false => Ok(()),
            }
        }

        async fn find(&self, _: u64) -> Result<Option<String>, NotShared> {
            Ok(None)
        }
    }

    fn nodes(addresses: Arc<Nobody>, secret: &str) -> Nodes {
        let secret = Secret::new(secret.repeat(32)).unwrap();
        Nodes::new(NodeId(1), addresses, &secret, Duration::from_secs(1)).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_could_not_say_where_it_is_says_so_again_soon() {
        let nobody = Arc::new(Nobody {
            failures: 2,
            ..Nobody::default()
        });
        let speaking = nodes(nobody.clone(), "a").advertise("http://a".into(), <_>::default());
        timeout(3 * RETRY + BEAT, speaking).await.unwrap_err();
        let puts = nobody.puts.lock();
        let pauses: Vec<_> = puts.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert_eq!(pauses, [RETRY, RETRY, BEAT]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_is_warned_of_once_a_minute() {
        let nodes = nodes(Arc::default(), "a");
        let warn = |node| nodes.is_worth_a_warning(NodeId(node));
        assert_eq!([warn(7), warn(7), warn(8)], [true, false, true]);
        sleep(WARN_EVERY).await;
        assert_eq!([warn(7), warn(7)], [true, false]);
    }

    #[test]
    fn the_nodes_that_are_remembered_are_bounded_and_no_place_is_given_twice() {
        let nodes = nodes(Arc::default(), "a");
        let busy = nodes.places(NodeId(0));
        for node in 0..2 * KNOWN as u64 {
            nodes.places(NodeId(node));
            assert!(nodes.0.known.lock().len() <= KNOWN);
        }
        assert!(Arc::ptr_eq(&busy, &nodes.places(NodeId(0))));
    }

    #[test]
    fn an_address_is_believed_of_its_node_by_those_with_the_secret() {
        let nodes = |secret| nodes(Arc::default(), secret);
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
