// The development page: signs in, keeps the socket, and wires what is shown to what is known.
import { Presence, Socket } from "/assets/vendor/phoenix.mjs"
import { Api, signInAsGuest } from "/assets/api.js"
import { Conversation } from "/assets/conversation.js"
import { Directory } from "/assets/directory.js"
import { avatar, byId, el, show } from "/assets/dom.js"
import { MessageList } from "/assets/messages.js"

const STORED = "quikapp.guest"

function start() {
  const stored = sessionStorage.getItem(STORED)
  if (stored) new Page(JSON.parse(stored)).open()
  else askForName()
}

function askForName() {
  const { user, name } = invitation()
  if (user) byId("invitation").textContent = `${name || "Somebody"} invited you to talk.`
  show(byId("sign-in"), true)
  byId("name").focus()
  byId("sign-in-form").addEventListener("submit", async event => {
    event.preventDefault()
    try {
      const guest = await signInAsGuest(byId("name").value.trim())
      sessionStorage.setItem(STORED, JSON.stringify(guest))
      show(byId("sign-in"), false)
      new Page(guest).open()
    } catch (cause) {
      byId("sign-in-error").textContent = cause.message
      show(byId("sign-in-error"), true)
    }
  })
}

/** A link `#with=<user>&name=<name>` invites whoever opens it to talk to that user. */
function invitation(link = location.href) {
  const fragment = new URLSearchParams(new URL(link, location.href).hash.slice(1))
  return { user: fragment.get("with"), name: fragment.get("name"), conversation: fragment.get("c") }
}

class Page {
  constructor({ token, user }) {
    this.me = user.id
    this.api = new Api(token)
    this.directory = new Directory(this.api)
    this.directory.learn(user.id, user.name)
    this.directory.addEventListener("change", () => this.renderAll())
    this.conversations = new Map()
    this.current = null
    this.editing = null
    this.socket = new Socket("/socket", {
      params: { token },
      reconnectAfterMs: tries => [50, 200, 500, 1000, 2000][tries - 1] ?? 5000,
      rejoinAfterMs: tries => [200, 500, 1000, 2000][tries - 1] ?? 5000,
    })
    this.list = new MessageList(this.directory.nameOf, {
      react: (message, emoji, on) => this.current.react(message.id, emoji, on).catch(report),
      remove: message => this.current.remove(message.id).catch(report),
      edit: message => this.beginEdit(message),
    })
  }

  async open() {
    show(byId("app"), true)
    byId("me").textContent = this.nameOf(this.me)
    byId("invite-link").value = this.inviteLink()
    this.wire()
    this.watchConnection()
    this.socket.connect()
    this.followPerson()
    this.followPresence()
    await this.loadConversations()
    await this.followInvitation()
  }

  inviteLink() {
    const fragment = new URLSearchParams({ with: this.me, name: this.nameOf(this.me) })
    return `${location.origin}/#${fragment}`
  }

  // -- connection --

  watchConnection() {
    let wasOpen = false
    this.socket.onOpen(() => {
      if (wasOpen) this.banner("Back online", true)
      wasOpen = true
    })
    this.socket.onClose(event => {
      if (event.code === 4001) return this.signOut()
      if (wasOpen) this.banner("Connection lost. Reconnecting…")
    })
  }

  banner(text, good = false) {
    const banner = byId("banner")
    banner.textContent = text
    banner.classList.toggle("good", good)
    show(banner, true)
    clearTimeout(this.bannerTimer)
    if (good) this.bannerTimer = setTimeout(() => show(banner, false), 2500)
  }

  // -- the person's own stream, and who is online --

  followPerson() {
    const own = this.socket.channel(`user:${this.me}`)
    own.on("conversation:new", () => this.loadConversations())
    own.on("conversation:updated", () => this.loadConversations())
    own.on("message:new", message => this.noticed(message))
    own.join().receive("ok", () => this.loadConversations())
  }

  followPresence() {
    const lobby = this.socket.channel("presence:lobby")
    this.people = new Presence(lobby)
    this.people.onSync(() => this.renderPeople())
    lobby.join()
    this.lobby = lobby
  }

  noticed(message) {
    const known = this.conversations.get(message.conversation_id)
    if (!known) return this.loadConversations()
    known.last_message = message
    if (message.sender_id !== this.me) known.unread = (known.unread ?? 0) + 1
    this.renderConversations()
  }

