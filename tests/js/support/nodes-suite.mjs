// Two processes that share a Redis, behind a load balancer that sends every request to the other
// one: a phoenix.js by long-poll does not notice, and misses nothing when a process is killed. The
// same for every version of the client.
import assert from "node:assert/strict"
import { test } from "node:test"
import { startBalancer } from "./balancer.mjs"
import { join, ok, open, outcome, until } from "./client.mjs"
import { direct, follow, guest, hasEverything, talk } from "./product.mjs"
import { startRedis } from "./redis.mjs"
import { startProduct, stopAfter, temporaryDirectory } from "./server.mjs"

const MESSAGES = 20
/** A conversation of a killed process is taken over within seconds, also on a busy machine. */
const TAKEOVER_MS = 20_000
/** A push goes over two processes and waits for a poll. */
const ANSWER_MS = 2_000

/** Two processes on one directory, a way to start further ones, and the balancer. */
async function serve(t) {
  const dataDir = await temporaryDirectory(t)
  const settings = {
    QUIKAPP_STORAGE__REDIS: await startRedis(t),
    // Every message is waited for, and this is how soon the other process finds it in the store.
    QUIKAPP_CONVERSATION__POLL: "50ms",
  }
  const start = async () => stopAfter(t, await startProduct(dataDir, undefined, settings))
  const servers = [await start(), await start()]
  const balancer = await startBalancer(t, ...servers)
  return { balancer, servers, start }
}

/** Alice and Bob by long-poll, who show their tokens in different ways. */
async function aliceAndBob(t, phoenix, withToken, { balancer, servers }) {
  const [alice, bob] = await Promise.all([guest(servers[0], "Alice"), guest(servers[1], "Bob")])
  await know(servers, alice)
  const conversation = await direct(servers[0], alice, bob)
  const byLongPoll = options => open(t, phoenix, balancer.socketUrl, { transport: phoenix.LongPoll, ...options })
  alice.socket = byLongPoll({ params: { token: alice.token } })
  bob.socket = byLongPoll(withToken(bob.token))
  return { alice, bob, topic: `chat:${conversation.id}` }
}

/** Waits until each process passes requests on to the others: they say where they are from time to time. */
async function know(servers, person) {
  const pairs = servers.flatMap(to => servers.filter(from => from !== to).map(from => [from, to]))
  await Promise.all(pairs.map(([from, to]) => passesOn(from, to, person)))
}

async function passesOn(from, to, person) {
  const url = server => `${server.url}/socket/longpoll?vsn=2.0.0&auth_token=${person.token}`
  const { token } = await (await fetch(url(to))).json()
  const headers = { "content-type": "application/json", "x-phoenix-longpoll-token": token }
  const body = JSON.stringify([null, "1", "phoenix", "heartbeat", {}])
  await until("a request is passed on", async () => {
    const answer = await fetch(url(from), { method: "POST", headers, body })
    return (await answer.json()).status === 200
  })
}

async function passedOn({ url }) {
  const page = await (await fetch(`${url}/metrics`)).text()
  const [, count] = /^quikapp_longpoll_passed_on_total\{outcome="answered"\} (\d+)/m.exec(page) ?? [null, "0"]
  return Number(count)
}

