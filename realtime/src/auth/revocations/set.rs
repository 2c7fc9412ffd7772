//! The set of what is revoked. Pure: time is handed in.

use std::collections::{BTreeSet, HashMap};

use quikapp_storage::{Person, Revocation, RevokedSubject, Timestamp};

use super::{super::Principal, qualified};

/// What is revoked, as far as it was read.
#[derive(Debug, Default)]
pub(super) struct RevokedSet {
    tokens: HashMap<String, Timestamp>,
    people: HashMap<Person, Ban>,
    /// Renewed tokens, and the tokens under which their sockets are known.
    opened_with: HashMap<String, OpenedWith>,
    read_up_to: u64,
    /// Known before they were read: those made by this node.
    ahead: BTreeSet<u64>,
    next_cleaning: Timestamp,
}

/// How often ended revocations are looked for, in milliseconds.
const CLEANING_INTERVAL_MS: i64 = 60_000;

#[derive(Debug, Clone, Copy)]
struct Ban {
    issued_until: Timestamp,
    forget_after: Timestamp,
}

#[derive(Debug)]
struct OpenedWith {
    tokens: BTreeSet<String>,
    forget_after: Timestamp,
}

impl RevokedSet {
    /// Adds a revocation. Answers the tokens under which sockets to close are known (those of a
    /// person are known under the person), or `None` if the revocation is not new.
    pub(super) fn add(&mut self, revocation: &Revocation) -> Option<BTreeSet<String>> {
        if revocation.number <= self.read_up_to || !self.ahead.insert(revocation.number) {
            return None;
        }
        match &revocation.subject {
            RevokedSubject::Jti(token) | RevokedSubject::SignedOut(token) => {
                self.tokens.insert(token.clone(), revocation.forget_after);
                Some(self.known_under(token))
            }
            RevokedSubject::Person(person) => {
                self.ban(person, revocation);
                Some(BTreeSet::new())
            }
        }
    }

    /// Sockets of `holder` go on with `fresh`.
    pub(super) fn link(&mut self, holder: &Principal, fresh: &Principal) {
        let known_under = self.known_under(&name(holder));
        let entry = self.opened_with.entry(name(fresh)).or_insert(OpenedWith {
            tokens: BTreeSet::new(),
            forget_after: fresh.expires_at,
        });
        entry.tokens.extend(known_under);
    }

    fn known_under(&self, token: &str) -> BTreeSet<String> {
        let earlier = self.opened_with.get(token).map(|opened| &opened.tokens);
        let mut all = earlier.cloned().unwrap_or_default();
        all.insert(token.to_owned());
        all
    }

    /// Bans of one person may be read in any order; the latest counts.
    fn ban(&mut self, person: &Person, revocation: &Revocation) {
        let ban = self.people.entry(person.clone()).or_insert(Ban {
            issued_until: revocation.at,
            forget_after: revocation.forget_after,
        });
        ban.issued_until = ban.issued_until.max(revocation.at);
        ban.forget_after = ban.forget_after.max(revocation.forget_after);
    }

    /// Everything up to this number has been read from the store.
    pub(super) fn has_read(&mut self, number: u64) {
        self.read_up_to = self.read_up_to.max(number);
        self.ahead = self.ahead.split_off(&(self.read_up_to + 1));
    }

    pub(super) fn read_up_to(&self) -> u64 {
        self.read_up_to
    }

    pub(super) fn refuses(&self, principal: &Principal) -> bool {
        let banned = self
            .people
            .get(&principal.person)
            .is_some_and(|ban| principal.issued_at <= ban.issued_until);
        banned || self.has_token(principal)
    }

    /// Drops what concerns only tokens that have ended by now.
    pub(super) fn forget(&mut self, now: Timestamp) {
        if now < self.next_cleaning {
            return;
        }
        self.next_cleaning = Timestamp(now.0.saturating_add(CLEANING_INTERVAL_MS));
        self.tokens.retain(|_, forget_after| *forget_after >= now);
        self.people.retain(|_, ban| ban.forget_after >= now);
        self.opened_with
            .retain(|_, opened| opened.forget_after >= now);
    }

