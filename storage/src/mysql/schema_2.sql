-- When a device was last in use; 0 while nobody has said.
ALTER TABLE devices ADD COLUMN used_at BIGINT NOT NULL DEFAULT 0, ADD KEY devices_used (used_at);
