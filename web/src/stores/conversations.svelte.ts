/** All conversations as the sidebar shows them: pinned, in folders, and the rest by date, loaded as far as was scrolled. */

import { SvelteMap } from 'svelte/reactivity'
import * as candide from '../services/candide.ts'
import type { Conversation, Folder } from '../services/types.ts'
import { monthName, t } from '../i18n/index.svelte.ts'
import { connection } from './connection.svelte.ts'
import { attempt, toasts } from './toasts.svelte.ts'

export interface Group {
  name: string
  conversations: Conversation[]
}

const PAGE = 60
/** Who scrolls down wants many. */
const NEXT_PAGE = 200
/** The most that the server gives in one answer. */
const MOST_AT_ONCE = 500
const RETRY_MS = 2_000

class Conversations {
  #known = new SvelteMap<string, Conversation>()
  folders = $state.raw<Folder[]>([])
  isLoading = $state(false)
  isWhole = $state(false)
  #before: string | undefined
  /** Folders whose conversations were asked for. */
  readonly #unfolded = new Set<string>()

  readonly #listed = $derived.by(() =>
    [...this.#known.values()]
      .filter((one) => !one.archived && !one.deleted)
      .sort((one, other) => other.updated_at - one.updated_at || (one.id < other.id ? 1 : -1)),
  )
  readonly pinned = $derived.by(() => this.#listed.filter((one) => one.pinned))
  readonly #folderIds = $derived.by(() => new Set(this.folders.map((folder) => folder.id)))
  readonly groups = $derived.by(() =>
    groupByDate(
      this.#listed.filter((one) => !one.pinned && !(one.folder_id && this.#folderIds.has(one.folder_id))),
    ),
  )
  readonly unread = $derived.by(() => this.#listed.filter((one) => one.unread).length)

  /** In the order of the sidebar, for going from one to the next by keyboard. */
  readonly inOrder = $derived.by(() => [
    ...this.pinned,
    ...this.groups.flatMap((group) => group.conversations),
  ])

  begin(): void {
    connection.onFresh(() => void this.refresh())
    connection.onChange((change) => {
      if (change.kind === 'conversation') this.#known.set(change.conversation.id, change.conversation)
      else if (change.kind === 'folders') void attempt(() => this.#loadFolders())
    })
  }

  get(id: string): Conversation | undefined {
    return this.#known.get(id)
  }

  inFolder(id: string): Conversation[] {
    return this.#listed.filter((one) => one.folder_id === id && !one.pinned)
  }

  async refresh(): Promise<void> {
    await attempt(async () => {
      const [recent, pinned] = await Promise.all([
        // As far as was scrolled, within what one answer holds: what is in sight stays where it is.
        candide.listConversations({ limit: Math.min(MOST_AT_ONCE, Math.max(PAGE, this.#known.size)) }),
        candide.listConversations({ limit: 200, pinned: true }),
        this.#loadFolders(),
      ])
      const unfolded = await Promise.all([...this.#unfolded].map((id) => this.#listFolder(id)))
      // What another window deleted is in none; pages further down are fetched again as they are scrolled to.
      this.#known.clear()
      this.#take([...recent.data, ...pinned.data, ...unfolded.flat()])
      this.#before = recent.next ?? undefined
      this.isWhole = !recent.next
    })
  }

  async loadMore(): Promise<void> {
    if (this.isLoading || this.isWhole || !this.#before) return
    this.isLoading = true
    try {
      const before = this.#before
      const page = await candide.listConversations({ limit: NEXT_PAGE, before })
      // When the list was begun anew meanwhile, this page does not follow what is there.
      if (before === this.#before) {
        this.#take(page.data)
        this.#before = page.next ?? undefined
        this.isWhole = !page.next
      }
    } catch {
      // It is asked for again as long as the end of the list is in sight.
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS))
    }
    this.isLoading = false
  }

  async loadFolder(id: string): Promise<void> {
    this.#unfolded.add(id)
    await attempt(async () => this.#take(await this.#listFolder(id)))
  }

  async #listFolder(id: string): Promise<Conversation[]> {
    return (await candide.listConversations({ limit: 200, folder_id: id })).data
  }

  /** Change one here and at the server; taken back here when the server refuses. */
  async change(conversation: Conversation, changes: Partial<Conversation>): Promise<boolean> {
    this.#known.set(conversation.id, { ...conversation, ...changes })
    const done = await attempt(async () => {
      this.#known.set(conversation.id, await candide.changeConversation(conversation.id, changes))
    })
    if (!done) this.#known.set(conversation.id, conversation)
    return done
  }

  async archive(conversation: Conversation): Promise<void> {
    if (!(await this.change(conversation, { archived: true }))) return
    toasts.note(t('conversation.archived'), async () => {
      await this.change(conversation, { archived: false })
    })
  }

  async remove(conversation: Conversation): Promise<void> {
    const done = await attempt(() => candide.deleteConversation(conversation.id))
    if (!done) return
    this.#known.set(conversation.id, { ...conversation, deleted: true })
    toasts.note(t('conversation.deleted'), async () => {
      if (await attempt(() => candide.restoreConversation(conversation.id)))
        this.#known.set(conversation.id, conversation)
    })
  }

  async addFolder(name: string): Promise<Folder | null> {
    let made: Folder | null = null
    await attempt(async () => {
      made = await candide.createFolder(name)
      await this.#loadFolders()
    })
    return made
  }

  async changeFolder(folder: Folder, changes: Partial<Folder>): Promise<void> {
    await attempt(() => candide.changeFolder(folder.id, changes))
    await this.#loadFolders()
  }

  async removeFolder(folder: Folder): Promise<void> {
    if (!(await attempt(() => candide.deleteFolder(folder.id)))) return
    await this.#loadFolders()
    toasts.note(t('folder.deleted'), async () => {
      await attempt(() => candide.restoreFolder(folder.id))
      await this.#loadFolders()
    })
  }

  async #loadFolders(): Promise<void> {
    this.folders = await candide.listFolders()
  }

  #take(conversations: Conversation[]): void {
    for (const one of conversations) this.#known.set(one.id, one)
  }
}

export const conversations = new Conversations()

/** Groups like ChatGPT's: today, yesterday, the last 7 and 30 days, then by month. */
export function groupByDate(conversations: Conversation[], now = new Date()): Group[] {
  // Not in seconds: a day on which the clocks are changed has 23 or 25 hours.
  const daysAgo = (days: number) =>
    new Date(now.getFullYear(), now.getMonth(), now.getDate() - days).getTime() / 1000
  const recent: [number, string][] = [
    [daysAgo(0), t('date.today')],
    [daysAgo(1), t('date.yesterday')],
    [daysAgo(7), t('date.week')],
    [daysAgo(30), t('date.month')],
  ]
  // By a number first: to write a date takes long, and there may be thousands.
  const groups = new Map<number, Group>()
  for (const one of conversations) {
    const period = recent.findIndex(([from]) => one.updated_at >= from)
    const month = new Date(one.updated_at * 1000)
    const key = period >= 0 ? period : 100 + month.getFullYear() * 12 + month.getMonth()
    const group = groups.get(key)
    if (group) group.conversations.push(one)
    else {
      const name = recent[period]?.[1] ?? monthName(one.updated_at)
      groups.set(key, { name, conversations: [one] })
    }
  }
  return [...groups.values()]
}
