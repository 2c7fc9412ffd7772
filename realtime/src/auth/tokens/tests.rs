#![allow(clippy::unwrap_used)]

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicUsize, Ordering},
};

use jsonwebtoken::{crypto::sign, jwk::Jwk};
use quikapp_actors::clock::ManualClock;
use quikapp_storage::{Timestamp, UserId, WorkspaceId};
use serde_json::json;

use super::*;
use crate::auth::{
    JwksSource,
    jws::{MAX_TOKEN_BYTES, REFUSED_HEADERS},
};

const NOW: i64 = 1_800_000_000;

fn clock() -> ManualClock {
    ManualClock::at(Timestamp(NOW * 1000))
}

fn secret(letter: &str) -> Secret {
    Secret::new(letter.repeat(64)).unwrap()
}

fn tokens_with(config: &Config) -> Tokens {
    Tokens::new(config, &[secret("a")], Arc::new(clock())).unwrap()
}

fn tokens() -> Tokens {
    tokens_with(&Config::default())
}

fn claims() -> Value {
    json!({
        "sub": "ada", "workspace": "acme", "type": "access", "jti": "t-1",
        "iss": "quikapp", "aud": "quikapp", "iat": NOW - 10, "exp": NOW + 600,
    })
}

fn changed(field: &str, value: Value) -> Value {
    let mut claims = claims();
    match value {
        Value::Null => claims.as_object_mut().unwrap().remove(field),
        value => claims.as_object_mut().unwrap().insert(field.into(), value),
    };
    claims
}

/// Builds a token by hand, as an attacker would.
fn forge(
    header: &Value,
    claims: &Value,
    key: &EncodingKey,
    algorithm: jsonwebtoken::Algorithm,
) -> String {
    let part = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
    let signed = format!("{}.{}", part(header), part(claims));
    let signature = sign(signed.as_bytes(), key, algorithm).unwrap();
    format!("{signed}.{signature}")
}

fn hmac_token(header: &Value, claims: &Value, letter: &str) -> String {
    let algorithm = header["alg"].as_str().unwrap().parse().unwrap();
    let key = EncodingKey::from_secret(secret(letter).as_bytes());
    forge(header, claims, &key, algorithm)
}

async fn verdict(claims: &Value) -> Result<Principal, TokenError> {
    tokens()
        .verify(&hmac_token(&json!({"alg": "HS256"}), claims, "a"))
        .await
}

/// An issuer with a key of its own.
struct Issuer {
    kid: &'static str,
    key: EncodingKey,
    algorithm: jsonwebtoken::Algorithm,
}

impl Issuer {
    fn new(kid: &'static str, algorithm: jsonwebtoken::Algorithm) -> Self {
        let key = private_key(algorithm);
        Self {
            kid,
            key,
            algorithm,
        }
    }

    fn jwk(&self) -> Value {
        let mut jwk =
            serde_json::to_value(Jwk::from_encoding_key(&self.key, self.algorithm).unwrap())
                .unwrap();
        jwk["kid"] = json!(self.kid);
        jwk["use"] = json!("sig");
        jwk
    }

    fn header(&self) -> Value {
        json!({"alg": format!("{:?}", self.algorithm), "kid": self.kid})
    }

    fn token(&self) -> String {
        forge(&self.header(), &claims(), &self.key, self.algorithm)
    }
}

fn private_key(algorithm: jsonwebtoken::Algorithm) -> EncodingKey {
    use jsonwebtoken::Algorithm as A;
    let pem = |kind| rcgen::KeyPair::generate_for(kind).unwrap().serialize_pem();
    match algorithm {
        A::RS256 => EncodingKey::from_rsa_pem(pem(&rcgen::PKCS_RSA_SHA256).as_bytes()).unwrap(),
        A::ES256 => {
            EncodingKey::from_ec_pem(pem(&rcgen::PKCS_ECDSA_P256_SHA256).as_bytes()).unwrap()
        }
        A::ES384 => {
            EncodingKey::from_ec_pem(pem(&rcgen::PKCS_ECDSA_P384_SHA384).as_bytes()).unwrap()
        }
        A::EdDSA => {
            let pair = aws_lc_rs::signature::Ed25519KeyPair::generate().unwrap();
            EncodingKey::from_ed_der(pair.to_pkcs8v1().unwrap().as_ref())
        }
        other => panic!("no test needs a key for {other:?}"),
    }
}

