//! `Sec-WebSocket-Protocol`: choosing one, and the auth token that Phoenix 1.8 clients hide in it
//! (protocol.md item 5).

use base64::{Engine, engine::GeneralPurposeConfig, engine::general_purpose::GeneralPurpose};
use base64::{alphabet, engine::DecodePaddingMode};
use http::{HeaderMap, HeaderName, header::SEC_WEBSOCKET_PROTOCOL};

/// The subprotocol that phoenix.js offers beside its token, and expects back.
const PHOENIX: &str = "phoenix";
const TOKEN_PREFIX: &str = "base64url.bearer.phx.";
const LONG_POLL_TOKEN: HeaderName = HeaderName::from_static("x-phoenix-authtoken");

/// None of the offered subprotocols is spoken here: HTTP 403.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NoCommonSubprotocol;

/// What the client's subprotocols settle.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Negotiated {
    /// To be echoed.
    pub(crate) subprotocol: Option<String>,
    /// The bearer token that rode along.
    pub(crate) auth_token: Option<String>,
}

/// Chooses the first of `spoken` (server order) that the client offers. With `auth_token`, one
/// offered entry may carry a token, and `phoenix` is spoken too. Where nothing is spoken, or
/// nothing offered, nothing is chosen.
pub(crate) fn negotiate(
    headers: &HeaderMap,
    spoken: &[String],
    auth_token: bool,
) -> Result<Negotiated, NoCommonSubprotocol> {
    let Some(offered) = headers.get(SEC_WEBSOCKET_PROTOCOL) else {
        return Ok(Negotiated::default());
    };
    let offered = offered.to_str().unwrap_or_default();
    let offered: Vec<&str> = offered.split(',').map(str::trim).collect();
    let token = auth_token.then(|| token_of(&offered)).flatten();
    if spoken.is_empty() && !auth_token {
        return Ok(Negotiated::default());
    }
    let phoenix = auth_token.then_some(PHOENIX);
    let chosen = phoenix
        .into_iter()
        .chain(spoken.iter().map(String::as_str))
        .find(|name| offered.contains(name))
        .ok_or(NoCommonSubprotocol)?;
    Ok(Negotiated {
        subprotocol: Some(chosen.to_owned()),
        auth_token: token,
    })
}

/// The token in long-poll's own header.
pub(crate) fn long_poll_token(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(LONG_POLL_TOKEN)?;
    Some(value.to_str().ok()?.to_owned())
}

fn token_of(offered: &[&str]) -> Option<String> {
    let encoded = offered.iter().find_map(|o| o.strip_prefix(TOKEN_PREFIX))?;
    String::from_utf8(decode_base64(encoded)?).ok()
}

/// Clients build the text with `btoa` and strip the padding, others use the URL alphabet.
fn decode_base64(text: &str) -> Option<Vec<u8>> {
    const LENIENT: GeneralPurposeConfig =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let engine = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);
    engine.decode(text.replace('+', "-").replace('/', "_")).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn offer(
        offered: &str,
        spoken: &[&str],
        auth_token: bool,
    ) -> Result<Negotiated, NoCommonSubprotocol> {
        let mut headers = HeaderMap::new();
        if !offered.is_empty() {
            headers.insert(SEC_WEBSOCKET_PROTOCOL, offered.parse().unwrap());
        }
        let spoken: Vec<String> = spoken.iter().map(|&s| s.to_owned()).collect();
        negotiate(&headers, &spoken, auth_token)
    }

    fn chosen(offered: &str, spoken: &[&str]) -> Option<String> {
        offer(offered, spoken, false).unwrap().subprotocol
    }

    #[test]
    fn the_first_in_server_order_is_chosen() {
        assert_eq!(
            chosen("mqtt, foo", &["sip", "mqtt"]).as_deref(),
            Some("mqtt")
        );
        assert_eq!(chosen("mqtt,sip", &["sip", "mqtt"]).as_deref(), Some("sip"));
    }

    #[test]
    fn nothing_offered_or_nothing_spoken_chooses_nothing() {
        assert_eq!(chosen("", &["sip"]), None);
        assert_eq!(chosen("foo", &[]), None);
    }

    #[test]
    fn an_offer_without_a_common_one_is_refused() {
        assert_eq!(offer("foo", &["sip"], false), Err(NoCommonSubprotocol));
        assert_eq!(offer("foo", &[], true), Err(NoCommonSubprotocol));
    }

    #[test]
    fn a_token_rides_beside_phoenix() {
        for encoded in ["dG9rLXN1Yg", "dG9rLXN1Yg=="] {
            let offered = format!("phoenix, base64url.bearer.phx.{encoded}");
            let negotiated = offer(&offered, &[], true).unwrap();
            assert_eq!(negotiated.subprotocol.as_deref(), Some("phoenix"));
            assert_eq!(negotiated.auth_token.as_deref(), Some("tok-sub"));
        }
        let both_alphabets = [
            "base64url.bearer.phx.Pz8_Pj4-",
            "base64url.bearer.phx.Pz8/Pj4+",
        ];
        for entry in both_alphabets {
            let negotiated = offer(&format!("phoenix,{entry}"), &[], true).unwrap();
            assert_eq!(negotiated.auth_token.as_deref(), Some("???>>>"));
        }
    }

    #[test]
    fn a_token_is_ignored_where_none_is_expected() {
        let offered = "phoenix, base64url.bearer.phx.dG9rLXN1Yg";
        assert_eq!(offer(offered, &[], false), Ok(Negotiated::default()));
    }
}
