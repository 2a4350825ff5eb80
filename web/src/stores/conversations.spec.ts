import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'

import { FakeServer, refusal, settle } from '../services/fake-server.ts'
import type { Conversation } from '../services/types.ts'
import { connection, type Change } from './connection.svelte.ts'
import { conversations, groupByDate } from './conversations.svelte.ts'
import { toasts } from './toasts.svelte.ts'

const conversation = (id: string, known: Partial<Conversation> = {}): Conversation => ({
  id,
  title: id,
  created_at: 0,
  updated_at: 0,
  current_leaf_id: null,
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
})

const at = (year: number, month: number, day: number, hours = 0, minutes = 0, seconds = 0) =>
  new Date(year, month, day, hours, minutes, seconds).getTime() / 1000

/** The groups as names and ids, of one conversation for each moment. */
function group(now: Date, ...moments: number[]): [string, string[]][] {
  const all = moments.map((updated_at, n) => conversation(String(n), { updated_at }))
  return groupByDate(all, now).map(({ name, conversations }) => [name, conversations.map((one) => one.id)])
}

describe('groups', () => {
  afterEach(() => {
    vi.unstubAllEnvs()
  })

  test('change at midnight, not after so many hours', () => {
    const now = new Date(2026, 2, 15, 0, 5)
    expect(
      group(
        now,
        at(2026, 2, 15, 0, 1),
        at(2026, 2, 14, 23, 59),
        at(2026, 2, 14),
        at(2026, 2, 13, 23, 59, 59),
      ),
    ).toEqual([
      ['Today', ['0']],
      ['Yesterday', ['1', '2']],
      ['Last 7 days', ['3']],
    ])
  })

  test('have their borders at whole days', () => {
    const now = new Date(2026, 6, 31, 12)
    expect(
      group(now, at(2026, 6, 24), at(2026, 6, 23, 23, 59, 59), at(2026, 6, 1), at(2026, 5, 30, 23, 59), at(2026, 4, 31, 23), at(2025, 5, 1)),
    ).toEqual([
      ['Last 7 days', ['0']],
      ['Last 30 days', ['1', '2']],
      ['June 2026', ['3']],
      ['May 2026', ['4']],
      ['June 2025', ['5']],
    ]) // prettier-ignore
  })

  test('take what a clock ahead of ours wrote for today’s', () => {
    expect(group(new Date(2026, 0, 1, 12), at(2026, 0, 2))).toEqual([['Today', ['0']]])
  })

  test('have a yesterday of 23 or 25 hours where the clocks are changed', () => {
    vi.stubEnv('TZ', 'Europe/Paris')
    expect(new Date(2026, 2, 30).getTime() - new Date(2026, 2, 29).getTime()).toBe(23 * 3_600_000)
    expect(group(new Date(2026, 2, 30, 9), at(2026, 2, 29), at(2026, 2, 28, 23, 30))).toEqual([
      ['Yesterday', ['0']],
      ['Last 7 days', ['1']],
    ])
    expect(group(new Date(2026, 9, 26, 9), at(2026, 9, 25, 0, 30), at(2026, 9, 24, 23, 30))).toEqual([
      ['Yesterday', ['0']],
      ['Last 7 days', ['1']],
    ])
  })

  test('hold each conversation once, in its order, by days of the calendar', () => {
    const zone = fc.constantFrom(
      'Europe/Paris',
      'America/New_York',
      'Asia/Kolkata',
      'Pacific/Auckland',
      'UTC',
    )
    const moment = fc.integer({ min: at(2024, 0, 1), max: at(2026, 11, 31) })
    fc.assert(
      fc.property(zone, moment, fc.array(moment, { maxLength: 20 }), (zone, seconds, moments) => {
        vi.stubEnv('TZ', zone)
        const now = new Date(seconds * 1000)
        const past = moments.filter((moment) => moment <= seconds).sort((one, other) => other - one)
        const groups = group(now, ...past)
        expect(groups.flatMap(([, ids]) => ids)).toEqual(past.map((_, n) => String(n)))
        expect(new Set(groups.map(([name]) => name)).size).toBe(groups.length)
        for (const [name, ids] of groups) {
          for (const id of ids) {
            const then = new Date(past[Number(id)]! * 1000)
            const days = (Date.UTC(now.getFullYear(), now.getMonth(), now.getDate()) - Date.UTC(then.getFullYear(), then.getMonth(), then.getDate())) / 86_400_000
            expect(name).toBe(days === 0 ? 'Today' : days === 1 ? 'Yesterday' : days <= 7 ? 'Last 7 days' : days <= 30 ? 'Last 30 days' : then.toLocaleDateString('en', { month: 'long', year: 'numeric' }))
          }
        }
      }),
    ) // prettier-ignore
  })
})

