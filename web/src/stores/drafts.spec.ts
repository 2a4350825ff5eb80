import fc from 'fast-check'
import { afterEach, expect, test, vi } from 'vitest'

import { keepDraft, readDraft } from './drafts.ts'

afterEach(() => {
  vi.restoreAllMocks()
  localStorage.clear()
})

const file = { id: 'file_1', name: 'a.png', media_type: 'image/png', size: 3 }

test('a draft is kept by its conversation, and gone when it is empty', () => {
  const text = fc.string({ unit: 'binary' })
  fc.assert(
    fc.property(text, text, (one, other) => {
      keepDraft('', { text: one, files: [] })
      keepDraft('conv_1', { text: other, files: [file] })
      expect(readDraft('')).toEqual({ text: one, files: [] })
      expect(readDraft('conv_1')).toEqual({ text: other, files: [file] })
      keepDraft('', { text: '', files: [] })
      keepDraft('conv_1', { text: '', files: [] })
      expect(localStorage.length).toBe(0)
    }),
    { numRuns: 30 },
  )
})

test.each(['', 'no JSON', 'null', '7', '[]', '{}', '{"files":7}'])(
  'what is kept as %j is no draft',
  (kept) => {
    localStorage.setItem('candide.draft.', kept)
    expect(readDraft('')).toEqual({ text: '', files: [] })
  },
)

test('a full store does not stop the typing', () => {
  vi.spyOn(Storage.prototype, 'setItem').mockImplementation(() => {
    throw new DOMException('full', 'QuotaExceededError')
  })
  expect(() => keepDraft('', { text: 'words', files: [] })).not.toThrow()
})
