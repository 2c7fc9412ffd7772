//! What a supervisor shows of itself: read at any time, from anywhere, without asking an actor.

use std::{collections::BTreeMap, fmt, sync::Arc};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::ChildSpec;

/// How a node of the tree is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeState {
    /// It is being started, for the first time or again; the latter may be a back-off.
    Starting,
    /// It runs.
    Running,
    /// It was told to stop.
    Stopping,
    /// It has ended and is not started again.
    Ended,
    /// It failed too often: it is left alone until its time is over or somebody releases it.
    Quarantined,
}

/// A supervisor, an actor, a task, or a group of entities in the live tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreeNode {
    /// Its name among its siblings.
    pub name: String,
    /// What kind of thing it is: the label of its metrics.
    pub kind: String,
    /// How it is.
    pub state: NodeState,
    /// How many there are: 1, but for groups of entities.
    pub count: u64,
    /// How often it was started again after a failure.
    pub restarts: u64,
    /// Messages that wait for it, where they are counted.
    pub queue_depth: u64,
    /// How long it has been in this life, in milliseconds.
    pub age_ms: u64,
    /// What it failed of the last time, if it ever did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<String>,
    /// The workspace that an entity belongs to: only its administrators may see which it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// What it supervises or holds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<TreeNode>,
}

impl TreeNode {
    /// This node and all beneath it.
    pub fn walk(&self, visit: &mut impl FnMut(&Self)) {
        visit(self);
        for child in &self.children {
            child.walk(visit);
        }
    }
}

/// What the metrics say of a kind.
#[derive(Debug, Default)]
struct OfKind {
    running: u64,
    quarantined: u64,
    queued: u64,
    youngest_ms: Option<u64>,
}

impl TreeNode {
    /// Sets the gauges of every kind to what is in this tree.
    pub fn record(&self) {
        let mut kinds: BTreeMap<String, OfKind> = BTreeMap::new();
        self.walk(&mut |node| {
            let kind = kinds.entry(node.kind.clone()).or_default();
            kind.queued += node.queue_depth;
            match node.state {
                NodeState::Running => {
                    kind.running += node.count;
                    let youngest = kind.youngest_ms.unwrap_or(u64::MAX);
                    kind.youngest_ms = Some(youngest.min(node.age_ms));
                }
                NodeState::Quarantined => kind.quarantined += node.count,
                NodeState::Starting | NodeState::Stopping | NodeState::Ended => {}
            }
        });
        for (kind, of) in kinds {
            of.record(&kind);
        }
    }
}

impl OfKind {
    #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
    fn record(&self, kind: &str) {
        let gauge = |value: u64| value as f64;
        let kind = kind.to_owned();
        metrics::gauge!("quikapp_actors", "kind" => kind.clone()).set(gauge(self.running));
        metrics::gauge!("quikapp_actor_queue_depth", "kind" => kind.clone())
            .set(gauge(self.queued));
        metrics::gauge!("quikapp_entities_quarantined", "kind" => kind.clone())
            .set(gauge(self.quarantined));
        if let Some(age) = self.youngest_ms {
            metrics::gauge!("quikapp_actor_age_seconds", "kind" => kind).set(gauge(age) / 1e3);
        }
    }
}

/// The children of one supervisor, as they are now. The supervisor writes, everybody reads.
#[derive(Debug, Default)]
pub(super) struct Branch(Mutex<Vec<Leaf>>);

struct Leaf {
    spec: ChildSpec,
    state: NodeState,
    restarts: u64,
    since: Instant,
    last_failure: Option<String>,
    beneath: Option<Arc<Branch>>,
}

impl Branch {
    pub(super) fn push(&self, spec: ChildSpec) {
        self.0.lock().push(Leaf {
            spec,
            state: NodeState::Starting,
            restarts: 0,
            since: Instant::now(),
            last_failure: None,
            beneath: None,
        });
    }

    pub(super) fn starts(&self, child: usize, again: bool) {
        self.change(child, |leaf| {
            leaf.enter(NodeState::Starting);
            leaf.restarts += u64::from(again);
        });
    }

    pub(super) fn runs(&self, child: usize, beneath: Option<Arc<Branch>>) {
        self.change(child, |leaf| {
            leaf.enter(NodeState::Running);
            leaf.beneath = beneath;
        });
    }

    pub(super) fn stops(&self, child: usize) {
        self.change(child, |leaf| leaf.state = NodeState::Stopping);
    }

    pub(super) fn ended(&self, child: usize, failure: Option<String>) {
        self.change(child, |leaf| {
            leaf.enter(NodeState::Ended);
            leaf.last_failure = failure.or(leaf.last_failure.take());
            leaf.beneath = None;
        });
    }

    /// The supervisor waits before it starts the child again.
    pub(super) fn waits(&self, child: usize) {
        self.change(child, |leaf| leaf.state = NodeState::Starting);
    }

    pub(super) fn nodes(&self) -> Vec<TreeNode> {
        self.0.lock().iter().map(Leaf::node).collect()
    }

    fn change(&self, child: usize, change: impl FnOnce(&mut Leaf)) {
        if let Some(leaf) = self.0.lock().get_mut(child) {
            change(leaf);
        }
    }
}

impl Leaf {
    fn enter(&mut self, state: NodeState) {
        self.state = state;
        self.since = Instant::now();
    }

    fn node(&self) -> TreeNode {
        let mut children = self.beneath.as_ref().map(|it| it.nodes());
        if let Some(report) = &self.spec.report {
            children.get_or_insert_default().extend(report());
        }
        let depth = self.spec.queue.as_ref().map_or(0, |depth| depth());
        TreeNode {
            name: self.spec.name.to_string(),
            kind: self.spec.kind.to_owned(),
            state: self.state,
            count: 1,
            restarts: self.restarts,
            queue_depth: depth as u64,
            age_ms: age_ms(self.since),
            last_failure: self.last_failure.clone(),
            tenant: None,
            children: children.unwrap_or_default(),
        }
    }
}

impl fmt::Debug for Leaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leaf")
            .field("spec", &self.spec)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

pub(crate) fn age_ms(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}
