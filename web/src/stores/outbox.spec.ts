import fc from 'fast-check'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'

import { FakeServer, refusal, settle, type Asked } from '../services/fake-server.ts'
import type { Turn } from '../services/types.ts'

const TURNS = '/api/conversations/conv_1/turns'

let server: FakeServer
/** The texts that the server has accepted, each key once. */
let accepted: Map<string, string>

function accept({ json, headers, path }: Asked): Turn {
  const key = headers['Idempotency-Key']!
  const { text } = json as { text: string }
  accepted.set(key, accepted.get(key) ?? text)
  return {
    id: `turn_${key}`,
    conversation_id: path.split('/')[3]!,
    user_message_id: `msg_${key}`,
    answer_message_id: `msg_answer_${key}`,
    state: 'queued',
    model: 'qwen',
    created_at: 1,
  }
}

/** A page in a window of its own: its modules are new, what the browser keeps is shared. */
async function openWindow() {
  vi.resetModules()
  const { outbox } = await import('./outbox.svelte.ts')
  const { connection } = await import('./connection.svelte.ts')
  outbox.begin()
  await settle()
  return { outbox, connection }
}

const kept = () => Object.keys(localStorage).filter((name) => name.startsWith('candide.outbox.'))

async function pass(ms: number): Promise<void> {
  await vi.advanceTimersByTimeAsync(ms)
  await settle()
}

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
  server = new FakeServer()
  vi.stubGlobal('fetch', server.fetch)
  accepted = new Map()
  server.answer('POST', TURNS, accept)
  server.answer('POST', '/api/conversations/conv_2/turns', accept)
  server.answer('POST', '/api/conversations', ({ json }) => ({ id: (json as { id: string }).id }))
})

afterEach(() => {
  vi.clearAllTimers()
  vi.useRealTimers()
  vi.unstubAllGlobals()
  localStorage.clear()
})

test('a question is kept before it is sent, and no longer than until it is accepted', async () => {
  const { outbox } = await openWindow()
  const heard = vi.fn()
  outbox.onAccepted(heard)
  outbox.send('conv_1', { text: 'one', parent_id: null }, [], null)
  expect(server.asked.length + kept().length).toBeGreaterThanOrEqual(1)
  expect(kept().length).toBe(1)
  expect(outbox.waiting.map((one) => one.question.text)).toEqual(['one'])
  await settle()
  expect([...accepted.values()]).toEqual(['one'])
  expect([outbox.waiting, kept()]).toEqual([[], []])
  expect(heard).toHaveBeenCalledTimes(1)
  expect(heard.mock.calls[0]![0].question.text).toBe('one')
  expect(server.askedFor('POST', TURNS)[0]!.json).toEqual({ text: 'one', parent_id: null })
})

test('one that begins a conversation makes it first, under the id that the page chose', async () => {
  const { outbox } = await openWindow()
  outbox.send('conv_1', { text: 'one' }, [], { folder_id: 'fold_1' })
  await settle()
  expect(server.asked.map(({ path, json }) => [path, json])).toEqual([
    ['/api/conversations', { id: 'conv_1', folder_id: 'fold_1' }],
    [TURNS, { text: 'one' }],
  ])
})

test('a question survives a cut and a reload, under one key', async () => {
  server.isAway = true
  const { outbox } = await openWindow()
  outbox.send('conv_1', { text: 'one' }, [], null)
  await settle()
  await pass(10_000)
  expect(kept().length).toBe(1)

  const after = await openWindow()
  expect(after.outbox.waiting.map((one) => one.question.text)).toEqual(['one'])
  server.isAway = false
  await pass(5_000)
  expect([...accepted.values()]).toEqual(['one'])
  expect(new Set(server.askedFor('POST', TURNS).map((asked) => asked.headers['Idempotency-Key'])).size).toBe(
    1,
  )
  expect([after.outbox.waiting, kept()]).toEqual([[], []])
})

test('waits longer and longer, and hurries when the network is back', async () => {
  server.isAway = true
  const { outbox, connection } = await openWindow()
  outbox.send('conv_1', { text: 'one' }, [], null)
  await settle()
  await pass(60_000)
  expect(server.asked.length).toBeLessThan(60)
  expect(connection.state).toBe('lost')
  server.isAway = false
  connection.hurry()
  await settle()
  expect([...accepted.values()]).toEqual(['one'])
  expect(connection.state).toBe('back')
})

test('each follows the one before it, and conversations do not wait for each other', async () => {
  let answer: (turn: Turn) => void = () => {}
  server.answer(
    'POST',
    TURNS,
    (asked) => new Promise<Turn>((resolve) => (answer = () => resolve(accept(asked)))),
  )
  const { outbox } = await openWindow()
  outbox.send('conv_1', { text: 'one' }, [], null)
  outbox.send('conv_1', { text: 'two' }, [], null)
  outbox.send('conv_2', { text: 'other' }, [], null)
  await settle()
  expect([...accepted.values()]).toEqual(['other'])
  expect(server.askedFor('POST', TURNS).length).toBe(1)
  server.answer('POST', TURNS, accept)
  answer({} as Turn)
  await settle()
  expect([...accepted.values()]).toEqual(['other', 'one', 'two'])
})

