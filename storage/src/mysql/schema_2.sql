-- When a device was last in use; 0 while nobody has said. Of those that are known already it is now.
ALTER TABLE devices ADD COLUMN used_at BIGINT NOT NULL DEFAULT 0, ADD KEY devices_used (used_at);
UPDATE devices SET used_at = UNIX_TIMESTAMP() * 1000 WHERE used_at = 0;
