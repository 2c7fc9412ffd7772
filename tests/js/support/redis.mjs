// A redis-server of a test's own, which keeps nothing. (scripts/install-tools installs it.)
import { spawn } from "node:child_process"
import { once } from "node:events"
import net from "node:net"
import { until } from "./client.mjs"
import { stopAfter, temporaryDirectory } from "./server.mjs"

const HOST = "127.0.0.1"

/** The address of a server that ends with the test. */
export async function startRedis(t) {
  const folder = await temporaryDirectory(t)
  // The port may be taken by somebody else before the server has it: then once more.
  for (let attempt = 0; attempt < 5; attempt += 1) {
    const port = await freePort()
    const child = spawn("redis-server", ["--bind", HOST, "--port", `${port}`, "--save", "", "--appendonly", "no"],
      { cwd: folder, stdio: ["ignore", "pipe", "ignore"] })
    let hasEnded = false
    const ended = new Promise((resolve, reject) => {
      child.once("error", cause => reject(new Error(`cannot start redis-server: ${cause.message}`)))
      child.once("exit", resolve)
    }).finally(() => { hasEnded = true })
    stopAfter(t, {
      async stop() {
        child.kill("SIGKILL")
        await ended
      },
    })
    // What it says itself: somebody else's server on the port would take connections too.
    let said = ""
    child.stdout.on("data", text => { said += text })
    await until("redis-server is ready", () => hasEnded || said.includes("Ready to accept connections"))
    if (hasEnded) await ended
    if (!hasEnded) return `redis://${HOST}:${port}/`
  }
  throw new Error("redis-server does not start")
}

async function freePort() {
  const server = net.createServer().listen(0, HOST)
  await once(server, "listening")
  const { port } = server.address()
  server.close()
  await once(server, "close")
  return port
}