/// Tokens that trust the keys of a file.
fn trusting(keys: &[Value]) -> (Tokens, tempfile::NamedTempFile) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), json!({ "keys": keys }).to_string()).unwrap();
    let config = Config {
        jwks: Some(JwksSource::File(file.path().into())),
        ..Config::default()
    };
    (tokens_with(&config), file)
}

#[tokio::test]
async fn a_minted_token_verifies_and_carries_its_grant() {
    let tokens = tokens();
    let person = Person {
        workspace: WorkspaceId::new("acme").unwrap(),
        user: UserId::new("ada").unwrap(),
    };
    let mut grant = Grant::admin(person.clone());
    grant
        .rooms
        .insert("broadcast:g-*".into(), vec![RoomAccess::Read]);
    let minted = tokens.mint(&grant, Duration::from_secs(60)).unwrap();
    let principal = tokens.verify(&minted.token).await.unwrap();
    assert_eq!(principal.person, person);
    assert_eq!(principal.role, AccountRole::Admin);
    assert!(principal.rooms.allow("broadcast:g-1", RoomAccess::Read));
    assert_eq!(Some(principal.jti.to_string()), minted.claims.jti);
    assert_eq!(principal.expires_at, Timestamp((NOW + 60) * 1000));
    assert!(!format!("{minted:?}").contains(&minted.token));
}

#[tokio::test]
async fn every_hmac_algorithm_verifies_and_the_allow_list_decides() {
    let only_512 = tokens_with(&Config {
        algorithms: vec![Algorithm::HS512],
        ..Config::default()
    });
    for name in ["HS256", "HS384", "HS512"] {
        let token = hmac_token(&json!({ "alg": name }), &claims(), "a");
        assert!(tokens().verify(&token).await.is_ok(), "{name}");
        let expected = if name == "HS512" {
            None
        } else {
            Some(TokenError::AlgorithmRefused)
        };
        assert_eq!(only_512.verify(&token).await.err(), expected, "{name}");
    }
}

#[tokio::test]
async fn none_and_unlisted_algorithms_are_refused() {
    let signed_with_a = EncodingKey::from_secret(secret("a").as_bytes());
    for name in [
        "none", "None", "NONE", "nOnE", "", "PS256", "RS384", "ES384", "hs256",
    ] {
        let header = json!({ "alg": name });
        let token = forge(
            &header,
            &claims(),
            &signed_with_a,
            jsonwebtoken::Algorithm::HS256,
        );
        let unsigned = format!("{}.", token.rsplit_once('.').unwrap().0);
        for token in [token, unsigned] {
            let refused = tokens().verify(&token).await;
            assert_eq!(refused, Err(TokenError::AlgorithmRefused), "{name}");
        }
    }
    let unsigned = hmac_token(&json!({"alg": "HS256"}), &claims(), "a");
    let unsigned = format!("{}.", unsigned.rsplit_once('.').unwrap().0);
    assert_eq!(
        tokens().verify(&unsigned).await,
        Err(TokenError::BadSignature)
    );
}

#[tokio::test]
async fn public_key_algorithms_verify_with_a_key_of_the_set() {
    use jsonwebtoken::Algorithm as A;
    for algorithm in [A::RS256, A::ES256, A::EdDSA] {
        let issuer = Issuer::new("k1", algorithm);
        let stranger = Issuer::new("k1", algorithm);
        let (tokens, _file) = trusting(&[issuer.jwk()]);
        assert!(
            tokens.verify(&issuer.token()).await.is_ok(),
            "{algorithm:?}"
        );
        let refused = tokens.verify(&stranger.token()).await;
        assert_eq!(refused, Err(TokenError::BadSignature), "{algorithm:?}");
    }
}

