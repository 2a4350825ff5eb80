/** What was typed and not sent, kept on this device until it is: by conversation, '' for a new one. */

import type { FileView } from '../services/types.ts'

export interface Draft {
  text: string
  files: FileView[]
}

const KEPT = 'candide.draft.'

export function readDraft(place: string): Draft {
  try {
    const kept = JSON.parse(localStorage.getItem(KEPT + place) ?? '') as Draft
    return { text: String(kept.text ?? ''), files: Array.isArray(kept.files) ? kept.files : [] }
  } catch {
    return { text: '', files: [] }
  }
}

export function keepDraft(place: string, draft: Draft): void {
  try {
    if (draft.text || draft.files.length) localStorage.setItem(KEPT + place, JSON.stringify(draft))
    else localStorage.removeItem(KEPT + place)
  } catch {
    // The browser's store is full or closed: the draft lives as long as the page.
  }
}
