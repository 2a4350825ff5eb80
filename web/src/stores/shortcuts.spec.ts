import { afterEach, describe, expect, test, vi } from 'vitest'

import { en } from '../i18n/en.ts'
import { findShortcut, SHORTCUTS, showKeys } from './shortcuts.ts'

afterEach(() => {
  document.body.replaceChildren()
  vi.resetModules()
  vi.restoreAllMocks()
})

/** The press of keys as `SHORTCUTS` writes them. */
function press(
  keys: string,
  mod: 'ctrlKey' | 'metaKey' = 'ctrlKey',
  more: KeyboardEventInit = {},
): KeyboardEvent {
  const parts = keys.split('+')
  const key = parts.pop()!
  return new KeyboardEvent('keydown', {
    key:
      parts.includes('Shift') && key.length === 1
        ? key.toUpperCase()
        : key.length === 1
          ? key.toLowerCase()
          : key,
    [mod]: parts.includes('Mod'),
    shiftKey: parts.includes('Shift'),
    altKey: parts.includes('Alt'),
    ...more,
  })
}

/** Press it where something is typed. */
function pressIn(tag: string, event: KeyboardEvent): ReturnType<typeof findShortcut> {
  const element = document.createElement(tag)
  document.body.append(element)
  let found: ReturnType<typeof findShortcut> = null
  element.addEventListener('keydown', (event) => (found = findShortcut(event)))
  element.dispatchEvent(event)
  return found
}

describe('shortcuts', () => {
  test('are distinct, and each has its words', () => {
    expect(new Set(SHORTCUTS.map(({ keys }) => keys.toLowerCase())).size).toBe(SHORTCUTS.length)
    expect(new Set(SHORTCUTS.map(({ id }) => id)).size).toBe(SHORTCUTS.length)
    for (const { label } of SHORTCUTS) expect(en[label]).toBeTruthy()
  })

  test.each(SHORTCUTS)('$keys is $id, and no other', ({ id, keys }) => {
    expect(findShortcut(press(keys))).toBe(id)
  })

  test.each(SHORTCUTS)('$keys with another modifier is not $id', ({ keys }) => {
    const event = press(keys)
    expect(findShortcut(press(keys, 'ctrlKey', { altKey: !event.altKey }))).toBe(null)
    expect(findShortcut(press(keys, 'ctrlKey', { ctrlKey: !event.ctrlKey }))).toBe(null)
  })

  test.each(SHORTCUTS)('$keys on a Mac is with Command', async ({ id, keys }) => {
    vi.spyOn(navigator, 'platform', 'get').mockReturnValue('MacIntel')
    const mac = await import('./shortcuts.ts')
    expect(mac.findShortcut(press(keys, 'metaKey'))).toBe(id)
    if (keys.includes('Mod')) expect(mac.findShortcut(press(keys, 'ctrlKey'))).toBe(null)
    expect(mac.showKeys('Mod+Shift+O')).toEqual(['⌘', '⇧', 'O'])
  })

  test.each(['input', 'textarea', 'select'])('a question mark in a %s is a question mark', (tag) => {
    const question = { key: '?', shiftKey: true, bubbles: true }
    expect(pressIn(tag, new KeyboardEvent('keydown', question))).toBe(null)
    expect(pressIn('button', new KeyboardEvent('keydown', question))).toBe('help')
    // Also where it needs no Shift.
    expect(pressIn('button', new KeyboardEvent('keydown', { ...question, shiftKey: false }))).toBe('help')
  })

  test('with a modifier, and Escape, work while one types', () => {
    expect(pressIn('textarea', press('Mod+K', 'ctrlKey', { bubbles: true }))).toBe('palette')
    expect(pressIn('textarea', press('Escape', 'ctrlKey', { bubbles: true }))).toBe('stop')
  })

  test('are none while a word is composed: Escape is for the word', () => {
    expect(findShortcut(press('Escape', 'ctrlKey', { isComposing: true }))).toBe(null)
  })

  test('hold with Shift, where the semicolon has another sign', () => {
    expect(findShortcut(press('Mod+Shift+;', 'ctrlKey', { key: ':', code: 'Semicolon' }))).toBe('copyCode')
  })

  test('plain letters are nobody’s', () => {
    for (const key of 'koscn,;') expect(findShortcut(new KeyboardEvent('keydown', { key }))).toBe(null)
  })

  test('are shown as on the keys', () => {
    expect(showKeys('Mod+Shift+O')).toEqual(['Ctrl', 'Shift', 'O'])
    expect(showKeys('Alt+ArrowUp')).toEqual(['Alt', '↑'])
    expect(showKeys('?')).toEqual(['?'])
  })
})
