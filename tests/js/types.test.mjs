// The generated TypeScript declarations (docs/quikapp.d.ts) compile strictly, and tell right uses
// from wrong ones.
import assert from "node:assert/strict"
import { execFile } from "node:child_process"
import { copyFile, mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { test } from "node:test"

const DECLARATIONS = fileURLToPath(new URL("../../docs/quikapp.d.ts", import.meta.url))
const TSC = fileURLToPath(new URL("./node_modules/.bin/tsc", import.meta.url))

const HEAD = `
import type { Refusal, Topics } from "./quikapp"
type Chat = Topics["chat:<conversation_id>"]
type Presence = Topics["presence:global"]
`

/** What the compiler says about a program beside the declarations; nothing if it is right. */
async function complaints(t, program) {
  const directory = await mkdtemp(join(tmpdir(), "quikapp-types-"))
  t.after(() => rm(directory, { recursive: true }))
  await copyFile(DECLARATIONS, join(directory, "quikapp.d.ts"))
  await writeFile(join(directory, "program.ts"), HEAD + program)
  const options = ["--noEmit", "--strict", "--target", "es2022", "--module", "es2022", "--moduleResolution", "bundler"]
  return new Promise(resolve => {
    execFile(TSC, [...options, join(directory, "program.ts")], (error, stdout) => {
      resolve(error ? stdout || String(error) : "")
    })
  })
}

test("right uses compile", async t => {
  const said = await complaints(t, `
    const send: Chat["in"]["message:send"]["payload"] = { type: "text", content: "hello", client_id: "c1" }
    const status: Presence["in"]["status:update"]["payload"] = { status: "dnd" }
    export function hear(message: Chat["out"]["message:new"]): [number, string] {
      return [message.seq, message.sender_id]
    }
    export function names(state: Presence["out"]["presence_state"]): string[] {
      return Object.values(state).flatMap(entry => entry.metas.map(meta => meta.user_id))
    }
    export const retry = (refusal: Refusal) => refusal.reason === "rate_limited" && refusal.retry_after_ms
    export { send, status }
  `)
  assert.equal(said, "")
})

for (const [what, program] of [
  ["a status that does not exist", `export const p: Presence["in"]["status:update"]["payload"] = { status: "asleep" }`],
  ["a missing field", `export const p: Chat["in"]["message:edit"]["payload"] = { message_id: "m1" }`],
  ["an event that does not exist", `export type P = Chat["in"]["message:sned"]`],
  ["a reason that does not exist", `export const r: Refusal = { reason: "because" }`],
]) {
  test(`${what} does not compile`, async t => {
    assert.match(await complaints(t, program), /error TS\d+/)
  })
}
