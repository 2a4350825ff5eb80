/** What the keyboard does, once: the page acts on it and the list of shortcuts shows it. */

import type { MessageKey } from '../i18n/en.ts'

export interface Shortcut {
  id: string
  /** Parts as on the keys; `Mod` is Ctrl, or Cmd on a Mac. */
  keys: string
  label: MessageKey
}

export const SHORTCUTS = [
  { id: 'palette', keys: 'Mod+K', label: 'shortcut.palette' },
  { id: 'new', keys: 'Mod+Shift+O', label: 'shortcut.new' },
  { id: 'composer', keys: 'Shift+Escape', label: 'shortcut.composer' },
  { id: 'stop', keys: 'Escape', label: 'shortcut.stop' },
  { id: 'sidebar', keys: 'Mod+Shift+S', label: 'shortcut.sidebar' },
  { id: 'copyAnswer', keys: 'Mod+Shift+C', label: 'shortcut.copyAnswer' },
  { id: 'copyCode', keys: 'Mod+Shift+;', label: 'shortcut.copyCode' },
  { id: 'previous', keys: 'Alt+ArrowUp', label: 'shortcut.previous' },
  { id: 'next', keys: 'Alt+ArrowDown', label: 'shortcut.next' },
  { id: 'settings', keys: 'Mod+,', label: 'shortcut.settings' },
  { id: 'help', keys: '?', label: 'shortcut.help' },
] as const satisfies readonly Shortcut[]

export type ShortcutId = (typeof SHORTCUTS)[number]['id']

export const isMac = /Mac|iPhone|iPad/.test(navigator.platform)

/** The shortcut that a key press is, if any; a key that writes something is none while text is typed. */
export function findShortcut(event: KeyboardEvent): ShortcutId | null {
  // Escape then ends the composing of a Japanese or Chinese word.
  if (event.isComposing) return null
  const mod = isMac ? event.metaKey : event.ctrlKey
  const typed = event.target as HTMLElement | null
  const isTyping = !!typed?.closest?.('input, textarea, select, [contenteditable="true"]')
  for (const { id, keys } of SHORTCUTS) {
    const parts = keys.split('+')
    const key = parts.pop()!
    const needsShift = parts.includes('Shift')
    if (event.key.toLowerCase() !== key.toLowerCase() && !(key === ';' && event.code === 'Semicolon'))
      continue
    if (parts.includes('Mod') !== mod || parts.includes('Alt') !== event.altKey) continue
    // The question mark is typed with Shift on most keyboards.
    if (key !== '?' && needsShift !== event.shiftKey) continue
    if (key === '?' && isTyping) continue
    return id
  }
  return null
}

/** Whether a key press sends what was written. A touch keyboard has no Shift+Enter: there Enter begins a line. */
export function isSending(event: KeyboardEvent): boolean {
  if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return false
  return !matchMedia('(hover: none) and (pointer: coarse)').matches
}

/** Keys as they are written on this machine's keyboard. */
export function showKeys(keys: string): string[] {
  const names: Record<string, string> = {
    Mod: isMac ? '⌘' : 'Ctrl',
    Alt: isMac ? '⌥' : 'Alt',
    Shift: isMac ? '⇧' : 'Shift',
    Escape: 'Esc',
    ArrowUp: '↑',
    ArrowDown: '↓',
  }
  return keys.split('+').map((key) => names[key] ?? key)
}
