//! What an active entity costs: resident memory per entity of a host that holds many.
//!
//! ```sh
//! cargo run --release -p quikapp-actors --example entity_memory -- 100000
//! ```

use std::{env, fs};

use quikapp_actors::{
    entities::{ActivateError, Config, Entities, Kind},
    supervision::{Supervisor, SupervisorSpec},
};

/// Conversations of each person.
const MEMBERSHIPS: u64 = 20;

/// What a person's entity may remember of one conversation: which, and how much is unread.
type Tally = (u64, u64);

struct Persons;

impl Kind for Persons {
    const NAME: &'static str = "person";
    type Id = u64;
    type Message = u64;
    type Reply = u64;
    type Entity = Vec<Tally>;

    fn label(id: &u64) -> String {
        id.to_string()
    }

    fn tenant(_: &u64) -> Option<String> {
        None
    }

    async fn activate(&self, id: &u64) -> Result<Vec<Tally>, ActivateError> {
        Ok((0..MEMBERSHIPS)
            .map(|n| (id * MEMBERSHIPS + n, 0))
            .collect())
    }

    async fn handle(&self, _: &u64, tallies: &mut Vec<Tally>, read: u64) -> u64 {
        for (_, unread) in tallies.iter_mut() {
            *unread = read;
        }
        tallies.iter().map(|(_, unread)| unread).sum()
    }

    async fn passivate(&self, _: &u64, _: &mut Vec<Tally>) -> Result<(), ActivateError> {
        Ok(())
    }
}

#[tokio::main]
async fn main() {
    let count: u64 = env::args()
        .nth(1)
        .map_or(100_000, |it| it.parse().expect("a number of entities"));
    let tree = Supervisor::start(SupervisorSpec::new("example"));
    let config = Config::default();
    let persons = Entities::start_under(&tree, &config, Persons);
    let persons = persons.await.expect("starts");
    let before = resident_bytes();
    for id in 0..count {
        persons.ask(&id, 1).await.expect("answers");
    }
    let grown = resident_bytes() - before;
    println!(
        "{} active entities of {MEMBERSHIPS} memberships: {} bytes resident each",
        persons.active(),
        grown / count
    );
}

fn resident_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages = status
        .split(' ')
        .nth(1)
        .and_then(|it| it.parse::<u64>().ok());
    pages.expect("a number of pages") * 4096
}