    fn has_token(&self, principal: &Principal) -> bool {
        !self.tokens.is_empty() && self.tokens.contains_key(&name(principal))
    }
}

fn name(principal: &Principal) -> String {
    qualified(principal.workspace(), &principal.jti)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use quikapp_storage::{UserId, WorkspaceId};

    use super::*;

    fn person(workspace: &str) -> Person {
        Person {
            workspace: WorkspaceId::new(workspace).unwrap(),
            user: UserId::new("ada").unwrap(),
        }
    }

    fn principal(workspace: &str, jti: &str, issued_at: i64) -> Principal {
        Principal {
            person: person(workspace),
            device: None,
            role: Default::default(),
            rooms: Default::default(),
            jti: jti.into(),
            issued_at: Timestamp(issued_at),
            expires_at: Timestamp(i64::MAX),
        }
    }

    fn revocation(number: u64, subject: RevokedSubject) -> Revocation {
        Revocation {
            number,
            subject,
            at: Timestamp(1_000),
            forget_after: Timestamp(9_000),
        }
    }

    #[test]
    fn a_token_is_revoked_in_its_workspace_only() {
        let mut set = RevokedSet::default();
        let token = qualified(&person("acme").workspace, "t1");
        assert!(
            set.add(&revocation(1, RevokedSubject::Jti(token)))
                .is_some()
        );
        assert!(set.refuses(&principal("acme", "t1", 5_000)));
        assert!(!set.refuses(&principal("acme", "t2", 0)));
        assert!(!set.refuses(&principal("other", "t1", 0)));
    }

    #[test]
    fn a_person_is_refused_with_the_tokens_of_before_only() {
        let mut set = RevokedSet::default();
        set.add(&revocation(1, RevokedSubject::Person(person("acme"))));
        assert!(set.refuses(&principal("acme", "t", 1_000)));
        assert!(!set.refuses(&principal("acme", "t", 1_001)));
        assert!(!set.refuses(&principal("other", "t", 0)));
    }

    #[test]
    fn what_this_node_revoked_is_not_enforced_again_when_it_is_read() {
        let mut set = RevokedSet::default();
        let fifth = revocation(5, RevokedSubject::Person(person("acme")));
        assert!(set.add(&fifth).is_some(), "made here, before 4 was read");
        assert_eq!(set.read_up_to(), 0, "4 is still to be read");
        assert!(
            set.add(&revocation(4, RevokedSubject::Jti("x".into())))
                .is_some()
        );
        set.has_read(4);
        assert!(set.add(&fifth).is_none());
        set.has_read(5);
        assert!(set.add(&fifth).is_none());
    }

    #[test]
    fn a_renewed_token_leads_to_the_sockets_of_all_tokens_before_it() {
        let mut set = RevokedSet::default();
        let [first, second, third] = ["t1", "t2", "t3"].map(|jti| principal("acme", jti, 5_000));
        set.link(&first, &second);
        set.link(&second, &third);
        let closed = set
            .add(&revocation(1, RevokedSubject::Jti(name(&third))))
            .unwrap();
        assert_eq!(closed, [&first, &second, &third].map(name).into());
        let closed = set
            .add(&revocation(2, RevokedSubject::Jti(name(&first))))
            .unwrap();
        assert_eq!(closed, [name(&first)].into());
    }

    #[test]
    fn it_forgets_when_no_such_token_can_be_left() {
        let mut set = RevokedSet::default();
        set.add(&revocation(1, RevokedSubject::Person(person("acme"))));
        set.forget(Timestamp(9_000));
        assert!(set.refuses(&principal("acme", "t", 0)));
        set.forget(Timestamp(9_000 + CLEANING_INTERVAL_MS));
        assert!(!set.refuses(&principal("acme", "t", 0)));
    }
}
