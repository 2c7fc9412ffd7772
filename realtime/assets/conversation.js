// One conversation on the wire: what is known of it, and what is not acknowledged yet.
//
// Entries of the log carry a dense `seq`. The channel joins with the last one it has, so that the
// server sends exactly what was missed; a message that was sent but not acknowledged is sent again
// with the same `client_id`, which the server recognises.
import { uuidv7 } from "/assets/ids.js"
import { Presence } from "/assets/vendor/phoenix.mjs"

const PAGE = 50
const TYPING_REPEAT_MS = 3000
const TYPING_ENDS_MS = 6000

const LOGGED = [
  "message:new", "message:edited", "message:deleted", "message:reaction:added",
  "message:reaction:removed", "message:pinned", "message:unpinned", "conversation:updated",
]

export class Conversation extends EventTarget {
  constructor(socket, id, me) {
    super()
    this.id = id
    this.me = me
    this.messages = new Map()
    this.pending = new Map()
    this.receipts = new Map()
    this.typing = new Map()
    this.lastSeq = null
    this.hasEarlier = false
    this.markedRead = 0
    this.markedDelivered = 0
    this.typingSince = 0
    this.registersVersion = 0
    this.channel = socket.channel(`chat:${id}`, () => this.resumption())
    this.presence = new Presence(this.channel)
    this.presence.onSync(() => this.changed("presence"))
    this.listen()
  }

  /** Joins; resolves once, after the first page of history. Later joins are resumptions. */
  join() {
    return new Promise((resolve, reject) => {
      this.channel.join()
        .receive("ok", reply => this.joined(reply).then(resolve, reject))
        .receive("error", ({ reason }) => reject(new Error(reason)))
    })
  }

  leave() {
    this.channel.leave()
  }

  /** The messages in order, with those under way at the end. */
  list() {
    const stored = [...this.messages.values()].sort((a, b) => a.seq - b.seq)
    return [...stored, ...this.pending.values()]
  }

  send(content) {
    const client_id = uuidv7()
    this.pending.set(client_id, {
      id: client_id,
      client_id,
      content,
      sender_id: this.me,
      created_at: new Date().toISOString(),
      state: "pending",
    })
    this.changed("messages")
    this.stopTyping()
    this.flush(client_id)
  }

  edit(message_id, content) {
    return this.push("message:edit", { message_id, content })
  }

  remove(message_id) {
    return this.push("message:delete", { message_id, scope: "everyone" })
  }

  react(message_id, emoji, on) {
    return this.push(on ? "message:reaction:add" : "message:reaction:remove", { message_id, emoji })
  }

  /** Fetches the page before the oldest message that is known. */
  async earlier() {
    const oldest = Math.min(...[...this.messages.values()].map(message => message.seq))
    await this.history(Number.isFinite(oldest) ? { before_seq: oldest } : {})
  }

  markRead() {
    const seq = this.newestOfOthers()
    if (seq <= this.markedRead) return
    this.markedRead = seq
    this.markedDelivered = Math.max(this.markedDelivered, seq)
    this.push("message:read", { seq }).catch(() => { this.markedRead = 0 })
  }

  type() {
    if (Date.now() - this.typingSince < TYPING_REPEAT_MS) return
    this.typingSince = Date.now()
    this.push("typing:start", {}).catch(() => {})
  }

  stopTyping() {
    if (this.typingSince === 0) return
    this.typingSince = 0
    this.push("typing:stop", {}).catch(() => {})
  }

  /** sent, delivered or read: how far a message of mine has come. */
  receiptOf(message) {
    const others = [...this.receipts].filter(([user]) => user !== this.me).map(([, marks]) => marks)
    if (others.some(({ read }) => read >= message.seq)) return "read"
    if (others.some(({ delivered }) => delivered >= message.seq)) return "delivered"
    return "sent"
  }

  online() {
    return this.presence.list(user => user)
  }

  // -- the wire --

  listen() {
    for (const event of LOGGED) {
      this.channel.on(event, payload => {
        this.apply(event, payload)
        this.changed("messages")
      })
    }
    for (const kind of ["delivered", "read"]) {
      this.channel.on(`message:${kind}`, mark => {
        this.mark(mark.user_id, kind, mark.seq)
        this.changed("messages")
      })
    }
    this.channel.on("typing:start", ({ user_id }) => this.setTyping(user_id, true))
    this.channel.on("typing:stop", ({ user_id }) => this.setTyping(user_id, false))
  }

  /** What a join names, so that it brings what was missed and no more. */
  resumption() {
    if (this.lastSeq === null) return {}
    return { last_seq: this.lastSeq, registers_version: this.registersVersion }
  }

