//! Paths of mounts, with variables: `/socket`, `/socket/:tenant`.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// A path pattern, split at its slashes. Empty segments do not count, so that a trailing slash
/// changes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PathPattern(Vec<Segment>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Literal(String),
    Variable(String),
}

impl PathPattern {
    /// Splits a pattern; a segment that begins with a colon is a variable.
    pub(crate) fn parse(pattern: &str) -> Self {
        let segment = |text: &str| match text.strip_prefix(':') {
            Some(name) => Segment::Variable(name.to_owned()),
            None => Segment::Literal(text.to_owned()),
        };
        Self(segments(pattern).map(segment).collect())
    }

    /// The variables of a path that matches, decoded.
    pub(crate) fn matches(&self, path: &str) -> Option<Vec<(String, String)>> {
        let mut variables = Vec::new();
        let mut rest = segments(path);
        for expected in &self.0 {
            let given = decode(rest.next()?)?;
            match expected {
                Segment::Literal(text) if *text == given => {}
                Segment::Literal(_) => return None,
                Segment::Variable(name) => variables.push((name.clone(), given.into_owned())),
            }
        }
        rest.next().is_none().then_some(variables)
    }
}

fn decode(segment: &str) -> Option<Cow<'_, str>> {
    match segment.as_bytes().contains(&b'%') {
        true => percent_decode_str(segment).decode_utf8().ok(),
        false => Some(segment.into()),
    }
}

fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|segment| !segment.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(pattern: &str, path: &str) -> Option<Vec<(String, String)>> {
        PathPattern::parse(pattern).matches(path)
    }

    #[test]
    fn literals_match_with_or_without_a_trailing_slash() {
        for path in [
            "/socket/websocket",
            "/socket/websocket/",
            "//socket//websocket",
        ] {
            assert_eq!(
                variables("/socket/websocket", path),
                Some(Vec::new()),
                "{path}"
            );
        }
        for path in [
            "/socket",
            "/socket/websocket2",
            "/socket/websocket/x",
            "/Socket/websocket",
            "/",
        ] {
            assert_eq!(variables("/socket/websocket", path), None, "{path}");
        }
    }

    #[test]
    fn variables_are_decoded() {
        let tenant = |value: &str| Some(vec![("tenant".to_owned(), value.to_owned())]);
        assert_eq!(variables("/s/:tenant/ws", "/s/acme/ws"), tenant("acme"));
        assert_eq!(
            variables("/s/:tenant/ws", "/s/a%2Fb%20c/ws"),
            tenant("a/b c")
        );
        assert_eq!(variables("/s/:tenant/ws", "/s/ws"), None);
        assert_eq!(variables("/s/:tenant/ws", "/s/%ff/ws"), None);
    }
}
