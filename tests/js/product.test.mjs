// The main job: two phoenix.js clients chat through the real binary, which is killed and restarted
// in the middle, and nothing that was acknowledged is gone.
import assert from "node:assert/strict"
import { test } from "node:test"
import * as phoenix from "phoenix"
import { join, ok, open, outcome, until } from "./support/client.mjs"
import { call, direct, follow, guest, hasEverything, talk } from "./support/product.mjs"
import { startProduct, stopAfter, temporaryDirectory } from "./support/server.mjs"

async function serve(t) {
  const dataDir = await temporaryDirectory(t)
  const server = stopAfter(t, await startProduct(dataDir))
  return { dataDir, server }
}

const connect = (t, server, person, options = {}) =>
  open(t, phoenix, server.socketUrl, { params: { token: person.token }, ...options })

async function aliceAndBob(t, server) {
  const [alice, bob] = await Promise.all([guest(server, "Alice"), guest(server, "Bob")])
  const conversation = await direct(server, alice, bob)
  alice.socket = connect(t, server, alice)
  bob.socket = connect(t, server, bob)
  return { alice, bob, topic: `chat:${conversation.id}`, conversation }
}

test("two people chat with history, receipts, typing and presence", async t => {
  const { server } = await serve(t)
  const { alice, bob, topic } = await aliceAndBob(t, server)
  const hers = await join(alice.socket, topic)
  const his = await join(bob.socket, topic)

  await hers.next("presence_state")
  await hers.next("presence_diff", ({ joins }) => bob.user.id in joins)

  await ok(his.push("typing:start", {}))
  assert.equal((await hers.next("typing:start")).user_id, bob.user.id)

  const sent = await ok(his.push("message:send", { client_id: "b1", type: "text", content: "Hello Alice" }))
  const received = await hers.next("message:new")
  assert.equal(received.content, "Hello Alice")
  assert.equal(received.sender_id, bob.user.id)
  assert.deepEqual([received.id, received.seq], [sent.id, sent.seq])

  await ok(hers.push("message:delivered", { seq: sent.seq }))
  const fromHer = ({ user_id }) => user_id === alice.user.id
  assert.equal((await his.next("message:delivered", fromHer)).seq, sent.seq)
  await ok(hers.push("message:read", { message_id: sent.id }))
  assert.equal((await his.next("message:read", fromHer)).seq, sent.seq)

  await ok(his.push("message:edit", { message_id: sent.id, content: "Hello, Alice!" }))
  await ok(hers.push("message:reaction:add", { message_id: sent.id, emoji: "👍" }))
  assert.equal((await hers.next("message:edited")).content, "Hello, Alice!")
  assert.equal((await his.next("message:reaction:added")).emoji, "👍")

  const { messages, has_more } = await ok(hers.push("message:history", { limit: 10 }))
  assert.equal(has_more, false)
  assert.equal(messages.length, 1)
  assert.equal(messages[0].content, "Hello, Alice!")
  assert.deepEqual(messages[0].reactions, { "👍": [alice.user.id] })

  bob.socket.disconnect()
  await hers.next("presence_diff", ({ leaves }) => bob.user.id in leaves)
})

test("a retried message is one message, another payload under its id is refused", async t => {
  const { server } = await serve(t)
  const { alice, bob, topic } = await aliceAndBob(t, server)
  const hers = await join(alice.socket, topic)
  const his = await join(bob.socket, topic)
  const first = await ok(hers.push("message:send", { client_id: "k", type: "text", content: "once" }))
  const again = await ok(hers.push("message:send", { client_id: "k", type: "text", content: "once" }))
  assert.deepEqual([again.id, again.seq], [first.id, first.seq])
  const other = await outcome(hers.push("message:send", { client_id: "k", type: "text", content: "twice" }))
  assert.equal(other.status, "error")
  assert.equal(other.response.reason, "idempotency_conflict")
  const last = await ok(hers.push("message:send", { client_id: "k2", type: "text", content: "last" }))
  await until("the last one", () => his.payloads("message:new").some(({ id }) => id === last.id))
  assert.deepEqual(his.payloads("message:new").map(({ content }) => content), ["once", "last"])
})

