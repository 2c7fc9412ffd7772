// The product's REST side, as a back end of an application would call it.
import assert from "node:assert/strict"
import { outcome, watch } from "./client.mjs"

/** A guest of a development server: `{token, user}`. */
export const guest = (server, name) => call(server, null, "POST", "/auth/guest", { name }, 201)

export async function direct(server, from, to) {
  const body = { type: "direct", members: [to.user.id] }
  const answer = await call(server, from.token, "POST", "/conversations", body)
  return answer.conversation
}

export async function call(server, token, method, path, body, status) {
  const response = await fetch(`${server.url}/api${path}`, {
    method,
    headers: {
      ...(body && { "content-type": "application/json" }),
      ...(token && { authorization: `Bearer ${token}` }),
    },
    body: body && JSON.stringify(body),
  })
  const text = await response.text()
  if (status) assert.equal(response.status, status, `${method} ${path}: ${text}`)
  else assert.ok(response.ok, `${method} ${path}: ${response.status} ${text}`)
  return text ? JSON.parse(text) : null
}

/** Joins a conversation as one who follows its log: anew with the last place that was seen. */
export function follow(socket, topic) {
  const log = []
  const channel = watch(socket.channel(topic, () => (log.length ? { last_seq: log.at(-1).seq } : {})))
  const place = payload => log.push(payload)
  channel.on("message:new", place)
  channel.join().receive("ok", ({ gap = [] }) => {
    for (const entry of gap) place(entry.payload)
  })
  channel.log = log
  return channel
}

/**
 * Sends one message after the other until told to stop; `acknowledged` has the answers by id. A message that is not
 * answered within `patience` (ms) is sent again.
 */
export function talk(channel, patience = 400) {
  const acknowledged = new Map()
  let running = true
  const talking = (async () => {
    for (let n = 0; running; n += 1) {
      const client_id = `m${n}`
      const message = { client_id, type: "text", content: `message ${n}` }
      // A client does what clients do: no answer means sending the same thing again.
      while (running) {
        const { status, response } = await outcome(channel.push("message:send", message, patience))
        if (status === "ok") {
          acknowledged.set(response.id, response)
          break
        }
        if (status === "error") assert.ok(response.retry_after_ms !== undefined || response.reason === "unmatched topic", JSON.stringify(response))
      }
    }
  })()
  const stop = () => {
    running = false
    return talking
  }
  return { acknowledged, stop }
}

/** A log has everything that was acknowledged, in order and once. */
export function hasEverything(log, acknowledged) {
  const seqs = log.map(({ seq }) => seq)
  assert.deepEqual(seqs, Array.from({ length: seqs.length }, (_, n) => seqs[0] + n), "dense, in order, no duplicates")
  const byId = new Map(log.map(message => [message.id, message]))
  for (const [id, message] of acknowledged) {
    assert.equal(byId.get(id)?.content, message.content, `${message.content} is there`)
  }
}
