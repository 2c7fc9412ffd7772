// A load balancer that knows nothing of sessions: each request goes to the next server in turn, and
// to the one behind it where nobody listens. What a server had begun to read is not sent again.
import http from "node:http"
import { once } from "node:events"

export async function startBalancer(t, ...servers) {
  const agent = new http.Agent({ keepAlive: true })
  const targets = servers.map(({ address }) => address)
  const answered = new Map(targets.map(address => [address, 0]))
  const owners = new Map()
  const waiting = new Map()
  let turn = 0

  /** Sends a request to a server; rejects with `mayRetry` if that has not got any of it. */
  const send = (address, request, body) => new Promise((resolve, reject) => {
    const [host, port] = address.split(":")
    const { method, url: path, headers } = request
    const upstream = http.request({ agent, host, port, method, path, headers })
    upstream.once("error", cause => reject(Object.assign(cause, { mayRetry: cause.code === "ECONNREFUSED" })))
    upstream.once("response", async response => {
      try {
        resolve({ response, body: await read(response) })
      } catch (cause) {
        reject(cause)
      }
    })
    upstream.end(body)
  })

  async function pass(request, body) {
    const first = turn++
    for (let attempt = 0; attempt < targets.length; attempt += 1) {
      const address = targets[(first + attempt) % targets.length]
      const poll = { address }
      try {
        if (request.method === "GET") waiting.set(sessionOf(request), poll)
        const answer = await send(address, request, body)
        answered.set(address, answered.get(address) + 1)
        note(address, answer.body)
        return answer
      } catch (cause) {
        if (!cause.mayRetry) break
      } finally {
        // A poll that was given up must not take the next one with it.
        if (waiting.get(sessionOf(request)) === poll) waiting.delete(sessionOf(request))
      }
    }
    return null
  }

  /** The session that begins with an answer is the server's that gave it. */
  function note(address, body) {
    const { status, token } = parsed(body)
    if (status === 410 && token) owners.set(token, address)
  }

  const server = http.createServer(async (request, response) => {
    const answer = await pass(request, await read(request))
    if (!answer) return response.writeHead(502).end()
    response.writeHead(answer.response.statusCode, answer.response.headers).end(answer.body)
  })
  server.listen(0, "127.0.0.1")
  await once(server, "listening")
  t.after(() => {
    server.closeAllConnections()
    server.close()
    agent.destroy()
  })
  return {
    socketUrl: `ws://127.0.0.1:${server.address().port}/socket`,
    /** How many answers a server has given. */
    answeredBy: ({ address }) => answered.get(address),
    /** The address of the server that has a session. */
    ownerOf: token => owners.get(token),
    /** The address of the server that has the poll for a session. */
    waitsAt: token => waiting.get(token)?.address,
    add({ address }) {
      targets.push(address)
      answered.set(address, 0)
    },
  }
}

/** The token of a request's session. */
function sessionOf({ headers, url }) {
  const inQuery = new URL(url, "http://balancer").searchParams.getAll("token").at(-1)
  return headers["x-phoenix-longpoll-token"] ?? inQuery
}

async function read(stream) {
  const chunks = []
  for await (const chunk of stream) chunks.push(chunk)
  return Buffer.concat(chunks)
}

function parsed(body) {
  try {
    return JSON.parse(body) ?? {}
  } catch {
    return {}
  }
}
