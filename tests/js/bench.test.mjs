// The report of a load test as a page, in a real browser.
import assert from "node:assert/strict"
import { execFile } from "node:child_process"
import path from "node:path"
import { pathToFileURL } from "node:url"
import { promisify } from "node:util"
import { test } from "node:test"
import { launch, openWindow } from "./support/browser.mjs"
import { product, startProduct, stopAfter, temporaryDirectory } from "./support/server.mjs"

const run = promisify(execFile)

/** A report of a run on a development server, written as a page. */
async function report(t, ...scenario) {
  const directory = await temporaryDirectory(t)
  const server = stopAfter(t, await startProduct(path.join(directory, "data")))
  const page = path.join(directory, "report.html")
  await run(product, ["bench", ...scenario, "--url", server.url, "--pid", String(server.pid), "--html", page])
  return pathToFileURL(page).href
}

const loaded = page => {
  const requests = []
  page.on("request", request => requests.push(request.url()))
  return requests
}

test("a report shows its plots, values under the pointer, and loads nothing", async t => {
  const url = await report(t, "rooms", "--rooms", "4", "--members", "5", "--rate", "50", "--seconds", "2",
    "--warmup", "0.3", "--threshold", "p99 < 1000s")
  const browser = await launch(t)
  const page = await openWindow(browser, { viewport: { width: 1280, height: 900 }, colorScheme: "light" })
  const requests = loaded(page)
  await page.goto(url)
  await page.locator(".verdict", { hasText: "passed" }).waitFor()
  const titles = await page.locator("figcaption b").allTextContents()
  assert.deepEqual(titles, ["Latency", "Throughput", "CPU", "Memory", "Distribution"])
  for (const chart of await page.locator("figure.chart").all()) {
    assert.ok((await chart.locator("path.line").count()) > 0, "every chart has a line")
    for (const line of await chart.locator("path.line").all()) {
      assert.doesNotMatch(await line.getAttribute("d"), /NaN|inf/)
    }
  }
  const throughput = page.locator("figure.chart", { hasText: "Throughput" })
  await throughput.locator("svg").hover()
  await throughput.locator(".tip", { hasText: "deliveries:" }).waitFor()
  await page.mouse.move(1, 1)
  await throughput.locator(".tip").waitFor({ state: "hidden" })
  await page.locator("td", { hasText: "deliveries_per_s" }).first().waitFor()
  await page.shot("6-report-light", { fullPage: true })
  assert.deepEqual(requests, [url])
  assert.deepEqual(page.complaints, [])
})

test("in the dark, on a phone, with several parts and runs", async t => {
  const url = await report(t, "mixed", "--sockets", "60", "--rate", "30", "--seconds", "1", "--warmup", "0.2",
    "--repeat", "2", "--threshold", "chat.p99 < 1000s")
  const browser = await launch(t)
  const page = await openWindow(browser, { viewport: { width: 390, height: 780 }, colorScheme: "dark" })
  await page.goto(url)
  await page.locator("summary", { hasText: "Run 2" }).click()
  await page.locator("figcaption b", { hasText: "Latency: chat" }).last().waitFor()
  const background = await page.evaluate(() => getComputedStyle(document.body).backgroundColor)
  assert.equal(background, "rgb(18, 22, 29)")
  const overflow = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth)
  assert.equal(overflow, 0, "nothing sticks out sideways")
  await page.shot("6-report-phone", { fullPage: true })
  assert.deepEqual(page.complaints, [])
})
