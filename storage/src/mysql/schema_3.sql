-- Documents of people's own, as the log last had them: preferences, registered devices.
CREATE TABLE IF NOT EXISTS documents (
    workspace VARBINARY(128) NOT NULL,
    user      VARBINARY(128) NOT NULL,
    kind      VARBINARY(16)  NOT NULL,
    version   BIGINT         NOT NULL,
    json      LONGTEXT       NOT NULL,
    PRIMARY KEY (workspace, user, kind)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
