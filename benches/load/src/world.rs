//! What has to exist before the sockets connect: rooms, and groups that people belong to.

use std::sync::Arc;

use anyhow::ensure;
use futures_util::{StreamExt, TryStreamExt, stream};

use crate::{
    identity::{Identities, Identity},
    plan::{Layout, Part, Plan, Society},
    protocol::Channel,
};

/// Members of a group that is made for the sake of memberships.
const GROUP: usize = 20;

/// Requests that are under way at a time.
const ASKING: usize = 16;

/// What is said and heard in each room of each part. What parts are about is made first.
pub(crate) async fn make_channels(
    plan: &Plan,
    layout: &Layout,
    run: u32,
    identities: &Identities,
    people: &[Identity],
) -> anyhow::Result<Vec<Vec<Arc<Channel>>>> {
    let protocol = plan.target.language().speaker();
    let mut channels = Vec::with_capacity(layout.parts.len());
    for (number, part) in layout.parts.iter().enumerate() {
        let own = &people[part.people.clone()];
        found_groups(identities, own, &part.society).await?;
        let mut names: Vec<String> = if part.words.is_personal {
            own.iter().map(|person| person.user.clone()).collect()
        } else if layout.parts.len() == 1 {
            (0..part.rooms).map(|room| room.to_string()).collect()
        } else {
            let rooms = 0..part.rooms;
            rooms.map(|room| format!("{number}-{room}")).collect()
        };
        if part.words.needs_conversations {
            for (room, name) in names.iter_mut().enumerate() {
                *name = make_conversation(identities, people, part, room).await?;
            }
        }
        let channel = |name| Arc::new(protocol.channel(&part.words.talk(run, name)));
        channels.push(names.iter().map(|name| channel(name)).collect());
    }
    Ok(channels)
}

async fn make_conversation(
    identities: &Identities,
    people: &[Identity],
    part: &Part,
    room: usize,
) -> anyhow::Result<String> {
    let mut members = part.people_of(room).map(|person| &people[person]);
    let creator = members.next();
    let others = members.map(|member| member.user.clone()).collect();
    identities.create_group(creator, others).await
}

/// Groups of those who will connect, and of others who never do.
async fn found_groups(
    identities: &Identities,
    people: &[Identity],
    society: &Society,
) -> anyhow::Result<()> {
    let groups = groups_of(people.len(), society.memberships);
    let known = groups.into_iter().map(|group| {
        let mut members = group.into_iter().map(|at| &people[at]);
        let creator = members.next();
        (creator, members.map(|member| member.user.clone()).collect())
    });
    create_all(identities, known).await?;
    // The first of each group needs a token to make it.
    let founders = identities.offline(society.offline.div_ceil(GROUP)).await?;
    let absent = founders.iter().enumerate().map(|(group, founder)| {
        let first = group * GROUP + 1;
        let end = society.offline.min(first + GROUP - 1);
        let others = (first..end).map(|number| identities.user(Some("away"), number));
        (Some(founder), others.collect())
    });
    create_all(identities, absent).await
}

async fn create_all<'a>(
    identities: &Identities,
    groups: impl Iterator<Item = (Option<&'a Identity>, Vec<String>)>,
) -> anyhow::Result<()> {
    let created = stream::iter(groups)
        .map(|(creator, others)| identities.create_group(creator, others))
        .buffer_unordered(ASKING);
    created.try_for_each(|_| async { Ok(()) }).await
}

/// Shares people out over groups, so that each is in as many as is said. Other people meet in
/// every round.
fn groups_of(people: usize, memberships: usize) -> Vec<Vec<usize>> {
    let mut groups = Vec::new();
    for round in 0..memberships {
        let everyone: Vec<_> = (0..people).map(|at| (at + round) % people).collect();
        groups.extend(everyone.chunks(GROUP).map(<[usize]>::to_vec));
    }
    groups
}

/// Asks for a path once as each person: what the server keeps of people whom it serves is there
/// then.
pub(crate) async fn visit(
    identities: &Identities,
    people: &[Identity],
    path: &str,
) -> anyhow::Result<()> {
    ensure!(
        path.starts_with('/'),
        "--visit {path}: a path begins with /"
    );
    let visits = stream::iter(people)
        .map(|person| identities.get(path, &person.token))
        .buffer_unordered(ASKING);
    visits.try_for_each(|()| async { Ok(()) }).await
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    #[test]
    fn everybody_is_in_as_many_groups_as_is_said() {
        let groups = groups_of(50, 4);
        let mut memberships = BTreeMap::<usize, usize>::new();
        for group in &groups {
            assert!(group.len() <= GROUP);
            let distinct: BTreeSet<_> = group.iter().collect();
            assert_eq!(distinct.len(), group.len());
            for person in group {
                *memberships.entry(*person).or_default() += 1;
            }
        }
        assert_eq!(memberships.len(), 50);
        assert!(memberships.values().all(|count| *count == 4));
        assert!(groups_of(50, 0).is_empty() && groups_of(0, 3).is_empty());
    }
}
