/**
 * A Mermaid diagram on the page. Mermaid is 1 MB of code that reads what a model wrote: it runs in an iframe of its own,
 * without origin, cookies or network, and gives back a picture, which the page shows as an image (in which nothing runs).
 *
 * Until it is drawn, and where it fails, the code is shown. One iframe serves the whole page, one diagram at a time.
 */

import type { MarkdownLabels } from './labels.ts'

export type DiagramTheme = 'light' | 'dark'

export interface DrawRequest {
  kind: 'draw'
  id: number
  source: string
  theme: DiagramTheme
}

export type DrawAnswer =
  | { kind: 'ready' }
  | { kind: 'drawn'; id: number; svg: string; width: number; height: number }
  | { kind: 'failed'; id: number; message: string }

interface Picture {
  svg: string
  width: number
  height: number
}

const TIME_TO_START_MS = 20_000
const TIME_TO_DRAW_MS = 10_000
const LONGEST_SOURCE = 50_000
const LARGEST_SVG = 4_000_000

let frame: HTMLIFrameElement | null = null
let ready: Promise<Window> | null = null
let queue: Promise<unknown> = Promise.resolve()
let lastId = 0

/** @throws Error with a short message when the source is no diagram or takes too long. */
export function drawDiagram(source: string, theme: DiagramTheme): Promise<Picture> {
  if (source.length > LONGEST_SOURCE) return Promise.reject(new Error('too long'))
  const drawn = queue.then(() => draw(source, theme))
  queue = drawn.catch(() => undefined)
  return drawn
}

async function draw(source: string, theme: DiagramTheme): Promise<Picture> {
  const target = await (ready ??= openFrame())
  const id = ++lastId
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      stop()
      closeFrame()
      reject(new Error('took too long'))
    }, TIME_TO_DRAW_MS)
    const stop = (): void => {
      clearTimeout(timer)
      window.removeEventListener('message', listen)
    }
    const listen = (event: MessageEvent<unknown>): void => {
      if (event.source !== target) return
      const answer = event.data as Partial<Extract<DrawAnswer, { id: number }>> | null
      if (answer?.id !== id) return
      stop()
      if (answer.kind === 'drawn' && isPicture(answer))
        resolve({ svg: answer.svg, width: answer.width, height: answer.height })
      else reject(new Error(answer.kind === 'failed' ? String(answer.message).slice(0, 300) : 'no picture'))
    }
    window.addEventListener('message', listen)
    const request: DrawRequest = { kind: 'draw', id, source, theme }
    // The frame has no origin that could be named; only its own window gets the message.
    target.postMessage(request, '*')
  })
}

function isPicture(answer: Partial<Picture>): answer is Picture {
  const isSize = (value: unknown): boolean =>
    typeof value === 'number' && Number.isFinite(value) && value > 0 && value < 100_000
  return (
    typeof answer.svg === 'string' &&
    answer.svg.length < LARGEST_SVG &&
    answer.svg.startsWith('<svg') &&
    isSize(answer.width) &&
    isSize(answer.height)
  )
}

function openFrame(): Promise<Window> {
  return new Promise((resolve, reject) => {
    const opened = document.createElement('iframe')
    opened.setAttribute('sandbox', 'allow-scripts')
    opened.setAttribute('aria-hidden', 'true')
    opened.tabIndex = -1
    opened.className = 'md-diagram-frame'
    opened.src = '/diagram.html'
    frame = opened
    const timer = setTimeout(() => {
      window.removeEventListener('message', listen)
      closeFrame()
      reject(new Error('could not be loaded'))
    }, TIME_TO_START_MS)
    const listen = (event: MessageEvent<unknown>): void => {
      if (opened.contentWindow === null || event.source !== opened.contentWindow) return
      if ((event.data as Partial<DrawAnswer> | null)?.kind !== 'ready') return
      clearTimeout(timer)
      window.removeEventListener('message', listen)
      resolve(opened.contentWindow)
    }
    window.addEventListener('message', listen)
    document.body.append(opened)
  })
}

function closeFrame(): void {
  frame?.remove()
  frame = null
  ready = null
}

export class Diagram {
  private readonly picture = document.createElement('div')
  private readonly toggle = document.createElement('button')
  private readonly note = document.createElement('p')
  private source = ''
  private isDestroyed = false
  private version = 0

  constructor(
    private readonly block: HTMLElement,
    actions: HTMLElement,
    private readonly environment: {
      labels: MarkdownLabels
      theme: () => DiagramTheme
      track: (work: Promise<unknown>) => void
    },
  ) {
    this.picture.className = 'md-diagram'
    this.picture.hidden = true
    this.picture.tabIndex = 0
    this.toggle.type = 'button'
    this.toggle.className = 'md-code-action'
    this.toggle.hidden = true
    this.toggle.addEventListener('click', () => this.setShown(this.picture.hidden))
    this.note.className = 'md-diagram-note'
    this.note.setAttribute('role', 'status')
    this.note.hidden = true
    actions.prepend(this.toggle)
    block.append(this.picture, this.note)
  }

  draw(source = this.source): void {
    this.source = source
    const version = ++this.version
    const { labels } = this.environment
    this.say(labels.drawing)
    this.environment.track(
      drawDiagram(source, this.environment.theme()).then(
        (picture) => {
          if (version === this.version && !this.isDestroyed) this.showPicture(picture)
        },
        (error: unknown) => {
          if (version !== this.version || this.isDestroyed) return
          this.setShown(false)
          this.toggle.hidden = true
          this.say(
            `${labels.diagramFailed}: ${error instanceof Error ? (error.message.split('\n')[0] ?? '') : ''}`,
          )
        },
      ),
    )
  }

  destroy(): void {
    this.isDestroyed = true
    this.setShown(false)
    this.picture.remove()
    this.toggle.remove()
    this.note.remove()
  }

  private showPicture(drawn: Picture): void {
    const { labels } = this.environment
    const image = document.createElement('img')
    image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(drawn.svg)}`
    image.width = Math.round(drawn.width)
    image.height = Math.round(drawn.height)
    image.alt = nameOf(this.source, labels.diagram)
    this.picture.replaceChildren(image)
    this.picture.setAttribute('role', 'group')
    this.picture.setAttribute('aria-label', labels.diagram)
    this.say('')
    this.toggle.hidden = false
    this.setShown(true)
  }

  private setShown(isShown: boolean): void {
    const { labels } = this.environment
    this.picture.hidden = !isShown
    const code = this.block.querySelector<HTMLElement>('.md-code-text')
    if (code !== null) code.hidden = isShown
    this.toggle.textContent = isShown ? labels.showCode : labels.showDiagram
  }

  private say(text: string): void {
    this.note.textContent = text
    this.note.hidden = text === ''
  }
}

/** What a screen reader calls the picture: the title that its source gives, or what kind of diagram it is. */
function nameOf(source: string, fallback: string): string {
  const title = /^\s*(?:accTitle|title)\s*:?\s+(.+)$/m.exec(source)?.[1]?.trim()
  const kind = /^\s*(?!%%|---|title\b|config\b)([a-zA-Z][\w-]*)/m.exec(source)?.[1]
  return [fallback, title ?? kind].filter((part) => part !== undefined && part !== '').join(': ')
}
