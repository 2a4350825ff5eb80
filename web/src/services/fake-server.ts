/**
 * A server for specs: it answers `fetch` as a spec tells it to, can be away, and knows what it was asked.
 *
 * Put it in the place of `fetch` with `vi.stubGlobal('fetch', server.fetch)`.
 */

export interface Asked {
  method: string
  path: string
  query: Record<string, string>
  headers: Record<string, string>
  json: unknown
}

type Answer = unknown
type Answering = (asked: Asked) => Answer | Promise<Answer>

export class FakeServer {
  readonly asked: Asked[] = []
  /** Nothing gets through: every request fails as it does without a network. */
  isAway = false
  #answers: { method: string; path: string; answer: Answering }[] = []

  /** Say what comes back: a Response, or what is sent as JSON (undefined as 204). The last word on a path holds. */
  answer(method: string, path: string, answer: Answering): void {
    this.#answers.unshift({ method, path, answer })
  }

  /** The requests of one kind, in their order. */
  askedFor(method: string, path: string): Asked[] {
    return this.asked.filter((one) => one.method === method && one.path === path)
  }

  readonly fetch = async (address: string, options: RequestInit = {}): Promise<Response> => {
    const url = new URL(address, 'http://candide.test')
    const asked: Asked = {
      method: options.method ?? 'GET',
      path: url.pathname,
      query: Object.fromEntries(url.searchParams),
      headers: { ...(options.headers as Record<string, string>) },
      json: typeof options.body === 'string' ? JSON.parse(options.body) : undefined,
    }
    this.asked.push(asked)
    if (this.isAway) throw new TypeError('Failed to fetch')
    const known = this.#answers.find((one) => one.method === asked.method && one.path === asked.path)
    if (!known) return refusal(404, `nothing answers ${asked.method} ${asked.path}`)
    const signal = options.signal
    const answer = await new Promise<unknown>((resolve, reject) => {
      signal?.addEventListener('abort', () => reject(aborted()))
      if (signal?.aborted) reject(aborted())
      Promise.resolve(known.answer(asked)).then(resolve, reject)
    })
    if (answer instanceof FakeStream) return answer.open(signal)
    if (answer instanceof Response) return answer
    return answer === undefined ? new Response(null, { status: 204 }) : Response.json(answer)
  }
}

/** An error as the server words it. */
export const refusal = (status: number, message: string, hint?: string) =>
  Response.json({ error: { message, code: 'code', param: null, hint } }, { status })

/** A body that a spec writes piece by piece. */
export class FakeStream {
  /** The reader has gone away. */
  isLeft = false
  #controller!: ReadableStreamDefaultController<Uint8Array>
  readonly #body = new ReadableStream<Uint8Array>({
    start: (controller) => {
      this.#controller = controller
    },
    cancel: () => {
      this.isLeft = true
    },
  })

  open(signal?: AbortSignal | null): Response {
    signal?.addEventListener('abort', () => {
      if (this.isLeft) return
      this.isLeft = true
      try {
        this.#controller.error(aborted())
      } catch {
        // It was closed before.
      }
    })
    return new Response(this.#body, { headers: { 'Content-Type': 'text/event-stream' } })
  }

  write(...pieces: (string | Uint8Array)[]): this {
    for (const piece of pieces)
      this.#controller.enqueue(typeof piece === 'string' ? new TextEncoder().encode(piece) : piece)
    return this
  }

  /** End as a server does that has said all, or is told to. */
  close(): this {
    this.#controller.close()
    return this
  }

  /** End as a cut cable does. */
  cut(): this {
    this.#controller.error(new TypeError('network error'))
    return this
  }
}

const aborted = () => new DOMException('aborted', 'AbortError')

// Node's own: a task after all that waits, which no fake clock holds back.
const { setImmediate } = globalThis as unknown as { setImmediate: (call: () => void) => void }

/** Let all that can happen now happen: promises, streams; timers stay where they are. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 24; turn++) await new Promise<void>((resolve) => setImmediate(resolve))
}
