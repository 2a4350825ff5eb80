/**
 * A conversation that is stored nowhere: it lives in this page's memory and goes with it. Answers come from the
 * stateless OpenAI API, of which the server keeps nothing either.
 */

import { EventParser } from '../services/events.ts'
import { send } from '../services/http.ts'
import { newId } from '../services/ids.ts'
import type { FileView } from '../services/types.ts'
import type { Chat } from './conversation.svelte.ts'
import { models } from './models.svelte.ts'
import { preferences } from './preferences.svelte.ts'
import { messageOf } from './toasts.svelte.ts'
import { MessageNode, MessageTree, newMessage } from './tree.svelte.ts'

interface Frame {
  model?: string
  choices?: {
    delta?: { content?: string | null; reasoning_content?: string | null }
    finish_reason?: string | null
  }[]
  usage?: { prompt_tokens?: number; completion_tokens?: number } | null
  error?: { message: string; code?: string | null }
}

export class TemporaryConversation implements Chat {
  readonly tree = new MessageTree()
  readonly isTemporary = true
  readonly isWriting = $derived.by(() => this.tree.branch.some((node) => node.isWriting))
  #writing = new Map<string, AbortController>()

  ask(text: string, _files: FileView[], model: string | undefined): void {
    this.#ask(text, this.tree.leafId, model)
  }

  edit(question: MessageNode, text: string): void {
    this.#ask(text, question.parentId, undefined)
  }

  async regenerate(message: MessageNode, model: string | undefined): Promise<void> {
    const question = message.role === 'user' ? message : this.tree.get(message.parentId)
    if (question) await this.#answer(question, model)
  }

  stop(): void {
    for (const writing of this.#writing.values()) writing.abort()
  }

  switchTo(node: MessageNode): void {
    this.tree.leafId = this.tree.findLeaf(node).id
  }

  async remove(node: MessageNode): Promise<void> {
    this.stop()
    this.tree.leafId = node.parentId
    this.tree.remove(node)
  }

  #ask(text: string, parentId: string | null, model: string | undefined): void {
    const question = new MessageNode(
      newMessage({ id: newId('msg'), role: 'user', parent_id: parentId, text }),
    )
    this.tree.add(question)
    void this.#answer(question, model)
  }

  async #answer(question: MessageNode, model: string | undefined): Promise<void> {
    const answer = new MessageNode(
      newMessage({ id: newId('msg'), role: 'assistant', parent_id: question.id, state: 'streaming' }),
    )
    this.tree.add(answer)
    this.tree.leafId = answer.id
    const said = this.tree.branch
      .filter((node) => node !== answer && node.text)
      .map((node) => ({ role: node.role, content: node.text }))
    const writing = new AbortController()
    this.#writing.set(answer.id, writing)
    const began = performance.now()
    let firstToken = 0
    try {
      // Asked at once, the page does not know yet what the server adds to a stored conversation's question by itself.
      if (!models.current) await Promise.all([models.refresh(), preferences.refresh()])
      const { instructions, params } = preferences.current
      const messages = instructions ? [{ role: 'system', content: instructions }, ...said] : said
      const response = await send('POST', '/v1/chat/completions', {
        json: {
          ...params,
          model: model ?? models.current?.name ?? '',
          messages,
          stream: true,
          stream_options: { include_usage: true },
        },
        signal: writing.signal,
      })
      const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader()
      const parser = new EventParser()
      let isWhole = false
      for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
        for (const { data } of parser.push(piece.value)) {
          if (data === '[DONE]') {
            isWhole = true
            continue
          }
          const frame = JSON.parse(data) as Frame
          if (frame.error) throw new Error(frame.error.message)
          const choice = frame.choices?.[0]
          answer.model = frame.model ?? answer.model
          answer.reasoning += choice?.delta?.reasoning_content ?? ''
          answer.text += choice?.delta?.content ?? ''
          if (answer.text) firstToken ||= performance.now()
          answer.finishReason = choice?.finish_reason ?? answer.finishReason
          answer.usage = frame.usage ?? answer.usage
        }
      }
      if (!isWhole) throw new Error('the stream broke off')
      const seconds = (performance.now() - firstToken) / 1000
      const tokens = answer.usage?.completion_tokens
      answer.timings = {
        first_token_ms: firstToken - began,
        total_ms: performance.now() - began,
        tokens_per_second: tokens && seconds > 0 ? tokens / seconds : null,
      }
      answer.state = 'complete'
    } catch (error) {
      if (writing.signal.aborted) answer.state = 'stopped'
      else {
        answer.state = 'failed'
        answer.error = { code: '', message: messageOf(error) }
      }
    } finally {
      this.#writing.delete(answer.id)
    }
  }
}
