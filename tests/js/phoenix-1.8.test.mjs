// phoenix.js 1.8, the version of the recordings.
import assert from "node:assert/strict"
import { after, before, test } from "node:test"
import * as phoenix from "phoenix"
import { join, open } from "./support/client.mjs"
import { startReferenceApp } from "./support/server.mjs"
import { suite } from "./support/phoenix-suite.mjs"

suite(phoenix)

let app
before(async () => { app = await startReferenceApp() })
after(() => app.stop())

for (const [name, transport] of [["websocket", {}], ["longpoll", { transport: phoenix.LongPoll }]]) {
  test(`the auth token travels outside the URL: ${name}`, async t => {
    const url = app.socketUrl.replace("/socket", "/socket_auth")
    const socket = open(t, phoenix, url, { authToken: "tok-sub", ...transport })
    assert.ok(!socket.endPointURL().includes("tok-sub"))
    const channel = await join(socket, "room:au", { whoami: true })
    assert.equal(channel.joined.uid, "sub")
    assert.equal(channel.joined.transport, name)
  })
}
