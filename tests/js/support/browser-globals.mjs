// What phoenix.js 1.7 expects of a browser and node lacks. Import this before the client, which
// looks for its global object once.
import { createRequire } from "node:module"

globalThis.self = globalThis
globalThis.XMLHttpRequest = createRequire(import.meta.url)("xhr2")
