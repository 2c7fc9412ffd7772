// The example of the README works when pasted.
import assert from "node:assert/strict"
import { execFile } from "node:child_process"
import { readFile, symlink, writeFile } from "node:fs/promises"
import path from "node:path"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { test } from "node:test"
import { startProduct, stopAfter, temporaryDirectory } from "./support/server.mjs"

const here = path.dirname(fileURLToPath(import.meta.url))

test("the example of the README works when pasted", async t => {
  const readme = await readFile(path.join(here, "../../README.md"), "utf8")
  const [, example] = /```js\n([\s\S]*?)```/.exec(readme) ?? []
  assert.ok(example, "the README has an example in JavaScript")
  assert.ok(example.includes("http://127.0.0.1:4000"), "it names the default address")

  const server = stopAfter(t, await startProduct(await temporaryDirectory(t)))
  const folder = await temporaryDirectory(t)
  await symlink(path.join(here, "node_modules"), path.join(folder, "node_modules"))
  const script = path.join(folder, "chat.mjs")
  await writeFile(script, example.replace("http://127.0.0.1:4000", server.url))
  const { stdout } = await promisify(execFile)(process.execPath, [script], { timeout: 15000 })
  assert.match(stdout, /^Bob reads #1: Hello, Bob/m)
})