describe('the sidebar', () => {
  let server: FakeServer
  let change: (change: Change) => void
  let fresh: () => void

  beforeEach(async () => {
    server = new FakeServer()
    vi.stubGlobal('fetch', server.fetch)
    server.answer('GET', '/api/conversations', ({ query }) =>
      query['pinned'] ? { data: [] } : { data: [conversation('one', { updated_at: 1 }), conversation('two', { updated_at: 2 })] },
    ) // prettier-ignore
    server.answer('GET', '/api/folders', () => ({ data: [{ id: 'fold_1', name: 'F', instructions: null, created_at: 0, conversations: 0 }] })) // prettier-ignore
    vi.spyOn(connection, 'onChange').mockImplementation((call) => ((change = call), () => {}))
    vi.spyOn(connection, 'onFresh').mockImplementation((call) => ((fresh = call), () => {}))
    conversations.begin()
    fresh()
    await settle()
  })

  afterEach(() => {
    for (const toast of toasts.shown) toasts.dismiss(toast.id)
    vi.unstubAllGlobals()
    vi.restoreAllMocks()
  })

  const shown = () => conversations.inOrder.map((one) => one.id)
  const undo = async () => {
    await toasts.shown.at(-1)!.undo!()
    await settle()
  }

  test('has the newest first, the pinned above all, and those of folders in their folder', () => {
    expect(shown()).toEqual(['two', 'one'])
    change({ kind: 'conversation', conversation: conversation('one', { updated_at: 3 }) })
    expect(shown()).toEqual(['one', 'two'])
    change({ kind: 'conversation', conversation: conversation('two', { updated_at: 2, pinned: true }) })
    expect(shown()).toEqual(['two', 'one'])
    expect(conversations.pinned.map((one) => one.id)).toEqual(['two'])
    change({ kind: 'conversation', conversation: conversation('one', { folder_id: 'fold_1' }) })
    expect(conversations.groups).toEqual([])
    expect(conversations.inFolder('fold_1').map((one) => one.id)).toEqual(['one'])
    // Of a folder that is gone it stands with the others.
    change({ kind: 'conversation', conversation: conversation('one', { folder_id: 'fold_gone' }) })
    expect(conversations.groups.flatMap((group) => group.conversations.map((one) => one.id))).toEqual(['one'])
  })

  test('takes in what other windows make, and lets go what they delete or archive', () => {
    change({ kind: 'conversation', conversation: conversation('three', { updated_at: 3, unread: true }) })
    expect(shown()).toEqual(['three', 'two', 'one'])
    expect(conversations.unread).toBe(1)
    change({
      kind: 'conversation',
      conversation: conversation('three', { updated_at: 3, deleted: true, unread: true }),
    })
    change({ kind: 'conversation', conversation: conversation('two', { archived: true }) })
    expect(shown()).toEqual(['one'])
    expect(conversations.unread).toBe(0)
  })

  test('forgets, when it is fetched afresh, what was deleted meanwhile', async () => {
    server.answer('GET', '/api/conversations', ({ query }) => ({
      data: query['pinned'] ? [] : [conversation('two')],
    }))
    fresh()
    await settle()
    expect(shown()).toEqual(['two'])
  })

  test('archives, and takes it back', async () => {
    server.answer('PATCH', '/api/conversations/one', ({ json }) => conversation('one', { updated_at: 1, ...(json as object) })) // prettier-ignore
    await conversations.archive(conversations.get('one')!)
    expect(shown()).toEqual(['two'])
    expect(toasts.shown.at(-1)).toMatchObject({ text: 'Conversation archived', tone: 'note' })
    await undo()
    expect(shown()).toEqual(['two', 'one'])
    expect(server.askedFor('PATCH', '/api/conversations/one').map((asked) => asked.json)).toEqual([
      { archived: true },
      { archived: false },
    ])
  })

  test('does not say that it was archived when the server refuses', async () => {
    server.answer('PATCH', '/api/conversations/one', () => refusal(500, 'the disk is full'))
    await conversations.archive(conversations.get('one')!)
    expect(shown()).toEqual(['two', 'one'])
    expect(toasts.shown.map(({ text, tone }) => [text, tone])).toEqual([['the disk is full', 'error']])
  })

  test('shows a change at once, and takes it back when the server refuses', async () => {
    let answer: (response: Response) => void = () => {}
    server.answer('PATCH', '/api/conversations/one', () => new Promise((resolve) => (answer = resolve)))
    const changing = conversations.change(conversations.get('one')!, { title: 'new' })
    expect(conversations.get('one')!.title).toBe('new')
    await settle()
    answer(refusal(400, 'no'))
    expect(await changing).toBe(false)
    expect(conversations.get('one')!.title).toBe('one')
  })

  test('deletes, and restores', async () => {
    server.answer('DELETE', '/api/conversations/one', () => undefined)
    server.answer('POST', '/api/conversations/one/restore', () => undefined)
    await conversations.remove(conversations.get('one')!)
    expect(shown()).toEqual(['two'])
    await undo()
    expect(shown()).toEqual(['two', 'one'])
  })

  test('keeps what the server does not delete', async () => {
    server.answer('DELETE', '/api/conversations/one', () => refusal(500, 'no'))
    await conversations.remove(conversations.get('one')!)
    expect(shown()).toEqual(['two', 'one'])
  })

  test('loads as far as is scrolled, each page once', async () => {
    server.answer('GET', '/api/conversations', ({ query }) =>
      query['pinned'] ? { data: [] } : query['before'] === 'two' ? { data: [conversation('one')], next: null } : { data: [conversation('two', { updated_at: 2 })], next: 'two' },
    ) // prettier-ignore
    fresh()
    await settle()
    expect([shown(), conversations.isWhole]).toEqual([['two'], false])
    const before = server.asked.length
    await Promise.all([conversations.loadMore(), conversations.loadMore()])
    await conversations.loadMore()
    expect(server.asked.length).toBe(before + 1)
    expect([shown(), conversations.isWhole]).toEqual([['two', 'one'], true])
  })
})
