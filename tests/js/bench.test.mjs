// The report of a load test as a page, in a real browser.
import assert from "node:assert/strict"
import { execFile } from "node:child_process"
import { readFile } from "node:fs/promises"
import path from "node:path"
import { pathToFileURL } from "node:url"
import { promisify } from "node:util"
import { test } from "node:test"
import { launch, openWindow } from "./support/browser.mjs"
import { product, startProduct, stopAfter, temporaryDirectory } from "./support/server.mjs"

const run = promisify(execFile)

/** A report of a run on a development server: the page's address, and the data it was drawn from. */
async function report(t, ...scenario) {
  const directory = await temporaryDirectory(t)
  const server = stopAfter(t, await startProduct(path.join(directory, "data")))
  const page = path.join(directory, "report.html")
  const json = path.join(directory, "report.json")
  const outputs = ["--html", page, `--json=${json}`]
  await run(product, ["bench", ...scenario, "--url", server.url, "--pid", String(server.pid), ...outputs])
  return { url: pathToFileURL(page).href, json: JSON.parse(await readFile(json, "utf8")) }
}

/** The value in microseconds below which a share of an interval's latencies lie. */
function quantile(buckets, share) {
  const total = buckets.reduce((sum, [, count]) => sum + count, 0)
  let seen = 0
  const found = buckets.find(([, count]) => (seen += count) >= Math.max(Math.ceil(total * share), 1))
  return found && found[0] / 1000
}

/** By chart and line, the points that a report of one part should show. */
function expectedPoints(json) {
  const [run] = json.runs
  const { intervals } = run.parts[0].record
  const middle = at => (at + 0.5) * run.interval
  const latency = share => intervals
    .map((one, at) => [middle(at), quantile(one.latencies, share)])
    .filter(([, us]) => us !== undefined)
    .map(([x, us]) => [x, us / 1000])
  const rate = count => intervals.map((one, at) => [middle(at), one[count] / run.interval])
  const [server] = run.servers
  const [generator] = run.generators
  const spent = server.samples.slice(1).map((sample, at) => {
    const before = server.samples[at]
    return [sample.at, (sample.usage.cpu - before.usage.cpu) / (sample.at - before.at) * 100]
  })
  return {
    Latency: { p50: latency(0.5), p90: latency(0.9), p99: latency(0.99), max: latency(1) },
    Throughput: { deliveries: rate("deliveries"), messages: rate("messages"), connects: rate("connects") },
    CPU: {
      [`server ${server.name}`]: spent,
      [`generator ${generator.name}/0`]: generator.threads[0].course.map(([at, share]) => [at, share * 100]),
    },
    Memory: { [`server ${server.name}`]: server.samples.map(sample => [sample.at, sample.usage.rss / 1e6]) },
  }
}

/** What a chart shows: its data, its lines as they are drawn, and the labels of its vertical axis. */
const drawn = (page, title) => page.locator(`svg[aria-label="${title}"]`).evaluate(svg => {
  const numbers = path => path.split(/[ML]/).slice(1).map(step => step.split(" ").map(Number))
  const label = text => Number(text.textContent.replace("k", "e3").replace("M", "e6"))
  return {
    data: JSON.parse(svg.dataset.chart),
    lines: [...svg.querySelectorAll("path.line")].map(line => numbers(line.getAttribute("d"))),
    // The text stands 4 below its line.
    ticks: [...svg.querySelectorAll("text.y")].map(text => [label(text), Number(text.getAttribute("y")) - 4]),
  }
})

const near = (found, expected, slack, what) =>
  assert.ok(Math.abs(found - expected) <= slack, `${what}: ${found} instead of ${expected}`)

/** Where a value stands, read from the labels as a person would. */
function heightOf(value, ticks) {
  const [[low, bottom], [high, top]] = [ticks[0], ticks.at(-1)]
  const scale = low > 0 ? Math.log10 : value => value
  const share = (scale(Math.max(value, low)) - scale(low)) / (scale(high) - scale(low))
  return bottom + share * (top - bottom)
}

/** All points of a chart are those of the report, and drawn where they belong. */
function checkChart(title, { data, lines, ticks }, expected) {
  assert.deepEqual(data.series.map(one => one.name), Object.keys(expected), title)
  data.series.forEach(({ name, points }, at) => {
    const what = `${title}, ${name}`
    assert.ok(points.length > 1, `${what}: a line has points`)
    assert.equal(points.length, expected[name].length, what)
    assert.equal(lines[at].length, points.length, `${what}: all are drawn`)
    points.forEach(([x, y], n) => {
      near(x, expected[name][n][0], 1e-3, what)
      near(y, expected[name][n][1], 1e-3 + 1e-3 * Math.abs(y), what)
      near(lines[at][n][0], data.left + x / data.xMax * (data.right - data.left), 0.1, `${what}, across`)
      near(lines[at][n][1], heightOf(y, ticks), 0.2, `${what}, up`)
    })
  })
}

/** Ranks are nines: at 2 stands what 99 in 100 were faster than. */
function checkRanks({ data, lines, ticks }, json) {
  const { counts } = json.runs[0].parts[0].record.latencies.delivery
  const one = 1 / counts.reduce((sum, [, count]) => sum + count, 0)
  const [{ points }] = data.series
  assert.equal(lines[0].length, points.length)
  points.forEach(([x, y], n) => {
    const share = 1 - 10 ** -x
    const [low, high] = [share - one, share + one].map(share => quantile(counts, Math.min(share, 1)) / 1000)
    const what = `${share * 100} %: ${y} in ${low} to ${high}`
    assert.ok(y >= low * 0.998 - 1e-4 && y <= high * 1.002 + 1e-4, what)
    near(lines[0][n][1], heightOf(y, ticks), 0.2, what)
  })
}

const loaded = page => {
  const requests = []
  page.on("request", request => requests.push(request.url()))
  return requests
}

test("a report shows its plots, values under the pointer, and loads nothing", async t => {
  const { url, json } = await report(t, "rooms", "--rooms", "4", "--members", "5", "--rate", "50", "--seconds", "2",
    "--warmup", "0.3", "--threshold", "p99 < 1000s")
  const browser = await launch(t)
  const page = await openWindow(browser, { viewport: { width: 1280, height: 900 }, colorScheme: "light" })
  const requests = loaded(page)
  await page.goto(url)
  await page.locator(".verdict", { hasText: "passed" }).waitFor()
  const titles = await page.locator("figcaption b").allTextContents()
  assert.deepEqual(titles, ["Latency", "Throughput", "CPU", "Memory", "Distribution"])
  for (const [title, expected] of Object.entries(expectedPoints(json))) {
    checkChart(title, await drawn(page, title), expected)
  }
  checkRanks(await drawn(page, "Distribution"), json)
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
  const { url } = await report(t, "mixed", "--sockets", "60", "--rate", "30", "--seconds", "1", "--warmup", "0.2",
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
