-- When a device was last in use; 0 while nobody has said.
ALTER TABLE devices ADD COLUMN used_at INTEGER NOT NULL DEFAULT 0;
CREATE INDEX devices_used ON devices (used_at);
