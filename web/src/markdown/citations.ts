/**
 * Citations in Markdown: marks like `[1]`, `[1, 2]` and `【1】` become buttons, wherever they stand but in code and links,
 * and sentences that no source bears out are marked.
 *
 * A mark is one when its number is that of a source; any other stays text. Sentences are given by their places in the
 * source text: these become edges within the inline texts, through which emphasis, links and lists keep their shape. A
 * sentence that ends in a mark's middle, or in code, ends after it.
 */

import Markdown from 'markdown-it'
import type { MarkdownIt, StateInline, Token } from 'markdown-it'

/** What a text is shown with. */
export interface Evidence {
  /** What the sources are called, by their numbers. */
  readonly sources: ReadonlyMap<number, string>
  /** Those of a text that is done, in their order. */
  readonly sentences: readonly MarkedSentence[]
}

export interface MarkedSentence {
  /** Where it stands in the text, in UTF-16 units. */
  readonly start: number
  readonly end: number
  readonly isUnsupported: boolean
  /** Sources that it rests on, whether or not it has a mark of them. */
  readonly sources: readonly number[]
}

/** What the rules below read and write in `env`. */
export interface CitationContext {
  evidence?: Evidence
  /** Edges of sentences in the inline text that is being parsed. */
  edges?: { content: string; list: readonly Edge[]; at: number }
  /** The last sentence that has begun, and whether it goes on. */
  sentence?: number
  isInside?: boolean
}

interface Edge {
  /** Where in the inline text. */
  pos: number
  sentence: number
  isStart: boolean
}

