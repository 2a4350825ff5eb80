/** The shapes and calls of libraries, their sources, the jobs that read these, and of searches in them. */

import { del, get, patch, post, send } from './http.ts'
import type { components } from './schema.ts'

type Schemas = components['schemas']

export type Library = Schemas['LibraryView']
export type Target = Schemas['TargetView']
export type TargetKind = Target['kind']
export type NewTarget = Pick<Schemas['NewTarget'], 'uri'> &
  Partial<Omit<Schemas['NewTarget'], 'options'>> & { options?: Partial<Schemas['OptionsBody']> }
export type Job = Schemas['JobView']
export type Source = Schemas['SourceView']
export type WholeSource = Schemas['WholeSourceView']
export type SourceText = Schemas['TextView']
export type Result = Schemas['ResultView']
export type Results = Schemas['PassagesPage'] & { suggestion?: string | null }

/** Where an answer is to be looked for. */
export type SearchWishes = Schemas['Wishes']

// What follows comes in turn events too, where the server leaves out what is as it mostly is.

/** A span of a source's text, in characters. */
export type Passage = Pick<Schemas['PassageView'], 'id' | 'start' | 'end' | 'text'> &
  Partial<Schemas['PassageView']>

/** A source as a conversation knows it, with the passages that the model was shown. */
export type NumberedSource = Pick<Schemas['NumberedSourceView'], 'number' | 'id' | 'uri' | 'title'> &
  Partial<Omit<Schemas['NumberedSourceView'], 'passages'>> & { passages?: Passage[] }

/** A span of a source's text, in characters, that a sentence rests on. */
export type Citation = Omit<Schemas['CitationView'], 'by_model'> & Partial<Schemas['CitationView']>

/** A sentence of an answer, `start` and `end` in characters of that. */
export type Sentence = Omit<Schemas['SentenceView'], 'citations' | 'flags'> & {
  citations?: Citation[]
  flags?: string[]
}

/** What an answer rests on. */
export type Grounding = Partial<Omit<Schemas['GroundingView'], 'sources' | 'sentences' | 'extract'>> & {
  sources?: NumberedSource[]
  sentences?: Sentence[]
  extract?: Sentence[]
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
export const addTargets = (libraryId: string, targets: readonly NewTarget[]) =>
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
/** Have targets read again, all of the library's without any named. */
export const refreshLibrary = (libraryId: string, targetIds?: string[]) =>
  post<Job>(path('libraries', libraryId, 'refresh'), targetIds ? { target_ids: targetIds } : {})

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
export const getSource = (id: string) => get<WholeSource>(path('sources', id))
export const getSourceText = (id: string) => get<SourceText>(path('sources', id, 'text'))
export const originalPath = (id: string) => path('sources', id, 'original')
export const deleteSource = (id: string) => del(path('sources', id))

export const findPassages = (query: PassageQuery, signal: AbortSignal) =>
  get<Results>('/api/passages', { query: { ...query }, signal })
