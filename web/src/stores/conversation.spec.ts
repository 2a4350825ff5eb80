import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'

import { FakeServer, FakeStream, refusal, settle, type Asked } from '../services/fake-server.ts'
import type { Conversation, ConversationTree, Message, Turn, TurnEvent } from '../services/types.ts'
import { connection, type Change } from './connection.svelte.ts'
import { findConversation, OpenConversation } from './conversation.svelte.ts'
import { outbox } from './outbox.svelte.ts'
import { toasts } from './toasts.svelte.ts'
import { newMessage } from './tree.svelte.ts'

const HERE = '/api/conversations/conv_1'

let server: FakeServer
let stored: ConversationTree
let streams: Map<string, FakeStream[]>
let open: OpenConversation
let change: (change: Change) => void
let fresh: () => void

const user = (id: string, parent_id: string | null, known: Partial<Message> = {}) =>
  newMessage({ id, role: 'user', parent_id, text: id, created_at: 1, ...known })
const assistant = (id: string, parent_id: string, known: Partial<Message> = {}) =>
  newMessage({ id, role: 'assistant', parent_id, text: id, created_at: 2, turn_id: `turn_${id}`, ...known })

/** What the server has. */
function store(messages: Message[], leaf: string | null, known: Partial<Conversation> = {}): void {
  stored = {
    id: 'conv_1',
    title: 'T',
    created_at: 0,
    updated_at: (stored?.updated_at ?? 0) + 1,
    current_leaf_id: leaf,
    archived: false,
    pinned: false,
    deleted: false,
    unread: false,
    folder_id: null,
    instructions: null,
    system_prompt: null,
    model: null,
    params: {},
    running: [],
    search: null,
    ...known,
    messages,
  }
}

function summary(): Conversation {
  const { messages: _, ...summary } = stored
  return summary
}

/** Take a question as the server does: it and its answer are stored, and others are told. */
function accept({ json }: Pick<Asked, 'json'>): Turn {
  const asked = json as { text?: string; parent_id?: string | null; user_message_id?: string }
  const parent = asked.parent_id === undefined ? stored.current_leaf_id : asked.parent_id
  const question = asked.user_message_id ?? `q_${asked.text}`
  const answer = asked.user_message_id ? `again_${stored.messages.length}` : `a_${asked.text}`
  const messages = [...stored.messages]
  if (!asked.user_message_id) messages.push(user(question, parent, { text: asked.text ?? '' }))
  messages.push(assistant(answer, question, { text: '', state: 'streaming', turn_id: `turn_${answer}` }))
  if (!stored.messages.some((one) => one.id === answer))
    store(messages, answer, { running: [`turn_${answer}`] })
  return {
    id: `turn_${answer}`, conversation_id: 'conv_1', user_message_id: question, answer_message_id: answer, state: 'running', model: 'qwen', created_at: 2,
  } // prettier-ignore
}

const spell = (log: TurnEvent[], from = 1) =>
  log.map((event, n) => `id: ${from + n}\nevent: ${event.kind}\ndata: ${JSON.stringify(event)}\n\n`).join('')
const started: TurnEvent = { kind: 'TurnStarted', model: 'qwen', engine: 'built-in' }
const text = (text: string): TurnEvent => ({ kind: 'TextDelta', text })
const finished: TurnEvent = { kind: 'TurnFinished', state: 'finished', finish_reason: 'stop' }

const said = () => open.tree.branch.map((node) => node.text)
const branch = () => open.tree.branch.map((node) => node.id)

/** Let a turn's events be followed; each follower gets a stream of its own. */
function letFollow(answer: string): void {
  streams.set(answer, [])
  server.answer('GET', `/api/turns/turn_${answer}/events`, () => {
    const stream = new FakeStream()
    streams.get(answer)!.push(stream)
    return stream
  })
}

const stream = (answer: string) => streams.get(answer)!.at(-1)!

