// Starts a server as a process of its own and ends it by its process id.
import { spawn } from "node:child_process"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import path from "node:path"
import { fileURLToPath } from "node:url"
import { createInterface } from "node:readline"
import { once } from "node:events"

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../../..")
export const product = process.env.QUIKAPP_BIN ?? path.join(root, "target/debug/quikapp")
const referenceApp = path.join(path.dirname(product), "examples/reference_app")

/** The reference application of the recordings; `listen` puts a restarted one where it was. */
export const startReferenceApp = (listen = "127.0.0.1:0") => start(referenceApp, ["--listen", listen])

/** The product on a data directory, with further settings as environment. */
export const startProduct = (dataDir, listen = "127.0.0.1:0", settings = {}) =>
  start(product, ["serve", "--listen", listen, "--data-dir", dataDir], settings)

/** What a test leaves: servers end before their directories go, whichever came first. */
const left = new WeakMap()

function leftBy(t) {
  if (!left.has(t)) {
    const things = { servers: [], directories: [] }
    left.set(t, things)
    t.after(async () => {
      await Promise.all(things.servers.map(server => server.stop("SIGKILL")))
      await Promise.all(things.directories.map(directory => rm(directory, { recursive: true, force: true })))
    })
  }
  return left.get(t)
}

/** A directory that is gone after the test. */
export async function temporaryDirectory(t) {
  const directory = await mkdtemp(path.join(tmpdir(), "quikapp-js-"))
  leftBy(t).directories.push(directory)
  return directory
}

/** Ends a server after the test, whatever the test did with it. */
export function stopAfter(t, server) {
  leftBy(t).servers.push(server)
  return server
}

/** The caller's own settings are none of the server's: it refuses those that it does not know. */
const environment = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("QUIKAPP_")))

async function start(binary, args, settings = {}) {
  const env = { ...environment, ...settings }
  const child = spawn(binary, args, { stdio: ["ignore", "pipe", "pipe"], env })
  const log = []
  createInterface({ input: child.stderr }).on("line", line => log.push(line))
  const exited = once(child, "exit")
  const url = await new Promise((resolve, reject) => {
    child.once("error", cause => reject(new Error(`cannot start ${binary}: ${cause.message}`)))
    exited.then(([code]) => reject(new Error(`${binary} ended with ${code}:\n${log.join("\n")}`)))
    createInterface({ input: child.stdout }).on("line", line => {
      log.push(line)
      const listening = /listening on (http:\/\/\S+)/.exec(line)
      if (listening) resolve(listening[1])
    })
  })
  return {
    url,
    address: new URL(url).host,
    socketUrl: `${url.replace("http", "ws")}/socket`,
    pid: child.pid,
    log,
    async stop(signal = "SIGTERM") {
      if (child.exitCode === null && child.signalCode === null) child.kill(signal)
      await exited
    },
  }
}
