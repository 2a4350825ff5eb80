/**
 * The tree of messages of one conversation, and the branch of it that is shown.
 *
 * Nothing in it is overwritten: an edit or another answer is one more sibling. A node keeps its identity through every
 * refresh, so that what is on the screen stays where it is.
 */

import type { Grounding } from '../services/sources.ts'
import type { Feedback, Message, MessageState, Part, Timings, TurnError } from '../services/types.ts'

export class MessageNode {
  readonly id: string
  readonly parentId: string | null
  readonly role: Message['role']
  readonly createdAt: number
  readonly parts: Part[]
  text = $state('')
  reasoning = $state('')
  state = $state<MessageState>('complete')
  model = $state<string | null>(null)
  engine = $state<string | null>(null)
  turnId = $state<string | null>(null)
  usage = $state.raw<Message['usage']>(null)
  timings = $state.raw<Timings | null>(null)
  finishReason = $state<string | null>(null)
  feedback = $state.raw<Feedback | null>(null)
  error = $state.raw<TurnError | null>(null)
  /** What it rests on: nothing before the sources are found, and of answers that were not looked for. */
  grounding = $state.raw<Grounding | null>(null)
  /** What is being searched for it, until the sources are found. */
  searching = $state.raw<Search | null>(null)
  /** What happened meanwhile that a reader should know: another engine went on, old messages were left out. */
  notices = $state.raw<Notice[]>([])
  /** The last turn event that is in here; 0 when the text came from elsewhere. */
  seq = 0
  /** What the turn events up to that one have written, and whether it was an end. */
  written = { text: '', reasoning: '', ended: false }

  constructor(message: Message) {
    this.id = message.id
    this.parentId = message.parent_id
    this.role = message.role
    this.createdAt = message.created_at
    this.parts = message.parts
    this.update(message)
  }

  get isWriting(): boolean {
    return this.state === 'pending' || this.state === 'streaming'
  }

  /** Whether the answer can be gone on with: it was stopped, it failed, or its length was used up. */
  get canContinue(): boolean {
    if (this.role !== 'assistant' || !this.turnId) return false
    return this.state === 'stopped' || this.state === 'failed' || this.finishReason === 'length'
  }

  /** Take over what the server says of it. What turn events have written so far is newer than that. */
  update(message: Message): void {
    this.turnId = message.turn_id ?? null
    this.model = message.model ?? this.model
    this.engine = message.engine ?? this.engine
    this.feedback = message.feedback ?? null
    const isWriting = message.state === 'pending' || message.state === 'streaming'
    if (!isWriting || this.seq === 0) {
      this.text = message.text
      this.reasoning = message.reasoning
    }
    this.state = message.state
    this.usage = message.usage ?? null
    this.timings = message.timings ?? null
    this.finishReason = message.finish_reason ?? null
    this.error = message.error ?? null
    this.grounding = message.grounding ?? (isWriting ? this.grounding : null)
    if (!isWriting) this.searching = null
  }
}

export interface Search {
  query: string
  /** Names. */
  libraries: string[]
  web: boolean
}

export type Notice = { kind: 'switched'; from: string; to: string } | { kind: 'compacted'; dropped: number }

export class MessageTree {
  #nodes = $state.raw(new Map<string, MessageNode>())
  leafId = $state<string | null>(null)

  readonly #children = $derived.by(() => {
    const children = new Map<string | null, MessageNode[]>()
    for (const node of this.#nodes.values()) {
      const parent = node.parentId !== null && this.#nodes.has(node.parentId) ? node.parentId : null
      const siblings = children.get(parent)
      if (siblings) siblings.push(node)
      else children.set(parent, [node])
    }
    return children
  })

  /** From the root to the leaf. */
  readonly branch = $derived.by(() => {
    const path: MessageNode[] = []
    const seen = new Set<string>()
    let node = this.leafId === null ? undefined : this.#nodes.get(this.leafId)
    while (node && !seen.has(node.id)) {
      seen.add(node.id)
      path.push(node)
      node = node.parentId === null ? undefined : this.#nodes.get(node.parentId)
    }
    return path.reverse()
  })

  get(id: string | null): MessageNode | undefined {
    return id === null ? undefined : this.#nodes.get(id)
  }

  get nodes(): Iterable<MessageNode> {
    return this.#nodes.values()
  }

  /** A node and those before it on its branch, the latest first. */
  *above(node: MessageNode): Generator<MessageNode> {
    const seen = new Set<MessageNode>()
    for (let at: MessageNode | undefined = node; at && !seen.has(at); at = this.get(at.parentId)) {
      seen.add(at)
      yield at
    }
  }

  /** A node and its siblings, oldest first. */
  siblings(node: MessageNode): MessageNode[] {
    const parent = node.parentId !== null && this.#nodes.has(node.parentId) ? node.parentId : null
    return this.#children.get(parent) ?? [node]
  }

  /** The leaf below a node that was last spoken on. */
  findLeaf(node: MessageNode): MessageNode {
    let newest: MessageNode | undefined
    for (const next of this.#below(node)) {
      if (this.#children.get(next.id)?.length) continue
      // Of those of one moment, as in an import, the last.
      if (!newest || next.createdAt >= newest.createdAt) newest = next
    }
    return newest ?? node
  }

  /** Take over the whole tree as the server has it; nodes that stay are the same objects. */
  replace(messages: Message[]): void {
    const nodes = new Map<string, MessageNode>()
    for (const message of messages) {
      const known = this.#nodes.get(message.id)
      if (known) known.update(message)
      nodes.set(message.id, known ?? new MessageNode(message))
    }
    this.#nodes = nodes
  }

  add(...added: MessageNode[]): void {
    const nodes = new Map(this.#nodes)
    for (const node of added) if (!nodes.has(node.id)) nodes.set(node.id, node)
    this.#nodes = nodes
  }

  /** Take a node out with all that follows it. */
  remove(node: MessageNode): void {
    const gone = this.#below(node)
    this.#nodes = new Map([...this.#nodes].filter(([, other]) => !gone.has(other)))
  }

  /** A node and all that follow it, level by level; each once, even if an import made them follow each other. */
  #below(node: MessageNode): Set<MessageNode> {
    const found = new Set([node])
    for (const next of found) for (const child of this.#children.get(next.id) ?? []) found.add(child)
    return found
  }
}

/** A message that the server has not told of, or never will. */
export function newMessage(known: Partial<Message> & Pick<Message, 'id' | 'role' | 'parent_id'>): Message {
  return {
    text: '',
    state: 'complete',
    reasoning: '',
    parts: [],
    model: null,
    engine: null,
    turn_id: null,
    usage: null,
    timings: null,
    finish_reason: null,
    feedback: null,
    error: null,
    created_at: Date.now() / 1000,
    ...known,
  }
}
