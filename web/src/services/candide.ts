/** Candide's own API, one function a call. */

import { del, get, patch, post, put, send } from './http.ts'
import type { SearchWishes } from './sources.ts'
import type {
  Conversation,
  ConversationTree,
  FileView,
  Folder,
  Found,
  Import,
  Model,
  Preferences,
  Prompt,
  Share,
  Shared,
  Status,
  Turn,
} from './types.ts'

interface Page<T> {
  data: T[]
  next?: string | null
}

export interface ConversationFilter {
  before?: string | undefined
  limit?: number
  archived?: boolean
  pinned?: boolean
  deleted?: boolean
  /** Empty for those in no folder. */
  folder_id?: string
}

export interface Question {
  text?: string
  /** The message that it follows; null for a new root. */
  parent_id?: string | null
  /** A question that stands already and is answered again. */
  user_message_id?: string
  model?: string | undefined
  attachments?: string[]
  /** Where this one answer is to be looked for; that of the conversation without. */
  search?: SearchWishes
}

const path = (...parts: string[]) => '/api/' + parts.map(encodeURIComponent).join('/')

export const listConversations = (filter: ConversationFilter) =>
  get<Page<Conversation>>('/api/conversations', { query: { ...filter } })
export const getConversation = (id: string) => get<ConversationTree>(path('conversations', id))
export const createConversation = (made: Partial<Conversation>) =>
  post<{ id: string }>('/api/conversations', made)
export const changeConversation = (id: string, changes: Partial<Conversation>) =>
  patch<Conversation>(path('conversations', id), changes)
export const deleteConversation = (id: string) => del(path('conversations', id))
export const restoreConversation = (id: string) => post<void>(path('conversations', id, 'restore'))

/** Ask; the same key again gives the same turn, so that it may be repeated until it is answered. */
export const createTurn = (conversationId: string, question: Question, key: string) =>
  post<Turn>(
    path('conversations', conversationId, 'turns'),
    { ...question },
    { headers: { 'Idempotency-Key': key } },
  )
export const stopTurn = (id: string) => post<Turn>(path('turns', id, 'stop'))
export const continueTurn = (id: string) => post<Turn>(path('turns', id, 'continue'))
export const turnEventsPath = (id: string) => path('turns', id, 'events')

export const deleteMessage = (id: string) => del(path('messages', id))
export const restoreMessage = (id: string) => post<void>(path('messages', id, 'restore'))
export const rateMessage = (id: string, rating: 'up' | 'down' | null, reason: string) =>
  put<void>(path('messages', id, 'feedback'), { rating, reason })

export const uploadFile = async (file: Blob, name: string): Promise<FileView> =>
  (await (
    await send('POST', '/api/files', {
      body: file,
      query: { name },
      headers: { 'Content-Type': file.type || 'application/octet-stream' },
    })
  ).json()) as FileView

export const listFolders = async () => (await get<Page<Folder>>('/api/folders')).data
export const createFolder = (name: string) => post<Folder>('/api/folders', { name })
export const changeFolder = (id: string, changes: Partial<Folder>) =>
  patch<Folder>(path('folders', id), changes)
export const deleteFolder = (id: string) => del(path('folders', id))
export const restoreFolder = (id: string) => post<void>(path('folders', id, 'restore'))

export const listPrompts = async () => (await get<Page<Prompt>>('/api/prompts')).data
export const createPrompt = (name: string, text: string) => post<Prompt>('/api/prompts', { name, text })
export const changePrompt = (id: string, changes: Partial<Prompt>) =>
  patch<Prompt>(path('prompts', id), changes)
export const deletePrompt = (id: string) => del(path('prompts', id))
export const restorePrompt = (id: string) => post<void>(path('prompts', id, 'restore'))

export const listShares = async () => (await get<Page<Share>>('/api/shares')).data
export const createShare = (conversationId: string, leafId: string | null) =>
  post<Share>(path('conversations', conversationId, 'shares'), { leaf_id: leafId })
export const deleteShare = (token: string) => del(path('shares', token))
export const getShared = (token: string) => get<Shared>(path('shared', token))

export const search = async (q: string, signal: AbortSignal) =>
  (await get<Page<Found>>('/api/search', { query: { q, limit: 40 }, signal })).data
export const listModels = async () => (await get<Page<Model>>('/api/models')).data
export const getStatus = () => get<Status>('/api/status')
export const startDownload = () => post<void>('/api/status/download', {})
export const getPreferences = () => get<Preferences>('/api/preferences')
export const changePreferences = (changes: Partial<Preferences>) =>
  patch<Preferences>('/api/preferences', changes)

export const listImports = async () => (await get<Page<Import>>('/api/imports')).data
export const getImport = (id: string) => get<Import>(path('imports', id))
export const exportPath = (conversationId: string | null, format: string) =>
  (conversationId ? path('conversations', conversationId, 'export') : '/api/export') + `?format=${format}`

/** Upload an export of another chat; `onProgress` is told the share sent, 0 to 1. Raises Error with what the server said. */
export function uploadImport(file: File, onProgress: (share: number) => void): Promise<Import> {
  // fetch does not tell how much of a body was sent.
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest()
    request.open('POST', `/api/imports?name=${encodeURIComponent(file.name)}`)
    request.upload.onprogress = (event) => onProgress(event.total ? event.loaded / event.total : 0)
    request.onerror = () => reject(new Error('the server cannot be reached'))
    request.onload = () => {
      try {
        const body = JSON.parse(request.responseText) as Import & { error: { message: string } }
        if (request.status < 300) resolve(body)
        else reject(new Error(body.error.message))
      } catch {
        reject(new Error(`the server answered ${request.status}`))
      }
    }
    request.send(file)
  })
}

export const getSession = () => get<{ needs_key: boolean; signed_in: boolean }>('/api/session')
export const signIn = (key: string) => post<void>('/api/session', { key })
export const signOut = () => del('/api/session')
