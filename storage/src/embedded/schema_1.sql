-- What was done to this database, for people; `PRAGMA user_version` is what decides.
CREATE TABLE migrations (
    version    INTEGER PRIMARY KEY,
    name       TEXT    NOT NULL,
    applied_at INTEGER NOT NULL
) STRICT;

-- One row: what names this set of data.
CREATE TABLE store (
    one         INTEGER PRIMARY KEY CHECK (one = 1),
    store_id    BLOB    NOT NULL,
    -- Written by health probes, read by nobody.
    probe       BLOB
) STRICT;

-- `conv` is the short name of a conversation in every other table.
-- `tail`, `n`, `tail_pos` and `active_at` describe the newest entry and move with it.
CREATE TABLE conversations (
    conv          INTEGER PRIMARY KEY,
    id            TEXT    NOT NULL UNIQUE,
    workspace     TEXT    NOT NULL,
    kind          INTEGER NOT NULL,
    name          TEXT,
    created_by    TEXT    NOT NULL,
    created_at    INTEGER NOT NULL,
    epoch         INTEGER NOT NULL DEFAULT 0,
    owner         BLOB,
    taken_at      INTEGER NOT NULL DEFAULT 0,
    hot           INTEGER NOT NULL DEFAULT 0,
    tail          INTEGER NOT NULL DEFAULT 0,
    n             INTEGER NOT NULL DEFAULT 0,
    tail_pos      INTEGER NOT NULL DEFAULT 0,
    active_at     INTEGER NOT NULL,
    marks_version INTEGER NOT NULL DEFAULT 0
) STRICT;

-- The unordered pair of a direct conversation: a < b.
CREATE TABLE direct_pairs (
    workspace TEXT    NOT NULL,
    a         TEXT    NOT NULL,
    b         TEXT    NOT NULL,
    conv      INTEGER NOT NULL,
    PRIMARY KEY (workspace, a, b)
) STRICT, WITHOUT ROWID;

-- Intervals of visibility. `to_seq` is NULL while the membership lasts.
CREATE TABLE members (
    conv      INTEGER NOT NULL,
    user      TEXT    NOT NULL,
    from_seq  INTEGER NOT NULL,
    to_seq    INTEGER,
    role      INTEGER NOT NULL,
    workspace TEXT    NOT NULL,
    PRIMARY KEY (conv, user, from_seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX members_person ON members (workspace, user, conv, from_seq);
CREATE UNIQUE INDEX members_open ON members (conv, user) WHERE to_seq IS NULL;

-- `pos` counts entries of all conversations in the order of their commits, and is never reused:
-- stream cursors are made of it.
CREATE TABLE entries (
    pos        INTEGER PRIMARY KEY AUTOINCREMENT,
    conv       INTEGER NOT NULL,
    seq        INTEGER NOT NULL,
    id         BLOB    NOT NULL,
    kind       INTEGER NOT NULL,
    sender     TEXT    NOT NULL,
    key        BLOB    NOT NULL,
    hash       BLOB    NOT NULL,
    epoch      INTEGER NOT NULL,
    n          INTEGER NOT NULL,
    target_id  BLOB,
    target_seq INTEGER,
    at         INTEGER NOT NULL,
    payload    TEXT    NOT NULL
) STRICT;
CREATE UNIQUE INDEX entries_seq ON entries (conv, seq);
CREATE UNIQUE INDEX entries_key ON entries (conv, key);
-- Ids rise with time, so with the id in front all conversations write to one page of it.
CREATE UNIQUE INDEX entries_id  ON entries (id, conv);

-- The folded view. `pos` is that of the entry that brought the message, whose id, sender and
-- time it shares. `thread` is NULL on the main timeline, which is read along `entries_seq`: an
-- index of its own would cost every message another page.
CREATE TABLE messages (
    pos         INTEGER PRIMARY KEY,
    conv        INTEGER NOT NULL,
    seq         INTEGER NOT NULL,
    thread      BLOB,
    applied_seq INTEGER NOT NULL,
    deleted     INTEGER NOT NULL,
    pinned      INTEGER NOT NULL,
    text        TEXT    NOT NULL,
    body        TEXT    NOT NULL
) STRICT;
CREATE INDEX messages_thread ON messages (conv, thread, seq) WHERE thread IS NOT NULL;
CREATE INDEX messages_pinned ON messages (conv, seq) WHERE pinned = 1;

-- Messages that somebody deleted for themselves.
CREATE TABLE hidden (
    conv INTEGER NOT NULL,
    user TEXT    NOT NULL,
    pos  INTEGER NOT NULL,
    PRIMARY KEY (conv, user, pos)
) STRICT, WITHOUT ROWID;

CREATE TABLE marks (
    conv        INTEGER NOT NULL,
    user        TEXT    NOT NULL,
    delivered   INTEGER NOT NULL,
    read        INTEGER NOT NULL,
    unread_from INTEGER,
    version     INTEGER NOT NULL,
    PRIMARY KEY (conv, user)
) STRICT, WITHOUT ROWID;

-- Drafts and mutes: what only the person sees.
CREATE TABLE personal (
    conv          INTEGER NOT NULL,
    user          TEXT    NOT NULL,
    draft         TEXT,
    muted         INTEGER NOT NULL DEFAULT 0,
    mute_until    INTEGER,
    mentions_only INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (conv, user)
) STRICT, WITHOUT ROWID;

CREATE TABLE device_cursors (
    workspace TEXT    NOT NULL,
    user      TEXT    NOT NULL,
    device    TEXT    NOT NULL,
    conv      INTEGER NOT NULL,
    seq       INTEGER NOT NULL,
    PRIMARY KEY (workspace, user, device, conv)
) STRICT, WITHOUT ROWID;

CREATE TABLE stream_cursors (
    workspace TEXT    NOT NULL,
    user      TEXT    NOT NULL,
    device    TEXT    NOT NULL,
    pos       INTEGER NOT NULL,
    PRIMARY KEY (workspace, user, device)
) STRICT, WITHOUT ROWID;

CREATE TABLE profiles (
    workspace        TEXT    NOT NULL,
    user             TEXT    NOT NULL,
    name             TEXT,
    last_seen        INTEGER,
    presence         TEXT,
    last_seen_public INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (workspace, user)
) STRICT, WITHOUT ROWID;

-- `user` blocks `other`.
CREATE TABLE blocks (
    workspace TEXT    NOT NULL,
    user      TEXT    NOT NULL,
    other     TEXT    NOT NULL,
    at        INTEGER NOT NULL,
    PRIMARY KEY (workspace, user, other)
) STRICT, WITHOUT ROWID;
CREATE INDEX blocks_other ON blocks (workspace, other, user);

CREATE TABLE tickets (
    hash    BLOB    PRIMARY KEY,
    claims  TEXT    NOT NULL,
    expires INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX tickets_expires ON tickets (expires);

-- Either `jti`, or `workspace` and `user`, as the kind says.
CREATE TABLE revocations (
    number       INTEGER PRIMARY KEY AUTOINCREMENT,
    kind         INTEGER NOT NULL,
    jti          TEXT,
    workspace    TEXT,
    user         TEXT,
    at           INTEGER NOT NULL,
    forget_after INTEGER NOT NULL
) STRICT;
CREATE INDEX revocations_forget ON revocations (forget_after);
