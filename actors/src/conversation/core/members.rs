//! Deciding about membership, roles and names. Only groups change.

use std::{cmp::Reverse, sync::Arc};

use quikapp_storage::{ConversationKind, EntryEffect, EntryId, EntryKind, Role, UserId};

use super::{
    By, Change, CommandError, Draft, Standing, Write, text_of,
    validate::{self, invalid},
};
use crate::conversation::{
    Gone,
    payload::{self, MemberPayload, UpdatePayload},
};

impl Draft {
    /// Admins add members, owners give any role. Those who are members already stay as they are.
    pub(super) fn add_members(
        &mut self,
        by: By<'_>,
        members: &[(UserId, Role)],
    ) -> Result<Change, CommandError> {
        self.only_in_a_group()?;
        let gives_roles = members.iter().any(|(_, role)| *role > Role::Member);
        if !by.is_admin() || (gives_roles && !by.is_owner()) {
            return Err(CommandError::Forbidden);
        }
        let added = self.newcomers(members);
        let most = self.core.limits.members;
        if self.core.members.len() + added.len() > most {
            return Err(invalid("members", format!("at most {most}")));
        }
        let from_seq = self.next();
        let mut effects = Vec::new();
        for MemberPayload { user_id, role } in &added {
            let (user, role) = (user_id.clone(), *role);
            let open = Arc::make_mut(&mut self.core.members);
            open.insert(user.clone(), Standing { role, from_seq });
            effects.push(EntryEffect::OpenMember { user, role });
        }
        let update = self.update(by.user, payload::Change::MembersAdded, added);
        Ok(change(EntryKind::MemberJoined, by.user, &update, effects))
    }

    /// Everyone leaves as they like; admins remove members, owners anyone. When the last owner
    /// goes, the one who is next by role and time becomes owner.
    pub(super) fn remove_member(
        &mut self,
        by: By<'_>,
        user: &UserId,
    ) -> Result<Change, CommandError> {
        self.only_in_a_group()?;
        let standing = self.core.members.get(user).copied();
        let is_plain = standing.is_none_or(|it| it.role == Role::Member);
        if !(by.user == user || by.is_owner() || (by.is_admin() && is_plain)) {
            return Err(CommandError::Forbidden);
        }
        let (concerned, effects) = self.close(user);
        let update = self.update(by.user, payload::Change::MemberRemoved, concerned);
        Ok(change(EntryKind::MemberLeft, by.user, &update, effects))
    }

    /// The server ends the membership of a person who is being erased, as if they left. It ends
    /// in a direct conversation too, where nobody can leave.
    pub(super) fn end_membership(&mut self, user: &UserId) -> Result<Change, CommandError> {
        if self.core.kind == ConversationKind::Person {
            return Err(CommandError::Forbidden);
        }
        let (concerned, effects) = self.close(user);
        let mut update = self.update(user, payload::Change::MemberRemoved, concerned);
        update.reason = Some(Gone::Erased);
        Ok(change(EntryKind::MemberLeft, user, &update, effects))
    }

    /// Closes a membership, if it is open: whom that concerns, and what follows.
    fn close(&mut self, user: &UserId) -> (Vec<MemberPayload>, Vec<EntryEffect>) {
        let Some(standing) = self.core.members.get(user).copied() else {
            return (Vec::new(), Vec::new());
        };
        Arc::make_mut(&mut self.core.members).remove(user);
        let mut concerned = vec![member(user, standing.role)];
        let mut effects = vec![EntryEffect::CloseMember { user: user.clone() }];
        if self.core.kind == ConversationKind::Group
            && let Some(heir) = self.promote_heir()
        {
            concerned.push(member(&heir, Role::Owner));
            effects.push(EntryEffect::SetRole {
                user: heir,
                role: Role::Owner,
            });
        }
        (concerned, effects)
    }

