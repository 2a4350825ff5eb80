import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'

import { FakeServer, FakeStream, settle } from '../services/fake-server.ts'
import type { ServerEvent } from '../services/events.ts'
import type { Message, TurnEvent } from '../services/types.ts'
import { MessageNode, newMessage } from './tree.svelte.ts'
import { applyEvents, followTurn } from './writing.ts'

const timings = { first_token_ms: 5, total_ms: 50, tokens_per_second: 20 }
const started: TurnEvent = { kind: 'TurnStarted', model: 'qwen', engine: 'built-in' }
const continued: TurnEvent = { ...started, continued: true }
const text = (text: string): TurnEvent => ({ kind: 'TextDelta', text })
const reasoning = (text: string): TurnEvent => ({ kind: 'ReasoningDelta', text })
const finished: TurnEvent = {
  kind: 'TurnFinished', state: 'finished', finish_reason: 'stop', usage: { completion_tokens: 3 }, timings,
} // prettier-ignore
const stopped: TurnEvent = { kind: 'TurnFinished', state: 'stopped', finish_reason: 'stopped' }
const tooLong: TurnEvent = { kind: 'TurnFinished', state: 'finished', finish_reason: 'length' }
const failed: TurnEvent = {
  kind: 'TurnFailed',
  code: 'engine_failed',
  message: 'the engine ended',
  hint: 'look',
}

const frames = (log: readonly TurnEvent[]): ServerEvent[] =>
  log.map((event, n) => ({ id: String(n + 1), event: event.kind, data: JSON.stringify(event) }))
const spell = (events: readonly ServerEvent[]) =>
  events.map(({ id, event, data }) => `id: ${id}\nevent: ${event}\ndata: ${data}\n\n`).join('')

const answer = (known: Partial<Message> = {}) =>
  new MessageNode(newMessage({ id: 'msg_a', role: 'assistant', parent_id: 'msg_q', state: 'pending', turn_id: 'turn_1', ...known })) // prettier-ignore

const shown = (node: MessageNode) => ({
  text: node.text,
  reasoning: node.reasoning,
  state: node.state,
  model: node.model,
  engine: node.engine,
  usage: node.usage,
  timings: node.timings,
  finishReason: node.finishReason,
  error: node.error,
  notices: node.notices,
})

function write(log: readonly TurnEvent[]): MessageNode {
  const node = answer()
  applyEvents(node, frames(log))
  return node
}

const delta = fc.oneof(
  { weight: 6, arbitrary: fc.string({ unit: 'grapheme', minLength: 1, maxLength: 5 }).map(text) },
  { weight: 2, arbitrary: fc.string({ minLength: 1, maxLength: 5 }).map(reasoning) },
  { weight: 1, arbitrary: fc.constant<TurnEvent>({ kind: 'EngineSwitched', reason: 'away', from_engine: 'one', to_engine: 'other' }) },
  { weight: 1, arbitrary: fc.nat(9).map((n): TurnEvent => ({ kind: 'ContextCompacted', dropped_messages: n })) },
) // prettier-ignore
/** The log of a turn that may have been continued, and that has ended. */
const log = fc
  .array(fc.tuple(fc.array(delta, { maxLength: 6 }), fc.constantFrom(finished, stopped, tooLong, failed)), { minLength: 1, maxLength: 4 })
  .map((parts) => parts.flatMap(([deltas, end], n) => [n ? continued : started, ...deltas, end])) // prettier-ignore

const words = (log: readonly TurnEvent[], kind: 'TextDelta' | 'ReasoningDelta') =>
  log.map((event) => (event.kind === kind ? event.text : '')).join('')

/** The message as the server keeps it once the first `count` events are written. */
function keptMessage(log: readonly TurnEvent[], count: number): Message {
  const ends = (event: TurnEvent) => event.kind === 'TurnFinished' || event.kind === 'TurnFailed'
  const end = log.slice(0, count).findLastIndex(ends) + 1
  const written = log.slice(0, end)
  const last = log[count - 1]
  const state = !last || !ends(last) ? 'streaming' : last.kind === 'TurnFailed' ? 'failed' : last.kind === 'TurnFinished' && last.state === 'stopped' ? 'stopped' : 'complete' // prettier-ignore
  return newMessage({
    id: 'msg_a',
    role: 'assistant',
    parent_id: 'msg_q',
    turn_id: 'turn_1',
    text: words(written, 'TextDelta'),
    reasoning: words(written, 'ReasoningDelta'),
    state,
    finish_reason: last?.kind === 'TurnFinished' ? last.finish_reason : null,
    usage: last?.kind === 'TurnFinished' ? (last.usage ?? null) : null,
    timings: last?.kind === 'TurnFinished' ? (last.timings ?? null) : null,
    error:
      last?.kind === 'TurnFailed'
        ? { code: last.code, message: last.message, hint: last.hint ?? null }
        : null,
  })
}

