/** What a text of an answer is shown with, from what the server says that the answer rests on. */

import type { Grounding, NumberedSource, Sentence } from '../services/sources.ts'
import type { Evidence } from '../markdown/index.ts'

export type Sources = ReadonlyMap<number, NumberedSource>

/**
 * The sources that an answer can name, by their numbers: its own, and those of the answers before it, which keep their
 * numbers; with all passages of each that were shown.
 * @param messages the answer, and what stands before it on its branch, the latest first
 */
export function collectSources(messages: Iterable<{ grounding: Grounding | null }>): Sources {
  const found = new Map<number, NumberedSource>()
  for (const { grounding } of messages) {
    for (const source of grounding?.sources ?? []) {
      const known = found.get(source.number)
      const passages = [...(known?.passages ?? [])]
      for (const one of source.passages ?? [])
        if (!passages.some(({ start, end }) => start === one.start && end === one.end)) passages.push(one)
      found.set(source.number, { ...(known ?? source), passages })
    }
  }
  return found
}

/** Marks and sentences of `text`; undefined of an answer that rests on nothing. */
export function makeEvidence(
  text: string,
  grounding: Grounding | null,
  sources: Sources,
): Evidence | undefined {
  if (!sources.size) return undefined
  const sentences = grounding?.sentences ?? []
  const toUnits = unitsOf(text, sentences.length > 0)
  return {
    sources: new Map([...sources].map(([number, source]) => [number, titleOf(source)])),
    sentences: sentences.map((sentence) => ({
      start: toUnits(sentence.start),
      end: toUnits(sentence.end),
      isUnsupported: sentence.support === 'unsupported',
      sources: citedBy(sentence),
    })),
  }
}

/** A text of an answer in two: what the model wrote, and the sentences of the sources that follow it, where there are any. */
export function partExtract(text: string, grounding: Grounding | null): [own: string, extract: string] {
  const [first] = grounding?.extract ?? []
  if (!first) return [text, '']
  const at = unitsOf(text, true)(first.start)
  return [text.slice(0, at).trimEnd(), text.slice(at)]
}

/** What is said of an extract: why the sources speak themselves. */
export const noteOfExtract = (own: string, finishReason: string | null) =>
  own && finishReason !== 'extract' ? 'sources.notBorneOut' : 'sources.extract'

/** What a source is called: by its title, or by the end of its address. */
export function titleOf({ title, uri }: Pick<NumberedSource, 'title' | 'uri'>): string {
  return title || (uri.split(/[\\/]/).findLast((part) => part) ?? uri)
}

/** The address of a source as it is shown: of a file that was uploaded its name, since nobody knows where it lies. */
export function placeOf(uri: string): string {
  return /[\\/]uploads[\\/]lib_\w+[\\/]([^\\/]+)$/.exec(uri)?.[1] ?? uri
}

/** The address of a source, if it is one of the web; null for what no link may lead to. */
export function webAddress(uri: string): string | null {
  try {
    const { protocol, href } = new URL(uri)
    return protocol === 'https:' || protocol === 'http:' ? href : null
  } catch {
    return null
  }
}

/** The sources that a sentence rests on; what the model's marks name of them stands there already. */
const citedBy = ({ citations }: Sentence) => [
  ...new Set(citations?.filter((one) => one.by_model === false).map((one) => one.number)),
]

/** From places in characters, as the server counts, to those in a string here in which CR LF is one line end. */
function unitsOf(text: string, isNeeded: boolean): (characters: number) => number {
  if (!isNeeded || !/[\r\ud800-\udfff]/.test(text)) return (characters) => characters
  const units: number[] = []
  let at = 0
  let before = ''
  for (const character of text) {
    if (before === '\r' && character === '\n') at--
    units.push(at)
    at += character.length
    before = character
  }
  return (characters) => units[characters] ?? at
}

/** A text in pieces, those within the spans marked. Spans are in characters, of which some take two places in a string. */
export function cutAt(
  text: string,
  spans: readonly (readonly [start: number, end: number])[],
): { text: string; isHit: boolean }[] {
  const characters = [...text]
  const pieces: { text: string; isHit: boolean }[] = []
  let at = 0
  for (const [start, end] of [...spans].sort((one, other) => one[0] - other[0])) {
    if (start > at) pieces.push({ text: characters.slice(at, start).join(''), isHit: false })
    if (end > Math.max(at, start))
      pieces.push({ text: characters.slice(Math.max(at, start), end).join(''), isHit: true })
    at = Math.max(at, end)
  }
  if (at < characters.length) pieces.push({ text: characters.slice(at).join(''), isHit: false })
  return pieces
}

const SNIPPET_CHARS = 280
/** How much of a snippet stands before its first hit. */
const LEAD_CHARS = 60
/** How far a cut is moved so that it falls between words. */
const WORD_CHARS = 24

/**
 * A passage as a result shows it, in pieces: whole when it is short, or else the part in which the most different hits stand,
 * cut between words; from its beginning where nothing was hit. Spans are in characters.
 */
export function makeSnippet(
  text: string,
  spans: readonly (readonly [start: number, end: number])[],
): { text: string; isHit: boolean }[] {
  const characters = [...text]
  if (characters.length <= SNIPPET_CHARS) return cutAt(text, spans)
  const hits = [...spans].sort((one, other) => one[0] - other[0])
  let from = Math.max(0, (findDensest(characters, hits) ?? 0) - LEAD_CHARS)
  from = Math.min(from, characters.length - SNIPPET_CHARS)
  const isHit = (at: number) => hits.some(([start, end]) => start < at && at < end)
  const isBetween = (at: number) =>
    !isHit(at) && (/\s/.test(characters[at - 1] ?? ' ') || /\s/.test(characters[at] ?? ' '))
  const start = from ? moveTo(from, 1, isBetween) : 0
  let end = Math.min(characters.length, start + SNIPPET_CHARS)
  if (end < characters.length) end = moveTo(end, -1, isBetween)
  const within = hits
    .filter(([first, last]) => first < end && last > start)
    .map(([first, last]) => [Math.max(0, first - start), Math.min(last, end) - start] as const)
  const pieces = cutAt(characters.slice(start, end).join('').trimEnd(), within)
  if (start && pieces[0]) {
    if (pieces[0].isHit) pieces.unshift({ text: '…\u00a0', isHit: false })
    else pieces[0].text = `…\u00a0${pieces[0].text.trimStart()}`
  }
  if (end < characters.length) pieces.push({ text: '\u00a0…', isHit: false })
  return pieces
}

/** The hit from which on a snippet holds the most different ones, and of these the most; the first such. */
function findDensest(
  characters: readonly string[],
  hits: readonly (readonly [start: number, end: number])[],
): number | null {
  const words = hits.map(([start, end]) => characters.slice(start, end).join('').toLowerCase())
  let best: number | null = null
  let most = -1
  hits.forEach(([begin], n) => {
    const held = words.filter(
      (_, m) => m >= n && hits[m]![1] <= begin + SNIPPET_CHARS - LEAD_CHARS - WORD_CHARS,
    )
    const score = new Set(held).size * 1000 + held.length
    if (score > most) [most, best] = [score, begin]
  })
  return best
}

/** The nearest place in a direction that will do; the same place where none is near, as in scripts without spaces. */
function moveTo(at: number, step: 1 | -1, isGood: (at: number) => boolean): number {
  for (let n = 0; n < WORD_CHARS; n++) if (isGood(at + n * step)) return at + n * step
  return at
}
