-- What is to happen later. `version` counts moves.
CREATE TABLE timers (
    kind    INTEGER NOT NULL,
    id      TEXT    NOT NULL,
    grp     TEXT    NOT NULL,
    shard   INTEGER NOT NULL,
    due_at  INTEGER NOT NULL,
    version INTEGER NOT NULL,
    payload TEXT    NOT NULL,
    PRIMARY KEY (kind, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX timers_due   ON timers (shard, due_at);
CREATE INDEX timers_group ON timers (kind, grp, due_at);

-- The devices that ever wrote a cursor.
CREATE TABLE devices (
    workspace TEXT NOT NULL,
    user      TEXT NOT NULL,
    device    TEXT NOT NULL,
    PRIMARY KEY (workspace, user, device)
) STRICT, WITHOUT ROWID;
INSERT INTO devices (workspace, user, device)
    SELECT workspace, user, device FROM device_cursors
    UNION SELECT workspace, user, device FROM stream_cursors;
CREATE TRIGGER devices_of_cursors AFTER INSERT ON device_cursors BEGIN
    INSERT OR IGNORE INTO devices (workspace, user, device)
        VALUES (new.workspace, new.user, new.device);
END;
CREATE TRIGGER devices_of_streams AFTER INSERT ON stream_cursors BEGIN
    INSERT OR IGNORE INTO devices (workspace, user, device)
        VALUES (new.workspace, new.user, new.device);
END;

-- What some device of a person lacks. `pos` is that of the entry.
CREATE TABLE pending (
    workspace TEXT    NOT NULL,
    user      TEXT    NOT NULL,
    conv      INTEGER NOT NULL,
    seq       INTEGER NOT NULL,
    pos       INTEGER NOT NULL,
    at        INTEGER NOT NULL,
    urgent    INTEGER NOT NULL,
    PRIMARY KEY (workspace, user, conv, seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX pending_age    ON pending (at);
CREATE INDEX pending_oldest ON pending (workspace, user, pos);
CREATE INDEX pending_conv   ON pending (conv);

-- How many rows of `pending` a person has.
CREATE TABLE pending_totals (
    workspace TEXT    NOT NULL,
    user      TEXT    NOT NULL,
    total     INTEGER NOT NULL,
    PRIMARY KEY (workspace, user)
) STRICT, WITHOUT ROWID;

-- Up to where a consumer has come in a conversation.
CREATE TABLE projections (
    consumer TEXT    NOT NULL,
    conv     INTEGER NOT NULL,
    seq      INTEGER NOT NULL,
    PRIMARY KEY (consumer, conv)
) STRICT, WITHOUT ROWID;

CREATE INDEX conversations_hot ON conversations (id) WHERE hot = 1;

-- `k` counts the messages of a thread.
CREATE TABLE thread_entries (
    conv INTEGER NOT NULL,
    root BLOB    NOT NULL,
    seq  INTEGER NOT NULL,
    k    INTEGER NOT NULL,
    PRIMARY KEY (conv, root, seq)
) STRICT, WITHOUT ROWID;

-- `last` is the newest message of the thread, so that the active ones are found first.
CREATE TABLE thread_followers (
    conv INTEGER NOT NULL,
    user TEXT    NOT NULL,
    root BLOB    NOT NULL,
    last INTEGER NOT NULL,
    PRIMARY KEY (conv, user, root)
) STRICT, WITHOUT ROWID;
CREATE INDEX thread_followers_root   ON thread_followers (conv, root);
CREATE INDEX thread_followers_active ON thread_followers (conv, user, last);

-- Up to where a person has read a thread: theirs, not derived.
CREATE TABLE thread_marks (
    conv INTEGER NOT NULL,
    user TEXT    NOT NULL,
    root BLOB    NOT NULL,
    read INTEGER NOT NULL,
    PRIMARY KEY (conv, user, root)
) STRICT, WITHOUT ROWID;