async function show(): Promise<void> {
  open = new OpenConversation('conv_1')
  open.open()
  await settle()
}

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
  server = new FakeServer()
  vi.stubGlobal('fetch', server.fetch)
  streams = new Map()
  store([user('q1', null), assistant('a1', 'q1')], 'a1')
  server.answer('GET', HERE, () => structuredClone(stored))
  server.answer('PATCH', HERE, ({ json }) => {
    Object.assign(stored, json)
    return summary()
  })
  server.answer('POST', `${HERE}/turns`, accept)
  for (const answer of ['a_two', 'a_three', 'a_other', 'again_2', 'a1']) letFollow(answer)
  connection.isOpen = true
  vi.spyOn(connection, 'onChange').mockImplementation((call) => ((change = call), () => {}))
  vi.spyOn(connection, 'onFresh').mockImplementation((call) => ((fresh = call), () => {}))
})

afterEach(async () => {
  open.close()
  for (const outgoing of outbox.waiting) outbox.drop(outgoing)
  for (const toast of toasts.shown) toasts.dismiss(toast.id)
  await settle()
  vi.clearAllTimers()
  vi.useRealTimers()
  vi.unstubAllGlobals()
  vi.restoreAllMocks()
  localStorage.clear()
})

describe('opening', () => {
  test('shows the branch that was last spoken on', async () => {
    store([user('q1', null), assistant('a1', 'q1'), assistant('b1', 'q1')], 'b1')
    await show()
    expect([open.state, branch()]).toEqual(['ready', ['q1', 'b1']])
  })

  test('says that there is none, and that it could not be had', async () => {
    server.answer('GET', HERE, () => refusal(404, 'gone'))
    await show()
    expect(open.state).toBe('missing')
    open.close()
    server.answer('GET', HERE, () => refusal(403, 'not yours'))
    await show()
    expect([open.state, open.failure]).toEqual(['failed', 'not yours'])
  })

  test('waits for a server that is away', async () => {
    server.isAway = true
    await show()
    expect(open.state).toBe('loading')
    server.isAway = false
    fresh()
    await settle()
    expect(open.state).toBe('ready')
  })

  test('marks what is new as seen', async () => {
    store(stored.messages, 'a1', { unread: true })
    await show()
    expect(open.summary!.unread).toBe(false)
    expect(server.askedFor('PATCH', HERE).map((asked) => asked.json)).toEqual([{ unread: false }])
  })

  test('gives the same object for the last ones that were open, and forgets older ones', () => {
    open = new OpenConversation('unused')
    const first = findConversation('first')
    for (let n = 0; n < 5; n++) findConversation(`other ${n}`)
    expect(findConversation('first')).toBe(first)
    for (let n = 0; n < 6; n++) findConversation(`another ${n}`)
    expect(findConversation('first')).not.toBe(first)
  })
})

