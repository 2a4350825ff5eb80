/**
 * A Markdown text that grows, as the list of its top-level blocks.
 *
 * What can no longer change is settled: its blocks stay the same objects and are not parsed again. Only the tail behind
 * it is, which is one block most of the time; an open code fence at the top level is not even parsed but only
 * continued. A block is settled when a line that is complete begins another one and
 *   - an empty line stands between the two, or
 *   - the earlier is of a kind that ends by itself (heading, rule, closed fence, formula), or
 *   - the later is of a kind that ends whatever stands before it (fence, heading with #, rule).
 * Definitions that come later (links, footnotes) may still change what earlier text means: then everything is
 * rendered again, with the inline text that they cannot concern taken from memory.
 * When the text is done it is parsed once as a whole, so what is shown in the end is what any other renderer
 * of the whole text would show.
 */

import type { Token } from 'markdown-it'

import { hideHalfMark, type Evidence } from './citations.ts'
import {
  cutFootnotes,
  languageOf,
  normalise,
  parseBlocks,
  parseInlines,
  renderFootnotes,
  renderInline,
  renderTokens,
  type Context,
  type Footnotes,
  type Memo,
} from './grammar.ts'
import { englishLabels, type MarkdownLabels } from './labels.ts'
import { completeInline, completeLines } from './tail.ts'

/** HTML that is not sanitised yet: parts within a shell, so that a change sanitises and touches only some of them. */
export interface HtmlBlock {
  readonly kind: 'html'
  /** The element around the parts, as HTML before and after them. */
  readonly shell: readonly [before: string, after: string]
  /** Where the parts stand in the shell: in its first element of this kind. */
  readonly slot: 'p' | 'ul' | 'ol' | 'tbody' | null
  /** Items of a list, rows of a table; of a long paragraph pieces that end with an element. */
  readonly parts: readonly string[]
}

export interface CodeText {
  readonly kind: 'code'
  readonly language: string
  readonly code: string
  /** Its closing fence has not come yet. */
  readonly open: boolean
}

export type Block = HtmlBlock | CodeText

export interface Rendering {
  readonly blocks: readonly Block[]
  /** HTML of the footnotes, not sanitised yet, or "". */
  readonly footnotes: string
}

export interface DocumentOptions {
  /** Stands before every id, so that two messages on one page do not share one. */
  idPrefix?: string
  labels?: Partial<MarkdownLabels>
  headingOffset?: number
}

const NO_EVIDENCE: Evidence = { sources: new Map(), sentences: [] }

interface Group {
  tokens: Token[]
  /** Lines from and to (exclusive); unknown for definitions of footnotes. */
  lines: [number, number] | null
}

interface OpenFence {
  char: string
  length: number
  indent: number
  language: string
  /** Where its first line of code begins. */
  from: number
  /** Where the first line begins that has not been looked at for the closing fence. */
  unread: number
}

