-- Ids, keys and names that are compared are bytes: case and accents count, and so do blanks at
-- the end. Moments are milliseconds since 1970, so no time zone can matter. Each statement can be
-- done again.
CREATE TABLE IF NOT EXISTS store (
    one      TINYINT    NOT NULL PRIMARY KEY,
    store_id BINARY(16) NOT NULL,
    probe    BIGINT     NOT NULL DEFAULT 0
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- Numbers that are given out in the order of commits: the row is locked until the commit.
CREATE TABLE IF NOT EXISTS counters (
    name  VARBINARY(32) NOT NULL PRIMARY KEY,
    value BIGINT        NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
INSERT IGNORE INTO counters (name, value) VALUES ('positions', 0), ('revocations', 0);

-- `conv` is the short name of a conversation in every other table. Of a log that another store
-- keeps there is a row of kind 0, for the registers alone: `folded` says how far it was folded.
CREATE TABLE IF NOT EXISTS conversations (
    conv          BIGINT         NOT NULL AUTO_INCREMENT PRIMARY KEY,
    id            VARBINARY(272) NOT NULL,
    workspace     VARBINARY(128) NOT NULL DEFAULT '',
    kind          TINYINT        NOT NULL DEFAULT 0,
    name          TEXT,
    created_by    VARBINARY(128) NOT NULL DEFAULT '',
    created_at    BIGINT         NOT NULL DEFAULT 0,
    epoch         BIGINT         NOT NULL DEFAULT 0,
    owner         BINARY(16),
    taken_at      BIGINT         NOT NULL DEFAULT 0,
    hot           TINYINT        NOT NULL DEFAULT 0,
    tail          BIGINT         NOT NULL DEFAULT 0,
    n             BIGINT         NOT NULL DEFAULT 0,
    tail_pos      BIGINT         NOT NULL DEFAULT 0,
    active_at     BIGINT         NOT NULL DEFAULT 0,
    marks_version BIGINT         NOT NULL DEFAULT 0,
    folded        BIGINT         NOT NULL DEFAULT 0,
    UNIQUE KEY conversations_id (id),
    KEY conversations_hot (hot, id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS direct_pairs (
    workspace VARBINARY(128) NOT NULL,
    a         VARBINARY(128) NOT NULL,
    b         VARBINARY(128) NOT NULL,
    conv      BIGINT         NOT NULL,
    PRIMARY KEY (workspace, a, b)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS members (
    conv      BIGINT         NOT NULL,
    user      VARBINARY(128) NOT NULL,
    from_seq  BIGINT         NOT NULL,
    to_seq    BIGINT,
    role      TINYINT        NOT NULL,
    workspace VARBINARY(128) NOT NULL,
    PRIMARY KEY (conv, user, from_seq),
    KEY members_person (workspace, user, conv)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS entries (
    conv       BIGINT         NOT NULL,
    seq        BIGINT         NOT NULL,
    pos        BIGINT         NOT NULL,
    id         BINARY(16)     NOT NULL,
    kind       TINYINT        NOT NULL,
    sender     VARBINARY(128) NOT NULL,
    key16      BINARY(16)     NOT NULL,
    hash       BINARY(32)     NOT NULL,
    epoch      BIGINT         NOT NULL,
    n          BIGINT         NOT NULL,
    target_id  BINARY(16),
    target_seq BIGINT,
    at         BIGINT         NOT NULL,
    payload    LONGTEXT       NOT NULL,
    PRIMARY KEY (conv, seq),
    UNIQUE KEY entries_key (conv, key16),
    UNIQUE KEY entries_id (id, conv)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS messages (
    conv        BIGINT         NOT NULL,
    seq         BIGINT         NOT NULL,
    id          BINARY(16)     NOT NULL,
    sender      VARBINARY(128) NOT NULL,
    at          BIGINT         NOT NULL,
    thread      BINARY(16),
    applied_seq BIGINT         NOT NULL,
    deleted     TINYINT        NOT NULL,
    pinned      TINYINT        NOT NULL,
    words       LONGTEXT       NOT NULL,
    body        LONGTEXT       NOT NULL,
    PRIMARY KEY (conv, seq),
    KEY messages_thread (conv, thread, seq)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- Messages that are pinned: hardly any, so they are not worth an index over all.
CREATE TABLE IF NOT EXISTS pins (
    conv BIGINT NOT NULL,
    seq  BIGINT NOT NULL,
    PRIMARY KEY (conv, seq)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS hidden (
    conv BIGINT         NOT NULL,
    user VARBINARY(128) NOT NULL,
    seq  BIGINT         NOT NULL,
    PRIMARY KEY (conv, user, seq)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS marks (
    conv        BIGINT         NOT NULL,
    user        VARBINARY(128) NOT NULL,
    delivered   BIGINT         NOT NULL,
    read_seq    BIGINT         NOT NULL,
    unread_from BIGINT,
    version     BIGINT         NOT NULL,
    PRIMARY KEY (conv, user)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS personal (
    conv          BIGINT         NOT NULL,
    user          VARBINARY(128) NOT NULL,
    draft         LONGTEXT,
    muted         TINYINT        NOT NULL DEFAULT 0,
    mute_until    BIGINT,
    mentions_only TINYINT        NOT NULL DEFAULT 0,
    PRIMARY KEY (conv, user)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS devices (
    workspace VARBINARY(128) NOT NULL,
    user      VARBINARY(128) NOT NULL,
    device    VARBINARY(128) NOT NULL,
    PRIMARY KEY (workspace, user, device)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS device_cursors (
    workspace VARBINARY(128) NOT NULL,
    user      VARBINARY(128) NOT NULL,
    device    VARBINARY(128) NOT NULL,
    conv      BIGINT         NOT NULL,
    seq       BIGINT         NOT NULL,
    PRIMARY KEY (workspace, user, device, conv)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- `pos` is the rank among the cursors of the store that issued it.
CREATE TABLE IF NOT EXISTS stream_cursors (
    workspace   VARBINARY(128) NOT NULL,
    user        VARBINARY(128) NOT NULL,
    device      VARBINARY(128) NOT NULL,
    pos         BIGINT         NOT NULL,
    cursor_text VARBINARY(64)  NOT NULL,
    PRIMARY KEY (workspace, user, device)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS profiles (
    workspace        VARBINARY(128) NOT NULL,
    user             VARBINARY(128) NOT NULL,
    name             TEXT,
    last_seen        BIGINT,
    presence         LONGTEXT,
    last_seen_public TINYINT        NOT NULL DEFAULT 0,
    PRIMARY KEY (workspace, user)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS blocks (
    workspace VARBINARY(128) NOT NULL,
    user      VARBINARY(128) NOT NULL,
    other     VARBINARY(128) NOT NULL,
    at        BIGINT         NOT NULL,
    PRIMARY KEY (workspace, user, other),
    KEY blocks_other (workspace, other, user)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS tickets (
    hash    BINARY(32) NOT NULL PRIMARY KEY,
    claims  LONGTEXT   NOT NULL,
    expires BIGINT     NOT NULL,
    KEY tickets_expires (expires)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS revocations (
    number       BIGINT  NOT NULL PRIMARY KEY,
    kind         TINYINT NOT NULL,
    jti          VARBINARY(1024),
    workspace    VARBINARY(128),
    user         VARBINARY(128),
    at           BIGINT  NOT NULL,
    forget_after BIGINT  NOT NULL,
    KEY revocations_forget (forget_after)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS timers (
    kind    TINYINT        NOT NULL,
    id      VARBINARY(128) NOT NULL,
    grp     VARBINARY(512) NOT NULL,
    shard   SMALLINT       NOT NULL,
    due_at  BIGINT         NOT NULL,
    version BIGINT         NOT NULL,
    payload LONGTEXT       NOT NULL,
    PRIMARY KEY (kind, id),
    KEY timers_due (shard, due_at),
    KEY timers_group (kind, grp, due_at)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS pending (
    workspace VARBINARY(128) NOT NULL,
    user      VARBINARY(128) NOT NULL,
    conv      BIGINT         NOT NULL,
    seq       BIGINT         NOT NULL,
    pos       BIGINT         NOT NULL,
    at        BIGINT         NOT NULL,
    urgent    TINYINT        NOT NULL,
    PRIMARY KEY (workspace, user, conv, seq),
    KEY pending_age (at),
    KEY pending_oldest (workspace, user, pos),
    KEY pending_conv (conv)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS pending_totals (
    workspace VARBINARY(128) NOT NULL,
    user      VARBINARY(128) NOT NULL,
    total     BIGINT         NOT NULL,
    PRIMARY KEY (workspace, user)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS projections (
    consumer VARBINARY(80) NOT NULL,
    conv     BIGINT        NOT NULL,
    seq      BIGINT        NOT NULL,
    PRIMARY KEY (consumer, conv)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS thread_entries (
    conv BIGINT     NOT NULL,
    root BINARY(16) NOT NULL,
    seq  BIGINT     NOT NULL,
    k    BIGINT     NOT NULL,
    PRIMARY KEY (conv, root, seq)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS thread_followers (
    conv   BIGINT         NOT NULL,
    user   VARBINARY(128) NOT NULL,
    root   BINARY(16)     NOT NULL,
    newest BIGINT         NOT NULL,
    PRIMARY KEY (conv, user, root),
    KEY thread_followers_root (conv, root),
    KEY thread_followers_active (conv, user, newest)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS thread_marks (
    conv     BIGINT         NOT NULL,
    user     VARBINARY(128) NOT NULL,
    root     BINARY(16)     NOT NULL,
    read_seq BIGINT         NOT NULL,
    PRIMARY KEY (conv, user, root)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