describe('events', () => {
  test('give the message that was written', () => {
    const node = write([started, reasoning('Hm. '), text('Can'), text('dide'), finished])
    expect(shown(node)).toEqual({
      text: 'Candide',
      reasoning: 'Hm. ',
      state: 'complete',
      model: 'qwen',
      engine: 'built-in',
      usage: { completion_tokens: 3 },
      timings,
      finishReason: 'stop',
      error: null,
      notices: [],
    })
  })

  test('tell once of an engine that fails again and again', () => {
    const again: TurnEvent = { kind: 'EngineSwitched', reason: 'away', from_engine: 'one', to_engine: 'one' }
    const node = write([started, again, again, text('Here'), { ...again, to_engine: 'other' }, finished])
    expect(node.notices).toEqual([
      { kind: 'switched', from: 'one', to: 'one' },
      { kind: 'switched', from: 'one', to: 'other' },
    ])
  })

  test('give the same message however they come, and however often', () => {
    const deliveries = fc.array(fc.tuple(fc.nat(7), fc.integer({ min: 1, max: 7 })), { maxLength: 30 })
    fc.assert(
      fc.property(log, deliveries, (log, deliveries) => {
        const all = frames(log)
        const node = answer()
        let delivered = 0
        for (const [again, more] of [...deliveries, [0, all.length] as const]) {
          applyEvents(node, all.slice(Math.max(0, delivered - again), delivered + more))
          delivered = Math.min(all.length, delivered + more)
        }
        applyEvents(node, all)
        expect(shown(node)).toEqual(shown(write(log)))
        expect(node.text).toBe(words(log, 'TextDelta'))
        expect(node.reasoning).toBe(words(log, 'ReasoningDelta'))
        expect([node.seq, node.written.ended]).toEqual([all.length, true])
      }),
    )
  })

  test('and what the server says of the message meanwhile give it once, and nothing shown is taken back', () => {
    // Each step: how many events come, and how far the server had written the message that is told after them.
    const steps = fc.array(fc.tuple(fc.nat(4), fc.option(fc.nat(12))), { maxLength: 12 })
    fc.assert(
      fc.property(log, fc.boolean(), steps, (log, isFresh, steps) => {
        const all = frames(log)
        const node = isFresh ? answer() : new MessageNode(keptMessage(log, log.length))
        let delivered = 0
        let told = isFresh ? 0 : all.length
        for (const [more, ahead] of steps) {
          const before = node.text
          applyEvents(node, all.slice(delivered, delivered + more))
          delivered = Math.min(all.length, delivered + more)
          if (ahead !== null) {
            told = Math.max(told, Math.min(all.length, delivered + ahead))
            node.update(keptMessage(log, told))
          }
          expect(node.text.startsWith(before)).toBe(true)
          expect(words(log, 'TextDelta').startsWith(node.text)).toBe(true)
        }
        applyEvents(node, all.slice(delivered))
        node.update(keptMessage(log, all.length))
        expect(node.text).toBe(words(log, 'TextDelta'))
        expect(node.reasoning).toBe(words(log, 'ReasoningDelta'))
        expect(node.isWriting).toBe(false)
      }),
    )
  })

  test('that come after the whole message was told do not double it', () => {
    const log = [started, text('one '), text('two'), finished]
    const node = answer()
    applyEvents(node, frames(log).slice(0, 2))
    node.update(keptMessage(log, 4))
    expect(node.text).toBe('one two')
    applyEvents(node, frames(log).slice(2, 3))
    expect(node.text).toBe('one two')
    applyEvents(node, frames(log).slice(3))
    expect([node.text, node.state]).toEqual(['one two', 'complete'])
  })

  test('that are replayed into a message that is there do not take it off the screen', () => {
    const node = answer({ text: 'one two', state: 'streaming' })
    applyEvents(node, frames([started, text('one ')]))
    expect(node.text).toBe('one two')
    applyEvents(node, frames([started, text('one '), text('two'), text(' three')]))
    expect(node.text).toBe('one two three')
  })

  test('of a continued turn leave nothing of the end before', () => {
    const node = write([started, text('one'), tooLong])
    expect([node.canContinue, node.finishReason]).toEqual([true, 'length'])
    applyEvents(node, frames([started, text('one'), tooLong, continued, text(' two')]))
    expect(shown(node)).toMatchObject({
      text: 'one two',
      state: 'streaming',
      finishReason: null,
      usage: null,
    })
    expect([node.canContinue, node.written.ended]).toEqual([false, false])
    expect(shown(write([started, failed, continued, text('one'), finished]))).toMatchObject({
      text: 'one',
      state: 'complete',
      error: null,
    })
  })

  test('that are no turn’s events, or of a kind of a later version, are passed over', () => {
    const node = write([started, text('one')])
    applyEvents(node, [
      { id: '', event: 'message', data: 'no JSON' },
      { id: '3', event: 'SourceFound', data: '{"kind":"SourceFound"}' },
    ])
    expect([node.text, node.seq]).toEqual(['one', 3])
  })
})

