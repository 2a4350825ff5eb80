import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'

import { EventParser, Subscription, type ServerEvent, type SubscriptionOptions } from './events.ts'
import { FakeServer, FakeStream, refusal, settle } from './fake-server.ts'
import type { ApiError } from './http.ts'

/** The format line by line, as the standard tells it, for a text that is whole. */
function readWhole(text: string): ServerEvent[] {
  const events: ServerEvent[] = []
  let id = ''
  let event = ''
  let data: string[] = []
  const lines = text.split(/\r\n|\n|\r/)
  // What no line end follows is not yet a line.
  lines.pop()
  for (const line of lines) {
    if (line === '') {
      if (data.length) events.push({ id, event: event || 'message', data: data.join('\n') })
      id = ''
      event = ''
      data = []
      continue
    }
    const [, field = '', value = ''] = /^([^:]*)(?:: ?(.*))?$/s.exec(line)!
    if (field === 'id') id = value
    if (field === 'event') event = value
    if (field === 'data') data.push(value)
  }
  return events
}

const word = fc.string({ unit: fc.constantFrom(...'ab:{}" 1é🙂\u2028'), maxLength: 8 })
const line = fc.oneof(
  { weight: 4, arbitrary: fc.tuple(fc.constantFrom('data', 'data', 'id', 'event', 'retry', 'Data', ''), fc.constantFrom(':', ': ', ':  '), word).map((parts) => parts.join('')) },
  { weight: 1, arbitrary: fc.constantFrom('data', 'id', 'event', ': keep-alive', ':') },
  { weight: 3, arbitrary: fc.constant('') },
) // prettier-ignore
const stream = fc
  .array(fc.tuple(line, fc.constantFrom('\n', '\n', '\r\n', '\r\n', '\r')), { maxLength: 24 })
  .map((lines) => lines.map(([text, end]) => text + end).join(''))

function* cut(text: string, sizes: readonly number[]): Generator<string> {
  for (let at = 0, i = 0; at < text.length; i++) {
    const size = sizes[i % sizes.length]!
    yield text.slice(at, at + size)
    at += size
  }
}

const sizes = fc
  .array(fc.integer({ min: 0, max: 9 }), { minLength: 1, maxLength: 6 })
  .filter((some) => some.some(Boolean))

function readPieces(pieces: Iterable<string>): ServerEvent[] {
  const parser = new EventParser()
  return [...pieces].flatMap((piece) => parser.push(piece))
}

describe('a parser', () => {
  test('reads the same events from any stream however it is cut', () => {
    fc.assert(
      fc.property(stream, sizes, (text, sizes) => {
        expect(readPieces(cut(text, sizes))).toEqual(readWhole(text))
      }),
      { numRuns: 2000 },
    )
  })

  test('gives an event as soon as it is whole, and never before', () => {
    const parser = new EventParser()
    expect(parser.push('id: 1\nevent: TextDelta\ndata: {"text":')).toEqual([])
    expect(parser.push('"a"}\n')).toEqual([])
    expect(parser.push('\n')).toEqual([{ id: '1', event: 'TextDelta', data: '{"text":"a"}' }])
  })

  test('does not make a frame out of a line end that is cut in two', () => {
    expect(readPieces(['data: one\r', '\ndata: two\r', '\n\r', '\n'])).toEqual([
      { id: '', event: 'message', data: 'one\ntwo' },
    ])
  })

  test('passes over comments, and what it does not know', () => {
    expect(readPieces([': hello\n\n', ':\n\n', 'retry: 5\n\n', '\n\n\n'])).toEqual([])
  })
})

