/** The conversation that is on the screen. */

import type { Chat } from './conversation.svelte.ts'

class Current {
  chat = $state.raw<Chat | null>(null)
}

export const current = new Current()
