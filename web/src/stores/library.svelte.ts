/** One library that is looked at: its targets, the jobs that read them, and its sources as far as was scrolled. */

import * as api from '../services/sources.ts'
import type { Job, NewTarget, Source, Target } from '../services/sources.ts'
import { t } from '../i18n/index.svelte.ts'
import { connection } from './connection.svelte.ts'
import { rarely } from './libraries.svelte.ts'
import { ApiError } from '../services/http.ts'
import { sayReason, type Reason } from './reasons.ts'
import { attempt, messageOf, toasts } from './toasts.svelte.ts'

const PAGE = 50

export const isRunning = (job: Job) => ['queued', 'running', 'paused'].includes(job.state)

/** What was not added, and why. */
export interface Refused extends Reason {
  uri: string
}

export class OpenLibrary {
  readonly id: string
  targets = $state.raw<Target[]>([])
  jobs = $state.raw<Job[]>([])
  sources = $state.raw<Source[]>([])
  /** Whether the sources go on behind those that are shown. */
  hasMore = $state(false)
  /** What the sources are filtered by. */
  query = $state('')
  isLoading = $state(true)
  /** How many files are on their way. */
  uploading = $state(0)
  /** The jobs that were begun from here. */
  begun = $state.raw<readonly string[]>([])
  #after: string | undefined
  #ends: (() => void)[] = []
  /** Whether nobody looks at it any more: it may be gone by now. */
  #isClosed = false
  readonly #renewJobs = rarely(async () => this.#isClosed || this.#loadJobs())
  readonly #renew = rarely(
    async () => this.#isClosed || Promise.all([this.#loadTargets(), this.#loadSources()]),
  )

  constructor(id: string) {
    this.id = id
  }

  /** Load it, and keep up with it until `close`. */
  open(): void {
    this.#isClosed = false
    this.#ends = [
      connection.onFresh(() => void this.refresh()),
      connection.onChange((change) => {
        if (change.kind === 'jobs') this.#renewJobs()
        else if (change.kind === 'libraries') this.#renew()
      }),
    ]
    if (connection.isOpen) void this.refresh()
  }

  close(): void {
    this.#isClosed = true
    for (const end of this.#ends) end()
  }

  async refresh(): Promise<void> {
    await attempt(() => Promise.all([this.#loadTargets(), this.#loadJobs(), this.#loadSources()]))
    this.isLoading = false
  }

  /**
   * Add pages, sites, feeds, or paths of the server's machine. Those that are refused are given back, and the others go on;
   * null when nothing was added and it has been said why.
   */
  async add(targets: readonly NewTarget[]): Promise<Refused[] | null> {
    const refused: Refused[] = []
    let rest = [...targets]
    const done = await attempt(async () => {
      while (rest.length) {
        try {
          this.#take(await api.addTargets(this.id, rest), true)
          break
        } catch (error) {
          // The server takes all or none, and names the first that it does not take.
          const at = error instanceof ApiError ? /^targets\[(\d+)\]/.exec(error.param)?.[1] : undefined
          const one = rest[Number(at ?? NaN)]
          if (!one) throw error
          const { message, hint } = error as ApiError
          refused.push({ uri: one.uri, ...sayReason(message, hint) })
          rest = rest.filter((other) => other !== one)
        }
      }
      await this.#loadTargets()
    })
    return done ? refused : null
  }

  /** Why a target could not be read the last time; null where it was. */
  problemOf(target: Target): Reason | null {
    const last = this.jobs.find((job) => !isRunning(job) && job.target_ids.includes(target.id))
    const problem = last?.problems.find((one) => one.uri === target.uri)
    if (problem) return sayReason(problem.reason, problem.hint)
    return target.error ? sayReason(target.error) : null
  }

  /** What a job reads, as far as it is still here. */
  targetsOf(job: Job): Target[] {
    return this.targets.filter((target) => job.target_ids.includes(target.id))
  }

  /** Send files; one that is refused is told of and the others go on. */
  async addFiles(files: Iterable<File>): Promise<void> {
    for (const file of files) {
      this.uploading++
      try {
        this.#take(await api.addFile(this.id, file), true)
      } catch (error) {
        toasts.error(new Error(t('library.notAdded', { name: file.name, reason: messageOf(error) })))
      } finally {
        this.uploading--
      }
    }
    await attempt(() => this.#loadTargets())
  }

  async look(target?: Target): Promise<void> {
    await attempt(async () => this.#take(await api.refreshLibrary(this.id, target && [target.id])))
  }

  async removeTarget(target: Target): Promise<void> {
    if (await attempt(() => api.deleteTarget(target.id))) await this.refresh()
  }

  async removeSource(source: Source): Promise<void> {
    if (await attempt(() => api.deleteSource(source.id)))
      this.sources = this.sources.filter((one) => one.id !== source.id)
  }

  async change(job: Job, deed: 'pause' | 'resume' | 'cancel'): Promise<void> {
    await attempt(async () => this.#take(await api.changeJob(job.id, deed)))
  }

  async filter(query: string): Promise<void> {
    this.query = query
    this.#after = undefined
    await attempt(() => this.#loadSources())
  }

  async loadMore(): Promise<void> {
    await attempt(async () => {
      const { query } = this
      const page = await this.#page(this.#after, PAGE)
      if (query !== this.query) return
      this.sources = [...this.sources, ...page.data]
      this.#note(page.next)
    })
  }

  async #loadSources(): Promise<void> {
    const { query } = this
    // As many as are shown: what is in sight stays where it is.
    const page = await this.#page(undefined, Math.min(500, Math.max(PAGE, this.sources.length)))
    if (query !== this.query) return
    this.sources = page.data
    this.#note(page.next)
  }

  #page(after: string | undefined, limit: number) {
    return api.listSources({ library: this.id, query: this.query || undefined, after, limit })
  }

  #note(next: string | null | undefined): void {
    this.#after = next ?? undefined
    this.hasMore = !!next
  }

  async #loadTargets(): Promise<void> {
    this.targets = await api.listTargets(this.id)
  }

  async #loadJobs(): Promise<void> {
    this.jobs = await api.listJobs(this.id)
  }

  #take(job: Job, isBegun = false): void {
    if (isBegun) this.begun = [...this.begun, job.id]
    this.jobs = [job, ...this.jobs.filter((one) => one.id !== job.id)]
  }
}
