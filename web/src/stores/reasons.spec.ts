import { afterEach, describe, expect, test } from 'vitest'

import { locale } from '../i18n/index.svelte.ts'
import { ApiError } from '../services/http.ts'
import { sayError, sayReason } from './reasons.ts'

afterEach(() => locale.choose('en'))

test.each([
  ['the file is empty', '', 'It is empty.'],
  ['the PDF is broken', 'open it and print it to a new PDF', 'It is broken, or was cut off.'],
  ['the PDF has no text: its pages are pictures', '', /^Its pages are pictures/],
  ['the workbook is locked with a password', 'save it without one', /without a password/],
  ['it is a picture (PNG), which is not read', 'what can be read: HTML', 'Files of this kind are not read.'],
  ['https://beans.example/x answers 503 Service Unavailable', '', 'Its server answers 503.'],
  ['https://beans.example/x answers 404 Not Found', '', 'It is not there, or no longer.'],
  ["there is no file or folder '/work/beans.example'", 'did you mean https://beans.example?',
    'There is no such file or folder. Did you mean https://beans.example?'],
  ['http://127.0.0.1/ is not fetched: it leads to this machine', '', /^Addresses within this network/],
  ['the site\'s robots.txt asks not to', '', /^The site asks/],
])('%j is said in the words of the page', (message, hint, said) => {
  const reason = sayReason(message, hint)
  expect(reason.isServers).toBe(false)
  expect(reason.text).toMatch(said)
}) // prettier-ignore

test('what is not known is said as the server says it', () => {
  expect(sayReason('the moon is full', 'wait')).toEqual({ text: 'the moon is full (wait)', isServers: true })
})

describe('what went wrong with a call', () => {
  const taken = new ApiError("there is a library 'Beans' already", 409, 'conflict')
  const gone = new ApiError("there is no library 'lib_1'", 404, 'not_found', 'candide libraries lists them')

  test('is said in the server\u2019s words in English', () => {
    expect([sayError(taken), sayError(gone)]).toEqual([taken.message, gone.message])
  })

  test('is said in the language of the page by its words or its code, and else as it came', async () => {
    await locale.choose('fr')
    expect(sayError(taken)).toBe('Il y a déjà une bibliothèque de ce nom.')
    expect(sayError(gone)).toBe('Il n’y est pas, ou plus.')
    expect(sayError(new ApiError('the moon is full', 400, 'invalid_request'))).toBe('the moon is full')
    expect(sayError(new Error('out of memory'))).toBe('out of memory')
  })
})
