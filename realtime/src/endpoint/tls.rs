//! TLS from PEM files that may be replaced while the node runs.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use parking_lot::Mutex;
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs::Ticketer,
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
    current: Mutex<Current>,
}

#[derive(Debug)]
struct Current {
    server: Arc<ServerConfig>,
    /// When the files it was made from were written.
    written: Written,
}

/// When the certificate and the key were last modified, as far as can be told.
type Written = [Option<SystemTime>; 2];

impl Tls {
    /// Reads the files; `None` when no TLS is wanted.
    pub fn load(config: &TlsConfig) -> Result<Option<Self>, TlsError> {
        let Some(current) = Current::read(config)? else {
            return Ok(None);
        };
        Ok(Some(Self {
            config: config.clone(),
            current: Mutex::new(current),
        }))
    }

    /// Completes the handshake of a new connection, within the configured time.
    pub async fn accept(&self, tcp: TcpStream) -> io::Result<NetStream> {
        let acceptor = TlsAcceptor::from(self.current.lock().server.clone());
        let stream = timeout(self.config.handshake_timeout, acceptor.accept(tcp)).await??;
        Ok(NetStream::Tls(Box::new(stream)))
    }

    /// Reads the files again. On an error the old certificate stays in use.
    pub fn reload(&self) -> Result<(), TlsError> {
        if let Some(fresh) = Current::read(&self.config)? {
            *self.current.lock() = fresh;
        }
        Ok(())
    }

    /// Reloads the files when they change, until `stop`. While they cannot be used, it tries again
    /// and says so.
    pub async fn watch(&self, stop: &CancellationToken) {
        let mut ticks = tokio::time::interval(self.config.reload_interval);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            if written(&self.config) == self.current.lock().written {
                continue;
            }
            match self.reload() {
                Ok(()) => tracing::info!("TLS certificate reloaded"),
                Err(error) => tracing::error!(%error, "TLS certificate kept: the new one is bad"),
            }
        }
    }
}

impl Current {
    fn read(config: &TlsConfig) -> Result<Option<Self>, TlsError> {
        // Before the reading: a change in between is seen as one.
        let written = written(config);
        let server = read_files(config)?.map(Arc::new);
        Ok(server.map(|server| Self { server, written }))
    }
}

fn written(config: &TlsConfig) -> Written {
    let modified = |path: &Path| {
        std::fs::metadata(path)
            .and_then(|data| data.modified())
            .ok()
    };
    [modified(&config.cert), modified(&config.key)]
}

fn read_files(config: &TlsConfig) -> Result<Option<ServerConfig>, TlsError> {
    let Some((cert, key)) = config.files() else {
        return Ok(None);
    };
    let in_file = |path: &Path| {
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
    // Clients keep their sessions themselves: what rustls keeps otherwise is 256 tickets, and of a
    // crowd that comes back at once all but a hundred would need whole handshakes.
    server.ticketer = Ticketer::new()?;
    Ok(Some(server))
}
