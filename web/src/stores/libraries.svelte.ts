/** The libraries that there are, by name: fetched when they are first needed, and kept up with from then on. */

import * as api from '../services/sources.ts'
import type { Library, SearchWishes } from '../services/sources.ts'
import { t } from '../i18n/index.svelte.ts'
import { connection } from './connection.svelte.ts'
import { attempt, toasts } from './toasts.svelte.ts'

/** While a job runs, changes come many times a second. */
const REST_MS = 400

export const NOWHERE: SearchWishes = { libraries: [], web: false, off: false }

/** Whether there is anything to search, be it off for now. */
export const isAnywhere = (wishes: SearchWishes) => wishes.libraries.length > 0 || wishes.web

class Libraries {
  list = $state.raw<Library[]>([])
  /** Whether the list is the server's. */
  isKnown = $state(false)
  #isNeeded = false
  readonly #renew = rarely(() => this.refresh())

  /** Have the list, now and from now on. */
  need(): void {
    if (this.#isNeeded) return
    this.#isNeeded = true
    connection.onFresh(() => void this.refresh())
    connection.onChange((change) => {
      if (change.kind === 'libraries') this.#renew()
    })
    void this.refresh()
  }

  async refresh(): Promise<void> {
    await attempt(async () => {
      this.list = await api.listLibraries()
      this.isKnown = true
    })
  }

  get(id: string): Library | undefined {
    return this.list.find((one) => one.id === id)
  }

  async create(name: string): Promise<Library | null> {
    let made: Library | null = null
    await attempt(async () => {
      made = await api.createLibrary(name)
      await this.refresh()
    })
    return made
  }

  async rename(library: Library, name: string): Promise<boolean> {
    const done = await attempt(() => api.renameLibrary(library.id, name))
    if (done) await this.refresh()
    return done
  }

  async remove(library: Library): Promise<boolean> {
    if (!(await attempt(() => api.deleteLibrary(library.id)))) return false
    await this.refresh()
    toasts.note(t('library.deleted', { name: library.name }), async () => {
      await attempt(() => api.restoreLibrary(library.id))
      await this.refresh()
    })
    return true
  }
}

/** A call that is made at once, and then at most once in a while however often it is wanted. */
export function rarely(call: () => Promise<unknown>): () => void {
  let isResting = false
  let isWanted = false
  const run = (): void => {
    if (isResting) {
      isWanted = true
      return
    }
    isResting = true
    isWanted = false
    // What fails in passing is asked for again with the next change, or after the cut.
    void call()
      .catch(() => {})
      .finally(() =>
        setTimeout(() => {
          isResting = false
          if (isWanted) run()
        }, REST_MS),
      )
  }
  return run
}

export const libraries = new Libraries()
