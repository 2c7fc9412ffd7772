// The REST side.

export class ApiError extends Error {
  constructor(status, reason) {
    super(reason)
    this.status = status
  }
}

/** Signs in as a guest: `{token, user}`. */
export const signInAsGuest = name => call("POST", "/auth/guest", { body: { name } })

/** Calls on behalf of somebody. */
export class Api {
  constructor(token) {
    this.token = token
  }

  conversations() {
    return this.call("GET", "/conversations")
  }

  members(id) {
    return this.call("GET", `/conversations/${encodeURIComponent(id)}/members`)
  }

  person(user) {
    return this.call("GET", `/presence/${encodeURIComponent(user)}`)
  }

  createDirect(user) {
    return this.call("POST", "/conversations", { type: "direct", members: [user] })
  }

  createGroup(members, name) {
    return this.call("POST", "/conversations", { type: "group", members, name: name || undefined })
  }

  logout() {
    return this.call("POST", "/auth/logout")
  }

  call(method, path, body) {
    return call(method, path, { body, token: this.token })
  }
}

async function call(method, path, { body, token }) {
  const headers = { accept: "application/json" }
  if (body) headers["content-type"] = "application/json"
  if (token) headers.authorization = `Bearer ${token}`
  const response = await fetch(`/api${path}`, { method, headers, body: body && JSON.stringify(body) })
  const answer = response.status === 204 ? null : await response.json().catch(() => null)
  if (!response.ok) throw new ApiError(response.status, answer?.detail ?? answer?.reason ?? `HTTP ${response.status}`)
  return answer
}
