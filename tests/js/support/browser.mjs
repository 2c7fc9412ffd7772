// Headless Chromium, without anything that would talk to the internet.
import { mkdir } from "node:fs/promises"
import { tmpdir } from "node:os"
import path from "node:path"
import { chromium } from "playwright-core"

const ARGS = [
  "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
  "--disable-background-networking", "--disable-component-update", "--disable-sync",
]

/** Where screenshots go; a person looks at them. */
const screenshots = path.join(tmpdir(), "quikapp-screenshots")

export async function launch(t) {
  const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium"
  const browser = await chromium.launch({ executablePath, args: ARGS })
  t.after(() => browser.close())
  await mkdir(screenshots, { recursive: true })
  return browser
}

/** A window of its own: another person, with other storage. Collects what the page complains of. */
export async function openWindow(browser, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1100, height: 720 }, ...options })
  context.setDefaultTimeout(15_000)
  const page = await context.newPage()
  page.complaints = []
  page.on("pageerror", error => page.complaints.push(String(error)))
  page.on("dialog", dialog => {
    page.complaints.push(`a dialog: ${dialog.message()}`)
    dialog.dismiss()
  })
  page.on("console", message => {
    if (message.type() === "error" && message.text().includes("Content Security Policy")) {
      page.complaints.push(message.text())
    }
  })
  page.shot = (name, options = {}) => page.screenshot({ path: path.join(screenshots, `${name}.png`), ...options })
  return page
}