describe('asking', () => {
  test('shows the question as on its way, then once in the tree, with the answer as it is written', async () => {
    await show()
    open.ask('two', [], undefined)
    expect(open.outgoing.map((one) => one.question.text)).toEqual(['two'])
    expect(said()).toEqual(['q1', 'a1'])
    await settle()
    expect(open.outgoing).toEqual([])
    expect(branch()).toEqual(['q1', 'a1', 'q_two', 'a_two'])
    expect(open.isWriting).toBe(true)
    stream('a_two').write(spell([started, text('An'), text('swer')]))
    await settle()
    expect(said().at(-1)).toBe('Answer')
    expect(server.askedFor('POST', `${HERE}/turns`)[0]!.json).toEqual({
      text: 'two',
      parent_id: 'a1',
      attachments: [],
    })
  })

  test('has it once, though the server tells of it before, while and after it is accepted', async () => {
    await show()
    const answers: (() => void)[] = []
    server.answer('POST', `${HERE}/turns`, (asked) => {
      const turn = accept(asked)
      return new Promise<Turn>((resolve) => answers.push(() => resolve(turn)))
    })
    open.ask('two', [], undefined)
    await settle()
    change({ kind: 'conversation', conversation: summary() })
    await settle()
    answers[0]!()
    await settle()
    change({ kind: 'conversation', conversation: summary() })
    fresh()
    await settle()
    expect(branch()).toEqual(['q1', 'a1', 'q_two', 'a_two'])
    expect(open.outgoing).toEqual([])
    // And there is one stream for it.
    expect(streams.get('a_two')!.length).toBe(1)
    stream('a_two').write(spell([started, text('Answer')]))
    await settle()
    expect(said().at(-1)).toBe('Answer')
  })

  test('is not lost to a reply of the server that was on its way before', async () => {
    await show()
    const before = structuredClone(stored)
    let reply: () => void = () => {}
    server.answer('GET', HERE, () => new Promise((resolve) => (reply = () => resolve(before))))
    fresh()
    await settle()
    server.answer('GET', HERE, () => structuredClone(stored))
    open.ask('two', [], undefined)
    await settle()
    reply()
    await settle()
    expect(branch()).toEqual(['q1', 'a1', 'q_two', 'a_two'])
    stream('a_two').write(spell([started, text('Answer')]))
    await settle()
    expect(said().at(-1)).toBe('Answer')
  })

  test('has those that are asked meanwhile follow each other', async () => {
    await show()
    open.ask('two', [], undefined)
    open.ask('three', [], undefined)
    await settle()
    expect(branch()).toEqual(['q1', 'a1', 'q_two', 'a_two', 'q_three', 'a_three'])
    expect(server.askedFor('POST', `${HERE}/turns`)[1]!.json).not.toHaveProperty('parent_id')
  })

  test('begins a conversation, which is there from the question on', async () => {
    server.answer('GET', HERE, () => refusal(404, 'not yet'))
    server.answer('POST', '/api/conversations', () => {
      store([], null)
      server.answer('GET', HERE, () => structuredClone(stored))
      return { id: 'conv_1' }
    })
    open = new OpenConversation('conv_1')
    open.begin({ folder_id: 'fold_1' })
    open.open()
    open.ask('two', [], 'qwen')
    await settle()
    expect(server.askedFor('POST', '/api/conversations')[0]!.json).toEqual({
      id: 'conv_1',
      folder_id: 'fold_1',
    })
    expect(server.askedFor('POST', `${HERE}/turns`)[0]!.json).toEqual({
      text: 'two',
      model: 'qwen',
      attachments: [],
    })
    expect([open.state, branch()]).toEqual(['ready', ['q_two', 'a_two']])
    expect(open.summary?.id).toBe('conv_1')
  })

  test('shows the files that went with the question', async () => {
    await show()
    const files = [
      { id: 'f1', name: 'a.png', media_type: 'image/png', size: 1 },
      { id: 'f2', name: 'b.txt', media_type: 'text/plain', size: 1 },
    ]
    open.ask('two', files, undefined)
    await settle()
    const question = open.tree.get('q_two')!
    expect(question.parts.map((part) => [part.type, part.file?.id])).toEqual([['image_url', 'f1'], ['file', 'f2']]) // prettier-ignore
    open.edit(question, 'other')
    await settle()
    expect(server.askedFor('POST', `${HERE}/turns`)[1]!.json).toEqual({ text: 'other', parent_id: 'a1', attachments: ['f1', 'f2'] }) // prettier-ignore
  })
})

describe('editing', () => {
  test('the first question makes another beginning, and keeps the old one', async () => {
    await show()
    open.edit(open.tree.get('q1')!, 'other')
    expect(branch()).toEqual([])
    await settle()
    expect(server.askedFor('POST', `${HERE}/turns`)[0]!.json).toEqual({
      text: 'other',
      parent_id: null,
      attachments: [],
    })
    expect(branch()).toEqual(['q_other', 'a_other'])
    expect(open.tree.siblings(open.tree.get('q_other')!).map((node) => node.id)).toEqual(['q1', 'q_other'])
    open.switchTo(open.tree.get('q1')!)
    expect(branch()).toEqual(['q1', 'a1'])
    await settle()
    expect(stored.current_leaf_id).toBe('a1')
  })

  test('answering again is a version beside the first', async () => {
    await show()
    await open.regenerate(open.tree.get('a1')!, 'big')
    await settle()
    expect(server.askedFor('POST', `${HERE}/turns`)[0]!.json).toEqual({ user_message_id: 'q1', model: 'big' })
    expect(branch()).toEqual(['q1', 'again_2'])
    expect(open.tree.siblings(open.tree.get('a1')!).length).toBe(2)
  })
})

