/** The shapes that the server speaks, by the names that the page uses. */

export interface Conversation {
  id: string
  title: string
  current_leaf_id: string | null
  model: string | null
  system_prompt: string | null
  instructions: string | null
  params: Record<string, unknown>
  folder_id: string | null
  pinned: boolean
  archived: boolean
  deleted: boolean
  unread: boolean
  /** Turns that have not ended. */
  running: string[]
  created_at: number
  updated_at: number
}

export interface FileView {
  id: string
  name: string
  media_type: string
  size: number
}

export interface Part {
  type: string
  file?: FileView
  image_url?: { url: string }
  [member: string]: unknown
}

export type MessageState = 'complete' | 'pending' | 'streaming' | 'stopped' | 'failed'

export interface Timings {
  first_token_ms?: number | null
  total_ms?: number | null
  tokens_per_second?: number | null
}

export interface Feedback {
  rating: 'up' | 'down'
  reason: string
}

export interface TurnError {
  code: string
  message: string
  hint?: string | null
}

export interface Message {
  id: string
  parent_id: string | null
  role: 'user' | 'assistant' | 'system' | 'tool'
  text: string
  state: MessageState
  reasoning: string
  parts: Part[]
  model: string | null
  engine: string | null
  turn_id: string | null
  usage: { prompt_tokens?: number; completion_tokens?: number } | null
  timings: Timings | null
  finish_reason: string | null
  feedback: Feedback | null
  error: TurnError | null
  created_at: number
}

export interface ConversationTree extends Conversation {
  messages: Message[]
}

export interface Turn {
  id: string
  conversation_id: string
  state: 'queued' | 'running' | 'finished' | 'stopped' | 'failed'
  user_message_id: string
  answer_message_id: string
  model: string
  created_at: number
}

export interface Folder {
  id: string
  name: string
  instructions: string
  conversations: number
}

export interface Prompt {
  id: string
  name: string
  text: string
}

export interface Share {
  token: string
  conversation_id: string
  title: string
  created_at: number
  path: string
}

export interface Shared {
  title: string
  messages: Message[]
  created_at: number
}

export interface Model {
  name: string
  default: boolean
  engines: string[]
  description: string
  size_bytes: number | null
  context_tokens: number | null
  location: string
  cost: string
  vision: boolean | null
  loaded: boolean | null
}

export interface Download {
  model: string
  file: string
  received_bytes: number
  total_bytes: number | null
  bytes_per_s: number | null
  error: string | null
}

export interface Status {
  version: string
  ready: boolean
  home: string
  model: string
  where: string
  engine: { state: string; message: string; hint: string | null }
  download: Download | null
}

export interface Preferences {
  instructions: string
  params: Record<string, unknown>
  model: string | null
}

export interface Found {
  conversation_id: string
  conversation_title: string
  message_id: string | null
  role: string
  snippet: string
  highlights: [number, number][]
  created_at: number
}

export interface Import {
  id: string
  name: string
  state: 'running' | 'finished' | 'failed'
  received_bytes: number
  total_bytes: number | null
  read_bytes: number
  format: string | null
  added: number
  updated: number
  unchanged: number
  skipped: { title: string; reason: string }[]
  skipped_count: number
  error: string | null
}

/** One element of what a turn says; `candide.domain.turns.TurnEvent`. */
export type TurnEvent =
  | { kind: 'TurnStarted'; model: string; engine: string; continued?: boolean }
  | { kind: 'TextDelta'; text: string }
  | { kind: 'ReasoningDelta'; text: string }
  | { kind: 'EngineSwitched'; reason: string; from_engine: string; to_engine: string }
  | { kind: 'ContextCompacted'; dropped_messages: number }
  | {
      kind: 'TurnFinished'
      state: 'finished' | 'stopped'
      finish_reason: string
      usage?: Message['usage']
      timings?: Timings
    }
  | { kind: 'TurnFailed'; code: string; message: string; hint?: string | null }