test("strangers stay out", async t => {
  const { server } = await serve(t)
  const { topic, alice } = await aliceAndBob(t, server)
  const eve = await guest(server, "Eve")
  const socket = connect(t, server, eve)
  const refused = await outcome(socket.channel(topic).join())
  assert.equal(refused.status, "error")
  assert.ok(["not_a_participant", "conversation_not_found"].includes(refused.response.reason), refused.response.reason)
  const spy = await outcome(socket.channel(`user:${alice.user.id}`).join())
  assert.equal(spy.status, "error")
  const unsigned = open(t, phoenix, server.socketUrl, { params: { token: "nonsense" } })
  let closed = 0
  unsigned.onClose(() => closed += 1)
  await until("a refusal", () => closed > 0)
  assert.equal(unsigned.isConnected(), false)
})

test("kill -9 in the middle: nothing acknowledged is gone, nothing comes twice", async t => {
  const { dataDir, server } = await serve(t)
  const { alice, bob, topic } = await aliceAndBob(t, server)
  const hers = await join(alice.socket, topic)

  const his = follow(bob.socket, topic)
  await until("bob has joined", () => his.state === "joined")
  const { acknowledged, stop } = talk(hers)

  let current = server
  for (let round = 1; round <= 3; round += 1) {
    const before = acknowledged.size
    await until(`messages of round ${round}`, () => acknowledged.size >= before + 20)
    await current.stop("SIGKILL")
    current = stopAfter(t, await startProduct(dataDir, current.address))
  }
  await until("a last message after the last restart", () => hers.state === "joined" && his.state === "joined")
  const before = acknowledged.size
  await until("messages after the last restart", () => acknowledged.size >= before + 5)
  await stop()

  const lastSeq = Math.max(...[...acknowledged.values()].map(({ seq }) => seq))
  await until("bob has caught up", () => his.log.at(-1)?.seq >= lastSeq)
  hasEverything(his.log, acknowledged)

  const stored = new Map()
  for (let before_seq; ;) {
    const { messages, has_more } = await ok(hers.push("message:history", { limit: 100, before_seq }))
    for (const message of messages) stored.set(message.id, message)
    before_seq = Math.min(...messages.map(({ seq }) => seq))
    if (!has_more) break
  }
  for (const [id, message] of acknowledged) assert.equal(stored.get(id)?.content, message.content)
  assert.equal(new Set([...stored.values()].map(({ client_id }) => client_id)).size, stored.size, "one entry a message")
})

test("an ordinary stop closes sockets with 1012, and clients come back", async t => {
  const { dataDir, server } = await serve(t)
  const { alice, topic } = await aliceAndBob(t, server)
  const hers = await join(alice.socket, topic)
  const idle = connect(t, server, alice)
  await until("an idle socket", () => idle.isConnected())
  const codes = []
  alice.socket.onClose(({ code }) => codes.push(code))
  idle.onClose(({ code }) => codes.push(code))
  await server.stop("SIGTERM")
  assert.deepEqual(codes.slice(0, 2), [1012, 1012])
  stopAfter(t, await startProduct(dataDir, server.address))
  await until("the rejoin", () => hers.state === "joined" && idle.isConnected())
})

test("REST and sockets see the same messages", async t => {
  const { server } = await serve(t)
  const { alice, bob, topic, conversation } = await aliceAndBob(t, server)
  const his = await join(bob.socket, topic)
  const path = `/conversations/${conversation.id}/messages`
  const posted = await call(server, alice.token, "POST", path, { client_id: "r1", type: "text", content: "by REST" }, 201)
  const received = await his.next("message:new")
  assert.equal(received.content, "by REST")
  await call(server, alice.token, "POST", path, { client_id: "r1", type: "text", content: "by REST" }, 200)
  await call(server, alice.token, "POST", path, { client_id: "r1", type: "text", content: "other" }, 409)
  const { messages } = await call(server, bob.token, "GET", `${path}?limit=10`)
  assert.deepEqual(messages.map(({ id }) => id), [received.id])
  assert.equal((posted.message ?? posted).id, received.id)
})
