//! Query strings, decoded as strictly as Plug does.

use std::borrow::Cow;

use percent_encoding::percent_decode;

/// The query is not UTF-8 after percent-decoding: HTTP 400 [ws-handshake].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the query string is not UTF-8")]
pub(crate) struct InvalidQuery;

/// Key and value of every parameter, in order. Broken percent escapes stay as they are.
pub(crate) fn parse(query: &str) -> Result<Vec<(String, String)>, InvalidQuery> {
    let mut pairs = Vec::new();
    let mut rest = query;
    while !rest.is_empty() {
        let (pair, behind) = split_once(rest, b'&').unwrap_or((rest, ""));
        rest = behind;
        if !pair.is_empty() {
            let (key, value) = split_once(pair, b'=').unwrap_or((pair, ""));
            pairs.push((decode(key)?, decode(value)?));
        }
    }
    Ok(pairs)
}

/// At an ASCII character. Most of a query is a token, which is passed over fast.
fn split_once(text: &str, at: u8) -> Option<(&str, &str)> {
    let at = memchr::memchr(at, text.as_bytes())?;
    Some((&text[..at], &text[at + 1..]))
}

/// The value of a parameter; of several the last one wins.
pub(crate) fn last<'q>(params: &'q [(String, String)], key: &str) -> Option<&'q str> {
    params
        .iter()
        .rev()
        .find(|(k, _)| k == key)
        .map(|(_, value)| value.as_str())
}

/// Whether a parameter was sent as a list or map (`vsn[]=2.0.0`), where only text makes sense.
pub(crate) fn is_structured(params: &[(String, String)], key: &str) -> bool {
    params.iter().any(|(k, _)| {
        k.strip_prefix(key)
            .is_some_and(|rest| rest.starts_with('['))
    })
}

fn decode(text: &str) -> Result<String, InvalidQuery> {
    if memchr::memchr2(b'%', b'+', text.as_bytes()).is_none() {
        return Ok(text.to_owned());
    }
    let spaced: Cow<'_, str> = if text.contains('+') {
        Cow::Owned(text.replace('+', " "))
    } else {
        Cow::Borrowed(text)
    };
    percent_decode(spaced.as_bytes())
        .decode_utf8()
        .map(Cow::into_owned)
        .map_err(|_| InvalidQuery)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_last_of_several_wins_and_escapes_are_decoded() {
        let params = parse("token=bad&token=tok%2Da+b&x=%zz&flag&&").unwrap();
        assert_eq!(last(&params, "token"), Some("tok-a b"));
        assert_eq!(last(&params, "x"), Some("%zz"));
        assert_eq!(last(&params, "flag"), Some(""));
        assert_eq!(last(&params, "none"), None);
        assert_eq!(params.len(), 4);
    }

    #[test]
    fn bytes_that_are_not_utf8_are_refused() {
        assert_eq!(parse("x=%ff"), Err(InvalidQuery));
        assert_eq!(parse("%ff=x"), Err(InvalidQuery));
    }

    #[test]
    fn lists_and_maps_are_recognised() {
        let params = parse("vsn[]=2.0.0&a[b]=1").unwrap();
        assert!(is_structured(&params, "vsn"));
        assert!(is_structured(&params, "a"));
        assert!(!is_structured(&params, "v"));
    }
}
