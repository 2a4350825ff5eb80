/**
 * One open conversation: its tree, the answers that are being written in it, and what a user does with them.
 *
 * `Chat` is what the components know; a stored conversation and a temporary one both are one.
 */

import * as candide from '../services/candide.ts'
import { ApiError } from '../services/http.ts'
import type { Subscription } from '../services/events.ts'
import { newId } from '../services/ids.ts'
import type { SearchWishes } from '../services/sources.ts'
import type { Conversation, FileView, Turn } from '../services/types.ts'
import { t } from '../i18n/index.svelte.ts'
import { connection } from './connection.svelte.ts'
import { isAnywhere, NOWHERE } from './libraries.svelte.ts'
import { outbox, type Outgoing } from './outbox.svelte.ts'
import { attempt, messageOf, toasts } from './toasts.svelte.ts'
import { MessageNode, MessageTree, newMessage } from './tree.svelte.ts'
import { followTurn } from './writing.ts'

export interface Chat {
  readonly tree: MessageTree
  readonly isTemporary: boolean
  readonly isWriting: boolean
  ask(text: string, files: FileView[], model: string | undefined): void
  /** Ask an earlier question in other words, on a branch of its own. */
  edit(question: MessageNode, text: string): void
  /** Have a question answered once more, by another model if one is named: that of an answer, or one that has none. */
  regenerate(message: MessageNode, model: string | undefined): Promise<void>
  /** Show the branch on which a message lies. */
  switchTo(node: MessageNode): void
  /** Take a message out, with what follows it. */
  remove(node: MessageNode): Promise<void>
  stop(): void
}

export class OpenConversation implements Chat {
  readonly id: string
  readonly tree = new MessageTree()
  readonly isTemporary = false
  summary = $state.raw<Conversation | null>(null)
  state = $state<'loading' | 'ready' | 'missing' | 'failed'>('loading')
  failure = $state('')
  readonly outgoing = $derived.by(() => outbox.waiting.filter((other) => other.conversationId === this.id))
  readonly isWriting = $derived.by(() => this.tree.branch.some((node) => node.isWriting))
  #following = new Map<string, Subscription>()
  #ends: (() => void)[] = []
  #refreshing: Promise<void> | null = null
  #isStale = false
  /** How often something was done here: an answer of the server that was on its way meanwhile does not know of it. */
  #deeds = 0

  constructor(id: string) {
    this.id = id
  }

  /** Load it, and keep up with it until `close`. */
  open(): void {
    this.#ends = [
      connection.onFresh(() => {
        if (this.summary || this.state !== 'ready') void this.refresh()
      }),
      connection.onChange((change) => {
        if (change.kind === 'conversation' && change.conversation.id === this.id)
          this.#changed(change.conversation)
      }),
      outbox.onAccepted((outgoing, turn) => this.#accepted(outgoing, turn)),
    ]
    // While changes are not heard yet, what is fetched could miss one: the line's opening fetches. One that begins here is
    // not at the server yet.
    if (connection.isOpen && (this.state === 'loading' || this.summary)) void this.refresh()
  }

