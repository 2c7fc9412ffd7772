// phoenix.js 1.7, which many clients still ship. Its long-poll needs XMLHttpRequest, which node
// lacks.
import { createRequire } from "node:module"
import * as phoenix from "phoenix-1-7"
import { suite } from "./support/phoenix-suite.mjs"

globalThis.XMLHttpRequest = createRequire(import.meta.url)("xhr2")

suite(phoenix)