#[tokio::test]
async fn a_public_key_never_serves_as_an_hmac_secret() {
    let issuer = Issuer::new("k1", jsonwebtoken::Algorithm::RS256);
    let jwk = issuer.jwk();
    let (tokens, _file) = trusting(std::slice::from_ref(&jwk));
    let modulus = jwk["n"].as_str().unwrap();
    let guesses = [
        modulus.as_bytes().to_vec(),
        URL_SAFE_NO_PAD.decode(modulus).unwrap(),
        jwk.to_string().into_bytes(),
    ];
    for guess in guesses {
        let key = EncodingKey::from_secret(&guess);
        for header in [
            json!({"alg": "HS256", "kid": "k1"}),
            json!({"alg": "HS256"}),
        ] {
            let token = forge(&header, &claims(), &key, jsonwebtoken::Algorithm::HS256);
            assert!(tokens.verify(&token).await.is_err());
        }
    }
}

#[tokio::test]
async fn a_secret_never_verifies_a_public_key_algorithm() {
    let kid = keys::hmac_kid(&secret("a"));
    let key = EncodingKey::from_secret(secret("a").as_bytes());
    let (tokens, _file) = trusting(&[Issuer::new("k1", jsonwebtoken::Algorithm::RS256).jwk()]);
    for alg in ["RS256", "ES256", "EdDSA"] {
        let header = json!({ "alg": alg, "kid": kid });
        let token = forge(&header, &claims(), &key, jsonwebtoken::Algorithm::HS256);
        assert_eq!(
            tokens.verify(&token).await,
            Err(TokenError::UnknownKey),
            "{alg}"
        );
    }
}

#[tokio::test]
async fn a_key_verifies_only_its_own_algorithm() {
    use jsonwebtoken::Algorithm as A;
    let (rsa, ec) = (Issuer::new("k1", A::RS256), Issuer::new("k1", A::ES256));
    let (tokens, _file) = trusting(&[rsa.jwk()]);
    assert_eq!(
        tokens.verify(&ec.token()).await,
        Err(TokenError::UnknownKey)
    );
}

#[tokio::test]
async fn unusable_keys_of_a_set_are_skipped() {
    let issuer = Issuer::new("k1", jsonwebtoken::Algorithm::ES256);
    let with = |field: &str, value: &str| {
        let mut jwk = issuer.jwk();
        jwk[field] = json!(value);
        jwk
    };
    let octets = json!({"kty": "oct", "kid": "k1", "k": URL_SAFE_NO_PAD.encode("a".repeat(64))});
    let short = json!({"kty": "RSA", "kid": "k1", "n": "AQAB".repeat(40), "e": "AQAB"});
    let unusable = [
        octets.clone(),
        short,
        with("use", "enc"),
        with("alg", "ES384"),
        json!(7),
    ];
    let (tokens, _file) = trusting(&unusable);
    assert_eq!(
        tokens.verify(&issuer.token()).await,
        Err(TokenError::UnknownKey)
    );
    let key = EncodingKey::from_secret("a".repeat(64).as_bytes());
    let by_octets = forge(
        &json!({"alg": "HS256", "kid": "k1"}),
        &claims(),
        &key,
        jsonwebtoken::Algorithm::HS256,
    );
    assert_eq!(tokens.verify(&by_octets).await, Err(TokenError::UnknownKey));
}

#[tokio::test]
async fn headers_that_bring_or_name_a_key_are_refused() {
    let issuer = Issuer::new("k1", jsonwebtoken::Algorithm::ES256);
    let (tokens, _file) = trusting(&[issuer.jwk()]);
    for name in REFUSED_HEADERS {
        for value in [
            json!("https://evil.example"),
            json!(["x"]),
            Value::Null,
            issuer.jwk(),
        ] {
            let mut header = issuer.header();
            header[name] = value;
            let token = forge(&header, &claims(), &issuer.key, issuer.algorithm);
            assert_eq!(
                tokens.verify(&token).await,
                Err(TokenError::HeaderRefused(name))
            );
        }
    }
}

