/**
 * The Markdown that answers are written in: CommonMark, tables, strikethrough, task lists, footnotes, formulae.
 *
 * HTML stays text, but for `<br>`. `parseBlocks` and `parseInlines` are apart so that text that grows parses only what
 * is new. `renderBlock` gives HTML that still has to pass `sanitise`; code and formulae are placeholders in it
 * (`pre.md-code`, `.md-math`) that `view` or `static` bring to life.
 */

import MarkdownIt from 'markdown-it'
import type { Env, StateInline, Token } from 'markdown-it'
import footnotes from 'markdown-it-footnote'

import { citationRules, markSentences, placeEdges, restOfEdges, type CitationContext } from './citations.ts'
import { fillLabel, type MarkdownLabels } from './labels.ts'
import {
  hostBeside,
  isAllowedLink,
  isOwnImage,
  parseAddress,
  revealBidiControls,
  stripBidiControls,
} from './links.ts'
import { mathRules, type Growth } from './math.ts'

export interface Footnotes {
  /** `:label` to its number from 0, or -1 while nothing refers to it. */
  refs?: Record<string, number>
  list?: { label?: string; count?: number; content?: string; tokens?: Token[] }[]
}

/** What parsing one part of a text needs to know of the others. */
export interface Context extends Env, Growth, CitationContext {
  footnotes?: Footnotes
  idPrefix: string
  labels: MarkdownLabels
  /** How many levels headings are lowered, below the page's own. */
  headingOffset: number
}

/** Inline texts that were parsed already. */
export interface Memo {
  plain: Map<string, Token[]>
  /** Those that name links which `links` defines. */
  linked: Map<string, Token[]>
  links: string
}

const md = new MarkdownIt({ html: false, linkify: true, typographer: false })
md.use(footnotes)
md.use(mathRules)
md.use(citationRules)
md.core.ruler.disable('footnote_tail')
// "main.rs" and "README.md" are names of files, not of hosts: only what has a scheme, and mail addresses, become links.
md.linkify.set({ fuzzyLink: false, fuzzyIP: false })
md.validateLink = (address) => isAllowedLink(address) || isOwnImage(address)
md.inline.ruler.before('autolink', 'line_break', lineBreak)
md.inline.ruler.after('footnote_ref', 'footnote_pending', pendingFootnote)

const { escapeHtml } = md.utils

function lineBreak(state: StateInline, silent: boolean): boolean {
  if (state.src[state.pos] !== '<') return false
  const match = /^<br\s{0,2}\/?>/i.exec(state.src.slice(state.pos, state.pos + 8))
  if (match === null) return false
  if (!silent) state.push('hardbreak', 'br', 0)
  state.pos += match[0].length
  return true
}

/** A reference whose footnote has not come yet: most answers write footnotes at their end. */
function pendingFootnote(state: StateInline, silent: boolean): boolean {
  if ((state.env as Context).growing !== true || state.src[state.pos] !== '[') return false
  const match = /^\[\^([^\s\]]{1,40})\]/.exec(
    state.src.slice(state.pos, Math.min(state.posMax, state.pos + 48)),
  )
  if (match === null) return false
  if (!silent) state.push('footnote_pending', '', 0).content = match[1] ?? ''
  state.pos += match[0].length
  return true
}

/** Line ends and NUL as markdown-it's own `normalize` rule makes them. */
export function normalise(source: string): string {
  return source.includes('\r') || source.includes('\0')
    ? source.replace(/\r\n?/g, '\n').replace(/\0/g, '\ufffd')
    : source
}

/** Splits into block tokens; those of type `inline` are not parsed yet. Definitions are added to `context`. */
export function parseBlocks(source: string, context: Context): Token[] {
  const tokens: Token[] = []
  md.block.parse(source, md, context, tokens)
  return tokens
}

/**
 * Fills in the children of every `inline` token, from `memo` where it knows them.
 * @param source the text that `tokens` were parsed from, as a whole; with it, sentences of the evidence are marked
 */
