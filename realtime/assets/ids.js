// Ids that rise with time.

/** A UUIDv7 (RFC 9562, 5.7): what the server keeps under it lies beside what was made just before. */
export function uuidv7(now = Date.now()) {
  const bytes = crypto.getRandomValues(new Uint8Array(16))
  // Each is cut to its low eight bits.
  bytes.set([40, 32, 24, 16, 8, 0].map(bits => now / 2 ** bits))
  bytes[6] = (bytes[6] & 0x0f) | 0x70
  bytes[8] = (bytes[8] & 0x3f) | 0x80
  const hex = Array.from(bytes, byte => byte.toString(16).padStart(2, "0")).join("")
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-")
}
