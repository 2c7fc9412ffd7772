//! What a server did that it must not do.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Examples that are kept of each kind.
const EXAMPLES: usize = 5;

/// A kind of broken promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A message never came.
    Lost,
    /// A message came twice.
    Duplicate,
    /// A message came behind a later one of the same sender, or two members heard different
    /// orders where one is promised.
    OutOfOrder,
    /// A message came with another content than it was sent with.
    Altered,
    /// A message came that this member must not hear.
    Foreign,
    /// A connection, join or message was refused.
    Refused,
    /// A connection or channel ended by itself.
    Closed,
    /// Presence showed somebody who was not there, or did not show somebody who was.
    Presence,
}

/// Broken promises, counted, with some examples.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Violations(BTreeMap<Kind, Broken>);

/// How often one kind was broken.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Broken {
    /// How often.
    pub count: u64,
    /// The first few.
    pub examples: Vec<String>,
}

impl Violations {
    pub(crate) fn add(&mut self, kind: Kind, count: u64, example: impl FnOnce() -> String) {
        let broken = self.0.entry(kind).or_default();
        broken.count += count;
        if broken.examples.len() < EXAMPLES {
            broken.examples.push(example());
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (kind, broken) in &other.0 {
            let kept = self.0.entry(*kind).or_default();
            kept.count += broken.count;
            let room = EXAMPLES.saturating_sub(kept.examples.len());
            let more = broken.examples.iter().take(room).cloned();
            kept.examples.extend(more);
        }
    }

    /// Nothing was broken.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How often this was broken.
    pub fn count(&self, kind: Kind) -> u64 {
        self.0.get(&kind).map_or(0, |broken| broken.count)
    }

    /// All kinds that were broken.
    pub fn iter(&self) -> impl Iterator<Item = (Kind, &Broken)> {
        self.0.iter().map(|(kind, broken)| (*kind, broken))
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Lost => "lost",
            Self::Duplicate => "duplicate",
            Self::OutOfOrder => "out of order",
            Self::Altered => "altered",
            Self::Foreign => "foreign",
            Self::Refused => "refused",
            Self::Closed => "closed",
            Self::Presence => "presence",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_counted_and_a_few_are_told() {
        let mut first = Violations::default();
        for n in 0..9 {
            first.add(Kind::Lost, 2, || format!("message {n}"));
        }
        let mut second = Violations::default();
        second.add(Kind::Lost, 1, || "another".to_owned());
        second.add(Kind::Closed, 1, || "gone".to_owned());
        second.merge(&first);
        assert_eq!(second.count(Kind::Lost), 19);
        assert_eq!(second.count(Kind::Closed), 1);
        assert_eq!(second.count(Kind::Altered), 0);
        let (_, lost) = second.iter().next().expect("there are some");
        assert_eq!(lost.examples.len(), EXAMPLES);
        assert_eq!(lost.examples[0], "another");
    }
}