export function parseInlines(tokens: Token[], context: Context, memo?: Memo, source?: string): void {
  const sentences = (source !== undefined && context.evidence?.sentences) || []
  const edges = sentences.length > 0 ? placeEdges(tokens, source ?? '', sentences) : null
  tokens.forEach((token, index) => {
    if (token.type !== 'inline') return
    const task = taskMark(tokens, index)
    const content = task === null ? token.content : token.content.slice(4)
    // The number of a footnote depends on those before it, the end of a growing text on what it may become.
    const known =
      memo === undefined || edges !== null || context.last === true || /\[\^|\^\[/.test(content)
        ? undefined
        : content.includes('[')
          ? memo.linked
          : memo.plain
    let children = known?.get(content)
    if (children === undefined) {
      const cut = token.content.length - content.length
      const list = edges?.get(token)?.map((edge) => ({ ...edge, pos: Math.max(0, edge.pos - cut) }))
      context.edges = { content, list: list ?? [], at: 0 }
      children = md.parseInline(content, context)[0]?.children ?? []
      guardLinks(children)
      if (edges !== null) children = markSentences([...children, ...restOfEdges(context)], context)
      known?.set(content, children)
    }
    token.children = task === null ? children : [task, ...children]
  })
}

function taskMark(tokens: Token[], index: number): Token | null {
  const token = tokens[index]
  const item = tokens[index - 2]
  if (token === undefined || item === undefined || item.type !== 'list_item_open') return null
  const match = /^\[([ xX])\](?=[ \u00a0\n])/.exec(token.content)
  if (match === null) return null
  item.attrSet('class', 'md-task')
  const mark = new MarkdownIt.Token('task', 'input', 0)
  mark.meta = { done: match[1] !== ' ' }
  return mark
}

/** Words of links lose what reorders them, and say the host they lead to where they claim another. */
function guardLinks(children: Token[]): void {
  for (let open = 0; open < children.length; open++) {
    const link = children[open]
    if (link?.type !== 'link_open') continue
    let words = ''
    let close = open + 1
    for (; close < children.length && children[close]?.type !== 'link_close'; close++) {
      const token = children[close]
      if (token === undefined) continue
      if (token.type === 'text' || token.type === 'code_inline')
        token.content = stripBidiControls(token.content)
      words +=
        token.type === 'image'
          ? token.content
          : token.type === 'softbreak' || token.type === 'hardbreak'
            ? ' '
            : token.content
      if (token.type === 'image') token.meta = { inLink: true }
    }
    const host = hostBeside(words, String(link.attrGet('href') ?? ''))
    if (host !== null) {
      const beside = new MarkdownIt.Token('link_host', '', 0)
      beside.content = host
      children.splice(close, 0, beside)
    }
    open = close
  }
}

/** Takes the definitions of footnotes out of `tokens`: label with a colon before it, to the tokens of its text. */
export function cutFootnotes(tokens: Token[]): { tokens: Token[]; definitions: Map<string, Token[]> } {
  const definitions = new Map<string, Token[]>()
  if (!tokens.some((token) => token.type === 'footnote_reference_open')) return { tokens, definitions }
  const rest: Token[] = []
  const open: Token[][] = []
  for (const token of tokens) {
    if (token.type === 'footnote_reference_open') {
      const text: Token[] = []
      definitions.set(`:${String(token.meta?.['label'])}`, text)
      open.push(text)
    } else if (token.type === 'footnote_reference_close') open.pop()
    else (open.at(-1) ?? rest).push(token)
  }
  return { tokens: rest, definitions }
}

export function renderTokens(tokens: Token[], context: Context): string {
  return md.renderer.render(tokens, md.options, context)
}

export function renderInline(children: Token[], context: Context): string {
  return md.renderer.renderInline(children, md.options, context)
}

/** The list of footnotes that were referred to, or "" without any. */
export function renderFootnotes(definitions: Map<string, Token[]>, context: Context): string {
  const list = context.footnotes?.list ?? []
  if (list.length === 0) return ''
  const items = list.map((note, id) => {
    const text =
      note.tokens !== undefined
        ? inlineFootnote(note.tokens, context)
        : renderTokens(definitions.get(`:${note.label ?? ''}`) ?? [], context)
    const number = String(id + 1)
    let backs = ''
    for (let use = 0; use < Math.max(note.count ?? 1, 1); use++) {
      const label = escapeHtml(fillLabel(context.labels.footnoteBack, { number }))
      backs += ` <a class="md-footnote-back" href="#${referenceId(context, id, use)}" aria-label="${label}">↩</a>`
    }
    const inside = text.endsWith('</p>\n') ? `${text.slice(0, -5)}${backs}</p>` : text + backs
    return `<li id="${context.idPrefix}fn-${number}" tabindex="-1">${inside}</li>`
  })
  return `<section class="md-footnotes" aria-label="${escapeHtml(context.labels.footnotes)}"><ol>${items.join('')}</ol></section>`
}

function inlineFootnote(children: Token[], context: Context): string {
  return `<p dir="auto">${md.renderer.renderInline(children, md.options, context)}</p>\n`
}

function referenceId(context: Context, id: number, use: number): string {
  return `${context.idPrefix}fnref-${id + 1}${use > 0 ? `-${use + 1}` : ''}`
}

/** The language that a fence's info string names, in small letters, or "". */
export function languageOf(info: string): string {
  return (
    md.utils
      .unescapeAll(info)
      .trim()
      .split(/[\s{,:]/, 1)[0]
      ?.toLowerCase()
      .replace(/[^\w+#.-]/g, '')
      .slice(0, 40) ?? ''
  )
}

/** How the list of text in `tokens` reads aloud, without marks. */
export function textOf(children: Token[]): string {
  let text = ''
  for (const token of children) {
    if (token.type === 'softbreak' || token.type === 'hardbreak') text += '\n'
    else if (token.type === 'image') text += textOf(token.children ?? [])
    else if (token.type === 'text' || token.type === 'code_inline' || token.type.startsWith('math_'))
      text += token.content
  }
  return text
}

// How tokens are written.

const rules = md.renderer.rules

for (const name of [
  'paragraph_open',
  'bullet_list_open',
  'ordered_list_open',
  'blockquote_open',
  'td_open',
]) {
  rules[name] = (tokens, index, options, _env, renderer) => {
    tokens[index]?.attrSet('dir', 'auto')
    return alignByClass(renderer.renderToken(tokens, index, options))
  }
}
rules['th_open'] = (tokens, index, options, _env, renderer) => {
  tokens[index]?.attrSet('dir', 'auto')
  tokens[index]?.attrSet('scope', 'col')
  return alignByClass(renderer.renderToken(tokens, index, options))
}
function alignByClass(html: string): string {
  return html.replace(/ style="text-align:(left|right|center)"/, ' class="md-$1"')
}
rules['heading_open'] = (tokens, index, _options, env) =>
  `<h${headingLevel(tokens[index], env as Context)} dir="auto">`
rules['heading_close'] = (tokens, index, _options, env) =>
  `</h${headingLevel(tokens[index], env as Context)}>\n`
function headingLevel(token: Token | undefined, context: Context): number {
  return Math.min(6, Number(token?.tag.slice(1) ?? 1) + context.headingOffset)
}
rules['table_open'] = (_tokens, _index, _options, env) =>
  `<div class="md-table" role="region" tabindex="0" aria-label="${escapeHtml((env as Context).labels.table)}"><table>\n`
rules['table_close'] = () => '</table></div>\n'

function codePlaceholder(code: string, language: string, open: boolean): string {
  return `<pre class="md-code"${language === '' ? '' : ` data-language="${escapeHtml(language)}"`}${open ? ' data-open="true"' : ''}><code>${escapeHtml(code)}</code></pre>\n`
}
rules['fence'] = (tokens, index) => {
  const token = tokens[index]
  return codePlaceholder(token?.content ?? '', languageOf(token?.info ?? ''), token?.meta?.['open'] === true)
}
rules['code_block'] = (tokens, index) => codePlaceholder(tokens[index]?.content ?? '', '', false)
rules['code_inline'] = (tokens, index) =>
  `<code dir="ltr">${escapeHtml(revealBidiControls(tokens[index]?.content ?? ''))}</code>`

rules['math_inline'] = (tokens, index) =>
  `<span class="md-math" dir="ltr">${escapeHtml(tokens[index]?.content ?? '')}</span>`
rules['math_display'] = (tokens, index) =>
  `<span class="md-math md-math-display" dir="ltr">${escapeHtml(tokens[index]?.content ?? '')}</span>`
rules['math_block'] = (tokens, index) =>
  `<div class="md-math md-math-display" dir="ltr">${escapeHtml(tokens[index]?.content ?? '')}</div>\n`
rules['math_pending'] = (tokens, index) =>
  `<span class="md-pending" dir="ltr">${escapeHtml(tokens[index]?.content ?? '')}</span>`
rules['math_block_pending'] = (tokens, index) =>
  `<div class="md-pending" dir="ltr">${escapeHtml(tokens[index]?.content ?? '')}</div>\n`

rules['link_open'] = (tokens, index) => {
  const href = String(tokens[index]?.attrGet('href') ?? '')
  // A title may claim an address that is not the link's, in the very place where people look for it: it is left out.
  return isAllowedLink(href)
    ? `<a href="${escapeHtml(href)}" target="_blank" rel="noopener noreferrer nofollow">`
    : '<a>'
}
rules['link_host'] = (tokens, index) =>
  ` <span class="md-host" dir="ltr">(${escapeHtml(tokens[index]?.content ?? '')})</span>`
rules['image'] = (tokens, index, _options, env) => {
  const token = tokens[index]
  const address = String(token?.attrGet('src') ?? '')
  const alt = stripBidiControls(textOf(token?.children ?? [])).trim()
  if (isOwnImage(address))
    return `<img src="${escapeHtml(address)}" alt="${escapeHtml(alt)}" loading="lazy" decoding="async">`
  const host = parseAddress(address)?.host ?? ''
  const label = escapeHtml(
    fillLabel((env as Context).labels.remoteImage, { alt: alt === '' ? '?' : alt, host }),
  )
  if (token?.meta?.['inLink'] === true || !/^https?:/i.test(address))
    return `<span class="md-remote-image">${label}</span>`
  return `<a class="md-remote-image" href="${escapeHtml(address)}" target="_blank" rel="noopener noreferrer nofollow">${label}</a>`
}

rules['citation'] = (tokens, index, _options, env) => {
  const { evidence, labels } = env as Context
  const { number, sentence } = tokens[index]?.meta as { number: number; sentence?: number }
  const label = fillLabel(labels.citation, {
    number: String(number),
    title: evidence?.sources.get(number) ?? '',
  })
  const place = sentence === undefined ? '' : ` data-sentence="${sentence}"`
  return `<button type="button" class="md-cite" data-cite="${number}"${place} aria-label="${escapeHtml(label)}">${number}</button>`
}
rules['unsupported_open'] = () => '<span class="md-unsupported">'
rules['unsupported_close'] = () => '</span>'
rules['doubt'] = (_tokens, _index, _options, env) =>
  `<span class="md-doubt"> (${escapeHtml((env as Context).labels.unsupported)})</span>`

rules['task'] = (tokens, index, _options, env) => {
  const done = tokens[index]?.meta?.['done'] === true
  const { taskDone, taskOpen } = (env as Context).labels
  return `<input type="checkbox" disabled${done ? ' checked' : ''} aria-label="${escapeHtml(done ? taskDone : taskOpen)}"> `
}

rules['footnote_ref'] = (tokens, index, _options, env) => {
  const context = env as Context
  const id = Number(tokens[index]?.meta?.['id'] ?? 0)
  const use = Number(tokens[index]?.meta?.['subId'] ?? 0)
  const number = String(id + 1)
  const label = escapeHtml(fillLabel(context.labels.footnote, { number }))
  return `<sup><a class="md-footnote" id="${referenceId(context, id, use)}" href="#${context.idPrefix}fn-${number}" aria-label="${label}">${number}</a></sup>`
}
rules['footnote_pending'] = (tokens, index) =>
  `<sup class="md-pending">${escapeHtml(tokens[index]?.content ?? '')}</sup>`