  async loadConversations() {
    const { conversations } = await this.api.conversations()
    this.conversations = new Map(conversations.map(conversation => [conversation.id, conversation]))
    const open = this.current && this.conversations.get(this.current.id)
    if (open) open.unread = 0
    this.renderConversations()
  }

  // -- opening and creating --

  async followInvitation() {
    const { user, name, conversation } = invitation()
    if (conversation && this.conversations.has(conversation)) return this.show(conversation)
    if (!user || user === this.me) return
    this.directory.learn(user, name)
    await this.talkTo(user)
  }

  async talkTo(user) {
    const { conversation } = await this.api.createDirect(user)
    await this.loadConversations()
    await this.show(conversation.id)
  }

  /** The id of a new conversation with these people (or of the direct one that there is). */
  async create(text, name) {
    const members = text.split(/[\s,]+/).filter(Boolean).map(part => {
      if (!part.includes("#")) return part
      const { user, name } = invitation(part)
      if (user) this.directory.learn(user, name)
      return user
    }).filter(Boolean)
    const isDirect = members.length === 1 && !name
    const { conversation } = await (isDirect ? this.api.createDirect(members[0]) : this.api.createGroup(members, name))
    return conversation.id
  }

  async show(id) {
    if (this.current?.id === id) return this.focusTalk()
    this.current?.leave()
    this.cancelEdit()
    this.list.clear()
    const conversation = new Conversation(this.socket, id, this.me)
    this.current = conversation
    history.replaceState(null, "", `#c=${encodeURIComponent(id)}`)
    conversation.addEventListener("messages", () => this.renderMessages())
    conversation.addEventListener("presence", () => this.renderHead())
    conversation.addEventListener("typing", () => this.renderTyping())
    conversation.addEventListener("members", () => {
      this.directory.forgetMembers(id)
      this.loadConversations()
    })
    show(byId("empty"), false)
    show(byId("open"), true)
    this.focusTalk()
    this.renderHead()
    this.renderTyping()
    await conversation.join().catch(report)
    this.list.scrollToEnd()
  }

  focusTalk() {
    byId("app").classList.add("talking")
    byId("text").focus()
  }

  // -- rendering --

  nameOf = user => this.directory.nameOf(user)

  renderAll() {
    this.renderConversations()
    this.renderPeople()
    if (!this.current) return
    this.renderMessages()
    this.renderTyping()
  }

  titleOf(conversation) {
    if (conversation.name) return conversation.name
    const others = this.directory.membersOf(conversation.id).filter(user => user !== this.me)
    return others.map(this.nameOf).join(", ") || "Conversation"
  }

  renderConversations() {
    const items = [...this.conversations.values()].map(conversation => this.item(conversation))
    byId("conversations").replaceChildren(...items)
    show(byId("no-conversations"), items.length === 0)
    if (this.current) this.renderHead()
  }

  item(conversation) {
    const title = this.titleOf(conversation)
    const last = conversation.last_message
    const preview = last ? last.content ?? "Deleted message" : "No messages yet"
    const current = this.current?.id === conversation.id
    return el("li", {}, el(
      "button",
      { class: "item", "aria-current": current ? "true" : null, "data-id": conversation.id, onclick: () => this.show(conversation.id) },
      avatar(title),
      el("span", { class: "title" }, title),
      conversation.unread > 0 && !current
        ? el("span", { class: "badge", "aria-label": `${conversation.unread} unread` }, String(conversation.unread))
        : el("span", {}),
      el("span", { class: "preview" }, preview),
    ))
  }

  renderPeople() {
    const others = (this.people?.list(user => user) ?? []).filter(user => user !== this.me)
    byId("people").replaceChildren(...others.map(user => el("li", {}, el(
      "button",
      { class: "item person", "data-user": user, onclick: () => this.talkTo(user).catch(report) },
      avatar(this.nameOf(user), true),
      el("span", { class: "title" }, this.nameOf(user)),
    ))))
    show(byId("nobody"), others.length === 0)
  }

  renderHead() {
    const title = this.titleOf(this.conversations.get(this.current.id) ?? this.current)
    const online = this.current.online().filter(user => user !== this.me)
    byId("talk-title").textContent = title
    byId("talk-avatar").replaceWith(Object.assign(avatar(title, online.length > 0), { id: "talk-avatar" }))
    byId("talk-presence").textContent = online.length ? `${online.map(this.nameOf).join(", ")} here now` : "Nobody else is here right now"
  }

