// Small promises around phoenix.js, so that a test reads as a script.
import { once, EventEmitter } from "node:events"
import { WebSocket } from "ws"

const PATIENCE_MS = 8000

/** Rejects with the name of what did not happen. */
export function within(what, promise, ms = PATIENCE_MS) {
  let timer
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} did not happen within ${ms} ms`)), ms)
  })
  return Promise.race([promise, late]).finally(() => clearTimeout(timer))
}

/** Waits until a condition holds; looks again whenever something may have changed. */
export async function until(what, condition, ms = PATIENCE_MS) {
  const end = Date.now() + ms
  for (;;) {
    const value = await condition()
    if (value) return value
    if (Date.now() > end) throw new Error(`${what} did not happen within ${ms} ms`)
    await new Promise(resolve => setTimeout(resolve, 20))
  }
}

/** A socket with short reconnect times that is closed after the test. */
export function open(t, phoenix, url, options = {}) {
  const socket = new phoenix.Socket(url, {
    transport: WebSocket,
    reconnectAfterMs: () => 50,
    rejoinAfterMs: () => 50,
    ...options,
  })
  t.after(() => new Promise(resolve => socket.disconnect(resolve)))
  socket.connect()
  return socket
}

/** The outcome of a push or join: `{status, response}`. */
export function outcome(push, ...statuses) {
  const wanted = statuses.length ? statuses : ["ok", "error", "timeout"]
  return within("an answer", new Promise(resolve => {
    for (const status of wanted) push.receive(status, response => resolve({ status, response }))
  }))
}

/** The answer of a push or join that must succeed. */
export async function ok(push) {
  const { status, response } = await outcome(push)
  if (status !== "ok") throw new Error(`expected ok, got ${status} ${JSON.stringify(response)}`)
  return response
}

/** Joins a topic; the channel remembers everything that it receives. */
export async function join(socket, topic, params = {}) {
  const channel = watch(socket.channel(topic, params))
  channel.joined = await ok(channel.join())
  return channel
}

/** Records a channel's messages, so that none is missed between two awaits. */
export function watch(channel) {
  const inbox = new EventEmitter()
  const received = []
  const onMessage = channel.onMessage
  channel.onMessage = (event, payload, ref, joinRef) => {
    received.push({ event, payload, ref, joinRef })
    inbox.emit("message")
    return onMessage.call(channel, event, payload, ref, joinRef)
  }
  channel.received = received
  channel.payloads = event => received.filter(message => message.event === event).map(message => message.payload)
  channel.next = async (event, matches = () => true) => {
    for (;;) {
      const index = received.findIndex(message => message.event === event && matches(message.payload))
      if (index >= 0) return received.splice(index, 1)[0].payload
      await within(`${event} on ${channel.topic}`, once(inbox, "message"))
    }
  }
  return channel
}

export const bytes = (...values) => new Uint8Array(values).buffer
