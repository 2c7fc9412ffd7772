// A TCP proxy with the faults of real networks: it can stop carrying what the server says, as a
// network does that has died, and swallow WebSocket upgrades, as some middle boxes do.
import net from "node:net"
import { once } from "node:events"

export async function startProxy(t, target, { swallowUpgrades = false } = {}) {
  const [host, port] = target.split(":")
  let stalled = false
  let connections = 0
  const sockets = new Set()
  const server = net.createServer(client => {
    connections += 1
    const upstream = net.connect(Number(port), host)
    for (const end of [client, upstream]) {
      sockets.add(end)
      end.on("error", () => {})
      end.on("close", () => sockets.delete(end))
    }
    client.on("data", data => {
      if (!(swallowUpgrades && /upgrade: websocket/i.test(data.toString("latin1")))) upstream.write(data)
    })
    upstream.on("data", data => stalled || client.write(data))
    upstream.on("end", () => client.end())
    client.on("end", () => upstream.end())
    client.on("close", () => upstream.destroy())
  })
  server.listen(0, "127.0.0.1")
  await once(server, "listening")
  t.after(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return {
    address: `127.0.0.1:${server.address().port}`,
    stall: () => { stalled = true },
    resume: () => { stalled = false },
    get connections() { return connections },
  }
}
