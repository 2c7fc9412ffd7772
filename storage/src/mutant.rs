//! What the history checker must catch: ways to be wrong on purpose.
//!
//! Only debug builds have them, behind the hidden `serve --mutant NAME`; a release cannot be told
//! to break a promise. Each is one question at the place that keeps the promise.

#[cfg(debug_assertions)]
use std::sync::OnceLock;

/// One broken promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerMutant {
    /// Acknowledge what is written and not yet on the disk.
    AcknowledgeBeforeSync,
    /// Leave out the first entry of what a joining client missed.
    DropOnResume,
    /// Take a retry for something new.
    ApplyTwice,
    /// Do not tell the channels of a member that they were removed.
    SkipRevoke,
    /// Leave in the log what a message said that is deleted or forgotten.
    KeepDeleted,
    /// Forget a message as delivered once anybody has acknowledged anything.
    ForgetEarly,
}

impl ServerMutant {
    /// All of them, with their names.
    pub const ALL: [(&'static str, Self); 6] = [
        ("acknowledge-before-sync", Self::AcknowledgeBeforeSync),
        ("drop-on-resume", Self::DropOnResume),
        ("apply-twice", Self::ApplyTwice),
        ("skip-revoke", Self::SkipRevoke),
        ("keep-deleted", Self::KeepDeleted),
        ("forget-early", Self::ForgetEarly),
    ];

    /// Makes this process one. The first call counts.
    #[cfg(debug_assertions)]
    pub fn activate(self) {
        let _ = ACTIVE.set(self);
    }

    /// Whether this process is one.
    #[cfg(debug_assertions)]
    pub fn is_active(self) -> bool {
        ACTIVE.get() == Some(&self)
    }

    /// Never.
    #[cfg(not(debug_assertions))]
    pub const fn is_active(self) -> bool {
        false
    }
}

impl std::str::FromStr for ServerMutant {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().find(|(known, _)| *known == name);
        found
            .map(|(_, it)| *it)
            .ok_or_else(|| "no such mutant".to_owned())
    }
}

/// One for the whole process: it is set before anything runs, and asked from several crates.
#[cfg(debug_assertions)]
static ACTIVE: OnceLock<ServerMutant> = OnceLock::new();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_name_mutants_and_none_is_active_unasked() {
        for (name, mutant) in ServerMutant::ALL {
            assert_eq!(name.parse(), Ok(mutant));
            assert!(!mutant.is_active());
        }
        assert!("no-mutant".parse::<ServerMutant>().is_err());
    }
}
