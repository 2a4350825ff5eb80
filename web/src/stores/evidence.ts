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
