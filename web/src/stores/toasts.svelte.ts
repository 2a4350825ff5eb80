/** Short notes at the edge of the page: what was done, with a way to undo it, or what went wrong. */

import { ApiError } from '../services/http.ts'
import { sayError } from './reasons.ts'

export interface Toast {
  id: number
  text: string
  tone: 'note' | 'error'
  /** Undoes what the note says was done. */
  undo?: () => void | Promise<void>
}

const SHOWN_MS = 8_000

class Toasts {
  shown = $state.raw<Toast[]>([])
  #next = 1

  note(text: string, undo?: Toast['undo']): void {
    this.#show({ id: this.#next++, text, tone: 'note', ...(undo && { undo }) })
  }

  /** Say what went wrong, and where it is in the server's words, what may help. */
  error(error: unknown): void {
    const text =
      error instanceof ApiError && error.hint && messageOf(error) === error.message
        ? `${error.message} (${error.hint})`
        : messageOf(error)
    this.#show({ id: this.#next++, text, tone: 'error' })
  }

  dismiss(id: number): void {
    this.shown = this.shown.filter((toast) => toast.id !== id)
  }

  #show(toast: Toast): void {
    // What went wrong several times is said once.
    const others = this.shown.filter((one) => one.undo || one.text !== toast.text)
    this.shown = [...others.slice(-3), toast]
    setTimeout(() => this.dismiss(toast.id), toast.tone === 'error' ? 2 * SHOWN_MS : SHOWN_MS)
  }
}

export const toasts = new Toasts()

export const messageOf = sayError

/** Do something that the server may refuse; says so, and gives whether it was done. */
export async function attempt(action: () => Promise<unknown>): Promise<boolean> {
  try {
    await action()
    return true
  } catch (error) {
    toasts.error(error)
    return false
  }
}
