/** Streams answers of several shapes and sizes into a MarkdownView, in a real browser, and times every change of the page. */

import { MarkdownView } from '../../src/markdown/index.ts'
import '../../src/markdown/markdown.css'

export interface Figures {
  shape: string
  characters: number
  updates: number
  /** Script and layout of one update, in ms. */
  median: number
  p99: number
  longest: number
  /** The last update, which parses the whole text. */
  done: number
  /** Tasks over 50 ms that the browser saw while the answer came at its pace, and the longest of them in ms. */
  longTasks: number
  longestTask: number
}

const PROSE =
  'The **garden** is what one makes of it, and `candide.tend(plot)` is how, see [the guide](https://example.org/guide). It costs $5, and $x^2 + y_1$ is a formula.\n\n'
const SHAPES: Record<string, (n: number) => string> = {
  mixed: (n) =>
    repeat(
      n,
      (i) =>
        `## Part ${i}\n\n${PROSE}${PROSE}- one *thing*\n- another, with \`code\`\n  - nested ${i}\n\n| a | b |\n|---|--:|\n| ${i} | two |\n| x | y |\n\n` +
        '```python\n' +
        repeat(400, (j) => `def f${j}(x):\n    return x + ${j}\n`) +
        '```\n\n',
    ),
  'one code block': (n) => '```python\n' + repeat(n, (i) => `value_${i} = compute(${i}, "text")\n`),
  'one list': (n) =>
    repeat(n, (i) => `- item ${i} with **bold**, \`code\` and [a link](https://example.org/${i})\n`),
  'one table': (n) => '| a | b | c |\n|---|---|---|\n' + repeat(n, (i) => `| ${i} | **two** | \`three\` |\n`),
  'one paragraph': (n) => repeat(n, (i) => `word **${i}** and \`more\` of it, `),
  'code in a list': (n) => '1. first\n\n   ```js\n' + repeat(n, (i) => `   const value${i} = ${i}\n`),
}

function repeat(length: number, part: (index: number) => string): string {
  let text = ''
  for (let i = 0; text.length < length; i++) text += part(i)
  return text.slice(0, length)
}

const nextFrame = (): Promise<void> => new Promise((resolve) => requestAnimationFrame(() => resolve()))

/** The cost of single updates of 16 characters near the given size. */
async function cost(shape: string, characters: number): Promise<Omit<Figures, 'longTasks' | 'longestTask'>> {
  const source = SHAPES[shape]?.(characters + 1_600) ?? ''
  const element = document.createElement('div')
  document.querySelector('#main')?.append(element)
  const view = new MarkdownView(element)
  for (let end = 0; end < characters; end += 400) {
    view.update(source.slice(0, end), false)
    view.flush()
  }
  const times: number[] = []
  for (let end = characters; end < source.length; end += 16) {
    const started = performance.now()
    view.update(source.slice(0, end), false)
    view.flush()
    void element.offsetHeight
    times.push(performance.now() - started)
    if (times.length % 10 === 0) await nextFrame()
  }
  const started = performance.now()
  view.update(source, true)
  view.flush()
  void element.offsetHeight
  const done = performance.now() - started
  await view.settled()
  view.destroy()
  element.remove()
  times.sort((a, b) => a - b)
  return {
    shape,
    characters,
    updates: times.length,
    median: times[Math.floor(times.length / 2)] ?? 0,
    p99: times[Math.floor(times.length * 0.99)] ?? 0,
    longest: times.at(-1) ?? 0,
    done,
  }
}

/** Streams for some seconds at 200 tokens of 4 characters a second, beginning at the given size. */
async function pace(shape: string, characters: number): Promise<Pick<Figures, 'longTasks' | 'longestTask'>> {
  const seconds = 3
  const source = SHAPES[shape]?.(characters + seconds * 800) ?? ''
  const element = document.createElement('div')
  document.querySelector('#main')?.append(element)
  const view = new MarkdownView(element)
  for (let end = 0; end < characters; end += 400) {
    view.update(source.slice(0, end), false)
    if (end % 4_000 === 0) {
      view.flush()
      await nextFrame()
    }
  }
  view.flush()
  await nextFrame()
  await nextFrame()
  const tasks: number[] = []
  const observer = new PerformanceObserver((list) =>
    tasks.push(...list.getEntries().map((entry) => entry.duration)),
  )
  observer.observe({ type: 'longtask' })
  await new Promise<void>((resolve) => {
    let end = characters
    const timer = setInterval(() => {
      end += 4
      view.update(source.slice(0, end), end >= source.length)
      if (end >= source.length) {
        clearInterval(timer)
        resolve()
      }
    }, 5)
  })
  await view.settled()
  await new Promise((resolve) => setTimeout(resolve, 300))
  observer.disconnect()
  view.destroy()
  element.remove()
  return { longTasks: tasks.length, longestTask: Math.max(0, ...tasks) }
}

async function bench(sizes: number[], paceAt: number): Promise<Figures[]> {
  const figures: Figures[] = []
  for (const shape of Object.keys(SHAPES)) {
    for (const size of sizes) {
      const costs = await cost(shape, size)
      const paced = size === paceAt ? await pace(shape, size) : { longTasks: -1, longestTask: -1 }
      figures.push({ ...costs, ...paced })
    }
  }
  return figures
}

/** Shows a text to its end and says what became of it; for looking at by hand. */
async function show(source: string, done = true): Promise<string> {
  const element = document.createElement('div')
  document.querySelector('#main')?.replaceChildren(element)
  const view = new MarkdownView(element, { idPrefix: 'm1-' })
  view.update(source, done)
  view.flush()
  await view.settled()
  return element.innerHTML
}

Object.assign(window, { bench, show })
