// Shows the messages of a conversation: only what has changed is built anew, so that focus and
// scroll position stay.
import { byId, el } from "/assets/dom.js"

const EMOJI = ["👍", "❤️", "😂"]
const FOLLOWS_WITHIN_MS = 5 * 60 * 1000
const MARKS = { pending: "◷", failed: "!", sent: "✓", delivered: "✓✓", read: "✓✓" }
const LABELS = { pending: "sending", failed: "not sent", sent: "sent", delivered: "delivered", read: "read" }

const time = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" })
const day = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" })

export class MessageList {
  /** `actions`: react(message, emoji, on), edit(message), remove(message). */
  constructor(nameOf, actions) {
    this.nameOf = nameOf
    this.actions = actions
    this.nodes = new Map()
    this.log = byId("log")
    this.list = byId("messages")
  }

  clear() {
    this.nodes.clear()
    this.list.replaceChildren()
  }

  render(conversation) {
    const atEnd = this.isAtEnd()
    const fromEnd = this.log.scrollHeight - this.log.scrollTop
    const wanted = []
    let before = null
    for (const message of conversation.list()) {
      if (!sameDay(before, message)) wanted.push(this.day(message))
      wanted.push(this.node(conversation, message, before))
      before = message
    }
    this.place(wanted)
    this.log.scrollTop = atEnd ? this.log.scrollHeight : this.log.scrollHeight - fromEnd
  }

  isAtEnd() {
    return this.log.scrollHeight - this.log.scrollTop - this.log.clientHeight < 80
  }

  scrollToEnd() {
    this.log.scrollTop = this.log.scrollHeight
  }

  /** Moves nodes only where they are not in place already. */
  place(wanted) {
    const keep = new Set(wanted)
    for (const node of [...this.list.children]) if (!keep.has(node)) node.remove()
    wanted.forEach((node, index) => {
      if (this.list.children[index] !== node) this.list.insertBefore(node, this.list.children[index] ?? null)
    })
  }

  day(message) {
    const text = day.format(new Date(message.created_at))
    return this.cached(`day ${text}`, text, () => el("li", { class: "day" }, text))
  }

  node(conversation, message, before) {
    const mine = message.sender_id === conversation.me
    const receipt = mine && !message.deleted_by ? message.state ?? conversation.receiptOf(message) : null
    const follows = isSequel(before, message)
    const reacting = Object.values(message.reactions ?? {}).flat()
    const people = [message.sender_id, ...reacting].map(this.nameOf)
    const state = JSON.stringify([message, receipt, follows, people])
    return this.cached(message.id, state, () => this.build(conversation, message, { mine, receipt, follows }))
  }

  cached(key, state, build) {
    const known = this.nodes.get(key)
    if (known?.state === state) return known.node
    const node = build()
    if (known) known.node.replaceWith(node)
    this.nodes.set(key, { state, node })
    return node
  }

  build(conversation, message, { mine, receipt, follows }) {
    const deleted = Boolean(message.deleted_by)
    const kinds = { mine, follows, deleted, pending: message.state === "pending", failed: message.state === "failed" }
    const classes = ["message", ...Object.keys(kinds).filter(kind => kinds[kind])].join(" ")
    return el(
      "li",
      { class: classes, "data-id": message.id, "data-seq": message.seq },
      !mine && !follows && el("div", { class: "author" }, this.nameOf(message.sender_id)),
      el(
        "div",
        { class: "bubble" },
        el("div", { class: "content" }, deleted ? "This message was deleted" : message.content ?? ""),
        meta(message, receipt),
      ),
      !deleted && this.reactions(conversation, message),
      !deleted && !message.state && this.tools(conversation, message, mine),
    )
  }

  reactions(conversation, message) {
    const entries = Object.entries(message.reactions ?? {}).filter(([, users]) => users.length)
    if (entries.length === 0) return null
    return el("div", { class: "reactions" }, ...entries.map(([emoji, users]) => {
      const on = users.includes(conversation.me)
      return el("button", {
        class: "reaction",
        "aria-pressed": on ? "true" : "false",
        title: users.map(this.nameOf).join(", "),
        onclick: () => this.actions.react(message, emoji, !on),
      }, `${emoji} ${users.length}`)
    }))
  }

  tools(conversation, message, mine) {
    const has = emoji => message.reactions?.[emoji]?.includes(conversation.me)
    return el(
      "div",
      { class: "tools" },
      ...EMOJI.map(emoji => el("button", {
        "aria-label": `React with ${emoji}`,
        onclick: () => this.actions.react(message, emoji, !has(emoji)),
      }, emoji)),
      mine && el("button", { onclick: () => this.actions.edit(message) }, "Edit"),
      mine && el("button", { onclick: () => this.actions.remove(message) }, "Delete"),
    )
  }
}

function meta(message, receipt) {
  return el(
    "div",
    { class: "meta" },
    message.is_edited && !message.deleted_by && el("span", {}, "edited"),
    el("time", { dateTime: message.created_at }, time.format(new Date(message.created_at))),
    receipt && el("span", { class: `receipt ${receipt}`, role: "img", "aria-label": LABELS[receipt] }, MARKS[receipt]),
  )
}

function sameDay(a, b) {
  return a !== null && new Date(a.created_at).toDateString() === new Date(b.created_at).toDateString()
}

function isSequel(before, message) {
  return sameDay(before, message)
    && before.sender_id === message.sender_id
    && new Date(message.created_at) - new Date(before.created_at) < FOLLOWS_WITHIN_MS
}
