import fc from 'fast-check'
import { describe, expect, test } from 'vitest'

import type { Message } from '../services/types.ts'
import { MessageNode, MessageTree, newMessage } from './tree.svelte.ts'

const message = (id: string, parent_id: string | null, created_at = 0, known: Partial<Message> = {}) =>
  newMessage({ id, role: 'user', parent_id, created_at, ...known })

function grow(...messages: Message[]): MessageTree {
  const tree = new MessageTree()
  tree.replace(messages)
  return tree
}

const ids = (nodes: Iterable<MessageNode>) => Array.from(nodes, (node) => node.id)

/** Messages in the server's order, each with a parent that came before it, or none. */
const messages = fc
  .array(fc.tuple(fc.option(fc.nat(30)), fc.nat(5)), { minLength: 1, maxLength: 30 })
  .map((made) =>
    made.map(([parent, at], n) => message(`m${n}`, parent === null || n === 0 ? null : `m${parent % n}`, at)),
  )
/** The same where any message may name any as its parent, itself and those that are not there included. */
const tangle = fc
  .array(fc.option(fc.nat(12)), { minLength: 1, maxLength: 10 })
  .map((parents) => parents.map((parent, n) => message(`m${n}`, parent === null ? null : `m${parent}`)))

/** The plain way to each: by looking through all messages again and again. */
const model = {
  children: (all: Message[], id: string) => all.filter((one) => one.parent_id === id),
  branch: (all: Message[], leaf: string): string[] => {
    const found = all.find((one) => one.id === leaf)
    return found ? [...(found.parent_id ? model.branch(all, found.parent_id) : []), leaf] : []
  },
  below: (all: Message[], id: string): string[] => [
    id,
    ...model.children(all, id).flatMap((child) => model.below(all, child.id)),
  ],
}

describe('a tree', () => {
  test('shows the branch from its root to the leaf', () => {
    const tree = grow(message('a', null), message('b', 'a'), message('c', 'b'), message('c2', 'b'))
    expect(ids(tree.branch)).toEqual([])
    tree.leafId = 'c2'
    expect(ids(tree.branch)).toEqual(['a', 'b', 'c2'])
    tree.leafId = 'gone'
    expect(ids(tree.branch)).toEqual([])
  })

  test('counts versions in their order, those of the first question too', () => {
    const tree = grow(message('a', null), message('b', 'a'), message('b2', 'a'), message('a2', null))
    expect(ids(tree.siblings(tree.get('b2')!))).toEqual(['b', 'b2'])
    expect(ids(tree.siblings(tree.get('a2')!))).toEqual(['a', 'a2'])
  })

  test('shows what hangs in the air, since its parent was lost, as a beginning', () => {
    const tree = grow(message('a', null), message('b', 'lost'))
    tree.leafId = 'b'
    expect(ids(tree.branch)).toEqual(['b'])
    expect(ids(tree.siblings(tree.get('b')!))).toEqual(['a', 'b'])
  })

  test('goes to the leaf that was last spoken on; of those of one moment, the last', () => {
    const tree = grow(message('a', null, 1), message('b', 'a', 2), message('b2', 'a', 3), message('c', 'b', 9), message('d', 'b2', 4)) // prettier-ignore
    expect(tree.findLeaf(tree.get('a')!).id).toBe('c')
    expect(tree.findLeaf(tree.get('b2')!).id).toBe('d')
    expect(tree.findLeaf(tree.get('d')!).id).toBe('d')
    const import_ = grow(message('a', null, 1), message('b', 'a', 1), message('b2', 'a', 1))
    expect(import_.findLeaf(import_.get('a')!).id).toBe('b2')
  })

  test('is what the plain way finds, whatever it looks like', () => {
    fc.assert(
      fc.property(messages, fc.nat(), (all, pick) => {
        const tree = grow(...all)
        const id = all[pick % all.length]!.id
        const node = tree.get(id)!
        tree.leafId = id
        expect(ids(tree.branch)).toEqual(model.branch(all, id))
        expect(ids(tree.siblings(node))).toEqual(ids2(all.filter((one) => one.parent_id === node.parentId)))

        const leaf = tree.findLeaf(node)
        const leaves = all.filter((one) => model.below(all, id).includes(one.id) && !model.children(all, one.id).length)
        expect(ids2(leaves)).toContain(leaf.id)
        expect(leaf.createdAt).toBe(Math.max(...leaves.map((one) => one.created_at)))

        const gone = model.below(all, id)
        tree.remove(node)
        expect(ids(tree.nodes)).toEqual(ids2(all).filter((one) => !gone.includes(one)))
      }),
    ) // prettier-ignore
  })

  test('that runs in a circle ends', () => {
    fc.assert(
      fc.property(tangle, fc.nat(), (all, pick) => {
        const tree = grow(...all)
        const node = tree.get(all[pick % all.length]!.id)!
        tree.leafId = node.id
        expect(new Set(tree.branch).size).toBe(tree.branch.length)
        expect(tree.branch.at(-1)).toBe(node)
        expect(ids(tree.siblings(node))).toContain(node.id)
        tree.findLeaf(node)
        tree.remove(node)
        expect(tree.get(node.id)).toBe(undefined)
      }),
      { timeout: 2000 },
    )
  })

  test('takes over what the server has, in its order, and keeps the nodes that stay', () => {
    fc.assert(
      fc.property(messages, messages, (before, after) => {
        const tree = grow(...before)
        const known = new Map(Array.from(tree.nodes, (node) => [node.id, node]))
        tree.replace(after.map((one) => ({ ...one, text: 'new' })))
        expect(ids(tree.nodes)).toEqual(ids2(after))
        for (const node of tree.nodes) {
          expect(node.text).toBe('new')
          if (known.has(node.id)) expect(node).toBe(known.get(node.id))
        }
      }),
    )
  })

  test('adds what it does not have, and only that', () => {
    const tree = grow(message('a', null))
    const a = tree.get('a')
    tree.add(new MessageNode(message('a', null)), new MessageNode(message('b', 'a')))
    expect(tree.get('a')).toBe(a)
    expect(ids(tree.nodes)).toEqual(['a', 'b'])
  })
})

const ids2 = (all: readonly Message[]) => all.map((one) => one.id)

describe('a node', () => {
  const streaming = { role: 'assistant', state: 'streaming', turn_id: 't' } as const

  test('keeps what events wrote while the server has not written it down', () => {
    const node = new MessageNode(message('a', null, 0, streaming))
    node.seq = 3
    node.text = 'written'
    node.update(message('a', null, 0, { ...streaming, text: '' }))
    expect(node.text).toBe('written')
    node.update(message('a', null, 0, { ...streaming, state: 'complete', text: 'written down' }))
    expect(node.text).toBe('written down')
  })

  test.each([
    ['stopped', 'stop', true],
    ['failed', null, true],
    ['complete', 'length', true],
    ['complete', 'stop', false],
    ['streaming', null, false],
    ['pending', null, false],
  ] as const)('that is %s by %s can be continued: %s', (state, finish_reason, can) => {
    expect(new MessageNode(message('a', null, 0, { ...streaming, state, finish_reason })).canContinue).toBe(
      can,
    )
    expect(new MessageNode(message('a', null, 0, { ...streaming, state, turn_id: null })).canContinue).toBe(
      false,
    )
  })
})
