//! `quikapp erase`: has a person erased.

use std::time::Duration;

use serde_json::json;

use super::admin::{self, Admin};
use crate::cli::PersonArgs;

/// How often it is asked whether the server is done.
const LOOK: Duration = Duration::from_millis(500);

/// Asks a running server, and waits for it.
pub(crate) fn run(args: &PersonArgs) -> anyhow::Result<()> {
    let admin = Admin::of(&args.admin, &args.workspace)?;
    admin::wait_for(async {
        let whom = json!({ "user": args.user });
        admin.post(&["erasures"], &whom).await?;
        println!("the tokens of {} are revoked", args.user);
        while admin.get(&["erasures", &args.user]).await?["pending"] != false {
            tokio::time::sleep(LOOK).await;
        }
        println!("{} is erased", args.user);
        Ok(())
    })
}