describe('while an answer is written', () => {
  beforeEach(async () => {
    store([user('q1', null), assistant('a1', 'q1', { text: '', state: 'streaming' })], 'a1', {
      running: ['turn_a1'],
    })
    await show()
    stream('a1').write(spell([started, text('One '), text('two ')]))
    await settle()
  })

  test('a refresh does not take back what came, nor follow it twice', async () => {
    fresh()
    change({ kind: 'conversation', conversation: { ...summary(), updated_at: 99 } })
    await settle()
    expect(said()).toEqual(['q1', 'One two '])
    expect(streams.get('a1')!.length).toBe(1)
    stream('a1').write(spell([text('three')], 4))
    await settle()
    expect(said()).toEqual(['q1', 'One two three'])
  })

  test('the whole of it from the server is not doubled by the events that come after', async () => {
    store([user('q1', null), assistant('a1', 'q1', { text: 'One two three' })], 'a1')
    change({ kind: 'conversation', conversation: summary() })
    await settle()
    expect(said()).toEqual(['q1', 'One two three'])
    stream('a1')
      .write(spell([text('three'), finished], 4))
      .close()
    await settle()
    expect([said(), open.isWriting]).toEqual([['q1', 'One two three'], false])
  })

  test('an end that the server’s message does not know of yet is asked for again', async () => {
    stream('a1')
      .write(spell([text('three'), finished], 4))
      .close()
    await settle()
    expect(open.isWriting).toBe(false)
    // This was read before the end was written down.
    const old = structuredClone(stored)
    store([user('q1', null), assistant('a1', 'q1', { text: 'One two three' })], 'a1')
    server.answer('GET', HERE, () => {
      server.answer('GET', HERE, () => structuredClone(stored))
      return old
    })
    fresh()
    await settle()
    expect(open.isWriting).toBe(true)
    stream('a1').close()
    await settle()
    expect([said(), open.isWriting]).toEqual([['q1', 'One two three'], false])
    const before = server.asked.length
    await vi.advanceTimersByTimeAsync(30_000)
    await settle()
    expect(server.asked.length).toBe(before)
  })

  test('it is followed again from where it stood, after a cut and after being away', async () => {
    stream('a1').cut()
    await settle()
    await vi.advanceTimersByTimeAsync(300)
    await settle()
    expect(server.askedFor('GET', '/api/turns/turn_a1/events').at(-1)!.headers['Last-Event-ID']).toBe('3')
    open.close()
    await settle()
    expect(stream('a1').isLeft).toBe(true)
    open.open()
    await settle()
    stream('a1')
      .write(spell([text('three'), finished], 4))
      .close()
    await settle()
    expect(said()).toEqual(['q1', 'One two three'])
  })

  test('it can be stopped, and gone on with', async () => {
    server.answer('POST', '/api/turns/turn_a1/stop', () => ({}))
    server.answer('POST', '/api/turns/turn_a1/continue', () => ({}))
    open.stop()
    await settle()
    expect(server.askedFor('POST', '/api/turns/turn_a1/stop').length).toBe(1)
    const stopped: TurnEvent = { kind: 'TurnFinished', state: 'stopped', finish_reason: 'stopped' }
    // The stream is not even closed when it goes on.
    stream('a1').write(spell([stopped], 4))
    await settle()
    const answer = open.tree.get('a1')!
    expect([answer.state, answer.canContinue, open.isWriting]).toEqual(['stopped', true, false])
    await open.continueAnswer(answer)
    await settle()
    expect([answer.state, streams.get('a1')!.length]).toEqual(['pending', 2])
    expect(server.askedFor('GET', '/api/turns/turn_a1/events').at(-1)!.headers['Last-Event-ID']).toBe('4')
    stream('a1')
      .write(spell([{ ...started, continued: true }, text('three'), finished], 5))
      .close()
    await settle()
    expect([said().at(-1), answer.state]).toEqual(['One two three', 'complete'])
  })

  test('going on that is refused says so, and leaves it as it was', async () => {
    server.answer('POST', '/api/turns/turn_a1/continue', () => refusal(409, 'it is still being written'))
    await open.continueAnswer(open.tree.get('a1')!)
    expect(open.tree.get('a1')!.state).toBe('streaming')
    expect(toasts.shown.at(-1)!.text).toBe('it is still being written')
  })
})

