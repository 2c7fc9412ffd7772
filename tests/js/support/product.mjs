// The product's REST side, as a back end of an application would call it.
import assert from "node:assert/strict"

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
