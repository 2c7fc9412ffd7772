//! Which channel a topic belongs to.

use std::{fmt, sync::Arc};

use super::{Channel, erased::Routed};

/// Topics and the channels behind them, in the order in which they are tried: exact names, or a
/// prefix that ends in `*`.
///
/// A client that joins what no pattern matches is told `unmatched topic`.
pub struct Router<A> {
    routes: Vec<Route<A>>,
}

struct Route<A> {
    pattern: Pattern,
    channel: Arc<dyn Routed<A>>,
    /// An alias: the prefix under which the broadcasts travel.
    source: Option<Box<str>>,
}

#[derive(PartialEq, Eq)]
struct Pattern {
    prefix: Box<str>,
    is_prefix: bool,
}

/// A topic that is routed.
pub(crate) struct Target<'a, A> {
    pub(crate) channel: &'a Arc<dyn Routed<A>>,
    pub(crate) source: Arc<str>,
}

impl<A: Send + Sync + 'static> Router<A> {
    /// Routes nothing yet.
    pub fn new() -> Self {
        Self { routes: Vec::new() }
    }

    /// Sends topics that match `pattern` (`room:*`, or an exact name) to a channel.
    ///
    /// # Panics
    ///
    /// When a `*` stands elsewhere than at the end.
    #[must_use]
    pub fn channel(mut self, pattern: &str, channel: impl Channel<Assigns = A>) -> Self {
        self.routes.push(Route {
            pattern: Pattern::parse(pattern),
            channel: Arc::new(channel),
            source: None,
        });
        self
    }

    /// Makes topics under one prefix another name of those under a prefix that is routed already:
    /// after `alias("conversation:*", "chat:*")`, `conversation:7` is joined in the channel of
    /// `chat:*` and hears what is broadcast on `chat:7`.
    ///
    /// # Panics
    ///
    /// When `of` is not routed, or either does not end in `*`.
    #[must_use]
    pub fn alias(mut self, pattern: &str, of: &str) -> Self {
        let (pattern, of) = (Pattern::parse(pattern), Pattern::parse(of));
        assert!(pattern.is_prefix && of.is_prefix, "an alias maps a prefix");
        let target = self.routes.iter().find(|route| route.pattern == of);
        let channel = Arc::clone(&target.expect("an alias names a routed pattern").channel);
        self.routes.push(Route {
            pattern,
            channel,
            source: Some(of.prefix),
        });
        self
    }

    pub(crate) fn find(&self, topic: &str) -> Option<Target<'_, A>> {
        self.routes.iter().find_map(|route| route.target(topic))
    }
}

impl<A: Send + Sync + 'static> Default for Router<A> {
    fn default() -> Self {
        Self::new()
    }
}

impl<A> Route<A> {
    fn target(&self, topic: &str) -> Option<Target<'_, A>> {
        let rest = self.pattern.matches(topic)?;
        let source = match &self.source {
            Some(prefix) => format!("{prefix}{rest}").into(),
            None => topic.into(),
        };
        let channel = &self.channel;
        Some(Target { channel, source })
    }
}

impl Pattern {
    fn parse(text: &str) -> Self {
        let prefix = text.strip_suffix('*');
        let literal = prefix.unwrap_or(text);
        assert!(!literal.contains('*'), "a * stands at the end: {text:?}");
        Self {
            prefix: literal.into(),
            is_prefix: prefix.is_some(),
        }
    }

    /// What follows the prefix, if the topic matches.
    fn matches<'t>(&self, topic: &'t str) -> Option<&'t str> {
        let rest = topic.strip_prefix(&*self.prefix)?;
        (self.is_prefix || rest.is_empty()).then_some(rest)
    }
}

impl<A> fmt::Debug for Router<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let patterns = self.routes.iter().map(|route| &route.pattern);
        f.debug_list().entries(patterns).finish()
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let star = if self.is_prefix { "*" } else { "" };
        write!(f, "{}{star}", self.prefix)
    }
}
