/** The shapes that the server speaks, by the names that the page uses; made from its OpenAPI document. */

import type { components } from './schema.ts'
import type { Grounding, NumberedSource, Sentence } from './sources.ts'

type Schemas = components['schemas']

export type Conversation = Schemas['ConversationSummary']
export type ConversationTree = Omit<Schemas['ConversationView'], 'messages'> & { messages: Message[] }
export type FileView = Schemas['FileView']
export type Turn = Schemas['TurnView']
export type Timings = Schemas['Timings']
export type Feedback = Schemas['FeedbackView']
export type TurnError = Schemas['TurnErrorView']
export type Folder = Schemas['FolderView']
export type Prompt = Schemas['PromptView']
export type Share = Schemas['ShareView']
export type Shared = Omit<Schemas['SharedView'], 'messages'> & { messages: Message[] }
export type Model = Schemas['ModelView']
export type Status = Schemas['StatusView']
export type Download = Schemas['Download']
export type Preferences = Schemas['PreferencesView']
export type Found = Schemas['FoundView']

/** A content part, of whatever kind an engine or an import gave: an image, a file, a tool's call or result. */
export interface Part {
  type: string
  file?: FileView
  image_url?: { url: string }
  [member: string]: unknown
}

export type Message = Omit<Schemas['MessageView'], 'parts' | 'usage' | 'grounding'> & {
  parts: Part[]
  usage?: { prompt_tokens?: number; completion_tokens?: number } | null
  grounding?: Grounding | null
}
export type MessageState = Message['state']

export type Import = Schemas['ImportView']

/** One element of what a turn says; `candide.domain.turns.TurnEvent`. */
export type TurnEvent =
  | { kind: 'TurnStarted'; model: string; engine: string; continued?: boolean }
  | { kind: 'SearchStarted'; query: string; libraries?: string[]; web?: boolean }
  | {
      kind: 'SourcesFound'
      query: string
      sources: NumberedSource[]
      is_good?: boolean
      unread?: string[]
      missing?: string[]
    }
  | { kind: 'TextDelta'; text: string }
  | { kind: 'ReasoningDelta'; text: string }
  | { kind: 'EngineSwitched'; reason: string; from_engine: string; to_engine: string }
  | { kind: 'ContextCompacted'; dropped_messages: number }
  | { kind: 'CitationMarked'; number: number; start: number; end: number }
  | {
      kind: 'CitationsChecked'
      text?: string | null
      sentences?: Sentence[]
      abstained?: boolean
      extract?: Sentence[]
    }
  | {
      kind: 'TurnFinished'
      state: 'finished' | 'stopped'
      finish_reason: string
      usage?: Message['usage']
      timings?: Timings
    }
  | { kind: 'TurnFailed'; code: string; message: string; hint?: string | null }
