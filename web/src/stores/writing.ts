/** Turn events into the message that they write: the one place where the union is read. */

import { Subscription, type ServerEvent } from '../services/events.ts'
import { turnEventsPath } from '../services/candide.ts'
import type { ApiError } from '../services/http.ts'
import type { TurnEvent } from '../services/types.ts'
import type { MessageNode } from './tree.svelte.ts'

/** Follow a turn into its answer until it has ended; the stream comes back by itself from where it stood. */
export function followTurn(
  turnId: string,
  answer: MessageNode,
  heard: { onEnd: () => void; onBreak: (error: ApiError) => void; onAlive: () => void },
): Subscription {
  return new Subscription({
    path: turnEventsPath(turnId),
    headers: (): Record<string, string> => (answer.seq ? { 'Last-Event-ID': String(answer.seq) } : {}),
    onOpen: heard.onAlive,
    onBreak: heard.onBreak,
    onEvents: (events) => applyEvents(answer, events),
    // Of several ends, as a turn has that was continued, only that is the last after which the server closes.
    isOver: () => {
      if (!answer.written.ended) return false
      heard.onEnd()
      return true
    },
  })
}

/**
 * Write events into an answer, in one change of each field however many there are. An event that is in it
 * already is passed over.
 */
export function applyEvents(answer: MessageNode, events: readonly ServerEvent[]): void {
  // Not what is shown: that may be of the server's message, which can be ahead of the events that have come so far.
  let { text, reasoning, ended } = answer.written
  let notices = answer.notices
  let isCorrected = false
  for (const { id, data } of events) {
    const seq = Number(id)
    if (!id || seq <= answer.seq) continue
    const event = JSON.parse(data) as TurnEvent
    answer.seq = seq
    ended = false
    switch (event.kind) {
      case 'TurnStarted':
        answer.model = event.model
        answer.engine = event.engine
        answer.error = null
        answer.usage = null
        answer.timings = null
        answer.finishReason = null
        answer.state = 'streaming'
        break
      case 'SearchStarted':
        answer.searching = { query: event.query, libraries: event.libraries ?? [], web: event.web ?? false }
        answer.state = 'streaming'
        break
      case 'SourcesFound': {
        const { query, sources, is_good, unread, missing } = event
        answer.searching = null
        answer.grounding = {
          query,
          sources,
          is_good: is_good ?? true,
          unread: unread ?? [],
          missing: missing ?? [],
        }
        break
      }
      case 'TextDelta':
        text += event.text
        break
      case 'ReasoningDelta':
        reasoning += event.text
        break
      case 'EngineSwitched': {
        const last = notices.at(-1)
        // One that fails again and again is told of once.
        if (last?.kind !== 'switched' || last.from !== event.from_engine || last.to !== event.to_engine)
          notices = [...notices, { kind: 'switched', from: event.from_engine, to: event.to_engine }]
        break
      }
      case 'ContextCompacted':
        notices = [
          ...notices.filter((n) => n.kind !== 'compacted'),
          { kind: 'compacted', dropped: event.dropped_messages },
        ]
        break
      // Where the marks are is read from the text, in which they are what they are wherever Markdown puts them.
      case 'CitationMarked':
        break
      case 'CitationsChecked':
        if (typeof event.text === 'string') {
          text = event.text
          isCorrected = true
        }
        answer.grounding = {
          ...answer.grounding,
          sentences: event.sentences ?? [],
          abstained: event.abstained ?? false,
          extract: event.extract ?? [],
          checked: true,
        }
        break
      case 'TurnFinished':
        answer.searching = null
        answer.state = event.state === 'stopped' ? 'stopped' : 'complete'
        answer.usage = event.usage ?? null
        answer.timings = event.timings ?? null
        answer.finishReason = event.finish_reason
        ended = true
        break
      case 'TurnFailed':
        answer.searching = null
        answer.state = 'failed'
        answer.error = { code: event.code, message: event.message, hint: event.hint ?? null }
        ended = true
        break
    }
  }
  answer.written = { text, reasoning, ended }
  // What is on the screen is never taken back, but for what was found not to stand in the sources as it was quoted.
  if (isCorrected || text.length > answer.text.length) answer.text = text
  if (reasoning.length > answer.reasoning.length) answer.reasoning = reasoning
  answer.notices = notices
}
