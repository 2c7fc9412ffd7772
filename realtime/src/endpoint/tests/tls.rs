//! TLS from PEM files, end to end.

use std::{path::Path, sync::Arc, time::Duration};

use rcgen::CertifiedKey;
use rustls::{
    ClientConfig, HandshakeKind, RootCertStore,
    pki_types::{CertificateDer, ServerName},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::super::test_kit::{DEADLINE, Server, config, exchange, opening, with_upgrade};
use crate::{
    endpoint::{Config, Endpoint, TlsConfig, TlsError},
    socket::MountOptions,
};

fn write_certificate(folder: &Path) -> CertificateDer<'static> {
    let CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(folder.join("cert.pem"), cert.pem()).unwrap();
    std::fs::write(folder.join("key.pem"), signing_key.serialize_pem()).unwrap();
    cert.der().clone()
}

fn tls_config(folder: &Path) -> Config {
    Config {
        tls: TlsConfig {
            cert: folder.join("cert.pem"),
            key: folder.join("key.pem"),
            handshake_timeout: Duration::from_millis(200),
            reload_interval: Duration::from_millis(20),
        },
        ..config()
    }
}

fn client(trusted: &CertificateDer<'static>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Arc::new(client)
}

async fn connect_as(
    client: &Arc<ClientConfig>,
    server: &Server,
) -> std::io::Result<TlsStream<tokio::net::TcpStream>> {
    let name = ServerName::try_from("localhost").unwrap();
    let tcp = server.connect().await;
    let connector = TlsConnector::from(Arc::clone(client));
    connector.connect(name, tcp).await
}

async fn connect(
    server: &Server,
    trusted: &CertificateDer<'static>,
) -> std::io::Result<TlsStream<tokio::net::TcpStream>> {
    connect_as(&client(trusted), server).await
}

#[tokio::test]
async fn requests_and_sockets_work_over_tls() {
    let folder = tempfile::tempdir().unwrap();
    let certificate = write_certificate(folder.path());
    let server = Server::start(&tls_config(folder.path()), MountOptions::default()).await;
    let mut stream = connect(&server, &certificate).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    assert_eq!(
        exchange(&mut stream, "GET", "/", &[], b"").await.status,
        404
    );
    let target = "/socket/websocket?token=tok-a&vsn=2.0.0";
    let upgraded = exchange(&mut stream, "GET", target, &with_upgrade(&[]), b"").await;
    assert_eq!(upgraded.status, 101);
}

#[tokio::test]
async fn a_new_certificate_is_taken_up_and_a_broken_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    write_certificate(folder.path());
    let server = Server::start(&tls_config(folder.path()), MountOptions::default()).await;
    let renewed = write_certificate(folder.path());
    let taken_up = async { while connect(&server, &renewed).await.is_err() {} };
    timeout(DEADLINE, taken_up)
        .await
        .expect("the new certificate is served");
    std::fs::write(folder.path().join("cert.pem"), "junk").unwrap();
    let tls = server.endpoint.shared.tls.as_ref().unwrap();
    assert!(matches!(
        tls.reload(),
        Err(TlsError::File { .. } | TlsError::Certificate(_))
    ));
    assert!(connect(&server, &renewed).await.is_ok());
}

/// A crowd that was cut off comes back all at once.
#[tokio::test]
async fn a_session_is_resumed_however_many_others_there_are() {
    let folder = tempfile::tempdir().unwrap();
    let certificate = write_certificate(folder.path());
    let server = Server::start(&tls_config(folder.path()), MountOptions::default()).await;
    let client = client(&certificate);
    let mut kinds = Vec::new();
    for others in [300, 0] {
        let mut stream = connect_as(&client, &server).await.unwrap();
        // Tickets come behind the handshake.
        exchange(&mut stream, "GET", "/", &[], b"").await;
        kinds.extend(stream.get_ref().1.handshake_kind());
        for _ in 0..others {
            connect(&server, &certificate).await.unwrap();
        }
    }
    assert_eq!(kinds, [HandshakeKind::Full, HandshakeKind::Resumed]);
}

/// Its good-bye is a record, behind which the end of the stream is found by reading.
#[tokio::test]
async fn who_leaves_in_good_order_while_it_is_looked_at_is_let_go() {
    let folder = tempfile::tempdir().unwrap();
    let certificate = write_certificate(folder.path());
    let patient = MountOptions {
        connect_timeout: Duration::from_secs(3600),
        ..MountOptions::default()
    };
    let server = Server::start(&tls_config(folder.path()), patient).await;
    let mut stream = connect_as(&client(&certificate), &server).await.unwrap();
    let request = opening("/socket/websocket?token=hang&vsn=2.0.0", &[]);
    stream.write_all(&request).await.unwrap();
    stream.shutdown().await.unwrap();
    server.until_held(0).await;
}

#[tokio::test]
async fn a_client_that_never_begins_the_handshake_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    write_certificate(folder.path());
    let server = Server::start(&tls_config(folder.path()), MountOptions::default()).await;
    let mut silent = server.connect().await;
    let read = timeout(DEADLINE, silent.read(&mut [0; 1])).await;
    assert!(matches!(read.expect("closed in time"), Ok(0) | Err(_)));
    assert_eq!(server.endpoint.admission().held(), 0);
}

#[test]
fn files_that_are_missing_are_named_before_anything_is_served() {
    let config = tls_config(Path::new("/nowhere"));
    let error = Endpoint::builder(&config).build().unwrap_err();
    assert!(error.to_string().contains("/nowhere/cert.pem"), "{error}");
}