  async joined(reply) {
    this.registersVersion = reply.registers.version
    for (const marks of reply.registers.marks) {
      this.mark(marks.user_id, "delivered", marks.delivered)
      this.mark(marks.user_id, "read", marks.read)
    }
    const first = this.lastSeq === null
    if (first || reply.reset_required) {
      this.messages.clear()
      this.lastSeq = reply.last_seq
      await this.history({})
    } else {
      this.replay(reply)
    }
    for (const client_id of this.pending.keys()) this.flush(client_id)
    this.changed("messages")
  }

  /** What was missed comes in batches; each is asked for by acknowledging the one before. */
  replay({ gap = [], more, last_seq }) {
    for (const { event, payload } of gap) this.apply(event, payload)
    if (!more) {
      // The last entries of the log may be none of mine to see.
      this.lastSeq = Math.max(this.lastSeq, last_seq ?? 0)
      return
    }
    this.push("message:ack", { seq: this.lastSeq })
      .then(batch => this.replay(batch))
      .catch(cause => {
        // The batch may have come with a reply that came too late. It comes again.
        if (cause.message === "timeout" && this.channel.state === "joined") this.replay({ more: true })
      })
      .finally(() => this.changed("messages"))
  }

  async history(from) {
    const { messages, has_more } = await this.push("message:history", { ...from, limit: PAGE })
    for (const message of messages) this.messages.set(message.id, message)
    this.hasEarlier = has_more
    this.changed("messages")
  }

  apply(event, payload) {
    this.lastSeq = Math.max(this.lastSeq ?? 0, payload.seq ?? 0)
    const message = this.messages.get(payload.message_id ?? payload.id)
    switch (event) {
      case "message:new":
        return this.arrived(payload)
      case "message:edited":
        return message && Object.assign(message, { content: payload.content, is_edited: true, edited_at: payload.edited_at })
      case "message:deleted":
        return message && Object.assign(message, { content: null, deleted_by: payload.deleted_by, reactions: {} })
      case "message:reaction:added":
        return message && setReaction(message, payload, true)
      case "message:reaction:removed":
        return message && setReaction(message, payload, false)
      case "conversation:updated":
        return this.changed("members")
    }
  }

  arrived(message) {
    this.messages.set(message.id, message)
    if (message.client_id) this.pending.delete(message.client_id)
    this.setTyping(message.sender_id, false)
    if (message.sender_id !== this.me) this.markDelivered(message.seq)
  }

  markDelivered(seq) {
    if (seq <= this.markedDelivered) return
    this.markedDelivered = seq
    this.push("message:delivered", { seq }).catch(() => {})
  }

  mark(user, kind, seq) {
    if (!user || !seq) return
    const marks = this.receipts.get(user) ?? { delivered: 0, read: 0 }
    marks[kind] = Math.max(marks[kind], seq)
    this.receipts.set(user, marks)
  }

  /** While the channel is down nothing is pushed: the join flushes what is pending. */
  flush(client_id) {
    const message = this.pending.get(client_id)
    if (!message || this.channel.state !== "joined") return
    this.push("message:send", { client_id, type: "text", content: message.content })
      .then(stored => this.apply("message:new", stored))
      .catch(cause => {
        // No answer is no refusal: the next join sends it again.
        if (cause.message !== "timeout") message.state = "failed"
      })
      .finally(() => this.changed("messages"))
  }

  push(event, payload) {
    return new Promise((resolve, reject) => {
      this.channel.push(event, payload)
        .receive("ok", resolve)
        .receive("error", ({ reason, field }) => reject(new Error(field ? `${reason}: ${field}` : reason)))
        .receive("timeout", () => reject(new Error("timeout")))
    })
  }

  setTyping(user, on) {
    clearTimeout(this.typing.get(user))
    this.typing.delete(user)
    if (on && user !== this.me) this.typing.set(user, setTimeout(() => this.setTyping(user, false), TYPING_ENDS_MS))
    this.changed("typing")
  }

  newestOfOthers() {
    let newest = 0
    for (const { sender_id, seq } of this.messages.values()) if (sender_id !== this.me) newest = Math.max(newest, seq)
    return newest
  }

  changed(what) {
    this.dispatchEvent(new Event(what))
  }
}

function setReaction(message, { emoji, user_id }, on) {
  const users = new Set(message.reactions?.[emoji] ?? [])
  if (on) users.add(user_id)
  else users.delete(user_id)
  message.reactions = { ...message.reactions, [emoji]: [...users] }
  if (users.size === 0) delete message.reactions[emoji]
}
