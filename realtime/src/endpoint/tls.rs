//! TLS from PEM files that may be replaced while the node runs.

use std::{io, path::PathBuf, sync::Arc, time::SystemTime};

use parking_lot::Mutex;
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject},
};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::{config::TlsConfig, stream::NetStream};

/// Why TLS cannot be served. The messages name the file.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or holds no PEM of the expected kind.
    #[error("TLS file {path}: {problem}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: pem::Error,
    },
    /// Certificate and key do not fit, or are unsupported.
    #[error("TLS certificate: {0}")]
    Certificate(#[from] rustls::Error),
}

/// Runs TLS handshakes with the certificate of the moment.
#[derive(Debug)]
pub struct Tls {
    config: TlsConfig,
    current: Mutex<Arc<ServerConfig>>,
}

impl Tls {
    /// Reads the files; `None` when no TLS is wanted.
    pub fn load(config: &TlsConfig) -> Result<Option<Self>, TlsError> {
        let Some(current) = read_files(config)? else {
            return Ok(None);
        };
        Ok(Some(Self {
            config: config.clone(),
            current: Mutex::new(Arc::new(current)),
        }))
    }

    /// Completes the handshake of a new connection, within the configured time.
    pub async fn accept(&self, tcp: TcpStream) -> io::Result<NetStream> {
        let acceptor = TlsAcceptor::from(self.current.lock().clone());
        let stream = timeout(self.config.handshake_timeout, acceptor.accept(tcp)).await??;
        Ok(NetStream::Tls(Box::new(stream)))
    }

    /// Reads the files again. On an error the old certificate stays in use.
    pub fn reload(&self) -> Result<(), TlsError> {
        if let Some(fresh) = read_files(&self.config)? {
            *self.current.lock() = Arc::new(fresh);
        }
        Ok(())
    }

    /// Watches the files and reloads them when they change, until `stop`.
    pub async fn watch(&self, stop: &CancellationToken) {
        let mut seen = self.modified().await;
        let mut ticks = tokio::time::interval(self.config.reload_interval);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            let modified = self.modified().await;
            if modified == seen {
                continue;
            }
            seen = modified;
            match self.reload() {
                Ok(()) => tracing::info!("TLS certificate reloaded"),
                Err(error) => tracing::error!(%error, "TLS certificate kept: the new one is bad"),
            }
        }
    }

    async fn modified(&self) -> [Option<SystemTime>; 2] {
        let time_of = async |path| tokio::fs::metadata(path).await?.modified();
        [
            time_of(&self.config.cert).await.ok(),
            time_of(&self.config.key).await.ok(),
        ]
    }
}

fn read_files(config: &TlsConfig) -> Result<Option<ServerConfig>, TlsError> {
    let Some((cert, key)) = config.files() else {
        return Ok(None);
    };
    let in_file = |path: &std::path::Path| {
        let path = path.to_owned();
        move |problem| TlsError::File { path, problem }
    };
    let chain = CertificateDer::pem_file_iter(cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(in_file(cert))?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(in_file(key))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    server.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Some(server))
}
