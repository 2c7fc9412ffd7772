//! The development page at `/`: two people in two windows chat, with nothing to install.
//!
//! Plain files, compiled into the binary. They load nothing from elsewhere, and their content
//! security policy forbids inline scripts, so that what people write stays text. Mount the router
//! in development mode only.

use axum::{
    Router,
    response::{IntoResponse, Response},
    routing::get,
};
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};

const CONTENT_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// A file of the page.
struct Asset {
    path: &'static str,
    content_type: &'static str,
    content: &'static str,
}

macro_rules! asset {
    ($path:literal, $content_type:expr, $file:literal) => {
        Asset {
            path: $path,
            content_type: $content_type,
            content: include_str!(concat!("../assets/", $file)),
        }
    };
}

const ASSETS: [Asset; 12] = [
    asset!("/", HTML, "index.html"),
    asset!("/assets/app.css", "text/css; charset=utf-8", "app.css"),
    asset!("/assets/icon.svg", "image/svg+xml", "icon.svg"),
    asset!("/assets/main.js", SCRIPT, "main.js"),
    asset!("/assets/api.js", SCRIPT, "api.js"),
    asset!("/assets/conversation.js", SCRIPT, "conversation.js"),
    asset!("/assets/messages.js", SCRIPT, "messages.js"),
    asset!("/assets/directory.js", SCRIPT, "directory.js"),
    asset!("/assets/dom.js", SCRIPT, "dom.js"),
    asset!("/assets/ids.js", SCRIPT, "ids.js"),
    asset!(
        "/assets/vendor/phoenix.mjs",
        SCRIPT,
        "vendor/phoenix/phoenix.mjs"
    ),
    asset!(
        "/assets/vendor/phoenix.LICENSE.md",
        "text/markdown; charset=utf-8",
        "vendor/phoenix/LICENSE.md"
    ),
];

/// The page and its files.
pub fn router() -> Router {
    ASSETS.iter().fold(Router::new(), |router, asset| {
        router.route(asset.path, get(async || asset.response()))
    })
}

impl Asset {
    fn response(&self) -> Response {
        let headers = [
            (CONTENT_TYPE, self.content_type),
            // The files change with the binary, and carry no version in their names.
            (CACHE_CONTROL, "no-cache"),
            (CONTENT_SECURITY_POLICY, CONTENT_POLICY),
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
            // Stricter, browsers would send `Origin: null` to our own API.
            (REFERRER_POLICY, "same-origin"),
        ];
        (headers, self.content).into_response()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::path::Path;

    use axum::body::Body;
    use http::{Request, StatusCode};
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;

    async fn fetch(path: &str) -> (http::Response<()>, String) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let (head, body) = router().oneshot(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8(body.to_vec()).unwrap();
        (http::Response::from_parts(head, ()), text)
    }

    #[tokio::test]
    async fn every_reference_of_a_file_is_a_file_that_is_served() {
        for asset in &ASSETS {
            let (_, text) = fetch(asset.path).await;
            for reference in text
                .split(['"', '\''])
                .filter(|part| part.starts_with("/assets/"))
            {
                let (response, _) = fetch(reference).await;
                assert_eq!(
                    response.status(),
                    StatusCode::OK,
                    "{reference} of {}",
                    asset.path
                );
            }
        }
    }

    #[tokio::test]
    async fn the_policy_allows_own_files_only_and_nothing_inline() {
        let (response, page) = fetch("/").await;
        let policy = response.headers()[CONTENT_SECURITY_POLICY]
            .to_str()
            .unwrap();
        assert!(policy.starts_with("default-src 'none'"));
        assert!(!policy.contains("unsafe"));
        assert!(!page.contains("style=") && !page.contains(" onclick="));
        assert!(
            page.split("<script")
                .skip(1)
                .all(|tag| tag.contains("src=\"/assets/"))
        );
        assert_eq!(response.headers()[X_CONTENT_TYPE_OPTIONS], "nosniff");
    }

    #[tokio::test]
    async fn our_scripts_never_parse_html_and_load_nothing_from_elsewhere() {
        let ours = ASSETS.iter().filter(|asset| !asset.path.contains("vendor"));
        for asset in ours {
            for forbidden in [
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
                "https://",
            ] {
                assert!(
                    !asset.content.contains(forbidden),
                    "{} has {forbidden}",
                    asset.path
                );
            }
        }
    }

    #[test]
    fn the_client_library_comes_with_its_licence() {
        let vendored =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/vendor/phoenix/LICENSE.md");
        assert!(
            std::fs::read_to_string(vendored)
                .unwrap()
                .contains("Permission is hereby granted")
        );
    }
}
