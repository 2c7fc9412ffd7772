-- Documents of people's own, as the log last had them: preferences, registered devices.
CREATE TABLE documents (
    workspace TEXT    NOT NULL,
    user      TEXT    NOT NULL,
    kind      TEXT    NOT NULL,
    version   INTEGER NOT NULL,
    json      TEXT    NOT NULL,
    PRIMARY KEY (workspace, user, kind)
) STRICT;
