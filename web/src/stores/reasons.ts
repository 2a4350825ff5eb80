/**
 * Why something could not be read or done, in the language of the page. The server says it in English; what it says most is
 * known here by its code or its words, and anything else is shown as it came.
 */

import { locale, t } from '../i18n/index.svelte.ts'
import type { MessageKey } from '../i18n/en.ts'
import { ApiError } from '../services/http.ts'

/** The first that fits holds. */
const WORDS: readonly (readonly [RegExp, MessageKey])[] = [
  [/answers (404|410)\b/, 'reason.gone'],
  [/answers (?<n>\d{3})\b/, 'reason.answers'],
  [/its pages are pictures/, 'reason.pictures'],
  [/locked/, 'reason.locked'],
  [/is larger than|unpacks to more|more text than/, 'reason.large'],
  [/^there is a library '.*' already$/, 'reason.named'],
  [/robots\.txt/, 'reason.robots'],
  [/took too long/, 'reason.slow'],
  [/has no address/, 'reason.noAddress'],
  [/certificate|speaks no TLS/, 'reason.certificate'],
  [/is no (JSON )?feed/, 'reason.noFeed'],
  [/not fetched|interface of this machine/, 'reason.private'],
  [/cannot be reached|broke off/, 'reason.unreachable'],
  [/^it is .+, which is not read$| is [\w.+/-]+, which is not read$/, 'reason.kind'],
  [/^there is no file or folder|neither a file nor a folder/, 'reason.noFile'],
  [/^there is no such file/, 'reason.gone'],
  [/may not be read/, 'reason.permission'],
  [/^the file is empty$/, 'reason.empty'],
  [/^there is no text in it$/, 'reason.noText'],
  [/is broken|broken ZIP/, 'reason.broken'],
  [/is no date$/, 'reason.noDate'],
  [/is not an address|names no host|does not name a host|only http(, https)? and/, 'reason.notAddress'],
]
const CODES: Readonly<Record<string, MessageKey>> = {
  unreachable: 'connection.lost',
  not_found: 'reason.gone',
  store: 'reason.store',
}

/** A reason as it is shown; `isServers` of one in the server's own words, which are English. */
export interface Reason {
  text: string
  isServers: boolean
}

/** Why a source was not read, as its job or its target tells it. */
export function sayReason(message: string, hint = ''): Reason {
  const known = findWords(message)
  if (known === null) return { text: hint ? `${message} (${hint})` : message, isServers: true }
  const meant = /^did you mean (?<what>.+)\?$/.exec(hint)?.groups
  return { text: meant ? `${known} ${t('reason.mean', { what: meant.what! })}` : known, isServers: false }
}

/** What went wrong with a call. English keeps the server's words, which name the thing itself. */
export function sayError(error: unknown): string {
  if (!(error instanceof ApiError)) return error instanceof Error ? error.message : String(error)
  const { code, message } = error
  if (locale.language === 'en') return message
  if (CODES[code]) return t(CODES[code])
  // Engines fail in words of their own, and a file is named in how large it may be.
  const isOfSources =
    ['invalid_request', 'conflict', 'too_large'].includes(code) && !/^'.*' is larger/.test(message)
  return (isOfSources ? findWords(message) : null) ?? message
}

function findWords(message: string): string | null {
  for (const [words, key] of WORDS) {
    const found = words.exec(message)
    if (found) return t(key, { ...found.groups })
  }
  return null
}
