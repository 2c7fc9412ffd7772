-- When a device was last in use; 0 while nobody has said. Of those that are known already it is now.
ALTER TABLE devices ADD COLUMN used_at INTEGER NOT NULL DEFAULT 0;
UPDATE devices SET used_at = CAST(strftime('%s', 'now') AS INTEGER) * 1000;
CREATE INDEX devices_used ON devices (used_at);