test('a refused question says why, in the server’s words, and holds those behind it until it is sent again', async () => {
  server.answer('POST', TURNS, () => refusal(400, 'it is too long', 'shorten it'))
  const { outbox } = await openWindow()
  outbox.send('conv_1', { text: 'one' }, [], null)
  outbox.send('conv_1', { text: 'two' }, [], null)
  await settle()
  await pass(60_000)
  const [one] = outbox.waiting
  expect(server.asked.length).toBe(1)
  expect(outbox.refused).toEqual({ [one!.key]: 'it is too long (shorten it)' })
  server.answer('POST', TURNS, () => refusal(404, 'there is no such conversation'))
  outbox.retry(one!)
  await settle()
  expect(outbox.refused).toEqual({ [one!.key]: 'there is no such conversation' })
  server.answer('POST', TURNS, accept)
  outbox.retry(one!)
  expect(outbox.refused).toEqual({})
  await settle()
  expect([...accepted.values()]).toEqual(['one', 'two'])
  expect([...accepted.keys()][0]).toBe(one!.key)
})

test('a refused question that is given up lets those behind it go', async () => {
  server.answer('POST', TURNS, ({ json }) =>
    (json as { text: string }).text === 'one' ? refusal(400, 'no') : undefined,
  )
  const { outbox } = await openWindow()
  outbox.send('conv_1', { text: 'one' }, [], null)
  outbox.send('conv_1', { text: 'two' }, [], null)
  await settle()
  server.answer('POST', TURNS, accept)
  outbox.drop(outbox.waiting[0]!)
  await settle()
  expect([...accepted.values()]).toEqual(['two'])
  expect([outbox.waiting, kept()]).toEqual([[], []])
})

test('two windows do not lose each other’s', async () => {
  server.isAway = true
  const one = await openWindow()
  const other = await openWindow()
  one.outbox.send('conv_1', { text: 'one' }, [], null)
  other.outbox.send('conv_1', { text: 'two' }, [], null)
  await settle()
  expect(kept().length).toBe(2)
  const third = await openWindow()
  expect(third.outbox.waiting.length).toBe(2)
  server.isAway = false
  await pass(5_000)
  expect([...accepted.values()].sort()).toEqual(['one', 'two'])
  expect([one, other, third].flatMap(({ outbox }) => outbox.waiting)).toEqual([])
  expect(kept()).toEqual([])
})

test('what else is kept is nobody’s question', async () => {
  for (const text of ['', 'null', '7', '{}', '[]', '{"key":"other"}']) {
    localStorage.setItem(`candide.outbox.${text}`, text)
  }
  const { outbox } = await openWindow()
  expect(outbox.waiting).toEqual([])
  expect(server.asked).toEqual([])
})

test('a full store does not keep a question from being sent', async () => {
  const full = vi.spyOn(Storage.prototype, 'setItem').mockImplementation(() => {
    throw new DOMException('full', 'QuotaExceededError')
  })
  const { outbox } = await openWindow()
  outbox.send('conv_1', { text: 'one' }, [], null)
  await settle()
  full.mockRestore()
  expect([...accepted.values()]).toEqual(['one'])
})

test('every question is accepted once and in its order, whatever the network does', async () => {
  const mishap = fc.constantFrom('fine', 'away', 'busy', 'lost')
  const step = fc.oneof(
    { weight: 4, arbitrary: fc.constantFrom('conv_1', 'conv_2') },
    { weight: 1, arbitrary: fc.constant('reload') },
    { weight: 1, arbitrary: fc.constant('pass') },
  )
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { maxLength: 8 }),
      fc.array(mishap, { maxLength: 20 }),
      async (steps, mishaps) => {
        localStorage.clear()
        accepted = new Map()
        const left = [...mishaps]
        for (const id of ['conv_1', 'conv_2'])
          server.answer('POST', `/api/conversations/${id}/turns`, (asked) => {
            const now = left.shift() ?? 'fine'
            if (now === 'busy') return refusal(503, 'later')
            if (now === 'away') throw new TypeError('Failed to fetch')
            const turn = accept(asked)
            // It is accepted, and the page does not hear of it.
            if (now === 'lost') throw new TypeError('Failed to fetch')
            return turn
          })
        let page = await openWindow()
        const pages = [page]
        const sent: string[] = []
        for (const [n, step] of steps.entries()) {
          if (step === 'pass') await pass(300)
          else if (step === 'reload') pages.push((page = await openWindow()))
          else {
            page.outbox.send(step, { text: `${step} ${n}` }, [], null)
            sent.push(`${step} ${n}`)
          }
        }
        for (let n = 0; n < 60 && pages.some(({ outbox }) => outbox.waiting.length); n++) await pass(4_000)
        for (const id of ['conv_1', 'conv_2']) {
          const of = (texts: Iterable<string>) => [...texts].filter((text) => text.startsWith(id))
          expect(of(accepted.values())).toEqual(of(sent))
        }
        expect(pages.flatMap(({ outbox }) => outbox.waiting)).toEqual([])
        expect(kept()).toEqual([])
      },
    ),
    { numRuns: 25 },
  )
}, 30_000)
