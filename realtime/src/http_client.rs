//! The HTTP clients of the server itself.

use reqwest::{Client, ClientBuilder};

/// Makes a client. Where no certificate authority is known (in a small container) it trusts none,
/// and asks in the clear all the same: without this it could not even be made.
pub fn http_client(configure: impl Fn(ClientBuilder) -> ClientBuilder) -> reqwest::Result<Client> {
    let builder = || configure(Client::builder());
    builder()
        .build()
        .or_else(|_| builder().tls_certs_only([]).build())
}
