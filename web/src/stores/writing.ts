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
    onEvents: (events) => {
      const ended = applyEvents(answer, events)
      if (ended) heard.onEnd()
      return ended
    },
  })
}

/**
 * Write events into an answer, in one change of each field however many there are. An event that is in it
 * already is passed over. Returns whether the last of them ended the turn.
 */
export function applyEvents(answer: MessageNode, events: readonly ServerEvent[]): boolean {
  // From the first event on, the log is the whole text, whatever was shown of the message before.
  let text = answer.seq === 0 ? '' : answer.text
  let reasoning = answer.seq === 0 ? '' : answer.reasoning
  let notices = answer.seq === 0 ? [] : answer.notices
  let ended = false
  let taken = false
  for (const { id, data } of events) {
    const seq = Number(id)
    if (!id || seq <= answer.seq) continue
    const event = JSON.parse(data) as TurnEvent
    answer.seq = seq
    taken = true
    ended = false
    switch (event.kind) {
      case 'TurnStarted':
        answer.model = event.model
        answer.engine = event.engine
        answer.error = null
        answer.state = 'streaming'
        break
      case 'TextDelta':
        text += event.text
        break
      case 'ReasoningDelta':
        reasoning += event.text
        break
      case 'EngineSwitched':
        notices = [...notices, { kind: 'switched', from: event.from_engine, to: event.to_engine }]
        break
      case 'ContextCompacted':
        notices = [
          ...notices.filter((n) => n.kind !== 'compacted'),
          { kind: 'compacted', dropped: event.dropped_messages },
        ]
        break
      case 'TurnFinished':
        answer.state = event.state === 'stopped' ? 'stopped' : 'complete'
        answer.usage = event.usage ?? null
        answer.timings = event.timings ?? null
        answer.finishReason = event.finish_reason
        ended = true
        break
      case 'TurnFailed':
        answer.state = 'failed'
        answer.error = { code: event.code, message: event.message, hint: event.hint ?? null }
        ended = true
        break
    }
  }
  if (taken) {
    answer.text = text
    answer.reasoning = reasoning
    answer.notices = notices
  }
  return ended
}
