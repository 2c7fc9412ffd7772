// phoenix.js 1.7, which many clients still ship.
import "./support/browser-globals.mjs"
import * as phoenix from "phoenix-1-7"
import { suite } from "./support/phoenix-suite.mjs"

suite(phoenix)
