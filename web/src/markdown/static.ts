/**
 * Markdown as HTML that needs no script: for a page to keep, and as plain words.
 *
 * Formulae are MathML, which browsers set without a style sheet; code has no colours. Images of the server's own
 * (`/api/files/...`) are kept as they are: who writes the file replaces their addresses.
 */

import type { Evidence } from './citations.ts'
import { MarkdownDocument, type DocumentOptions } from './document.ts'
import { cutFootnotes, parseBlocks, parseInlines, textOf, type Context } from './grammar.ts'
import { loadedKatex, loadKatex, katexOptions } from './formula.ts'
import { englishLabels } from './labels.ts'
import { revealBidiControls, stripBidiControls } from './links.ts'
import { sanitise } from './sanitise.ts'

export type StaticOptions = DocumentOptions

/** Fetches what `renderStatic` needs for the formulae in `source`; without it they are shown as their source. */
export async function prepareStatic(source: string): Promise<void> {
  if (/\$|\\\(|\\\[/.test(source)) await loadKatex().catch(() => undefined)
}

/**
 * Sanitised HTML of the whole text.
 * @param citations what its marks name, and what the link of each leads to, `#` and the number of its source behind it
 */
export function renderStatic(
  source: string,
  options: StaticOptions = {},
  citations?: { evidence: Evidence; anchor: string },
): string {
  const { blocks, footnotes } = new MarkdownDocument(options).update(source, true, citations?.evidence)
  const root = document.createElement('div')
  for (const block of blocks) {
    if (block.kind === 'code') root.append(staticCode(block.code, block.language))
    else root.append(sanitise(block.shell[0] + block.parts.join('') + block.shell[1]))
  }
  root.append(sanitise(footnotes))
  for (const code of root.querySelectorAll('pre.md-code')) {
    code.replaceWith(staticCode(code.textContent ?? '', code.getAttribute('data-language') ?? ''))
  }
  for (const formula of root.querySelectorAll<HTMLElement>('.md-math')) setFormula(formula)
  for (const mark of root.querySelectorAll<HTMLElement>('.md-cite')) {
    const link = document.createElement('a')
    link.className = 'md-cite'
    link.href = `#${citations?.anchor ?? ''}${mark.dataset['cite'] ?? ''}`
    link.setAttribute('aria-label', mark.getAttribute('aria-label') ?? '')
    link.textContent = mark.textContent
    mark.replaceWith(link)
  }
  return root.innerHTML
}

function staticCode(code: string, language: string): HTMLElement {
  const pre = document.createElement('pre')
  pre.className = 'md-code-text'
  pre.tabIndex = 0
  pre.dir = 'ltr'
  const content = document.createElement('code')
  if (language !== '') content.setAttribute('data-language', language)
  content.textContent = revealBidiControls(code)
  pre.append(content)
  return pre
}

function setFormula(element: HTMLElement): void {
  const katex = loadedKatex()
  if (katex === null) return
  const tex = element.textContent ?? ''
  try {
    const set = document.createElement('span')
    katex.render(tex, set, {
      ...katexOptions(element.classList.contains('md-math-display')),
      output: 'mathml',
    })
    for (const styled of set.querySelectorAll('[style]')) styled.removeAttribute('style')
    element.replaceChildren(...set.childNodes)
  } catch {
    element.textContent = tex
  }
}

/** The words of a text without any marks: for screen readers and titles. Blocks are lines. */
export function toPlainText(source: string): string {
  const context: Context = { idPrefix: '', labels: englishLabels, headingOffset: 0 }
  const tokens = parseBlocks(source.replace(/\r\n?/g, '\n').replace(/\0/g, '\ufffd'), context)
  parseInlines(tokens, context)
  const cut = cutFootnotes(tokens)
  const lines: string[] = []
  let row: string[] | null = null
  for (const token of cut.tokens) {
    if (token.type === 'tr_open') row = []
    else if (token.type === 'tr_close' && row !== null) {
      lines.push(row.join(', '))
      row = null
    } else if (token.type === 'inline') {
      const text = textOf(token.children ?? []).trim()
      if (row !== null) row.push(text)
      else if (text !== '') lines.push(text)
    } else if (token.type === 'fence' || token.type === 'code_block' || token.type === 'math_block')
      lines.push(token.content.trimEnd())
  }
  return stripBidiControls(lines.join('\n'))
}