describe('following a turn', () => {
  const PATH = '/api/turns/turn_1/events'
  let server: FakeServer
  let streams: FakeStream[]

  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    server = new FakeServer()
    vi.stubGlobal('fetch', server.fetch)
    streams = []
    server.answer('GET', PATH, () => {
      streams.push(new FakeStream())
      return streams.at(-1)
    })
  })

  afterEach(() => {
    vi.useRealTimers()
    vi.unstubAllGlobals()
  })

  test('goes on after an end that is not the last, wherever the network cuts', async () => {
    const all = frames([started, text('one'), stopped, continued, text(' two'), finished])
    const node = answer()
    const heard = { onEnd: vi.fn(), onBreak: vi.fn(), onAlive: vi.fn() }
    followTurn('turn_1', node, heard)
    await settle()
    for (const frame of all) {
      streams[0]!.write(spell([frame]))
      await settle()
    }
    expect(heard.onEnd).not.toHaveBeenCalled()
    streams[0]!.close()
    await settle()
    expect([node.text, node.state]).toEqual(['one two', 'complete'])
    expect([heard.onEnd.mock.calls.length, heard.onBreak.mock.calls.length]).toEqual([1, 0])
    await vi.advanceTimersByTimeAsync(60_000)
    expect(server.asked.length).toBe(1)
  })

  test('comes back after the last event that it has, also when the server restarts', async () => {
    const all = frames([started, text('one'), text(' two'), finished])
    const node = answer()
    const heard = { onEnd: vi.fn(), onBreak: vi.fn(), onAlive: vi.fn() }
    followTurn('turn_1', node, heard)
    await settle()
    streams[0]!.write(spell(all.slice(0, 2))).close()
    await settle()
    expect(heard.onBreak).toHaveBeenCalledTimes(1)
    await vi.advanceTimersByTimeAsync(300)
    await settle()
    expect(server.asked.map((asked) => asked.headers['Last-Event-ID'])).toEqual([undefined, '2'])
    streams[1]!.write(spell(all.slice(2))).close()
    await settle()
    expect([node.text, heard.onEnd.mock.calls.length]).toEqual(['one two', 1])
  })
})

describe('an answer from sources', () => {
  const searching: TurnEvent = { kind: 'SearchStarted', query: 'beans', libraries: ['Garden'], web: true }
  const found: TurnEvent = {
    kind: 'SourcesFound',
    query: 'beans',
    sources: [{ number: 1, id: 'source_1', uri: '/beans.md', title: 'Beans' }],
    is_good: false,
    unread: ['broken.pdf'],
  }
  const marked: TurnEvent = { kind: 'CitationMarked', number: 1, start: 6, end: 9 }
  const sentences = [{ text: 'Beans [1].', start: 0, end: 10, support: 'supported' as const }]
  const corrected: TurnEvent = { kind: 'CitationsChecked', text: 'Beans [1].', sentences }

  test('is searched for, then rests on what was found', () => {
    const node = write([searching])
    expect(node.searching).toEqual({ query: 'beans', libraries: ['Garden'], web: true })
    expect([node.isWriting, node.grounding]).toEqual([true, null])
    applyEvents(node, frames([searching, found]))
    expect(node.searching).toBeNull()
    expect(node.grounding).toMatchObject({ is_good: false, unread: ['broken.pdf'], missing: [] })
    expect(node.grounding?.checked).toBeUndefined()
  })

  test('is what it was corrected to, in whatever pieces it came', () => {
    const log = [
      searching,
      found,
      started,
      text('“Beens” are '),
      marked,
      text('long [1].'),
      corrected,
      finished,
    ]
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 3 }), { maxLength: 8 }), (sizes) => {
        const node = answer()
        const rest = frames(log)
        for (const size of sizes) applyEvents(node, rest.splice(0, size))
        applyEvents(node, rest)
        expect(node.text).toBe('Beans [1].')
        expect(node.grounding).toMatchObject({ sentences, checked: true, abstained: false })
        expect(node.grounding?.sources?.[0]?.title).toBe('Beans')
      }),
    )
  })

  test('that fails while it is searched for is not searched for any more', () => {
    expect(write([searching, failed]).searching).toBeNull()
  })

  test('keeps what it rests on while the server does not say it yet', () => {
    const node = write([searching, found, started, text('Beans')])
    const known = { id: 'msg_a', role: 'assistant', parent_id: 'msg_q', turn_id: 'turn_1' } as const
    node.update(newMessage({ ...known, state: 'streaming' }))
    expect(node.grounding?.sources).toHaveLength(1)
    node.update(newMessage({ ...known, state: 'complete', text: 'Beans', grounding: null }))
    expect(node.grounding).toBeNull()
  })
})
