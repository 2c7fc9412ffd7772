// What an unmodified phoenix.js may rely on, against the reference application. The same for every
// version of the client.
import assert from "node:assert/strict"
import { after, before, test } from "node:test"
import { bytes, join, ok, open, outcome, until, watch, within } from "./client.mjs"
import { startProxy } from "./proxy.mjs"
import { startReferenceApp, stopAfter } from "./server.mjs"

export function suite(phoenix) {
  let app
  before(async () => { app = await startReferenceApp() })
  after(() => app.stop())

  const connect = (t, options = {}) =>
    open(t, phoenix, app.socketUrl, { params: { token: "tok-a" }, ...options })
  const connectByLongPoll = (t, options = {}) => connect(t, { transport: phoenix.LongPoll, ...options })

  test("join, push and reply", async t => {
    const channel = await join(connect(t), "room:basic", { reply: { hi: 1 } })
    assert.deepEqual(channel.joined, { hi: 1 })
    assert.deepEqual(await ok(channel.push("new_msg", { body: "x" })), {})
    assert.deepEqual(await channel.next("new_msg"), { body: "x" })
    const refused = await outcome(channel.push("echo_error", { reason: "no" }))
    assert.deepEqual(refused, { status: "error", response: { reason: "no" } })
    const unanswered = await outcome(channel.push("noreply", {}, 100))
    assert.equal(unanswered.status, "timeout")
    await ok(channel.leave())
    assert.equal(channel.state, "closed")
  })

  test("a refused join says why, and is tried again", async t => {
    const channel = watch(connect(t).channel("room:refused", { fail: "nope" }))
    const attempts = []
    channel.join().receive("error", reason => attempts.push(reason))
    await until("a second attempt", () => attempts.length >= 2)
    assert.deepEqual(attempts[0], { reason: "nope" })
  })

  test("a topic that nobody serves is unmatched", async t => {
    const { status, response } = await outcome(connect(t).channel("nosuch:1").join())
    assert.deepEqual({ status, response }, { status: "error", response: { reason: "unmatched topic" } })
  })

  test("pushes before the socket is open are buffered and arrive in order", async t => {
    const socket = connect(t)
    assert.equal(socket.isConnected(), false)
    const channel = watch(socket.channel("room:buffered"))
    const joining = channel.join()
    const replies = [1, 2, 3].map(n => ok(channel.push("new_msg", { n })))
    await ok(joining)
    await Promise.all(replies)
    assert.deepEqual(channel.payloads("new_msg"), [{ n: 1 }, { n: 2 }, { n: 3 }])
  })

  test("a crashed channel errors, rejoins by itself and works again", async t => {
    const socket = connect(t)
    const bystander = await join(socket, "room:bystander")
    const channel = await join(socket, "room:crash")
    const errored = within("onError", new Promise(resolve => channel.onError(resolve)))
    channel.push("crash", {})
    assert.deepEqual(await errored, { reason: "channel_crash" })
    await until("the rejoin", () => channel.state === "joined")
    assert.deepEqual(await ok(channel.push("ping", {})), { pong: true })
    assert.deepEqual(await ok(bystander.push("ping", {})), { pong: true })
    assert.equal(bystander.payloads("phx_error").length, 0)
  })

  test("joining a topic twice closes the first channel only", async t => {
    const socket = connect(t)
    const first = await join(socket, "room:twice", { reply: { n: 1 } })
    const closed = within("onClose", new Promise(resolve => first.onClose(resolve)))
    const second = watch(socket.channel("room:twice", { reply: { n: 2 } }))
    assert.deepEqual(await ok(second.join()), { n: 2 })
    await closed
    assert.deepEqual(await ok(second.push("ping", {})), { pong: true })
  })

  test("a channel that the server stops is closed and stays closed", async t => {
    const channel = await join(connect(t), "room:stop")
    const closed = within("onClose", new Promise(resolve => channel.onClose(resolve)))
    channel.push("stop", {})
    await closed
    assert.equal(channel.state, "closed")
    const channel2 = await join(connect(t), "room:stop2")
    assert.deepEqual(await ok(channel2.push("stop_reply", { bye: 1 })), { bye: 1 })
  })

  test("presence: the client's Presence class follows joins, updates and leaves", async t => {
    const alice = watch(connect(t, { params: { token: "tok-alice" } }).channel("presence:pjs", { meta: { d: 1 } }))
    const presence = new phoenix.Presence(alice)
    const log = []
    presence.onJoin((key, current, joined) => log.push(["join", key, current?.metas.length ?? 0, joined.metas[0].status ?? null]))
    presence.onLeave((key, current, left) => log.push(["leave", key, current.metas.length, left.metas[0].status ?? null]))
    const online = () => presence.list((key, { metas }) => `${key}:${metas.length}`).sort().join(" ")
    await ok(alice.join())
    await until("alice sees herself", () => online() === "alice:1")

    const bobSocket = connect(t, { params: { token: "tok-bob" } })
    const bob = await join(bobSocket, "presence:pjs", { meta: { d: 2 } })
    await until("alice sees bob", () => online() === "alice:1 bob:1")
    const bobAgain = await join(connect(t, { params: { token: "tok-bob" } }), "presence:pjs", { meta: { d: 3 } })
    await until("bob has two devices", () => online() === "alice:1 bob:2")
    await ok(bob.push("update", { status: "away" }))
    await until("the update", () => log.some(([what, key, , status]) => what === "join" && key === "bob" && status === "away"))
    assert.equal(online(), "alice:1 bob:2")
    await ok(bobAgain.leave())
    await until("one device left", () => online() === "alice:1 bob:1")
    bobSocket.disconnect()
    await until("bob is gone", () => online() === "alice:1")
    const [what, key, metas] = log.at(-1)
    assert.deepEqual([what, key, metas], ["leave", "bob", 0])
  })

  test("binary payloads go both ways", async t => {
    const channel = await join(connect(t), "room:binary")
    const other = await join(connect(t, { params: { token: "tok-b" } }), "room:binary")
    const octets = buffer => [...new Uint8Array(buffer)]
    assert.deepEqual(octets(await ok(channel.push("echo", bytes(1, 2, 255)))), [1, 2, 255])
    await ok(channel.push("bin_broadcast", bytes(9)))
    assert.deepEqual(octets(await channel.next("bin_msg")), [9])
    assert.deepEqual(octets(await other.next("bin_msg")), [9])
    channel.push("bin_push", bytes(7, 7))
    assert.deepEqual(octets(await channel.next("pushed")), [7, 7])
  })

  test("two sockets hear each other, in order", async t => {
    const alice = await join(connect(t), "room:talk")
    const bob = await join(connect(t, { params: { token: "tok-b" } }), "room:talk")
    const sent = Array.from({ length: 50 }, (_, n) => ({ n }))
    await Promise.all(sent.map(message => ok(alice.push("new_msg", message))))
    await until("all arrived", () => bob.payloads("new_msg").length === sent.length)
    assert.deepEqual(bob.payloads("new_msg"), sent)
    assert.deepEqual(alice.payloads("new_msg"), sent)
  })

  test("long-poll: join, push, broadcast, binary up, leave", async t => {
    const poller = await join(connectByLongPoll(t), "room:poll")
    const other = await join(connect(t, { params: { token: "tok-b" } }), "room:poll")
    await Promise.all([0, 1, 2, 3].map(n => ok(poller.push("new_msg", { n }))))
    await until("all arrived", () => other.payloads("new_msg").length === 4)
    assert.deepEqual(other.payloads("new_msg").map(({ n }) => n), [0, 1, 2, 3])
    assert.deepEqual(await ok(poller.push("type_of", bytes(1, 2, 3))), { type: "binary", size: 3 })
    await ok(other.push("new_msg", { back: true }))
    await poller.next("new_msg", ({ back }) => back)
    await ok(poller.leave())
  })

  test("a client whose WebSockets are blocked falls back to long-poll", async t => {
    const proxy = await startProxy(t, app.address, { swallowUpgrades: true })
    const store = new Map()
    const socket = open(t, phoenix, `ws://${proxy.address}/socket`, {
      params: { token: "tok-a" },
      longPollFallbackMs: 100,
      sessionStorage: { getItem: key => store.get(key) ?? null, setItem: (key, value) => store.set(key, value) },
    })
    const channel = await join(socket, "room:fallback", { whoami: true })
    assert.equal(channel.joined.transport, "longpoll")
  })

  test("a refused token: WebSocket", async t => {
    const closes = []
    const socket = open(t, phoenix, app.socketUrl, { params: { token: "bad" } })
    socket.onClose(event => closes.push(event.code))
    await until("two attempts", () => closes.length >= 2)
    assert.deepEqual(new Set(closes), new Set([1006]))
    assert.equal(socket.isConnected(), false)
  })

  test("a refused token: long-poll", async t => {
    const errors = []
    const socket = connectByLongPoll(t, { params: { token: "bad" } })
    socket.onError(error => errors.push(error))
    await until("a refusal", () => errors.length >= 1)
    assert.equal(errors[0], 403)
    assert.equal(socket.isConnected(), false)
  })

  test("the server disconnects all sockets of a person, who come back", async t => {
    const mine = [connect(t, { params: { token: "tok-kick" } }), connect(t, { params: { token: "tok-kick" } })]
    const channels = await Promise.all(mine.map(socket => join(socket, "room:kick")))
    const bystander = await join(connect(t), "room:kick")
    const closes = []
    for (const socket of mine) socket.onClose(event => closes.push(event.code))
    channels[0].push("disconnect_me", {})
    await until("both closed", () => closes.length === 2)
    assert.deepEqual(closes, [1001, 1001])
    await until("both back", () => channels.every(channel => channel.state === "joined"))
    assert.deepEqual(await ok(bystander.push("ping", {})), { pong: true })
  })

  test("heartbeats are answered, and a silent network is noticed and left", async t => {
    const proxy = await startProxy(t, app.address)
    const socket = open(t, phoenix, `ws://${proxy.address}/socket`, {
      params: { token: "tok-a" },
      heartbeatIntervalMs: 150,
    })
    const channel = await join(socket, "room:heart")
    const beats = []
    socket.onMessage(({ topic, event, payload }) => topic === "phoenix" && beats.push([event, payload.status]))
    await until("three heartbeats", () => beats.length >= 3)
    assert.deepEqual(beats[0], ["phx_reply", "ok"])
    assert.equal(proxy.connections, 1, "an answered heartbeat keeps the connection")

    const gone = within("the timeout", new Promise(resolve => socket.onClose(resolve)))
    proxy.stall()
    await gone
    proxy.resume()
    await until("the rejoin", () => channel.state === "joined" && proxy.connections > 1)
    assert.deepEqual(await ok(channel.push("ping", {})), { pong: true })
  })

  for (const transport of ["WebSocket", "LongPoll"]) {
    test(`clients come back after the server process restarts: ${transport}`, async t => {
      const first = stopAfter(t, await startReferenceApp())
      const options = { params: { token: "tok-a" }, ...(transport === "LongPoll" && { transport: phoenix.LongPoll }) }
      const socket = open(t, phoenix, first.socketUrl, options)
      const channel = await join(socket, "room:restart")
      const left = within("the disconnect", new Promise(resolve => channel.onError(resolve)))
      await first.stop("SIGKILL")
      await left
      const buffered = ok(channel.push("new_msg", { while: "down" }))
      stopAfter(t, await startReferenceApp(first.address))
      await until("the rejoin", () => channel.state === "joined")
      await buffered
      assert.deepEqual(await channel.next("new_msg"), { while: "down" })
    })
  }
}