#[tokio::test]
async fn a_kid_is_only_compared_with_the_keys_we_hold() {
    let issuer = Issuer::new("k1", jsonwebtoken::Algorithm::ES256);
    let (tokens, _file) = trusting(&[issuer.jwk()]);
    for kid in ["k2", "", "../k1", "k1' OR '1'='1", "/etc/passwd"] {
        let header = json!({"alg": "ES256", "kid": kid});
        let token = forge(&header, &claims(), &issuer.key, issuer.algorithm);
        assert_eq!(
            tokens.verify(&token).await,
            Err(TokenError::UnknownKey),
            "{kid}"
        );
        let token = hmac_token(&json!({"alg": "HS256", "kid": kid}), &claims(), "a");
        assert_eq!(
            tokens.verify(&token).await,
            Err(TokenError::UnknownKey),
            "{kid}"
        );
    }
    let header = json!({"alg": "ES256", "kid": 1});
    let token = forge(&header, &claims(), &issuer.key, issuer.algorithm);
    assert_eq!(tokens.verify(&token).await, Err(TokenError::Malformed));
    let header = json!({"alg": "ES256"});
    let token = forge(&header, &claims(), &issuer.key, issuer.algorithm);
    assert!(
        tokens.verify(&token).await.is_ok(),
        "the only fitting key needs no name"
    );
}

#[tokio::test]
async fn each_claim_has_its_rule() {
    use TokenError::*;
    let table = [
        ("type", json!("refresh"), WrongType),
        ("type", json!("Access"), WrongType),
        ("type", Value::Null, BadClaims),
        ("iss", json!("evil"), WrongIssuer),
        ("iss", Value::Null, BadClaims),
        ("aud", json!("other"), WrongAudience),
        ("aud", json!(["other", "another"]), WrongAudience),
        ("aud", json!([]), WrongAudience),
        ("aud", Value::Null, BadClaims),
        ("exp", json!(NOW), Expired),
        ("exp", json!(NOW - 1), Expired),
        ("exp", json!("9999999999"), BadClaims),
        ("exp", json!(1e300), BadClaims),
        ("exp", Value::Null, BadClaims),
        ("exp", json!(NOW + 91 * 24 * 3600), LifetimeTooLong),
        ("nbf", json!(NOW + 6), NotYetValid),
        ("nbf", json!("soon"), BadClaims),
        ("iat", json!(NOW + 6), NotYetValid),
        ("iat", Value::Null, BadClaims),
        ("sub", json!(""), BadClaims),
        ("sub", json!("a\u{1f}b"), BadClaims),
        ("sub", json!(7), BadClaims),
        ("sub", Value::Null, BadClaims),
        ("workspace", json!("x".repeat(129)), BadClaims),
        ("workspace", Value::Null, BadClaims),
        ("role", json!("root"), BadClaims),
        ("rooms", json!({"broadcast:*": ["own"]}), BadClaims),
    ];
    for (field, value, expected) in table {
        let refused = verdict(&changed(field, value.clone())).await;
        assert_eq!(refused, Err(expected), "{field} = {value}");
    }
}

#[tokio::test]
async fn what_the_rules_allow_is_accepted() {
    let table = [
        ("exp", json!(NOW + 1)),
        ("exp", json!((NOW + 60) as f64 + 0.5)),
        ("nbf", json!(NOW + 5)),
        ("iat", json!(NOW + 5)),
        ("aud", json!(["other", "quikapp"])),
        ("jti", Value::Null),
        ("unknown", json!({"kept": "out"})),
    ];
    for (field, value) in table {
        let verdict = verdict(&changed(field, value.clone())).await;
        assert!(verdict.is_ok(), "{field} = {value}: {verdict:?}");
    }
}

#[tokio::test]
async fn a_token_without_jti_is_known_by_what_was_signed() {
    let one = verdict(&changed("jti", Value::Null)).await.unwrap();
    let same = verdict(&changed("jti", Value::Null)).await.unwrap();
    let mut other = changed("jti", Value::Null);
    other["sub"] = json!("bob");
    assert_eq!(one.jti, same.jti);
    assert_ne!(one.jti, verdict(&other).await.unwrap().jti);
}

