-- Conversations whose log another store keeps, and only the registers are here. Their `conv` is
-- negative, so that it never meets one of `conversations`. The log has been folded into the marks
-- up to `folded`.
CREATE TABLE detached_logs (
    conv          INTEGER PRIMARY KEY CHECK (conv < 0),
    id            TEXT    NOT NULL UNIQUE,
    marks_version INTEGER NOT NULL DEFAULT 0,
    folded        INTEGER NOT NULL DEFAULT 0
) STRICT;

-- Cursors that another store issued; `rank` orders them.
CREATE TABLE detached_stream_cursors (
    workspace TEXT    NOT NULL,
    user      TEXT    NOT NULL,
    device    TEXT    NOT NULL,
    rank      INTEGER NOT NULL,
    cursor    TEXT    NOT NULL,
    PRIMARY KEY (workspace, user, device)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER devices_of_detached_streams AFTER INSERT ON detached_stream_cursors BEGIN
    INSERT OR IGNORE INTO devices (workspace, user, device)
        VALUES (new.workspace, new.user, new.device);
END;