  close(): void {
    for (const end of this.#ends) end()
    for (const following of this.#following.values()) following.close()
    this.#following.clear()
  }

  /** Fetch the tree as the server has it. Calls that come meanwhile are answered by one more fetch. */
  async refresh(): Promise<void> {
    this.#isStale = true
    this.#refreshing ??= this.#refresh().finally(() => (this.#refreshing = null))
    await this.#refreshing
  }

  async #refresh(): Promise<void> {
    while (this.#isStale) {
      this.#isStale = false
      const deeds = this.#deeds
      try {
        const { messages, ...summary } = await candide.getConversation(this.id)
        if (deeds !== this.#deeds) {
          this.#isStale = true
          continue
        }
        this.tree.replace(messages)
        if (
          this.tree.get(this.tree.leafId) === undefined ||
          summary.current_leaf_id !== this.summary?.current_leaf_id
        )
          this.tree.leafId = summary.current_leaf_id
        this.summary = summary
        this.state = 'ready'
        this.#followAll()
        if (summary.unread) this.seen()
      } catch (error) {
        if (error instanceof ApiError && error.status === 404) {
          // One that begins with a question on its way is made with it.
          this.state = this.outgoing.length ? 'ready' : 'missing'
        } else if (this.state === 'loading' && !(error instanceof ApiError && error.isPassing)) {
          this.state = 'failed'
          this.failure = messageOf(error)
        }
      }
    }
  }

  ask(text: string, files: FileView[], model: string | undefined): void {
    const isNew = this.summary === null && !this.outgoing.length
    const parent = this.outgoing.length ? {} : { parent_id: this.tree.leafId }
    const { search } = this
    outbox.send(
      this.id,
      {
        text,
        model,
        attachments: files.map((file) => file.id),
        // Said with the question too: what was just chosen may still be on its way.
        ...(isAnywhere(search) && { search }),
        ...(!isNew && parent),
      },
      files,
      isNew ? (this.#create ?? {}) : null,
    )
    this.state = 'ready'
  }

  #create = $state.raw<Partial<Conversation> | null>(null)

  /** Where its answers are looked for. */
  readonly search = $derived.by(() => (this.summary ? this.summary.search : this.#create?.search) ?? NOWHERE)

  /** Say where they are looked for from the next question on. */
  async lookIn(search: SearchWishes): Promise<void> {
    const before = this.summary
    if (!before) {
      this.#create = { ...this.#create, search }
      return
    }
    this.#deeds++
    this.summary = { ...before, search }
    if (!(await attempt(() => candide.changeConversation(this.id, { search }))) && this.summary)
      this.summary = { ...this.summary, ...(before.search && { search: before.search }) }
  }

  /** Say what the conversation is made with once its first question is asked. */
  begin(create: Partial<Conversation>): void {
    this.#create = create
    this.state = 'ready'
  }

  edit(question: MessageNode, text: string): void {
    const files = question.parts.flatMap((part) => (part.file ? [part.file] : []))
    const sent = { text, parent_id: question.parentId, attachments: files.map((file) => file.id) }
    outbox.send(this.id, sent, files, null)
    // What followed the old question is on another branch now.
    this.tree.leafId = question.parentId
  }

  async regenerate(message: MessageNode, model: string | undefined): Promise<void> {
    const question = message.role === 'user' ? message : this.tree.get(message.parentId)
    if (!question) return
    await attempt(async () => {
      const key = newId('key')
      this.#take(await candide.createTurn(this.id, { user_message_id: question.id, model }, key))
    })
  }

  /** Have an answer go on from where it ended. */
  async continueAnswer(answer: MessageNode): Promise<void> {
    const turnId = answer.turnId
    if (!turnId) return
    await attempt(async () => {
      await candide.continueTurn(turnId)
      this.#deeds++
      answer.state = 'pending'
      answer.error = null
      answer.finishReason = null
      // The stream of the end before may not be closed yet.
      this.#following.get(turnId)?.close()
      this.#following.delete(turnId)
      this.#follow(answer)
    })
  }

  stop(): void {
    for (const node of this.tree.branch) {
      if (node.isWriting && node.turnId) {
        const turnId = node.turnId
        void attempt(() => candide.stopTurn(turnId))
      }
    }
  }

  switchTo(node: MessageNode): void {
    this.#deeds++
    this.tree.leafId = this.tree.findLeaf(node).id
    this.#followAll()
    const leaf = this.tree.leafId
    if (this.summary) this.summary = { ...this.summary, current_leaf_id: leaf }
    void attempt(() => candide.changeConversation(this.id, { current_leaf_id: leaf }))
  }

  async remove(node: MessageNode): Promise<void> {
    await attempt(async () => {
      await candide.deleteMessage(node.id)
      this.tree.leafId = node.parentId
      this.tree.remove(node)
      await this.refresh()
      toasts.note(t('message.deleted'), async () => {
        await attempt(() => candide.restoreMessage(node.id))
        await this.refresh()
      })
    })
  }

  async rate(node: MessageNode, rating: 'up' | 'down' | null, reason = ''): Promise<void> {
    const before = node.feedback
    node.feedback = rating ? { rating, reason } : null
    if (!(await attempt(() => candide.rateMessage(node.id, rating, reason)))) node.feedback = before
  }

  /** It was looked at. */
  seen(): void {
    if (document.visibilityState !== 'visible') return
    if (this.summary) this.summary = { ...this.summary, unread: false }
    candide.changeConversation(this.id, { unread: false }).catch(() => {})
  }

  /** Something about it changed, here or in another window. */
  #changed(summary: Conversation): void {
    if (summary.deleted) {
      this.summary = summary
      return
    }
    const known = this.tree.get(summary.current_leaf_id)
    const isFollowed = summary.running.every((turn) => this.#following.has(turn))
    // One that is missing here was brought back.
    const isSame =
      this.state === 'ready' && known && isFollowed && summary.updated_at === this.summary?.updated_at
    if (summary.unread) this.seen()
    if (isSame) this.summary = { ...summary, unread: false }
    else void this.refresh()
  }

  #accepted(outgoing: Outgoing, turn: Turn): void {
    if (outgoing.conversationId !== this.id) return
    const parts = outgoing.files.map((file) => ({
      type: file.media_type.startsWith('image/') ? 'image_url' : 'file',
      file,
      image_url: { url: `/api/files/${file.id}` },
    }))
    const asked = outgoing.question.parent_id
    const parent = asked === undefined ? this.tree.leafId : asked
    const question = newMessage({
      id: turn.user_message_id,
      role: 'user',
      parent_id: parent,
      text: outgoing.question.text ?? '',
      parts,
      created_at: outgoing.createdAt,
    })
    this.tree.add(new MessageNode(question))
    this.#take(turn)
    if (!this.summary) void this.refresh()
  }

  /** Show a turn that was accepted, and follow it. */
  #take(turn: Turn): void {
    this.#deeds++
    const answer =
      this.tree.get(turn.answer_message_id) ??
      new MessageNode(
        newMessage({
          id: turn.answer_message_id,
          role: 'assistant',
          parent_id: turn.user_message_id,
          state: turn.state === 'queued' ? 'pending' : 'streaming',
          turn_id: turn.id,
          model: turn.model || null,
          created_at: turn.created_at,
        }),
      )
    this.tree.add(answer)
    this.tree.leafId = answer.id
    if (this.summary) this.summary = { ...this.summary, current_leaf_id: answer.id }
    this.#follow(answer)
  }

  /** Follow what is being written on the branch that is shown; of other branches the server tells at their end. */
  #followAll(): void {
    for (const node of this.tree.branch) if (node.isWriting) this.#follow(node)
  }

  #follow(answer: MessageNode): void {
    const turnId = answer.turnId
    if (!turnId || this.#following.has(turnId)) return
    this.#following.set(
      turnId,
      followTurn(turnId, answer, {
        onEnd: () => {
          this.#following.delete(turnId)
          // The server's message was older than the end that had come.
          if (answer.isWriting) void this.refresh()
        },
        onBreak: (error) => {
          if (error.isPassing) connection.broken()
          else if (error.status !== 401) this.#following.delete(turnId)
        },
        onAlive: () => connection.alive(),
      }),
    )
  }
}

/** Conversations that were looked at last, so that going back to one is at once. */
const MOST_KEPT = 6
const kept = new Map<string, OpenConversation>()

/** The conversation of that id; the same object while it is among the last that were open. */
export function findConversation(id: string): OpenConversation {
  const found = kept.get(id) ?? new OpenConversation(id)
  kept.delete(id)
  kept.set(id, found)
  for (const oldest of kept.keys()) {
    if (kept.size <= MOST_KEPT) break
    kept.delete(oldest)
  }
  return found
}