#[tokio::test]
async fn a_changed_part_is_noticed() {
    let token = hmac_token(&json!({"alg": "HS256"}), &claims(), "a");
    let [header, _, signature] = token.split('.').collect::<Vec<_>>()[..] else {
        panic!("three parts")
    };
    let other = URL_SAFE_NO_PAD.encode(changed("sub", json!("bob")).to_string());
    let swapped = format!("{header}.{other}.{signature}");
    assert_eq!(
        tokens().verify(&swapped).await,
        Err(TokenError::BadSignature)
    );
    let by_stranger = hmac_token(&json!({"alg": "HS256"}), &claims(), "z");
    assert_eq!(
        tokens().verify(&by_stranger).await,
        Err(TokenError::BadSignature)
    );
}

#[tokio::test]
async fn junk_is_refused() {
    let long = format!("a.b.{}", "c".repeat(MAX_TOKEN_BYTES));
    for junk in [
        "",
        ".",
        "..",
        "...",
        "a.b.c",
        "e30.e30.",
        "=.=.=",
        "\u{1f980}.x.y",
        &long,
    ] {
        assert!(tokens().verify(junk).await.is_err(), "{junk}");
    }
}

/// Any text is answered, and only an untouched token is believed.
#[test]
fn damaged_tokens_are_refused_whatever_the_damage() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let tokens = tokens();
    let good = hmac_token(&json!({"alg": "HS256"}), &claims(), "a");
    let byte = proptest::arbitrary::any::<u8>();
    let at = 0..good.len();
    let junk = "[-_.=a-zA-Z0-9{}\":, ]{1,200}";
    proptest::proptest!(|(junk in junk, at in at, byte in byte, cut in 0..good.len())| {
        let mut changed = good.clone().into_bytes();
        changed[at] = byte;
        let changed = String::from_utf8_lossy(&changed).into_owned();
        let verify = |token: &str| runtime.block_on(tokens.verify(token));
        proptest::prop_assert!(verify(&junk).is_err());
        proptest::prop_assert!(verify(&good[..cut]).is_err());
        proptest::prop_assert_eq!(verify(&changed).is_ok(), changed == good);
        let longer = good.clone() + &junk;
        proptest::prop_assert!(verify(&longer).is_err());
    });
}

#[tokio::test]
async fn secrets_rotate_with_overlap() {
    let tokens = tokens();
    let person = Person {
        workspace: WorkspaceId::new("acme").unwrap(),
        user: UserId::new("ada").unwrap(),
    };
    let mint = || {
        let minted = tokens.mint(&Grant::member(person.clone()), Duration::from_secs(60));
        minted.unwrap().token
    };
    let old = mint();
    tokens.rotate(&[secret("b"), secret("a")]).unwrap();
    let new = mint();
    assert!(
        tokens.verify(&old).await.is_ok(),
        "the previous secret still verifies"
    );
    assert!(tokens.verify(&new).await.is_ok());
    tokens.rotate(&[secret("b")]).unwrap();
    assert_eq!(tokens.verify(&old).await, Err(TokenError::UnknownKey));
    assert!(tokens.verify(&new).await.is_ok());
    let unnamed = hmac_token(&json!({"alg": "HS256"}), &claims(), "a");
    assert_eq!(tokens.verify(&unnamed).await, Err(TokenError::BadSignature));
}

