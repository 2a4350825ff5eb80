/** What lies over the page: one dialog at a time, and the sidebar on a phone. */

import type { Conversation, Folder } from '../services/types.ts'
import type { NumberedSource } from '../services/sources.ts'
import type { MessageNode } from './tree.svelte.ts'

export type SettingsTab =
  'general' | 'instructions' | 'generation' | 'prompts' | 'shares' | 'archive' | 'data'

export type Panel =
  | { name: 'settings'; tab: SettingsTab }
  | { name: 'palette' }
  | { name: 'shortcuts' }
  | { name: 'conversation'; conversation: Conversation }
  | { name: 'folder'; folder: Folder | null; conversation: Conversation | null }
  | { name: 'share'; conversation: Conversation; leafId: string | null }
  | { name: 'info'; message: MessageNode }

/** A source that is looked at. */
export interface ViewedSource
  extends
    Pick<NumberedSource, 'id' | 'uri' | 'title' | 'site' | 'published' | 'passages'>,
    Partial<Pick<NumberedSource, 'number'>> {
  /** Where in its text one looks, in characters. */
  at: number
  /** What is quoted of it. */
  quote: [start: number, end: number] | null
  /** The page that this stands on, of a source with pages. */
  page: number | null
}

class Panels {
  source = $state.raw<ViewedSource | null>(null)
  open = $state.raw<Panel | null>(null)
  /** On a wide page the sidebar stands beside the conversation unless it was folded; on a phone it lies over it. */
  sidebarIsFolded = $state(localStorage.getItem('candide.sidebar') === 'folded')
  sidebarIsOver = $state(false)

  show(panel: Panel): void {
    this.sidebarIsOver = false
    this.open = panel
  }

  close(): void {
    this.open = null
  }

  showSource(source: ViewedSource): void {
    this.source = source
  }

  closeSource(): void {
    this.source = null
  }

  toggleSidebar(): void {
    if (matchMedia('(max-width: 760px)').matches) {
      this.sidebarIsOver = !this.sidebarIsOver
      return
    }
    this.sidebarIsFolded = !this.sidebarIsFolded
    localStorage.setItem('candide.sidebar', this.sidebarIsFolded ? 'folded' : 'open')
  }
}

export const panels = new Panels()