describe('a subscription', () => {
  const PATH = '/api/turns/turn_1/events'
  let server: FakeServer
  let streams: FakeStream[]
  let got: string[]
  let broke: ApiError[]
  let subscription: Subscription | undefined

  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    vi.spyOn(Math, 'random').mockReturnValue(0.5)
    server = new FakeServer()
    vi.stubGlobal('fetch', server.fetch)
    streams = []
    got = []
    broke = []
    server.answer('GET', PATH, () => {
      const stream = new FakeStream()
      streams.push(stream)
      return stream
    })
  })

  afterEach(() => {
    subscription?.close()
    vi.useRealTimers()
    vi.unstubAllGlobals()
    vi.restoreAllMocks()
  })

  async function subscribe(options: Partial<SubscriptionOptions> = {}): Promise<void> {
    subscription = new Subscription({
      path: PATH,
      headers: (): Record<string, string> => (got.length ? { 'Last-Event-ID': String(got.length) } : {}),
      onEvents: (events) => got.push(...events.map((event) => event.data)),
      onBreak: (error) => broke.push(error),
      ...options,
    })
    await settle()
  }

  async function pass(ms: number): Promise<void> {
    await vi.advanceTimersByTimeAsync(ms)
    await settle()
  }

  test('comes back from where it stood', async () => {
    const onOpen = vi.fn()
    await subscribe({ onOpen })
    streams[0]!.write('id: 1\ndata: one\n\n')
    await settle()
    streams[0]!.cut()
    await settle()
    expect(broke.map((error) => error.status)).toEqual([0])
    await pass(150)
    expect(server.asked.map((asked) => asked.headers['Last-Event-ID'])).toEqual([undefined, '1'])
    streams[1]!.write('id: 2\ndata: two\n\n')
    await settle()
    expect(got).toEqual(['one', 'two'])
    expect(onOpen).toHaveBeenCalledTimes(2)
    expect(server.asked[0]!.headers['Accept']).toBe('text/event-stream')
  })

  test('reads characters that are cut in two', async () => {
    await subscribe()
    const bytes = new TextEncoder().encode('data: dîner 🙂\n\n')
    streams[0]!.write(...Array.from(bytes, (byte) => Uint8Array.of(byte)))
    await settle()
    expect(got).toEqual(['dîner 🙂'])
  })

  test('leaves a frame that was cut off to the next stream', async () => {
    await subscribe()
    streams[0]!.write('id: 1\ndata: o').cut()
    await settle()
    await pass(150)
    streams[1]!.write('id: 1\ndata: one\n\n')
    await settle()
    expect(got).toEqual(['one'])
  })

  test('waits longer and longer while the server is away, and hurries when it is told to', async () => {
    server.isAway = true
    await subscribe()
    for (const wait of [150, 300, 600, 1200, 1500, 1500]) {
      const before = server.asked.length
      await pass(wait - 1)
      expect(server.asked.length).toBe(before)
      await pass(1)
      expect(server.asked.length).toBe(before + 1)
    }
    server.isAway = false
    subscription!.hurry()
    await settle()
    expect(streams.length).toBe(1)
    // It is there, so that there is nothing to hurry.
    subscription!.hurry()
    await settle()
    expect(server.asked.length).toBe(8)
  })

  test('asks a server that closes every stream at once less and less often', async () => {
    server.answer('GET', PATH, () => new FakeStream().close())
    await subscribe()
    await pass(60_000)
    expect(server.asked.length).toBeLessThan(50)
  })

  test('is over when the server closes it after the end, and not before', async () => {
    let isOver = false
    await subscribe({ isOver: () => isOver })
    streams[0]!.write('data: one\n\n').close()
    await settle()
    await pass(150)
    isOver = true
    streams[1]!.write('data: end\n\n')
    await settle()
    // Until it is closed there may be more.
    streams[1]!.write('data: more\n\n').close()
    await settle()
    await pass(60_000)
    expect(got).toEqual(['one', 'end', 'more'])
    expect(server.asked.length).toBe(2)
    expect(broke.length).toBe(1)
  })

  test('that was cut between the end and its closing finds out that it is over', async () => {
    await subscribe({ isOver: () => got.includes('end') })
    streams[0]!.write('data: end\n\n').cut()
    await settle()
    await pass(150)
    streams[1]!.close()
    await settle()
    await pass(60_000)
    expect(server.asked.length).toBe(2)
  })

  test.each([400, 403, 404])('gives up on %d', async (status) => {
    server.answer('GET', PATH, () => refusal(status, 'there is no such turn'))
    await subscribe()
    await pass(60_000)
    expect(server.asked.length).toBe(1)
    expect(broke.map((error) => [error.status, error.message])).toEqual([[status, 'there is no such turn']])
  })

  test.each([401, 429, 500, 503])('tries again after %d', async (status) => {
    server.answer('GET', PATH, () => refusal(status, 'later'))
    await subscribe()
    server.answer('GET', PATH, () => new FakeStream().write('data: one\n\n'))
    await pass(150)
    expect(got).toEqual(['one'])
    expect(broke.map((error) => error.status)).toEqual([status])
  })

  test('notices dead silence, and takes a comment for a sign of life', async () => {
    await subscribe()
    await pass(39_000)
    streams[0]!.write(': \n\n')
    await settle()
    await pass(39_000)
    expect(streams[0]!.isLeft).toBe(false)
    await pass(1_000)
    expect(streams[0]!.isLeft).toBe(true)
    expect(broke.length).toBe(1)
    await pass(150)
    expect(streams.length).toBe(2)
  })

  test('does not wait for ever for a server that takes the request and says nothing', async () => {
    server.answer('GET', PATH, () => new Promise(() => {}))
    await subscribe()
    await pass(40_000)
    expect(broke.length).toBe(1)
    await pass(150)
    expect(server.asked.length).toBe(2)
  })

  test('that is closed says nothing more and asks nothing more', async () => {
    await subscribe()
    subscription!.close()
    await settle()
    await pass(60_000)
    expect(streams[0]!.isLeft).toBe(true)
    expect([got, broke, server.asked.length]).toEqual([[], [], 1])
  })

  test('that is closed while it waits asks nothing more', async () => {
    server.isAway = true
    await subscribe()
    subscription!.close()
    await settle()
    await pass(60_000)
    expect(server.asked.length).toBe(1)
  })

  test('whose reader fails leaves no stream open behind it', async () => {
    await subscribe({
      onEvents: () => {
        throw new SyntaxError('no JSON')
      },
    })
    streams[0]!.write('data: {\n\n')
    await settle()
    expect(streams[0]!.isLeft).toBe(true)
    expect(broke.length).toBe(1)
  })
})
