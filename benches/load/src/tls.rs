//! TLS of the generator: whom it trusts, and what all of its sockets have in common.

mod tickets;

use std::{
    path::Path,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::{Context, ensure};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, HandshakeKind, RootCertStore,
    SignatureScheme,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{
        CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature,
        verify_tls13_signature,
    },
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
};
use rustls_platform_verifier::Verifier;

use crate::report;
use tickets::Tickets;

/// How this generator speaks TLS, with whatever server.
#[derive(Debug)]
pub(crate) struct Security {
    config: ClientConfig,
    is_checking: bool,
    sockets: usize,
}

impl Security {
    /// Trusts the authorities in a file (PEM) and no others, or those that the system knows; or,
    /// if it is to be insecure, everybody. Each of the sockets can keep one session to resume.
    ///
    /// # Errors
    /// When the file cannot be read, or holds no certificate.
    pub(crate) fn new(
        ca_file: Option<&Path>,
        insecure: bool,
        sockets: usize,
    ) -> anyhow::Result<Self> {
        ensure!(
            ca_file.is_none() || !insecure,
            "--insecure checks no certificate, so --ca-file would do nothing"
        );
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?;
        let builder = match ca_file {
            Some(file) => builder.with_root_certificates(read_authorities(file)?),
            None if insecure => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Unchecked::new(&provider))),
            None => match Verifier::new(provider) {
                Ok(verifier) => builder
                    .dangerous()
                    .with_custom_certificate_verifier(Arc::new(verifier)),
                // A machine without certificates of authorities (a small container) trusts none;
                // plain connections do not need any.
                Err(_) => builder.with_root_certificates(RootCertStore::empty()),
            },
        };
        let mut config = builder.with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            config,
            is_checking: !insecure,
            sockets,
        })
    }

    /// A client for requests, with sessions of its own.
    pub(crate) fn http_client(&self) -> reqwest::ClientBuilder {
        reqwest::Client::builder().tls_backend_preconfigured(self.config.clone())
    }

    /// TLS with one server, by the name or address in its URL.
    pub(crate) fn with(&self, host: &str) -> anyhow::Result<Tls> {
        let name = ServerName::try_from(host.to_owned()).with_context(|| host.to_owned())?;
        let (newcomers, returning) = Tickets::of(self.sockets);
        let config = |tickets| {
            let mut config = self.config.clone();
            config.resumption = Resumption::store(Arc::new(tickets));
            Arc::new(config)
        };
        Ok(Tls {
            newcomers: config(newcomers),
            returning: config(returning),
            name,
            is_checking: self.is_checking,
            suite: OnceLock::new(),
            handshakes: AtomicU64::new(0),
            resumed: AtomicU64::new(0),
        })
    }
}

/// TLS with one server, for all sockets.
#[derive(Debug)]
pub(crate) struct Tls {
    newcomers: Arc<ClientConfig>,
    returning: Arc<ClientConfig>,
    /// Of whom the certificate has to be; the server is told (SNI) if it is a name.
    name: ServerName<'static>,
    is_checking: bool,
    suite: OnceLock<String>,
    handshakes: AtomicU64,
    resumed: AtomicU64,
}

impl Tls {
    /// A connection that is to begin; that of a socket that comes back resumes a session.
    pub(crate) fn connection(&self, comes_back: bool) -> Result<ClientConnection, rustls::Error> {
        let config = match comes_back {
            true => &self.returning,
            false => &self.newcomers,
        };
        ClientConnection::new(Arc::clone(config), self.name.clone())
    }

    /// A connection has completed its handshake.
    pub(crate) fn count(&self, connection: &ClientConnection) {
        self.handshakes.fetch_add(1, Ordering::Relaxed);
        if connection.handshake_kind() == Some(HandshakeKind::Resumed) {
            self.resumed.fetch_add(1, Ordering::Relaxed);
        }
        self.suite.get_or_init(|| {
            let version = connection.protocol_version().map(|it| format!("{it:?} "));
            let suite = connection.negotiated_cipher_suite();
            let suite = suite.map(|it| format!("{:?}", it.suite()));
            version.unwrap_or_default() + &suite.unwrap_or_default()
        });
    }

    /// What the report says of it.
    pub(crate) fn usage(&self) -> report::Tls {
        report::Tls {
            verified: self.is_checking,
            suite: self.suite.get().cloned(),
            handshakes: self.handshakes.load(Ordering::Relaxed),
            resumed: self.resumed.load(Ordering::Relaxed),
        }
    }
}

/// The error, with what helps if the server's certificate is of an authority that nobody named.
/// Errors of different crates wrap the one of rustls, so that only its text is sure to be there.
pub(crate) fn explained(error: anyhow::Error) -> anyhow::Error {
    match format!("{error:#}").contains("UnknownIssuer") {
        true => error.context("the server's authority is unknown; --ca-file names one to trust"),
        false => error,
    }
}

fn read_authorities(file: &Path) -> anyhow::Result<RootCertStore> {
    let named = || format!("--ca-file {}", file.display());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).with_context(named)? {
        roots
            .add(certificate.with_context(named)?)
            .with_context(named)?;
    }
    ensure!(!roots.is_empty(), "{} holds no certificate", named());
    Ok(roots)
}

/// Takes any certificate. That the server has its key is checked all the same.
#[derive(Debug)]
struct Unchecked(WebPkiSupportedAlgorithms);

impl Unchecked {
    fn new(provider: &CryptoProvider) -> Self {
        Self(provider.signature_verification_algorithms)
    }
}

impl ServerCertVerifier for Unchecked {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_file_of_authorities_holds_certificates() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("ca.pem");
        let refused = |ca_file: &Path| {
            let security = Security::new(Some(ca_file), false, 1);
            format!("{:#}", security.unwrap_err())
        };
        assert!(refused(&file).contains("ca.pem"), "it is not there");
        std::fs::write(&file, "no PEM").unwrap();
        let said = refused(&file);
        assert!(said.contains("holds no certificate"), "{said}");
        let junk = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        std::fs::write(&file, junk).unwrap();
        assert!(refused(&file).contains("ca.pem"), "{}", refused(&file));
        let known = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(&file, known.cert.pem()).unwrap();
        Security::new(Some(&file), false, 1).unwrap();
        let both = Security::new(Some(&file), true, 1).unwrap_err();
        assert!(both.to_string().contains("--insecure"), "{both}");
    }

    #[test]
    fn a_server_has_a_name_or_an_address() {
        let security = Security::new(None, true, 1).unwrap();
        for host in ["chat.example.org", "192.0.2.1", "2001:db8::1"] {
            let tls = security.with(host).unwrap();
            assert!(tls.connection(false).unwrap().wants_write(), "{host}");
            assert!(!tls.usage().verified);
        }
        assert!(security.with("no name").is_err());
    }
}
