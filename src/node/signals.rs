//! SIGTERM and SIGINT stop the node in good order; a second one ends it at once.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Cancels `stop` at the first signal, and exits at the second.
pub(super) async fn cancel_at_signal(stop: CancellationToken) {
    if let Err(error) = wait().await {
        tracing::error!(%error, "signals cannot be heard: stop this process by force");
        return;
    }
    stop.cancel();
    if wait().await.is_ok() {
        tracing::warn!("stopped by force");
        std::process::exit(130);
    }
}

async fn wait() -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
