// Names of people, and who is in which conversation: asked for once, shown as soon as they are
// known.

export class Directory extends EventTarget {
  constructor(api) {
    super()
    this.api = api
    this.names = new Map()
    this.members = new Map()
    this.asked = new Set()
  }

  learn(user, name) {
    if (name && this.names.get(user) !== name) {
      this.names.set(user, name)
      this.changed()
    }
  }

  /** What to call somebody; a stand-in until the answer is here. */
  nameOf = user => {
    this.once(`person ${user}`, () => this.api.person(user).then(({ name }) => this.learn(user, name)))
    return this.names.get(user) ?? "Guest"
  }

  /** The people of a conversation; none until the answer is here. */
  membersOf(id) {
    this.once(`members ${id}`, () => this.api.members(id).then(({ members }) => {
      this.members.set(id, members.map(member => member.user_id))
      this.changed()
    }))
    return this.members.get(id) ?? []
  }

  forgetMembers(id) {
    this.asked.delete(`members ${id}`)
  }

  /** A question that fails is asked again the next time. */
  once(key, ask) {
    if (this.asked.has(key)) return
    this.asked.add(key)
    ask().catch(() => this.asked.delete(key))
  }

  /** Many answers come together; one redraw does for them. */
  changed() {
    clearTimeout(this.timer)
    this.timer = setTimeout(() => this.dispatchEvent(new Event("change")), 10)
  }
}