  renderMessages() {
    this.list.render(this.current)
    show(byId("earlier"), this.current.hasEarlier)
    const newest = this.current.list().at(-1)
    const known = this.conversations.get(this.current.id)
    if (newest && known) {
      known.last_message = newest
      this.renderConversations()
    }
    this.readIfSeen()
  }

  renderTyping() {
    const people = [...this.current.typing.keys()].map(this.nameOf)
    byId("typing").textContent = people.length ? `${people.join(", ")} ${people.length > 1 ? "are" : "is"} typing…` : ""
  }

  readIfSeen() {
    if (document.visibilityState === "visible" && document.hasFocus() && this.list.isAtEnd()) this.current?.markRead()
  }

  // -- what the person does --

  wire() {
    byId("composer").addEventListener("submit", event => {
      event.preventDefault()
      this.submit()
    })
    byId("text").addEventListener("keydown", event => this.keyInComposer(event))
    byId("text").addEventListener("input", () => this.typed())
    byId("cancel-edit").addEventListener("click", () => this.cancelEdit())
    byId("earlier").addEventListener("click", () => this.current.earlier().catch(report))
    byId("log").addEventListener("scroll", () => this.readIfSeen())
    for (const event of ["focus", "visibilitychange"]) window.addEventListener(event, () => this.readIfSeen())
    byId("back").addEventListener("click", () => byId("app").classList.remove("talking"))
    byId("sign-out").addEventListener("click", () => this.signOut())
    byId("copy-link").addEventListener("click", () => this.copyLink())
    byId("status").addEventListener("change", event => this.lobby.push("status:update", { status: event.target.value }))
    this.wireDialog()
  }

  wireDialog() {
    const dialog = byId("new-dialog")
    byId("new-conversation").addEventListener("click", () => {
      byId("new-form").reset()
      show(byId("new-error"), false)
      dialog.showModal()
    })
    byId("cancel-new").addEventListener("click", () => dialog.close())
    let creating = false
    byId("new-form").addEventListener("submit", async event => {
      event.preventDefault()
      // A second Enter while the first is on its way is not a second conversation.
      if (creating) return
      creating = true
      try {
        const id = await this.create(byId("members").value, byId("group-name").value.trim())
        dialog.close()
        await this.loadConversations()
        await this.show(id)
      } catch (cause) {
        byId("new-error").textContent = cause.message
        show(byId("new-error"), true)
      } finally {
        creating = false
      }
    })
  }

  keyInComposer(event) {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault()
      this.submit()
    } else if (event.key === "Escape" && this.editing) {
      this.cancelEdit()
    }
  }

  typed() {
    fit(byId("text"))
    if (byId("text").value.trim() && !this.editing) this.current.type()
    else this.current.stopTyping()
  }

  submit() {
    const text = byId("text")
    const content = text.value.trim()
    if (!content) return
    if (this.editing) this.current.edit(this.editing.id, content).catch(report)
    else this.current.send(content)
    this.cancelEdit()
    this.list.scrollToEnd()
  }

  beginEdit(message) {
    this.editing = message
    byId("text").value = message.content
    fit(byId("text"))
    show(byId("editing"), true)
    byId("text").focus()
  }

  cancelEdit() {
    this.editing = null
    byId("text").value = ""
    fit(byId("text"))
    show(byId("editing"), false)
  }

  async copyLink() {
    byId("invite-link").select()
    await navigator.clipboard?.writeText(this.inviteLink()).catch(() => {})
    byId("copy-link").textContent = "Copied"
    setTimeout(() => { byId("copy-link").textContent = "Copy" }, 1500)
  }

  async signOut() {
    sessionStorage.removeItem(STORED)
    await this.api.logout().catch(() => {})
    location.href = "/"
    location.reload()
  }
}

/** The composer grows with its text; while it is not shown it has no height to grow to. */
function fit(textarea) {
  textarea.style.height = "auto"
  if (textarea.scrollHeight > 0) textarea.style.height = `${textarea.scrollHeight + 2}px`
}

function report(cause) {
  const banner = byId("banner")
  banner.textContent = `That did not work: ${cause.message}`
  banner.classList.remove("good")
  show(banner, true)
  setTimeout(() => show(banner, false), 4000)
}

start()
