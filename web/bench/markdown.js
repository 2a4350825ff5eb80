/**
 * What it costs to show Markdown that grows: `node bench/markdown.js [sizes...]`, in web/.
 *
 * Builds the page as the app is built, serves it under the app's Content-Security-Policy, and drives Chromium
 * (`CHROMIUM` names another binary). Prints a line for each shape of answer and size; `--show FILE` prints the HTML
 * that a file becomes, and what the browser complained of.
 */

import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { dirname, extname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

import { build } from 'vite'

const web = dirname(dirname(fileURLToPath(import.meta.url)))
const folder = mkdtempSync(join(tmpdir(), 'markdown-bench-'))
const PAGE_POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; font-src 'self'; connect-src 'self'; frame-src 'self'; base-uri 'none'; form-action 'none'"
const FRAME_POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; frame-ancestors 'self'; sandbox allow-scripts"
const TYPES = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css', '.woff2': 'font/woff2' }

async function main() {
  await build({
    configFile: false,
    root: web,
    logLevel: 'error',
    publicDir: false,
    build: {
      outDir: join(folder, 'dist'),
      target: 'es2022',
      assetsInlineLimit: 0,
      modulePreload: { polyfill: false },
      chunkSizeWarningLimit: 2000,
      rolldownOptions: {
        input: { bench: join(web, 'bench/markdown/index.html'), diagram: join(web, 'diagram.html') },
      },
    },
  })
  const server = await serve()
  const browser = await openBrowser(`http://127.0.0.1:${server.address().port}/bench/markdown/index.html`)
  try {
    const show = process.argv.indexOf('--show')
    if (show > 0) {
      console.log(
        await browser.evaluate(
          `window.show(${JSON.stringify(readFileSync(process.argv[show + 1], 'utf8'))})`,
        ),
      )
      if (process.argv[show + 2]) await browser.screenshot(process.argv[show + 2])
      for (const line of browser.complaints) console.error(line)
      return
    }
    const sizes = process.argv.slice(2).map(Number)
    if (sizes.length === 0) sizes.push(1_000, 10_000, 50_000)
    const rows = await browser.evaluate(`window.bench(${JSON.stringify(sizes)}, ${Math.max(...sizes)})`)
    console.log(
      'shape            characters  median ms  p99 ms  longest ms  done ms  tasks over 50 ms (longest)',
    )
    for (const row of rows) {
      const number = (value, width) => value.toFixed(1).padStart(width)
      const paced = row.longTasks < 0 ? '' : `${row.longTasks} (${row.longestTask.toFixed(0)} ms)`
      console.log(
        row.shape.padEnd(16),
        String(row.characters).padStart(10),
        number(row.median, 10),
        number(row.p99, 7),
        number(row.longest, 11),
        number(row.done, 8),
        `  ${paced}`,
      )
    }
    for (const line of browser.complaints) console.error(line)
  } finally {
    browser.close()
    server.close()
    rmSync(folder, { recursive: true, force: true })
  }
}

function serve() {
  const server = createServer((request, response) => {
    const path = join(folder, 'dist', new URL(request.url, 'http://x').pathname)
    if (path.includes('..') || !existsSync(path) || extname(path) === '') return response.writeHead(404).end()
    response.writeHead(200, {
      'Content-Type': TYPES[extname(path)] ?? 'application/octet-stream',
      'Content-Security-Policy': path.endsWith('diagram.html') ? FRAME_POLICY : PAGE_POLICY,
      'Access-Control-Allow-Origin': '*',
    })
    response.end(readFileSync(path))
  })
  return new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(server)))
}

async function openBrowser(address) {
  const child = spawn(
    process.env.CHROMIUM ?? 'chromium',
    [
      '--headless=new',
      '--no-sandbox',
      '--disable-gpu',
      '--remote-debugging-port=0',
      `--user-data-dir=${join(folder, 'profile')}`,
      '--window-size=1280,900',
      'about:blank',
    ],
    { stdio: ['ignore', 'ignore', 'pipe'], detached: true },
  )
  const endpoint = await new Promise((resolve, reject) => {
    let text = ''
    child.stderr.on('data', (chunk) => {
      text += chunk
      const match = /DevTools listening on (ws:\S+)/.exec(text)
      if (match) resolve(match[1])
    })
    child.on('exit', () => reject(new Error(`Chromium did not start: ${text}`)))
  })
  const targets = await (await fetch(`http://${new URL(endpoint).host}/json/list`)).json()
  const socket = new WebSocket(targets.find((target) => target.type === 'page').webSocketDebuggerUrl)
  await new Promise((resolve) => socket.addEventListener('open', resolve))
  const waiting = new Map()
  const complaints = []
  let loaded
  const isLoaded = new Promise((resolve) => (loaded = resolve))
  socket.addEventListener('message', ({ data }) => {
    const message = JSON.parse(data)
    if (message.id) waiting.get(message.id)?.(message)
    else if (message.method === 'Page.loadEventFired') loaded()
    else if (message.method === 'Log.entryAdded')
      complaints.push(`${message.params.entry.level}: ${message.params.entry.text}`)
    else if (message.method === 'Runtime.exceptionThrown')
      complaints.push(JSON.stringify(message.params.exceptionDetails))
  })
  let lastId = 0
  const send = (method, params = {}) =>
    new Promise((resolve) => {
      const id = ++lastId
      waiting.set(id, resolve)
      socket.send(JSON.stringify({ id, method, params }))
    })
  await send('Page.enable')
  await send('Log.enable')
  await send('Runtime.enable')
  await send('Page.navigate', { url: address })
  await isLoaded
  return {
    complaints,
    async evaluate(expression) {
      const { result } = await send('Runtime.evaluate', {
        expression,
        awaitPromise: true,
        returnByValue: true,
      })
      if (result.exceptionDetails) throw new Error(JSON.stringify(result.exceptionDetails))
      return result.result.value
    },
    async screenshot(path) {
      const { result } = await send('Page.captureScreenshot', { format: 'png' })
      const { writeFileSync } = await import('node:fs')
      writeFileSync(path, Buffer.from(result.data, 'base64'))
    },
    close() {
      socket.close()
      // Chromium's other processes are in its group.
      process.kill(-child.pid)
    },
  }
}

await main()
process.exit(0)
