/**
 * Server-sent events over `fetch`: a stream that is read to its end, and a `Subscription` that comes back by itself.
 * The browser's own EventSource cannot be told to hurry when the network is back, and hides why it failed.
 *
 * Format: WHATWG HTML, section 9.2 "Server-sent events".
 */

import { ApiError, send } from './http.ts'

export interface ServerEvent {
  id: string
  event: string
  data: string
}

/** Reads frames from text that comes in any pieces. */
export class EventParser {
  #rest = ''
  /** The last piece ended with CR, whose LF may come with the next. */
  #isCut = false

  /** Take the next piece; gives the events that are whole by now. */
  push(piece: string): ServerEvent[] {
    const events: ServerEvent[] = []
    if (!piece) return events
    const isSplit = this.#isCut && piece.startsWith('\n')
    this.#isCut = piece.endsWith('\r')
    this.#rest += (isSplit ? piece.slice(1) : piece).replace(/\r\n?/g, '\n')
    for (;;) {
      const end = this.#rest.indexOf('\n\n')
      if (end < 0) return events
      const event = readFrame(this.#rest.slice(0, end))
      this.#rest = this.#rest.slice(end + 2)
      if (event) events.push(event)
    }
  }
}

function readFrame(frame: string): ServerEvent | null {
  const event: ServerEvent = { id: '', event: 'message', data: '' }
  const data: string[] = []
  for (const line of frame.split('\n')) {
    const colon = line.indexOf(':')
    const field = colon < 0 ? line : line.slice(0, colon)
    const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '')
    if (field === 'data') data.push(value)
    else if (field === 'id') event.id = value
    else if (field === 'event') event.event = value || 'message'
  }
  if (!data.length) return null
  event.data = data.join('\n')
  return event
}

export interface SubscriptionOptions {
  /** The path, and the headers of this attempt (Last-Event-ID). */
  path: string
  headers?: () => Record<string, string>
  /** What came in one piece, so that a reader can work once for all of it. */
  onEvents: (events: ServerEvent[]) => void
  /** Asked when the server has closed the stream: whether that is the end of it. One without this has no end. */
  isOver?: () => boolean
  onOpen?: () => void
  /** The stream broke off, or could not be had; it is tried again unless this was fatal. */
  onBreak?: (error: ApiError) => void
}

/** A stream counts as dead after this long without a byte: the server says something every 15 s. */
const SILENCE_MS = 40_000
const LONGEST_WAIT_MS = 1_500

/** A stream that is opened again whenever it breaks, until it has ended or `close` is called. */
export class Subscription {
  readonly #options: SubscriptionOptions
  readonly #closed = new AbortController()
  #wake: (() => void) | null = null
  #attempt: AbortController | null = null

  constructor(options: SubscriptionOptions) {
    this.#options = options
    void this.#run()
  }

  close(): void {
    this.#closed.abort()
    this.#attempt?.abort()
    this.#wake?.()
  }

  /** Try again now: the network is back. */
  hurry(): void {
    this.#wake?.()
  }

  async #run(): Promise<void> {
    let failures = 0
    while (!this.#closed.signal.aborted) {
      try {
        await this.#read(() => (failures = 0))
        if (this.#closed.signal.aborted || this.#options.isOver?.()) return
        throw new ApiError('the stream broke off', 0, 'broken')
      } catch (error) {
        if (this.#closed.signal.aborted) return
        const failure = error instanceof ApiError ? error : new ApiError(String(error), 0, 'broken')
        this.#options.onBreak?.(failure)
        if (!failure.isPassing && failure.status !== 401) return
      }
      // Those that broke together come back a little apart.
      const wait = Math.min(LONGEST_WAIT_MS, 150 * 2 ** failures++) * (0.75 + Math.random() / 2)
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, wait)
        this.#wake = () => {
          clearTimeout(timer)
          resolve()
        }
      })
      this.#wake = null
    }
  }

  /** Read one stream until the server closes it. */
  async #read(onAlive: () => void): Promise<void> {
    const attempt = (this.#attempt = new AbortController())
    let silence: ReturnType<typeof setTimeout> | undefined
    const heard = () => {
      clearTimeout(silence)
      silence = setTimeout(() => attempt.abort(), SILENCE_MS)
    }
    heard()
    try {
      const response = await send('GET', this.#options.path, {
        headers: { Accept: 'text/event-stream', ...this.#options.headers?.() },
        signal: attempt.signal,
      })
      this.#options.onOpen?.()
      const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader()
      const parser = new EventParser()
      for (;;) {
        const { value, done } = await reader.read()
        if (done) return
        heard()
        // Not before: a server that takes everyone in and throws them out at once is asked less and less often.
        onAlive()
        const events = parser.push(value)
        if (events.length) this.#options.onEvents(events)
      }
    } finally {
      clearTimeout(silence)
      // A reader that failed leaves no stream open behind it.
      attempt.abort()
    }
  }
}