    /// Owners change roles, but there is always an owner.
    pub(super) fn set_role(
        &mut self,
        by: By<'_>,
        user: &UserId,
        role: Role,
    ) -> Result<Change, CommandError> {
        self.only_in_a_group()?;
        if !by.is_owner() {
            return Err(CommandError::Forbidden);
        }
        let Some(standing) = self.core.members.get(user).copied() else {
            return Err(invalid("user_id", "not a member"));
        };
        let mut effects = Vec::new();
        if standing.role != role {
            if standing.role == Role::Owner && self.owners() == 1 {
                return Err(invalid("role", "a group keeps an owner"));
            }
            self.give_role(user, role);
            let user = user.clone();
            effects.push(EntryEffect::SetRole { user, role });
        }
        let concerned = vec![member(user, role)];
        let update = self.update(by.user, payload::Change::RoleChanged, concerned);
        Ok(change(EntryKind::RoleChanged, by.user, &update, effects))
    }

    /// Admins and owners rename, or take the name away.
    pub(super) fn rename(
        &mut self,
        by: By<'_>,
        name: Option<&str>,
    ) -> Result<Change, CommandError> {
        self.only_in_a_group()?;
        if !by.is_admin() {
            return Err(CommandError::Forbidden);
        }
        if let Some(name) = name {
            validate::name(name, &self.core.limits)?;
        }
        let mut effects = Vec::new();
        if self.core.name.as_deref() != name {
            self.core.name = name.map(str::to_owned);
            effects.push(EntryEffect::SetName(self.core.name.clone()));
        }
        let mut update = self.update(by.user, payload::Change::Renamed, Vec::new());
        update.name.clone_from(&self.core.name);
        let kind = EntryKind::ConversationUpdated;
        Ok(change(kind, by.user, &update, effects))
    }

    fn only_in_a_group(&self) -> Result<(), CommandError> {
        if self.core.kind == ConversationKind::Group {
            Ok(())
        } else {
            Err(CommandError::Forbidden)
        }
    }

    /// Those of a list who are not members yet, each once.
    fn newcomers(&self, members: &[(UserId, Role)]) -> Vec<MemberPayload> {
        let mut added: Vec<MemberPayload> = Vec::new();
        for (user, role) in members {
            let is_listed = added.iter().any(|it| it.user_id == *user);
            if !is_listed && !self.core.members.contains_key(user) {
                added.push(member(user, *role));
            }
        }
        added
    }

    fn owners(&self) -> usize {
        let members = self.core.members.values();
        members.filter(|it| it.role == Role::Owner).count()
    }

    fn give_role(&mut self, user: &UserId, role: Role) {
        if let Some(standing) = Arc::make_mut(&mut self.core.members).get_mut(user) {
            standing.role = role;
        }
    }

    /// Makes somebody owner if nobody is: the highest role, then the longest membership.
    fn promote_heir(&mut self) -> Option<UserId> {
        if self.owners() > 0 {
            return None;
        }
        let members = self.core.members.iter();
        let heir = members.min_by_key(|(_, it)| (Reverse(it.role), it.from_seq));
        let heir = heir.map(|(user, _)| user.clone())?;
        self.give_role(&heir, Role::Owner);
        Some(heir)
    }

    fn update(
        &self,
        by: &UserId,
        change: payload::Change,
        members: Vec<MemberPayload>,
    ) -> UpdatePayload {
        UpdatePayload {
            conversation_id: self.core.id.clone(),
            change,
            user_id: by.clone(),
            at: self.now,
            members,
            name: None,
            reason: None,
        }
    }
}

fn member(user: &UserId, role: Role) -> MemberPayload {
    let user_id = user.clone();
    MemberPayload { user_id, role }
}

/// An entry, unless it would have no effect.
fn change(
    kind: EntryKind,
    by: &UserId,
    update: &UpdatePayload,
    effects: Vec<EntryEffect>,
) -> Change {
    let payload = text_of(update);
    if effects.is_empty() {
        // Nothing is written, so there is no entry to name.
        let id = EntryId(uuid::Uuid::nil());
        return Change::Nothing { id, payload };
    }
    Change::write(Write {
        kind,
        sender: by.clone(),
        hash: None,
        counts: false,
        target: None,
        payload,
        effects,
    })
}