/** `withToken` gives the options of a socket that shows a token otherwise than in the parameter `token`. */
export function suite(phoenix, withToken) {
  test("a chat by long-poll whose requests go to two processes in turn", async t => {
    const nodes = await serve(t)
    const { alice, bob, topic } = await aliceAndBob(t, phoenix, withToken, nodes)
    const hers = await join(alice.socket, topic)
    const his = await join(bob.socket, topic)
    const sessions = () => [alice.socket.conn.token, bob.socket.conn.token]
    const begun = sessions()
    let last = 0
    for (const [from, to] of [[hers, his], [his, hers]]) {
      for (let n = 0; n < MESSAGES; n += 1) {
        const sent = await ok(from.push("message:send", { type: "text", content: `${n}` }))
        for (const channel of [from, to]) {
          const received = await channel.next("message:new")
          assert.deepEqual([received.seq, received.content], [sent.seq, `${n}`])
        }
        last = sent.seq
      }
    }
    // What is in no log comes too, whichever process its sender is on.
    await ok(his.push("typing:start", {}))
    assert.equal((await hers.next("typing:start")).user_id, bob.user.id)
    await ok(hers.push("message:read", { seq: last }))
    const fromHer = ({ user_id }) => user_id === alice.user.id
    assert.equal((await his.next("message:read", fromHer)).seq, last)

    assert.deepEqual(sessions(), begun, "one session each, all along")
    for (const server of nodes.servers) {
      assert.ok(nodes.balancer.answeredBy(server) >= MESSAGES, `answered by ${server.address}`)
    }
    const passed = await Promise.all(nodes.servers.map(passedOn))
    assert.ok(passed.reduce((sum, count) => sum + count) >= MESSAGES, `${passed} were passed on`)
  })

  test("the process of a session is killed: its client comes back elsewhere and has missed nothing", async t => {
    const nodes = await serve(t)
    const { alice, bob, topic } = await aliceAndBob(t, phoenix, withToken, nodes)
    const hers = await join(alice.socket, topic)
    const his = follow(bob.socket, topic)
    await until("bob has joined", () => his.state === "joined")
    const { acknowledged, stop } = talk(hers, ANSWER_MS)
    const more = what => {
      const [sent, seen] = [acknowledged.size, his.log.length]
      const isThere = () => acknowledged.size >= sent + MESSAGES && his.log.length >= seen + MESSAGES
      return until(what, isThere, TAKEOVER_MS)
    }

    for (const { user, socket } of [bob, alice]) {
      await more(`messages before the process of ${user.name} is killed`)
      const owner = await until("a session", () => nodes.balancer.ownerOf(socket.conn?.token))
      const killed = nodes.servers.find(({ address }) => address === owner)
      await killed.stop("SIGKILL")
      await more(`messages after the process of ${user.name} is killed`)
      assert.notEqual(nodes.balancer.ownerOf(socket.conn.token), owner)
      const another = await nodes.start()
      nodes.servers.splice(nodes.servers.indexOf(killed), 1, another)
      await know(nodes.servers, alice)
      nodes.balancer.add(another)
    }
    await more("messages at the end")
    await stop()
    const lastSeq = Math.max(...[...acknowledged.values()].map(({ seq }) => seq))
    await until("bob has caught up", () => his.log.at(-1).seq >= lastSeq)
    hasEverything(his.log, acknowledged)
  })

  test("the process of a session is killed while a poll for it waits on the other", async t => {
    const nodes = await serve(t)
    const { alice, bob, topic } = await aliceAndBob(t, phoenix, withToken, nodes)
    const hers = await join(alice.socket, topic)
    const his = follow(bob.socket, topic)
    await until("bob has joined", () => his.state === "joined")
    const says = async content => {
      // Sent again until it is taken: her process may be the one that is killed.
      const message = { client_id: content, type: "text", content }
      const sent = await until(content, async () => {
        const { status, response } = await outcome(hers.push("message:send", message, ANSWER_MS))
        return status === "ok" && response
      }, TAKEOVER_MS)
      return until(`${content} is seen`, () => his.log.at(-1)?.seq === sent.seq, TAKEOVER_MS)
    }
    // Each message sends the poll to the process whose turn it is.
    const session = bob.socket.conn.token
    const [owner] = nodes.servers.filter(({ address }) => address === nodes.balancer.ownerOf(session))
    for (let n = 0; n < 50 && nodes.balancer.waitsAt(session) !== other(nodes.servers, owner).address; n += 1) {
      await says(`before ${n}`)
      await until("his next poll", () => nodes.balancer.waitsAt(session))
    }
    await owner.stop("SIGKILL")
    await says("after")
    assert.notEqual(bob.socket.conn.token, session)
  })
}

const other = (servers, server) => servers.find(it => it !== server)
