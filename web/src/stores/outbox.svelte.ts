/**
 * Questions on their way to the server. Each is on this device's disk before it is sent, and is sent, under one key, until
 * the server has accepted or refused it: through a cut, a reload and a killed server, once and no more.
 */

import { createConversation, createTurn, type Question } from '../services/candide.ts'
import { ApiError } from '../services/http.ts'
import { newId } from '../services/ids.ts'
import type { Conversation, FileView, Turn } from '../services/types.ts'
import { connection } from './connection.svelte.ts'
import { messageOf } from './toasts.svelte.ts'

export interface Outgoing {
  key: string
  conversationId: string
  /** The conversation that the question begins. */
  create: Partial<Conversation> | null
  question: Question
  files: FileView[]
  createdAt: number
}

/** Each question under a name of its own, so that two windows do not write over each other's. */
const KEPT = 'candide.outbox.'
const LONGEST_WAIT_MS = 2_000

class Outbox {
  waiting = $state.raw<Outgoing[]>([])
  /** Why the server refused a question, by its key. */
  refused = $state.raw<Record<string, string>>({})
  #sending = new Set<string>()
  #onAccepted = new Set<(outgoing: Outgoing, turn: Turn) => void>()
  #wake = new Set<() => void>()

  /** Take up what an earlier page left. */
  begin(): void {
    connection.onHurry(() => this.#wake.forEach((call) => call()))
    this.waiting = readKept()
    for (const { conversationId } of this.waiting) void this.#deliver(conversationId)
  }

  onAccepted(call: (outgoing: Outgoing, turn: Turn) => void): () => void {
    this.#onAccepted.add(call)
    return () => this.#onAccepted.delete(call)
  }

  send(
    conversationId: string,
    question: Question,
    files: FileView[],
    create: Partial<Conversation> | null,
  ): void {
    const outgoing = {
      key: newId('key'),
      conversationId,
      create,
      question,
      files,
      createdAt: Date.now() / 1000,
    }
    try {
      localStorage.setItem(KEPT + outgoing.key, JSON.stringify(outgoing))
    } catch {
      // The browser's store is full or closed: it is sent all the same.
    }
    this.waiting = [...this.waiting, outgoing]
    void this.#deliver(conversationId)
  }

  /** Send a refused question once more. */
  retry(outgoing: Outgoing): void {
    const { [outgoing.key]: _, ...rest } = this.refused
    this.refused = rest
    void this.#deliver(outgoing.conversationId)
  }

  /** Give a question up; those that wait behind it go on. */
  drop(outgoing: Outgoing): void {
    localStorage.removeItem(KEPT + outgoing.key)
    this.waiting = this.waiting.filter((other) => other.key !== outgoing.key)
    void this.#deliver(outgoing.conversationId)
  }

  /** Send what a conversation has waiting, in its order: each question follows the one before it. */
  async #deliver(conversationId: string): Promise<void> {
    if (this.#sending.has(conversationId)) return
    this.#sending.add(conversationId)
    try {
      for (;;) {
        const next = this.waiting.find((other) => other.conversationId === conversationId)
        if (!next || this.refused[next.key]) return
        const turn = await this.#push(next)
        if (!turn) return
        this.drop(next)
        for (const call of this.#onAccepted) call(next, turn)
      }
    } finally {
      this.#sending.delete(conversationId)
    }
  }

  async #push(outgoing: Outgoing): Promise<Turn | null> {
    for (let failures = 0; ; failures++) {
      try {
        if (outgoing.create) await createConversation({ id: outgoing.conversationId, ...outgoing.create })
        const turn = await createTurn(outgoing.conversationId, outgoing.question, outgoing.key)
        connection.alive()
        return turn
      } catch (error) {
        if (!(error instanceof ApiError) || !(error.isPassing || error.status === 401)) {
          const hint = error instanceof ApiError && error.hint ? ` (${error.hint})` : ''
          this.refused = { ...this.refused, [outgoing.key]: messageOf(error) + hint }
          return null
        }
        connection.broken()
        await this.#wait(Math.min(LONGEST_WAIT_MS, 200 * 2 ** failures))
      }
    }
  }

  #wait(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        clearTimeout(timer)
        this.#wake.delete(wake)
        resolve()
      }
      const timer = setTimeout(wake, ms)
      this.#wake.add(wake)
    })
  }
}

function readKept(): Outgoing[] {
  const kept: Outgoing[] = []
  for (const name of Object.keys(localStorage)) {
    if (!name.startsWith(KEPT)) continue
    try {
      const outgoing = JSON.parse(localStorage.getItem(name)!) as Outgoing
      if (KEPT + outgoing.key === name) kept.push(outgoing)
    } catch {
      localStorage.removeItem(name)
    }
  }
  return kept.sort((one, other) => (one.key < other.key ? -1 : 1))
}

export const outbox = new Outbox()
