// The development page in a real browser: two people in two windows.
import assert from "node:assert/strict"
import { readFile } from "node:fs/promises"
import { test } from "node:test"
import { launch, openWindow } from "./support/browser.mjs"
import { startProduct, stopAfter, temporaryDirectory } from "./support/server.mjs"

const message = (page, text) => page.locator(".message", { has: page.locator(".content", { hasText: text }) })
const receipt = (page, text) => message(page, text).locator(".receipt")

async function signIn(page, url, name) {
  await page.goto(url)
  await page.getByLabel("Your name").fill(name)
  await page.getByRole("button", { name: "Continue" }).click()
  await page.locator("#app").waitFor()
}

async function say(page, text) {
  await page.getByLabel("Message", { exact: true }).fill(text)
  await page.keyboard.press("Enter")
}

test("ids rise with time", async () => {
  // As a module, whatever this version of node takes a file of this name for.
  const source = await readFile(new URL("../../realtime/assets/ids.js", import.meta.url), "utf8")
  const { uuidv7 } = await import(`data:text/javascript,${encodeURIComponent(source)}`)
  const at = 0x017f22e279b0
  assert.match(uuidv7(at), /^017f22e2-79b0-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
  assert.notEqual(uuidv7(at), uuidv7(at))
  assert(uuidv7(at) < uuidv7(at + 1))
})

/** Ada, and Bob who followed her link, in one conversation. */
async function adaAndBob(t, options) {
  const dataDir = await temporaryDirectory(t)
  const server = stopAfter(t, await startProduct(dataDir))
  const browser = await launch(t)
  const ada = await openWindow(browser, options)
  const bob = await openWindow(browser, options)
  await signIn(ada, server.url, "Ada")
  const link = await ada.locator("#invite-link").inputValue()
  await signIn(bob, link, "Bob")
  await bob.getByLabel("Message", { exact: true }).waitFor()
  return { dataDir, server, browser, ada, bob }
}

async function openFirst(page) {
  await page.locator("#conversations .item").first().click()
  await page.getByLabel("Message", { exact: true }).waitFor()
}

test("two windows chat: receipts, typing, presence, edits, reactions, deletion", async t => {
  const { ada, bob } = await adaAndBob(t)
  await bob.bringToFront()
  await say(bob, "Hello Ada")
  await receipt(bob, "Hello Ada").and(bob.locator(".sent")).waitFor()

  await ada.bringToFront()
  await ada.locator("#conversations .item", { hasText: "Hello Ada" }).waitFor()
  await ada.shot("1-unread")
  await openFirst(ada)
  await message(ada, "Hello Ada").waitFor()
  await receipt(bob, "Hello Ada").and(bob.locator(".read")).waitFor()
  await bob.locator("#talk-presence", { hasText: "here now" }).waitFor()

  await ada.getByLabel("Message", { exact: true }).pressSequentially("Hi B")
  await bob.locator("#typing", { hasText: "typing" }).waitFor()
  await say(ada, "Hi Bob, how are you?")
  await message(bob, "how are you").waitFor()
  await bob.locator("#typing", { hasText: "typing" }).waitFor({ state: "hidden" }).catch(() => {})
  assert.equal(await bob.locator("#typing").textContent(), "")

  await message(bob, "how are you").hover()
  await message(bob, "how are you").getByRole("button", { name: "React with 👍" }).click()
  await message(ada, "how are you").locator(".reaction", { hasText: "👍 1" }).waitFor()

  await message(ada, "how are you").hover()
  await message(ada, "how are you").getByRole("button", { name: "Edit" }).click()
  await say(ada, "Hi Bob, how was your day?")
  await message(bob, "how was your day").getByText("edited").waitFor()

  await say(bob, "A slip of the pen")
  await message(bob, "slip of the pen").hover()
  await message(bob, "slip of the pen").getByRole("button", { name: "Delete" }).click()
  await message(ada, "This message was deleted").waitFor()
  await ada.shot("2-ada")
  await bob.shot("2-bob")
  assert.deepEqual([...ada.complaints, ...bob.complaints], [])
})

test("what people write stays text", async t => {
  const { ada, bob } = await adaAndBob(t)
  const attacks = [
    `<img src=x onerror="document.title='owned'">`,
    `<script>document.title='owned'</script>`,
    `javascript:alert(1) <svg onload=alert(1)>`,
  ]
  for (const attack of attacks) await say(bob, attack)
  await openFirst(ada)
  await message(ada, attacks.at(-1)).waitFor()
  const shown = await ada.locator(".message .content").allTextContents()
  assert.deepEqual(shown, attacks)
  assert.equal(await ada.locator(".message img, .message script, .message svg").count(), 0)
  assert.equal(await ada.title(), "QuikApp")
  assert.deepEqual(ada.complaints, [])
})

test("the server is killed and restarted: the windows come back and nothing is lost", async t => {
  const { dataDir, server, ada, bob } = await adaAndBob(t)
  await openFirst(ada)
  await say(ada, "before the crash")
  await receipt(ada, "before the crash").and(ada.locator(".sent, .delivered, .read")).waitFor()
  await message(bob, "before the crash").waitFor()

  await server.stop("SIGKILL")
  await ada.locator("#banner", { hasText: "Reconnecting" }).waitFor()
  await say(ada, "written while it was down")
  await message(ada, "written while it was down").and(ada.locator(".pending")).waitFor()
  await ada.shot("3-offline")

  stopAfter(t, await startProduct(dataDir, server.address))
  await ada.locator("#banner", { hasText: "Back online" }).waitFor()
  await message(bob, "written while it was down").waitFor()
  await receipt(ada, "written while it was down").and(ada.locator(".sent, .delivered, .read")).waitFor()
  await say(bob, "after the crash")
  await message(ada, "after the crash").waitFor()
  const expected = ["before the crash", "written while it was down", "after the crash"]
  assert.deepEqual(await ada.locator(".message .content").allTextContents(), expected)
  assert.deepEqual(await bob.locator(".message .content").allTextContents(), expected)

  await ada.reload()
  await ada.locator("#conversations .item").first().waitFor()
  if (!(await ada.locator("#open").isVisible())) await openFirst(ada)
  await message(ada, "after the crash").waitFor()
  assert.deepEqual(await ada.locator(".message .content").allTextContents(), expected)
})

test("a long history is shown page by page", async t => {
  const { ada, bob } = await adaAndBob(t)
  for (let n = 1; n <= 60; n += 1) await say(bob, `line ${n}`)
  await receipt(bob, "line 60").and(bob.locator(".sent, .delivered, .read")).waitFor()
  await openFirst(ada)
  await message(ada, "line 60").waitFor()
  assert.equal(await ada.locator(".message").count(), 50)
  await ada.getByRole("button", { name: "Show earlier messages" }).click()
  await ada.locator(".message .content").getByText("line 1", { exact: true }).waitFor()
  assert.deepEqual(
    await ada.locator(".message .content").allTextContents(),
    Array.from({ length: 60 }, (_, n) => `line ${n + 1}`),
  )
})

test("a group by links; who is invisible looks gone", async t => {
  const { server, browser, ada, bob } = await adaAndBob(t)
  const cleo = await openWindow(browser)
  await signIn(cleo, server.url, "Cleo")
  const links = await Promise.all([ada, bob].map(page => page.locator("#invite-link").inputValue()))
  await cleo.getByRole("button", { name: "New conversation" }).click()
  await cleo.getByLabel("People", { exact: true }).fill(links.join(" "))
  await cleo.getByLabel("Name (groups only)").fill("Picnic")
  // Twice at once: it is one group.
  await cleo.getByRole("button", { name: "Start" }).evaluate(start => {
    start.click()
    start.click()
  })
  await cleo.locator("#new-dialog").waitFor({ state: "hidden" })
  await say(cleo, "Who brings the bread?")
  for (const page of [ada, bob]) {
    await page.locator("#conversations .item", { hasText: "Picnic" }).click()
    await message(page, "Who brings the bread?").waitFor()
  }
  await say(bob, "I do")
  await message(ada, "I do").locator(".author", { hasText: "Bob" }).waitFor()
  await ada.shot("5-group")

  await cleo.locator("#people .item", { hasText: "Bob" }).waitFor()
  await bob.getByLabel("Your status").selectOption("invisible")
  await cleo.locator("#people .item", { hasText: "Bob" }).waitFor({ state: "detached" })
  await bob.getByLabel("Your status").selectOption("online")
  await cleo.locator("#people .item", { hasText: "Bob" }).waitFor()
  assert.deepEqual([ada, bob, cleo].flatMap(page => page.complaints), [])
})

test("a phone in the dark", async t => {
  const options = { viewport: { width: 390, height: 780 }, colorScheme: "dark", hasTouch: true }
  const { ada, bob } = await adaAndBob(t, options)
  await say(bob, "Hello from my phone")
  await ada.locator("#conversations .item", { hasText: "Hello from my phone" }).waitFor()
  await ada.shot("4-phone-list")
  await openFirst(ada)
  await message(ada, "Hello from my phone").waitFor()
  await say(ada, "And from mine")
  await message(bob, "And from mine").waitFor()
  await ada.shot("4-phone-talk")
  await ada.getByRole("button", { name: "All conversations" }).click()
  await ada.locator("#conversations .item").first().waitFor()
  const overflow = await ada.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth)
  assert.equal(overflow, 0, "nothing sticks out sideways")
})
