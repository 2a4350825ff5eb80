/** The shapes and calls of libraries, their sources, the jobs that read these, and of searches in them. */

import { del, get, patch, post, send } from './http.ts'

export interface Library {
  id: string
  name: string
  created_at: number
  /** How many are current. */
  sources: number
  passages?: number
  /** Characters of the current sources' texts. */
  size: number
}

export type TargetKind = 'file' | 'folder' | 'page' | 'site' | 'feed' | 'jsonl'

export interface NewTarget {
  uri: string
  kind?: TargetKind
  options?: { depth?: number | null; limit?: number | null; scope?: string | null }
  refresh_s?: number | null
  watched?: boolean
}

export interface Target {
  id: string
  library_id: string
  kind: TargetKind
  uri: string
  refresh_s?: number | null
  watched: boolean
  checked_at?: number | null
  /** Why it could not be read the last time. */
  error?: string | null
  created_at: number
}

export interface Job {
  id: string
  library_id: string
  state: 'queued' | 'running' | 'paused' | 'finished' | 'failed' | 'cancelled'
  target_ids: string[]
  progress: {
    found: number
    done: number
    added: number
    updated: number
    unchanged: number
    removed: number
    failed: number
    passages?: number
    embedded?: number
    current: string
  }
  /** The first of what could not be read. */
  problems: { uri: string; reason: string; hint?: string }[]
  error?: string | null
  created_at: number
  finished_at?: number | null
}

export interface Source {
  id: string
  library_id: string
  uri: string
  kind: 'page' | 'feed_entry' | 'file' | 'document'
  media_type: string
  title: string
  author?: string
  site: string
  language: string
  published?: number | null
  external_id?: string | null
  /** Characters of its text. */
  length: number
  fetched_at: number
  has_original?: boolean
}

/** A span of a source's text, in characters. */
export interface Passage {
  id: number
  source_id: string
  start: number
  end: number
  text: string
  headings?: string
  page?: number | null
}

export interface SourceText {
  text: string
  sections: [start: number, level: number, heading: string][]
  /** Where each page begins, the first first. */
  pages: number[]
}

export interface Result {
  source: Source
  passage: Passage
  score: number
  /** Spans of the passage's text, in characters. */
  highlights: [start: number, end: number][]
}

export interface Results {
  query: string
  results: Result[]
  /** Parts of the search that did not work: `words`, `vectors`, `web`. */
  missing: string[]
  suggestion?: string | null
}

/** Where an answer is to be looked for. */
export interface SearchWishes {
  libraries: string[]
  web: boolean
  /** The libraries stay attached and are not searched. */
  off: boolean
}

/** A source as a conversation knows it, with the passages that the model was shown. */
export interface NumberedSource {
  number: number
  id: string
  uri: string
  title: string
  site?: string
  language?: string
  published?: number | null
  external_id?: string | null
  passages?: Passage[]
}

export interface Citation {
  number: number
  /** A span of the source's text, which says `quote`. */
  start: number
  end: number
  quote: string
  /** False where the model left no mark. */
  by_model?: boolean
}

export interface Sentence {
  text: string
  /** A span of the answer, in characters. */
  start: number
  end: number
  /** Null for what states nothing. */
  support: 'quoted' | 'supported' | 'unsupported' | null
  citations?: Citation[]
  flags?: string[]
}

/** What an answer rests on. */
export interface Grounding {
  query?: string
  sources?: NumberedSource[]
  /** Whether the sources were good enough to answer from; else they are the nearest. */
  is_good?: boolean
  /** What could not be read. */
  unread?: string[]
  missing?: string[]
  sentences?: Sentence[]
  /** Whether the answer is that the sources do not say. */
  abstained?: boolean
  /** Where the model failed: sentences of the sources, with their places in the answer. */
  extract?: Sentence[]
  checked?: boolean
}

interface Page<T> {
  data: T[]
  next?: string | null
}

export interface PassageQuery {
  query: string
  library?: string
  site?: string
  language?: string
  type?: string
  after?: string
  before?: string
  limit?: number
}

const path = (...parts: string[]) => '/api/' + parts.map(encodeURIComponent).join('/')

export const listLibraries = async () => (await get<Page<Library>>('/api/libraries')).data
export const createLibrary = (name: string) => post<Library>('/api/libraries', { name })
export const renameLibrary = (id: string, name: string) => patch<Library>(path('libraries', id), { name })
export const deleteLibrary = (id: string) => del(path('libraries', id))
export const restoreLibrary = (id: string) => post<void>(path('libraries', id, 'restore'))

export const listTargets = async (libraryId: string) =>
  (await get<Page<Target>>(path('libraries', libraryId, 'targets'))).data
export const addTargets = (libraryId: string, targets: NewTarget[]) =>
  post<Job>(path('libraries', libraryId, 'targets'), { targets })
export const addFile = async (libraryId: string, file: File): Promise<Job> =>
  (await (
    await send('POST', path('libraries', libraryId, 'files'), {
      body: file,
      query: { name: file.name },
      headers: { 'Content-Type': file.type || 'application/octet-stream' },
    })
  ).json()) as Job
export const deleteTarget = (id: string) => del(path('targets', id))
export const refreshLibrary = (libraryId: string, targetIds: string[] = []) =>
  post<Job>(path('libraries', libraryId, 'refresh'), { target_ids: targetIds })

export const listJobs = async (libraryId: string) =>
  (await get<Page<Job>>('/api/jobs', { query: { library: libraryId } })).data
export const changeJob = (id: string, deed: 'pause' | 'resume' | 'cancel') =>
  post<Job>(path('jobs', id, deed))

export const listSources = (filter: {
  library: string
  query?: string | undefined
  after?: string | undefined
  limit?: number
}) => get<Page<Source>>('/api/sources', { query: { ...filter } })
export const getSource = (id: string) => get<Source>(path('sources', id))
export const getSourceText = (id: string) => get<SourceText>(path('sources', id, 'text'))
export const originalPath = (id: string) => path('sources', id, 'original')
export const deleteSource = (id: string) => del(path('sources', id))

export const findPassages = (query: PassageQuery, signal: AbortSignal) =>
  get<Results>('/api/passages', { query: { ...query }, signal })