#[tokio::test]
async fn a_token_that_was_verified_is_remembered_until_its_time_or_its_keys_end() {
    let clock = clock();
    let tokens = Tokens::new(&Config::default(), &[secret("a")], Arc::new(clock.clone())).unwrap();
    let token = hmac_token(&json!({"alg": "HS256"}), &claims(), "a");
    let Inner { remembered, .. } = &*tokens.inner;
    let hash = remembered.hash(&token).unwrap();
    let now = || tokens.inner.clock.now();
    let known = || remembered.find(&hash, now(), |key_set| tokens.is_in_use(key_set));
    assert!(known().is_none());
    let verified = tokens.verify(&token).await.unwrap();
    assert_eq!(known(), Some(verified.clone()));
    assert_eq!(tokens.verify(&token).await, Ok(verified));

    let by_stranger = hmac_token(&json!({"alg": "HS256"}), &claims(), "z");
    let refused = tokens.verify(&by_stranger).await;
    assert_eq!(refused, Err(TokenError::BadSignature), "the same claims");

    tokens.rotate(&[secret("a")]).unwrap();
    assert!(known().is_none(), "the set of keys is another");
    assert!(tokens.verify(&token).await.is_ok());
    tokens.rotate(&[secret("b")]).unwrap();
    assert_eq!(tokens.verify(&token).await, Err(TokenError::BadSignature));

    tokens.rotate(&[secret("a")]).unwrap();
    assert!(tokens.verify(&token).await.is_ok());
    clock.advance_ms(601_000);
    assert_eq!(tokens.verify(&token).await, Err(TokenError::Expired));
    clock.advance_ms(-3_600_000);
    assert_eq!(tokens.verify(&token).await, Err(TokenError::NotYetValid));
}

/// What stands in the memory is what answers: a token that was never signed is believed once it is
/// put there.
#[tokio::test]
async fn memory_answers_before_the_signature_is_looked_at() {
    let tokens = tokens();
    let signed = hmac_token(&json!({"alg": "HS256"}), &claims(), "a");
    let ada = tokens.verify(&signed).await.unwrap();
    let Inner {
        remembered,
        signing,
        clock,
        ..
    } = &*tokens.inner;
    let hash = remembered.hash("no token").unwrap();
    let key_set = signing.read().verifying.number();
    remembered.keep(hash, &ada, key_set, clock.now());
    assert_eq!(tokens.verify("no token").await, Ok(ada));
    let forgetful = tokens_with(&Config {
        remembered_tokens: 0,
        ..Config::default()
    });
    assert!(forgetful.verify(&signed).await.is_ok());
    assert_eq!(forgetful.inner.remembered.hash(&signed), None);
}

#[tokio::test]
async fn a_token_is_not_minted_beyond_the_longest_lifetime() {
    let person = Person {
        workspace: WorkspaceId::new("acme").unwrap(),
        user: UserId::new("ada").unwrap(),
    };
    let tokens = tokens();
    let too_long = tokens.max_lifetime() + Duration::from_secs(1);
    let refused = tokens.mint(&Grant::member(person), too_long);
    assert!(matches!(refused, Err(MintError::LifetimeTooLong(_))));
}

/// A server of keys whose answer can be changed, and that counts who asks.
#[derive(Clone)]
struct KeyServer {
    answer: Arc<RwLock<(http::StatusCode, String)>>,
    asked: Arc<AtomicUsize>,
    address: SocketAddr,
}

impl KeyServer {
    async fn start(keys: &[Value]) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            answer: Arc::default(),
            asked: Arc::default(),
            address: listener.local_addr().unwrap(),
        };
        server.serves(keys);
        let shared = server.clone();
        let app = axum::Router::new().fallback(move || {
            shared.asked.fetch_add(1, Ordering::SeqCst);
            let answer = shared.answer.read().clone();
            async move { answer }
        });
        tokio::spawn(async move { axum::serve(listener, app).await });
        server
    }

    fn serves(&self, keys: &[Value]) {
        *self.answer.write() = (http::StatusCode::OK, json!({ "keys": keys }).to_string());
    }

    fn fails(&self) {
        *self.answer.write() = (http::StatusCode::INTERNAL_SERVER_ERROR, String::new());
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn tokens(&self, refresh: Duration) -> Tokens {
        tokens_with(&Config {
            jwks: Some(
                format!("http://{}/jwks.json", self.address)
                    .parse()
                    .unwrap(),
            ),
            jwks_refresh: refresh,
            ..Config::default()
        })
    }
}

/// Awaits a condition that background work brings about.
async fn until(mut holds: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !holds().await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait)
        .await
        .expect("the condition holds in time");
}

