//! `quikapp release`: lets a person's entity out of quarantine.

use serde_json::json;

use super::admin::{self, Admin};
use crate::cli::PersonArgs;

/// Asks a running server, and says whether there was something to release.
pub(crate) fn run(args: &PersonArgs) -> anyhow::Result<()> {
    let admin = Admin::of(&args.admin, &args.workspace)?;
    let whom = json!({ "kind": "user", "id": args.user });
    let answer = admin::wait_for(admin.post(&["releases"], &whom))?;
    match answer["released"] == true {
        true => println!("{} is out of quarantine", args.user),
        false => println!("{} was not in quarantine at {}", args.user, args.admin.url),
    }
    Ok(())
}
