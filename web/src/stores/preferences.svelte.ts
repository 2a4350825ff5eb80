/** What holds for every conversation: instructions, generation settings, prompts; kept by the server. */

import * as candide from '../services/candide.ts'
import type { Preferences, Prompt, Share } from '../services/types.ts'
import { t } from '../i18n/index.svelte.ts'
import { connection } from './connection.svelte.ts'
import { attempt, toasts } from './toasts.svelte.ts'

class UserPreferences {
  current = $state.raw<Preferences>({ instructions: '', params: {}, model: null })
  prompts = $state.raw<Prompt[]>([])
  shares = $state.raw<Share[]>([])

  begin(): void {
    connection.onFresh(() => {
      void this.refresh()
      void this.loadPrompts()
    })
    connection.onChange((change) => {
      if (change.kind === 'preferences') void this.refresh()
      if (change.kind === 'prompts') void this.loadPrompts()
      if (change.kind === 'shares') void this.loadShares()
    })
  }

  async refresh(): Promise<void> {
    await attempt(async () => (this.current = await candide.getPreferences()))
  }

  async change(changes: Partial<Preferences>): Promise<boolean> {
    return await attempt(async () => (this.current = await candide.changePreferences(changes)))
  }

  async loadPrompts(): Promise<void> {
    await attempt(async () => (this.prompts = await candide.listPrompts()))
  }

  async savePrompt(id: string | null, name: string, text: string): Promise<boolean> {
    const done = await attempt(() =>
      id === null ? candide.createPrompt(name, text) : candide.changePrompt(id, { name, text }),
    )
    await this.loadPrompts()
    return done
  }

  async removePrompt(prompt: Prompt): Promise<void> {
    if (!(await attempt(() => candide.deletePrompt(prompt.id)))) return
    await this.loadPrompts()
    toasts.note(t('prompts.deleted'), async () => {
      await attempt(() => candide.restorePrompt(prompt.id))
      await this.loadPrompts()
    })
  }

  async loadShares(): Promise<void> {
    await attempt(async () => (this.shares = await candide.listShares()))
  }

  async revoke(share: Share): Promise<void> {
    await attempt(() => candide.deleteShare(share.token))
    await this.loadShares()
  }
}

export const preferences = new UserPreferences()
