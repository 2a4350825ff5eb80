/** One library that is looked at: its targets, the jobs that read them, and its sources as far as was scrolled. */

import * as api from '../services/sources.ts'
import type { Job, NewTarget, Source, Target } from '../services/sources.ts'
import { t } from '../i18n/index.svelte.ts'
import { connection } from './connection.svelte.ts'
import { rarely } from './libraries.svelte.ts'
import { attempt, messageOf, toasts } from './toasts.svelte.ts'

const PAGE = 50

export const isRunning = (job: Job) => ['queued', 'running', 'paused'].includes(job.state)

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

  /** Add pages, sites, feeds, or paths of the server's machine. */
  async add(targets: NewTarget[]): Promise<boolean> {
    return await attempt(async () => {
      this.#take(await api.addTargets(this.id, targets))
      await this.#loadTargets()
    })
  }

  /** Send files; one that is refused is told of and the others go on. */
  async addFiles(files: Iterable<File>): Promise<void> {
    for (const file of files) {
      this.uploading++
      try {
        this.#take(await api.addFile(this.id, file))
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

  #take(job: Job): void {
    this.jobs = [job, ...this.jobs.filter((one) => one.id !== job.id)]
  }
}