const DEFINES = /\]:|\[\^|\^\[/

export class MarkdownDocument {
  private readonly idPrefix: string
  private readonly labels: MarkdownLabels
  private readonly headingOffset: number
  private evidence = NO_EVIDENCE
  private source = ''
  private isDone = false
  private blocks: Block[] = []
  private tailStart = 0
  private references: NonNullable<Context['references']> = {}
  private footnotes: Footnotes = {}
  private definitions = new Map<string, Token[]>()
  private fence: OpenFence | null = null
  private memo: Memo = { plain: new Map(), linked: new Map(), links: '' }
  private shown: Rendering = { blocks: [], footnotes: '' }

  constructor(options: DocumentOptions = {}) {
    this.idPrefix = (options.idPrefix ?? '').replace(/[^\w-]/g, '')
    this.labels = { ...englishLabels, ...options.labels }
    this.headingOffset = options.headingOffset ?? 0
  }

  /**
   * The blocks of `source`, of which the earlier source is usually the beginning. Unchanged blocks are the same objects.
   * @param evidence what it is shown with; another object is another evidence
   */
  update(source: string, done: boolean, evidence: Evidence = NO_EVIDENCE): Rendering {
    source = normalise(source)
    const isOther = evidence !== this.evidence
    if (isOther || !source.startsWith(this.source) || this.isDone) this.restart()
    if (isOther) this.memo = { plain: new Map(), linked: new Map(), links: '' }
    const isNew = isOther || source !== this.source || done !== this.isDone
    this.evidence = evidence
    this.source = source
    this.isDone = done
    if (done) {
      if (isNew || this.shown.blocks.length === 0) this.shown = this.whole(source)
      this.memo = { plain: new Map(), linked: new Map(), links: '' }
    } else if (isNew) this.shown = this.grow()
    return this.shown
  }

  private restart(): void {
    this.source = ''
    this.blocks = []
    this.tailStart = 0
    this.references = {}
    this.footnotes = {}
    this.definitions = new Map()
    this.fence = null
  }

  private context(growing: boolean, references: Context['references'], footnotes: Footnotes): Context {
    return {
      idPrefix: this.idPrefix,
      labels: this.labels,
      headingOffset: this.headingOffset,
      growing,
      ...(this.evidence.sources.size + this.evidence.sentences.length > 0 && { evidence: this.evidence }),
      references: { ...references },
      footnotes: { refs: { ...footnotes.refs }, list: (footnotes.list ?? []).map((note) => ({ ...note })) },
    }
  }

  /** Inline texts parsed before. What has brackets depends on the links defined: it is forgotten when these change. */
  private memoFor(context: Context): Memo {
    const links = JSON.stringify(context.references)
    if (links !== this.memo.links) this.memo = { plain: this.memo.plain, linked: new Map(), links }
    return this.memo
  }

  private whole(source: string): Rendering {
    const context = this.context(false, {}, {})
    const tokens = parseBlocks(source, context)
    parseInlines(tokens, context, this.memoFor(context), source)
    const cut = cutFootnotes(tokens)
    return {
      blocks: renderGroups(groupTokens(cut.tokens), context),
      footnotes: renderFootnotes(cut.definitions, context),
    }
  }

  private grow(): Rendering {
    if (this.fence !== null) {
      const block = this.continueFence(this.fence)
      if (block !== null) return { blocks: [...this.blocks, block], footnotes: this.shown.footnotes }
      this.fence = null
    }
    const tail = this.source.slice(this.tailStart)
    const context = this.context(true, this.references, this.footnotes)
    let tokens = parseBlocks(tail, context)
    let groups = groupTokens(tokens)
    const fence = openFenceOf(groups.at(-1), tail, this.tailStart)
    const lines = lineStarts(tail)
    const settled = settledGroups(groups, tail, lines, fence === null)
    const settledEnd = settled.line === 0 ? 0 : (lines[settled.line] ?? tail.length)

    if (settledEnd > 0) {
      const segment = tail.slice(0, settledEnd)
      this.tailStart += settledEnd
      if (DEFINES.test(segment)) this.commit(segment)
      else {
        const head = groups.slice(0, settled.count)
        for (const group of head) parseInlines(group.tokens, context, this.memoFor(context))
        this.blocks.push(...renderGroups(head, context))
      }
      return this.grow()
    }
    if (fence !== null) {
      this.fence = fence
      return this.grow()
    }

    const lastGroup = groups.at(-1)
    let completed = tail
    if (lastGroup?.tokens[0]?.type !== 'fence') completed = completeLines(tail)
    else if (lastGroup.lines?.[0] === lines.length - 1) completed = tail.slice(0, lines.at(-1))
    const isAsParsed = completed === tail
    const tailContext = isAsParsed ? context : this.context(true, this.references, this.footnotes)
    if (!isAsParsed) tokens = parseBlocks(completed, tailContext)
    const lastInline =
      completed === ''
        ? -1
        : tokens.findLastIndex(
            (token) =>
              (token.type === 'inline' && token.content !== '') ||
              token.type === 'fence' ||
              token.type === 'code_block' ||
              token.type === 'hr',
          )
    const last = tokens[lastInline]
    if (last?.type === 'inline') {
      parseInlines(tokens.slice(0, lastInline), tailContext, this.memoFor(tailContext))
      if (tailContext.evidence) last.content = hideHalfMark(last.content)
      last.content = completeInline(last.content)
      tailContext.last = true
      // Two tokens before tell whether it begins a list's item.
      parseInlines(
        [...tokens.slice(Math.max(0, lastInline - 2), lastInline).map(onlyType), last],
        tailContext,
      )
      delete tailContext.last
    } else parseInlines(tokens, tailContext, this.memoFor(tailContext))
    markOpenFences(tokens, completed)
    const cut = cutFootnotes(tokens)
    groups = groupTokens(cut.tokens)
    return {
      blocks: [...this.blocks, ...renderGroups(groups, tailContext)],
      footnotes: renderFootnotes(new Map([...this.definitions, ...cut.definitions]), tailContext),
    }
  }

  /** Settles text that defines or uses labels. New definitions may change what stands before them. */
  private commit(segment: string): void {
    const context = this.context(true, this.references, this.footnotes)
    const known = countLabels(context)
    let tokens = parseBlocks(segment, context)
    if (this.blocks.length > 0 && countLabels(context) > known) {
      const fresh = this.context(true, {}, {})
      tokens = parseBlocks(this.source.slice(0, this.tailStart), fresh)
      this.definitions = new Map()
      const earlier = this.blocks
      this.blocks = []
      this.settle(tokens, fresh)
      this.blocks = this.blocks.map((block, index) => {
        const before = earlier[index]
        return before !== undefined && sameBlock(before, block) ? before : block
      })
      return
    }
    this.settle(tokens, context)
  }

  private settle(tokens: Token[], context: Context): void {
    parseInlines(tokens, context, this.memoFor(context))
    const cut = cutFootnotes(tokens)
    for (const [label, text] of cut.definitions) this.definitions.set(label, text)
    this.blocks.push(...renderGroups(groupTokens(cut.tokens), context))
    this.references = context.references ?? {}
    this.footnotes = context.footnotes ?? {}
  }

  /** The open fence with what has come since, or null when it has been closed. */
  private continueFence(fence: OpenFence): CodeText | null {
    for (
      let end = this.source.indexOf('\n', fence.unread);
      end >= 0;
      end = this.source.indexOf('\n', fence.unread)
    ) {
      if (closesFence(this.source.slice(fence.unread, end), fence)) return null
      fence.unread = end + 1
    }
    let code = this.source.slice(fence.from)
    const lastLine = this.source.slice(fence.unread)
    if (lastLine.length < 40 && lastLine.trim() !== '' && lastLine.trim().replaceAll(fence.char, '') === '')
      code = this.source.slice(fence.from, fence.unread)
    if (fence.indent > 0) code = code.replace(new RegExp(`^ {1,${fence.indent}}`, 'gm'), '')
    return { kind: 'code', language: fence.language, code, open: true }
  }
}

export function sameBlock(one: Block, other: Block): boolean {
  if (one === other) return true
  if (one.kind === 'html') {
    return (
      other.kind === 'html' &&
      sameShell(one, other) &&
      one.parts.length === other.parts.length &&
      one.parts.every((part, index) => part === other.parts[index])
    )
  }
  return (
    other.kind === 'code' &&
    one.language === other.language &&
    one.open === other.open &&
    one.code === other.code
  )
}

export function sameShell(one: HtmlBlock, other: HtmlBlock): boolean {
  return one.slot === other.slot && one.shell[0] === other.shell[0] && one.shell[1] === other.shell[1]
}

function onlyType(token: Token): Token {
  return token.type === 'inline'
    ? (Object.assign(Object.create(Object.getPrototypeOf(token) as object), token, {
        type: 'inline_before',
      }) as Token)
    : token
}

function countLabels(context: Context): number {
  return Object.keys(context.references ?? {}).length + Object.keys(context.footnotes?.refs ?? {}).length
}

function groupTokens(tokens: Token[]): Group[] {
  const groups: Group[] = []
  let open: Token[] | null = null
  let depth = 0
  for (const token of tokens) {
    if (open === null) {
      open = []
      groups.push({ tokens: open, lines: token.map })
    }
    open.push(token)
    depth += token.nesting
    if (depth === 0) open = null
  }
  return groups
}

function renderGroups(groups: Group[], context: Context): Block[] {
  return groups.map(({ tokens }) => {
    const first = tokens[0]
    if (first?.type === 'fence')
      return {
        kind: 'code',
        language: languageOf(first.info),
        code: first.content,
        open: first.meta?.['open'] === true,
      }
    if (first?.type === 'code_block') return { kind: 'code', language: '', code: first.content, open: false }
    return renderGroup(tokens, context)
  })
}

const PIECE_LENGTH = 600

function renderGroup(tokens: Token[], context: Context): HtmlBlock {
  const first = tokens[0]
  const last = tokens.at(-1)
  if (first === undefined || last === undefined)
    return { kind: 'html', shell: ['', ''], slot: null, parts: [] }
  if (first.type === 'bullet_list_open' || first.type === 'ordered_list_open') {
    const items = groupTokens(tokens.slice(1, -1)).map((item) => renderTokens(item.tokens, context).trimEnd())
    const shell = [renderTokens([first], context).trimEnd(), renderTokens([last], context).trim()] as const
    return { kind: 'html', shell, slot: first.type === 'bullet_list_open' ? 'ul' : 'ol', parts: items }
  }
  if (first.type === 'table_open') {
    const body = tokens.findIndex((token) => token.type === 'tbody_open')
    if (body >= 0) {
      const rows = groupTokens(tokens.slice(body + 1, -2)).map((row) =>
        renderTokens(row.tokens, context).trimEnd(),
      )
      const shell = [
        renderTokens(tokens.slice(0, body + 1), context).trimEnd(),
        renderTokens(tokens.slice(-2), context).trim(),
      ] as const
      return { kind: 'html', shell, slot: 'tbody', parts: rows }
    }
  }
  if (first.type === 'paragraph_open' && tokens.length === 3) {
    const pieces = inlinePieces(tokens[1]?.children ?? [], context)
    if (pieces.length > 1)
      return { kind: 'html', shell: ['<p dir="auto">', '</p>'], slot: 'p', parts: pieces }
  }
  return { kind: 'html', shell: ['', ''], slot: null, parts: [renderTokens(tokens, context)] }
}

/** A long inline text in pieces. Each ends with an element: two texts side by side would become one node. */
function inlinePieces(children: Token[], context: Context): string[] {
  const pieces: string[] = []
  let piece = ''
  let open: Token[] = []
  let depth = 0
  for (const token of children) {
    open.push(token)
    depth += token.nesting
    if (depth > 0) continue
    piece += renderInline(open, context)
    open = []
    if (piece.length > PIECE_LENGTH && piece.endsWith('>')) {
      pieces.push(piece)
      piece = ''
    }
  }
  piece += renderInline(open, context)
  if (piece !== '') pieces.push(piece)
  return pieces
}

function lineStarts(text: string): number[] {
  const starts = [0]
  for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n', end + 1)) starts.push(end + 1)
  return starts
}

/** How many groups are settled, and the line on which the tail begins. */
function settledGroups(
  groups: Group[],
  tail: string,
  lines: number[],
  lastIsClosed: boolean,
): { count: number; line: number } {
  let settled = { count: 0, line: 0 }
  const isComplete = (line: number): boolean => line + 1 < lines.length
  for (let index = 1; index < groups.length; index++) {
    const start = groups[index]?.lines?.[0]
    if (start === undefined || !isComplete(start)) continue
    const before = tail.slice(lines[start - 1], lines[start]).trim()
    const ends = groups[index - 1]
    if (before === '' || (endsByItself(ends) && ends?.lines?.[1] === start) || endsOthers(groups[index]))
      settled = { count: index, line: start }
  }
  const last = groups.at(-1)
  const end = last?.lines?.[1]
  if (lastIsClosed && end !== undefined && endsByItself(last) && end < lines.length)
    settled = { count: groups.length, line: end }
  return settled
}

function endsByItself(group: Group | undefined): boolean {
  const type = group?.tokens[0]?.type
  return type === 'heading_open' || type === 'hr' || type === 'fence' || type === 'math_block'
}

function endsOthers(group: Group | undefined): boolean {
  const first = group?.tokens[0]
  return (
    first?.type === 'fence' ||
    first?.type === 'hr' ||
    (first?.type === 'heading_open' && first.markup.startsWith('#'))
  )
}

function closesFence(line: string, fence: Pick<OpenFence, 'char' | 'length'>): boolean {
  const match = /^ {0,3}(`+|~+)[ \t]*$/.exec(line)
  return match?.[1] !== undefined && match[1][0] === fence.char && match[1].length >= fence.length
}

/** The fence that the tail ends in, when its first line is complete and no line closes it. */
function openFenceOf(group: Group | undefined, tail: string, offset: number): OpenFence | null {
  const token = group?.tokens[0]
  if (token?.type !== 'fence' || token.map === null) return null
  const starts = lineStarts(tail)
  const from = starts[token.map[0] + 1]
  if (from === undefined) return null
  const fence = { char: token.markup[0] ?? '`', length: token.markup.length }
  const opening = tail.slice(starts[token.map[0]], from)
  for (let line = token.map[0] + 1; line < starts.length - 1; line++) {
    if (closesFence(tail.slice(starts[line], (starts[line + 1] ?? 0) - 1), fence)) return null
  }
  return {
    ...fence,
    indent: opening.length - opening.trimStart().length,
    language: languageOf(token.info),
    from: offset + from,
    unread: offset + (starts.at(-1) ?? from),
  }
}

/** Marks fences within lists and quotes that the end of the text leaves open. */
function markOpenFences(tokens: Token[], source: string): void {
  const last = tokens.findLast((token) => token.nesting >= 0)
  if (last?.type !== 'fence' || last.map === null) return
  const lastLine = source.trimEnd().split('\n').at(-1) ?? ''
  const closing = lastLine.replace(/^[\s>]+/, '').trim()
  const isClosed =
    last.map[1] - last.map[0] > 1 &&
    closing.length >= last.markup.length &&
    closing.replaceAll(last.markup[0] ?? '`', '') === ''
  if (!isClosed) last.meta = { open: true }
}