const RARELY: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn keys_of_a_url_verify_from_the_first_token_on() {
    let issuer = Issuer::new("k1", jsonwebtoken::Algorithm::ES256);
    let server = KeyServer::start(&[issuer.jwk()]).await;
    let tokens = server.tokens(RARELY);
    assert!(tokens.verify(&issuer.token()).await.is_ok());
}

#[tokio::test]
async fn an_unknown_kid_fetches_once_a_minute_however_often_it_comes() {
    let (old, new) = (
        Issuer::new("old", jsonwebtoken::Algorithm::ES256),
        Issuer::new("new", jsonwebtoken::Algorithm::ES256),
    );
    let server = KeyServer::start(&[old.jwk()]).await;
    let tokens = server.tokens(RARELY);
    until(async || {
        tokens
            .inner
            .remote
            .as_ref()
            .is_some_and(|remote| !remote.keys().is_empty())
    })
    .await;
    assert!(tokens.verify(&old.token()).await.is_ok());
    let before = server.asked();

    server.serves(&[old.jwk(), new.jwk()]);
    let burst = (0..8).map(|_| new.token()).map(|token| {
        let tokens = tokens.clone();
        tokio::spawn(async move { tokens.verify(&token).await })
    });
    for verdict in burst.collect::<Vec<_>>() {
        assert!(
            verdict.await.unwrap().is_ok(),
            "a rotation is noticed at once"
        );
    }
    assert!(
        tokens.verify(&old.token()).await.is_ok(),
        "old and new overlap"
    );
    assert_eq!(server.asked(), before + 1);

    let stranger = Issuer::new("strange", jsonwebtoken::Algorithm::ES256);
    for _ in 0..20 {
        assert_eq!(
            tokens.verify(&stranger.token()).await,
            Err(TokenError::UnknownKey)
        );
    }
    assert_eq!(server.asked(), before + 1);
}

#[tokio::test]
async fn a_withdrawn_key_ends_with_the_next_refresh_and_a_failure_keeps_the_last_known() {
    let (old, new) = (
        Issuer::new("old", jsonwebtoken::Algorithm::ES256),
        Issuer::new("new", jsonwebtoken::Algorithm::ES256),
    );
    let server = KeyServer::start(&[old.jwk()]).await;
    let tokens = server.tokens(Duration::from_millis(20));
    // One and the same, since another would have another signature.
    let token = old.token();
    until(async || tokens.verify(&token).await.is_ok()).await;
    let Inner {
        remembered, clock, ..
    } = &*tokens.inner;
    let hash = remembered.hash(&token).unwrap();
    let is_known = || {
        let known = remembered.find(&hash, clock.now(), |key_set| tokens.is_in_use(key_set));
        known.is_some()
    };
    let fetched = server.asked();
    until(async || server.asked() > fetched + 1).await;
    assert!(is_known(), "the keys are the same");

    server.fails();
    until(async || tokens.keys_problem().is_some()).await;
    assert!(is_known());
    assert!(tokens.verify(&token).await.is_ok());

    server.serves(&[new.jwk()]);
    until(async || tokens.verify(&new.token()).await.is_ok()).await;
    assert_eq!(tokens.keys_problem(), None);
    assert!(!is_known());
    assert_eq!(tokens.verify(&token).await, Err(TokenError::UnknownKey));
}

#[tokio::test]
async fn an_empty_answer_is_no_set_of_keys() {
    let server = KeyServer::start(&[]).await;
    server.answer.write().1.clear();
    let tokens = server.tokens(RARELY);
    until(async || tokens.keys_problem().is_some()).await;
    assert!(tokens.keys_problem().unwrap().contains("not a key set"));
}

#[tokio::test]
async fn an_endless_answer_is_cut() {
    let issuer = Issuer::new("k1", jsonwebtoken::Algorithm::ES256);
    let mut padded = issuer.jwk();
    padded["padding"] = json!("x".repeat(300 * 1024));
    let server = KeyServer::start(&[padded]).await;
    let tokens = server.tokens(RARELY);
    until(async || tokens.keys_problem().is_some()).await;
    assert!(tokens.keys_problem().unwrap().contains("larger than"));
    assert!(tokens.verify(&issuer.token()).await.is_err());
}