describe('another window', () => {
  test('asks a question: it is here, and its answer is written here too', async () => {
    await show()
    accept({ json: { text: 'two', parent_id: 'a1' } })
    change({ kind: 'conversation', conversation: summary() })
    await settle()
    expect(branch()).toEqual(['q1', 'a1', 'q_two', 'a_two'])
    stream('a_two').write(spell([started, text('Answer')]))
    await settle()
    expect(said().at(-1)).toBe('Answer')
  })

  test('goes on with an answer: it goes on here too', async () => {
    store([user('q1', null), assistant('a1', 'q1', { text: 'One ', state: 'stopped' })], 'a1')
    await show()
    store([user('q1', null), assistant('a1', 'q1', { text: 'One ', state: 'streaming' })], 'a1', {
      running: ['turn_a1'],
    })
    change({ kind: 'conversation', conversation: summary() })
    await settle()
    // The log from its beginning; nothing of what is shown goes away meanwhile.
    stream('a1').write(spell([started]))
    await settle()
    expect(said()).toEqual(['q1', 'One '])
    stream('a1').write(spell([text('One '), text('two')], 2))
    await settle()
    expect(said()).toEqual(['q1', 'One two'])
  })

  test('renames it: that is taken over without fetching it', async () => {
    await show()
    const before = server.askedFor('GET', HERE).length
    change({ kind: 'conversation', conversation: { ...summary(), title: 'New' } })
    await settle()
    expect([open.summary!.title, server.askedFor('GET', HERE).length]).toEqual(['New', before])
  })

  test('deletes it: what is on the screen stays, and it is known', async () => {
    await show()
    change({ kind: 'conversation', conversation: { ...summary(), deleted: true } })
    await settle()
    expect([open.summary!.deleted, said()]).toEqual([true, ['q1', 'a1']])
  })

  test('changes another conversation: nothing happens here', async () => {
    await show()
    const before = server.asked.length
    change({ kind: 'conversation', conversation: { ...summary(), id: 'conv_2', deleted: true } })
    await settle()
    expect([open.summary!.deleted, server.asked.length]).toEqual([false, before])
  })
})

describe('a message', () => {
  test('is deleted with what follows it, and restored', async () => {
    server.answer('DELETE', '/api/messages/a1', () => {
      store([user('q1', null)], 'q1')
    })
    server.answer('POST', '/api/messages/a1/restore', () => {
      store([user('q1', null), assistant('a1', 'q1')], 'a1')
    })
    await show()
    await open.remove(open.tree.get('a1')!)
    expect(branch()).toEqual(['q1'])
    await toasts.shown.at(-1)!.undo!()
    await settle()
    expect(branch()).toEqual(['q1', 'a1'])
  })

  test('that the server does not delete stays', async () => {
    server.answer('DELETE', '/api/messages/a1', () => refusal(500, 'no'))
    await show()
    await open.remove(open.tree.get('a1')!)
    expect([branch(), toasts.shown.at(-1)!.text]).toEqual([['q1', 'a1'], 'no'])
  })

  test('is rated at once, and the rating taken back when the server refuses it', async () => {
    await show()
    server.answer('PUT', '/api/messages/a1/feedback', () => undefined)
    const answer = open.tree.get('a1')!
    await open.rate(answer, 'up')
    expect(answer.feedback).toEqual({ rating: 'up', reason: '' })
    server.answer('PUT', '/api/messages/a1/feedback', () => refusal(500, 'no'))
    await open.rate(answer, null)
    expect(answer.feedback).toEqual({ rating: 'up', reason: '' })
  })
})
