//! Passwords that stand in the addresses of servers are not logged, however much is.

use tempfile::tempdir;

use super::{is_down, is_ready, plan};
use crate::support::{Addresses, Layout, Load, PASSWORD, with_site};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_password_is_logged_when_everything_is() {
    let title = "everything is logged";
    let Some(addresses) = Addresses::given(title) else {
        return;
    };
    with_site(Layout::Mixed, &addresses, async move |site| {
        let dir = tempdir().unwrap();
        let loud = [("QUIKAPP_LOGGING__FILTER", "trace")];
        let server = site.serve_with(dir.path(), "127.0.0.1:0", &loud).await;
        let load = Load::start(plan(title), dir.path(), &[&server]).await;
        load.goes_on(40, plan(title).patience).await;
        load.fault("mysql: stopped");
        let road = site.road("mysql");
        road.proxy.enable(false).await;
        is_down(&server, road).await;
        road.proxy.enable(true).await;
        is_ready(&server, &site).await;
        load.passes(&server).await;
        let log = server.log();
        assert!(
            log.contains("DEBUG") && log.contains("mysql"),
            "not everything"
        );
        assert!(!log.contains(PASSWORD), "a password is logged");
    })
    .await;
}