// As `candide/citations/scan.py` reads them.
const NUMBERS = '[ \\t\\u00a0]*\\d{1,4}(?:[ \\t\\u00a0]*[,;–—-][ \\t\\u00a0]*\\d{1,4})*[ \\t\\u00a0]*'
const MARK = new RegExp(`\\[(${NUMBERS})\\]|［(${NUMBERS})］|【(${NUMBERS})(?:†[^】\\n]*)?】`, 'y')
const PART = /(\d+)(?:\s*[–—-]\s*(\d+))?/g
const HALF_MARK = /(?:[[［]|【)[ \t\u00a0]*(?:\d[\d \t\u00a0,;–—-]*)?(?:†[^】\n]*)?$/
const LARGEST_RANGE = 20
/** Of these brackets Markdown knows nothing: plain text ends before them. */
const WIDE = /[［【]/

export function citationRules(md: MarkdownIt): void {
  const text = md.inline.ruler.getRules('')[0]!
  md.inline.ruler.at('text', (state, silent) => untilEdge(state, silent, text))
  md.inline.ruler.before('text', 'sentence_edge', (state, silent) => edge(state, silent, md))
  md.inline.ruler.before('link', 'citation', citation)
}

/** Plain text up to what is looked at by the rules here. */
function untilEdge(
  state: StateInline,
  silent: boolean,
  text: (state: StateInline, silent: boolean) => boolean,
): boolean {
  const context = state.env as CitationContext
  if (context.evidence === undefined) return text(state, silent)
  const whole = state.posMax
  const bracket = state.src.slice(state.pos, whole).search(WIDE)
  if (bracket === 0) return false
  if (bracket > 0) state.posMax = state.pos + bracket
  const next = nextEdge(state)
  if (!silent && next !== undefined && next.pos > state.pos) state.posMax = Math.min(state.posMax, next.pos)
  const found = text(state, silent)
  state.posMax = whole
  return found
}

function nextEdge(state: StateInline): Edge | undefined {
  const { edges } = state.env as CitationContext
  return edges?.content === state.src ? edges.list[edges.at] : undefined
}

function edge(state: StateInline, silent: boolean, md: MarkdownIt): boolean {
  if (silent) return false
  let hasOne = false
  for (let next = nextEdge(state); next !== undefined && next.pos <= state.pos; next = nextEdge(state)) {
    pushEdge(state, next)
    hasOne = true
  }
  if (!hasOne) return false
  // A rule has to go on, and an edge has no width: what stands behind it is taken along.
  if (!md.inline.ruler.getRules('').some((rule) => rule(state, false)))
    state.pending += state.src[state.pos++] ?? ''
  return true
}

function pushEdge(state: StateInline, edge: Edge): void {
  state.push('sentence_edge', '', 0).meta = { ...edge }
  const { edges } = state.env as CitationContext
  if (edges) edges.at++
}

function citation(state: StateInline, silent: boolean): boolean {
  const { evidence } = state.env as CitationContext
  const first = state.src[state.pos]
  // Who looks for a link's end goes over it as over any brackets.
  if (silent || evidence === undefined || state.linkLevel > 0) return false
  if (first !== '[' && !WIDE.test(first ?? '')) return false
  MARK.lastIndex = state.pos
  const match = MARK.exec(state.src)
  if (match === null) return false
  const end = state.pos + match[0].length
  if (end > state.posMax || (first === '[' && state.src[end] === '(')) return false
  const numbers = numbersOf(match[1] ?? match[2] ?? match[3] ?? '')
  if (!numbers.some((number) => evidence.sources.has(number))) return false
  for (const number of numbers) {
    if (evidence.sources.has(number)) state.push('citation', '', 0).meta = { number }
    else state.push('text', '', 0).content = `[${number}]`
  }
  state.pos = end
  return true
}

/** The numbers in a pair of brackets; those of a range that is too large are its ends. */
function numbersOf(written: string): number[] {
  return [...written.matchAll(PART)].flatMap(([, from, to]) => {
    const first = Number(from)
    const count = to === undefined ? 1 : Number(to) - first + 1
    if (to === undefined) return [first]
    return count > 0 && count <= LARGEST_RANGE
      ? Array.from({ length: count }, (_, n) => first + n)
      : [first, Number(to)]
  })
}

/** Takes half a mark off the end of a text that still grows. */
export function hideHalfMark(text: string): string {
  return text.replace(HALF_MARK, '')
}

interface Piece {
  inline: Token
  /** Of the piece in the source. */
  from: number
  to: number
  /** Where it begins in the inline text. */
  at: number
}

/** Finds where the sentences begin and end in the inline texts of a whole source: the edges of each. */
export function placeEdges(
  tokens: Token[],
  source: string,
  sentences: readonly MarkedSentence[],
): Map<Token, Edge[]> {
  const pieces = piecesOf(tokens, source)
  const edges = new Map<Token, Edge[]>()
  const put = (piece: Piece, edge: Edge): void => {
    const list = edges.get(piece.inline)
    if (list) list.push(edge)
    else edges.set(piece.inline, [edge])
  }
  sentences.forEach(({ start, end }, sentence) => {
    const first = pieces.findIndex((piece) => piece.to > start)
    const last = pieces.findLastIndex((piece) => piece.from < end)
    const begins = pieces[first]
    const ends = pieces[last]
    if (begins === undefined || ends === undefined || first > last) return
    put(begins, { pos: begins.at + Math.max(0, start - begins.from), sentence, isStart: true })
    put(ends, { pos: ends.at + Math.min(ends.to, end) - ends.from, sentence, isStart: false })
  })
  for (const list of edges.values()) list.sort((one, other) => one.pos - other.pos)
  return edges
}

/** The lines of all inline texts, with their places in the source; a line that stands there in other letters is left out. */
function piecesOf(tokens: Token[], source: string): Piece[] {
  const starts = [0]
  for (let end = source.indexOf('\n'); end >= 0; end = source.indexOf('\n', end + 1)) starts.push(end + 1)
  const pieces: Piece[] = []
  let row = 0
  let cursor = 0
  for (const token of tokens) {
    if (token.type === 'tr_open') {
      row = token.map?.[0] ?? row
      cursor = starts[row] ?? 0
    }
    if (token.type !== 'inline') continue
    let at = 0
    token.content.split('\n').forEach((line, n) => {
      const isCell = token.map === null
      const number = (isCell ? row : token.map![0]) + n
      const lineStart = starts[number] ?? source.length
      const lineEnd = (starts[number + 1] ?? source.length + 1) - 1
      const from = isCell
        ? source.indexOf(line, cursor)
        : source.lastIndexOf(line, Math.max(lineStart, lineEnd - line.length))
      if (line !== '' && from >= lineStart && from + line.length <= lineEnd) {
        pieces.push({ inline: token, from, to: from + line.length, at })
        cursor = from + line.length
      }
      at += line.length + 1
    })
  }
  return pieces
}

/** Puts spans around what stands in unsupported sentences, and at each sentence's end what it rests on without a mark. */
export function markSentences(children: Token[], context: CitationContext): Token[] {
  const { evidence } = context
  if (evidence === undefined || evidence.sentences.length === 0) return children
  const marked: Token[] = []
  /** Sources that the sentence has marks of. */
  let cited = new Set<number>()
  let isOpen = false
  const close = (): void => {
    if (isOpen) marked.push(new Markdown.Token('unsupported_close', 'span', -1))
    isOpen = false
  }
  for (const token of children) {
    if (token.type === 'sentence_edge') {
      const { sentence, isStart } = token.meta as unknown as Edge
      close()
      context.sentence = sentence
      context.isInside = isStart
      if (isStart) {
        cited = new Set()
        continue
      }
      for (const number of evidence.sentences[sentence]?.sources ?? []) {
        if (!evidence.sources.has(number) || cited.has(number)) continue
        const mark = new Markdown.Token('citation', '', 0)
        mark.meta = { number, sentence }
        marked.push(mark)
      }
      if (evidence.sentences[sentence]?.isUnsupported === true)
        marked.push(new Markdown.Token('doubt', '', 0))
      continue
    }
    if (token.type === 'citation' && context.sentence !== undefined) {
      cited.add(Number(token.meta?.['number']))
      token.meta = { ...token.meta, sentence: context.sentence }
    }
    const isIn =
      context.isInside === true && evidence.sentences[context.sentence ?? -1]?.isUnsupported === true
    const isWords = token.nesting === 0 && token.type !== 'citation'
    if (!isIn || !isWords) close()
    else if (!isOpen) {
      marked.push(new Markdown.Token('unsupported_open', 'span', 1))
      isOpen = true
    }
    marked.push(token)
  }
  close()
  return marked
}

/** The edges of an inline text that its parsing did not come to, since they stand at its end or behind code there. */
export function restOfEdges(context: CitationContext): Token[] {
  const rest = context.edges?.list.slice(context.edges.at) ?? []
  return rest.map((edge) => {
    const token = new Markdown.Token('sentence_edge', '', 0)
    token.meta = { ...edge }
    return token
  })
}
