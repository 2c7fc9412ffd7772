//! Where nodes can be reached.

use async_trait::async_trait;

use super::{Names, gossip::kept_for_ms, link::Link};
use crate::{Addresses, NotShared};

/// See [`Addresses`]. Somebody waits for what it finds.
#[derive(Debug)]
pub(super) struct RedisAddresses {
    pub(super) link: Link,
    pub(super) names: Names,
}

#[async_trait]
impl Addresses for RedisAddresses {
    async fn put(&self, node: u64, address: &str) -> Result<(), NotShared> {
        let mut put = redis::cmd("SET");
        put.arg(self.names.address(node)).arg(address);
        put.arg("PX").arg(kept_for_ms());
        Ok(self.link.ask(&put).await?)
    }

    async fn find(&self, node: u64) -> Result<Option<String>, NotShared> {
        let mut find = redis::cmd("GET");
        find.arg(self.names.address(node));
        Ok(self.link.ask(&find).await?)
    }
}
