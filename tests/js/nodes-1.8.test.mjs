// phoenix.js 1.8 between two processes.
import * as phoenix from "phoenix"
import { suite } from "./support/nodes-suite.mjs"

suite(phoenix, authToken => ({ authToken }))
