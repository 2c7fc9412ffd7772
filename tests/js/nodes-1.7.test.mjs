// phoenix.js 1.7 between two processes.
import "./support/browser-globals.mjs"
import * as phoenix from "phoenix-1-7"
import { suite } from "./support/nodes-suite.mjs"

suite(phoenix, auth_token => ({ params: { auth_token } }))
