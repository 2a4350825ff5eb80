/** The models that can be asked, the one that is chosen, and how the engine is. */

import * as candide from '../services/candide.ts'
import type { Model, Status } from '../services/types.ts'
import { connection } from './connection.svelte.ts'
import { attempt } from './toasts.svelte.ts'

const KEPT = 'candide.model'
const RENEW_MS = 1_000

class Models {
  list = $state.raw<Model[]>([])
  /** Whether the list is the server's. */
  isKnown = $state(false)
  status = $state.raw<Status | null>(null)
  /** The user's choice for what is asked next; empty for the server's default. */
  chosen = $state(localStorage.getItem(KEPT) ?? '')
  readonly current = $derived.by(
    () => this.list.find((model) => model.name === this.chosen) ?? this.list.find((model) => model.default),
  )
  #renewing: ReturnType<typeof setTimeout> | undefined

  begin(): void {
    connection.onFresh(() => void this.refresh())
    connection.onChange((change) => {
      if (change.kind === 'status') void this.refresh()
    })
  }

  async refresh(): Promise<void> {
    clearTimeout(this.#renewing)
    await attempt(async () => {
      this.status = await candide.getStatus()
      this.list = await candide.listModels()
      this.isKnown = true
    }).catch(() => {})
    // A download or a loading model is looked at until it is there.
    if (this.status && !this.status.ready && connection.isAwake)
      this.#renewing = setTimeout(() => void this.refresh(), RENEW_MS)
  }

  choose(name: string): void {
    this.chosen = name
    if (name) localStorage.setItem(KEPT, name)
    else localStorage.removeItem(KEPT)
  }

  /** What is sent as the model; undefined leaves it to the conversation and the server. */
  get asked(): string | undefined {
    return this.list.some((model) => model.name === this.chosen) ? this.chosen : undefined
  }

  async startDownload(): Promise<void> {
    await attempt(() => candide.startDownload())
    await this.refresh()
  }
}

export const models = new Models()
