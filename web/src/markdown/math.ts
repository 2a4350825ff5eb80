/**
 * Formulae in Markdown: `$..$`, `$$..$$`, `\(..\)`, `\[..\]`, inline and as blocks of their own.
 *
 * Money is no formula: a dollar that opens stands neither before a space nor after a letter or digit; one that closes
 * stands neither after a space nor before a letter or digit; and what begins like a price must hold something that
 * only formulae have. A block holds no empty line (TeX forbids it too), so that whether a formula begins is decided
 * by the lines up to the next empty one.
 */

import type { MarkdownIt, StateBlock, StateInline } from 'markdown-it'

const LONGEST = 10_000

/** What `env` says while text still grows. */
export interface Growth {
  /** More text may follow the end of this one. */
  growing?: boolean
  /** The inline text being parsed is the last of what has come so far. */
  last?: boolean
}

export function mathRules(md: MarkdownIt): void {
  md.inline.ruler.before('escape', 'math', inlineMath)
  md.block.ruler.before('fence', 'math_block', blockMath, {
    alt: ['paragraph', 'reference', 'blockquote', 'list'],
  })
}

function inlineMath(state: StateInline, silent: boolean): boolean {
  const source = state.src
  const at = state.pos
  const first = source[at]
  if (first !== '$' && first !== '\\') return false
  let open: string
  let close: string
  if (first === '\\') {
    const second = source[at + 1]
    if (second !== '(' && second !== '[') return false
    open = first + second
    close = second === '(' ? '\\)' : '\\]'
  } else {
    open = source[at + 1] === '$' ? '$$' : '$'
    close = open
    if (open === '$' && !opensMoneyless(source, at)) return false
  }
  const start = at + open.length
  const end = findClose(source, start, close, state.posMax)
  if (end < 0) return pendingMath(state, silent, open, start)
  const tex = source.slice(start, end)
  if (tex.trim() === '' || tex.length > LONGEST) return false
  if (open === '$' && looksLikePrice(tex)) return false
  if (!silent) {
    const token = state.push(open === '$$' || open === '\\[' ? 'math_display' : 'math_inline', '', 0)
    token.content = tex
    token.markup = open
  }
  state.pos = end + close.length
  return true
}

function opensMoneyless(source: string, at: number): boolean {
  const before = source[at - 1]
  const after = source[at + 1]
  if (after === undefined || /\s/.test(after)) return false
  return before === undefined || !/[\p{L}\p{N}$\\]/u.test(before)
}

function findClose(source: string, start: number, close: string, limit: number): number {
  for (let i = start; i < limit; i++) {
    if (source.startsWith(close, i)) {
      if (close !== '$') return i + close.length <= limit ? i : -1
      const after = source[i + 1]
      if (
        i > start &&
        !/\s/.test(source[i - 1] ?? ' ') &&
        (after === undefined || !/[\p{L}\p{N}$]/u.test(after))
      )
        return i
      if (after === '$') return -1
      continue
    }
    if (source[i] === '\\') i++
  }
  return -1
}

function looksLikePrice(tex: string): boolean {
  if (!/^[\d.,]/.test(tex) || !/\s/.test(tex)) return false
  return !/[\\^_={}<>]|\s[-+*/]\s/.test(tex)
}

/** The formula that the end of a growing text has begun: shown as its source until it is closed. */
function pendingMath(state: StateInline, silent: boolean, open: string, start: number): boolean {
  const growth = state.env as Growth
  if (growth.growing !== true || growth.last !== true) return false
  const rest = state.src.slice(start, state.posMax)
  if (
    rest.length > 400 ||
    (open === '$' && (/^\d/.test(rest) || /(^|[^\\a-z])[a-z]{3,} [a-z]{2,}/i.test(rest)))
  )
    return false
  if (!silent) {
    const token = state.push('math_pending', '', 0)
    token.content = rest
  }
  state.pos = state.posMax
  return true
}

function blockMath(state: StateBlock, startLine: number, endLine: number, silent: boolean): boolean {
  if ((state.sCount[startLine] ?? 0) - state.blkIndent >= 4) return false
  const start = (state.bMarks[startLine] ?? 0) + (state.tShift[startLine] ?? 0)
  const open = state.src.slice(start, start + 2)
  if (open !== '$$' && open !== '\\[') return false
  const close = open === '$$' ? '$$' : '\\]'
  let line = startLine
  let closed = false
  let pending = false
  const content: string[] = []
  for (; line < endLine; line++) {
    if (line > startLine && (state.isEmpty(line) || (state.sCount[line] ?? 0) < state.blkIndent)) break
    const from = line === startLine ? start + 2 : (state.bMarks[line] ?? 0) + (state.tShift[line] ?? 0)
    const text = state.src.slice(from, state.eMarks[line])
    const at = findClose(text, 0, close, text.length)
    if (at >= 0) {
      // Words after the end make this a formula within a paragraph.
      if (text.slice(at + 2).trim() !== '') return false
      content.push(text.slice(0, at))
      closed = true
      line++
      break
    }
    content.push(text)
  }
  if (!closed) {
    pending =
      (state.env as Growth).growing === true &&
      (state.eMarks[line - 1] ?? 0) >= state.src.trimEnd().length &&
      !/\n[ \t]*\n\s*$/.test(state.src)
    if (!pending) return false
  }
  const tex = content.join('\n').trim()
  if (closed && tex === '') return false
  if (silent) return true
  const token = state.push(pending ? 'math_block_pending' : 'math_block', '', 0)
  token.block = true
  token.content = tex
  token.markup = open
  token.map = [startLine, line]
  state.line = line
  return true
}
