/**
 * Markdown on the page, while it grows.
 *
 * However often `update` is called, the page changes at most once a frame, for a bounded time, and less often when a
 * change is slow. Nodes of settled blocks are never touched: a selection in them stays.
 */

import { CodeBlock, codeStateOf, type CodeEnvironment } from './code-block.ts'
import type { DiagramTheme } from './diagram.ts'
import { MarkdownDocument, sameBlock, type Block, type DocumentOptions } from './document.ts'
import { Formula } from './formula.ts'
import { englishLabels } from './labels.ts'
import { giveLife, isPlaceholder, morph } from './morph.ts'
import { sanitise } from './sanitise.ts'

export interface MarkdownOptions extends DocumentOptions {
  /** The page's colours now, for diagrams. Call `retheme` when they change. */
  theme?: () => DiagramTheme
  /** Called after the page was changed, with true when the text is done and all of it is shown. */
  onRender?: (done: boolean) => void
}

interface Shown {
  block: Block
  node: Element
  code: CodeBlock | null
}

/** How long putting new blocks into the page may take within one frame. */
const BUDGET_MS = 8
/** The page rests this many times as long as the last change took. */
const REST = 3

export class MarkdownView {
  private readonly document: MarkdownDocument
  private readonly environment: CodeEnvironment
  private readonly codeBlocks = new Set<CodeBlock>()
  private readonly work = new Set<Promise<unknown>>()
  private wanted: { source: string; done: boolean } | null = null
  private shown: Shown[] = []
  private footnotes: { html: string; node: Element } | null = null
  private cancelFrame: (() => void) | null = null
  private restUntil = 0
  private isDestroyed = false

  constructor(
    private readonly element: HTMLElement,
    private readonly options: MarkdownOptions = {},
  ) {
    this.document = new MarkdownDocument(options)
    this.environment = {
      labels: { ...englishLabels, ...options.labels },
      theme: options.theme ?? (() => 'light'),
      track: (work) => {
        this.work.add(work)
        void work.finally(() => this.work.delete(work))
      },
    }
    element.classList.add('markdown')
    element.addEventListener('click', this.followFootnote)
  }

  /**
   * Shows `source` in one of the next frames; the last call before it counts. A text that is done from the start is shown at once.
   * @param done that nothing follows; until then half-written constructs at the end are shown as what they will become
   */
  update(source: string, done: boolean): void {
    if (this.isDestroyed) return
    const isFirst = this.wanted === null
    this.wanted = { source, done }
    if (isFirst && done) this.flush()
    else this.schedule()
  }

  /** Shows what `update` was last given, now. */
  flush(): void {
    this.cancelFrame?.()
    this.cancelFrame = null
    if (this.wanted !== null && !this.isDestroyed) this.render(Number.POSITIVE_INFINITY)
  }

  /** Resolves when colours, formulae and diagrams of what is shown stand too. */
  async settled(): Promise<void> {
    while (this.work.size > 0) await Promise.allSettled([...this.work])
  }

  retheme(): void {
    for (const block of this.codeBlocks) block.retheme()
  }

  destroy(): void {
    this.isDestroyed = true
    this.cancelFrame?.()
    this.element.removeEventListener('click', this.followFootnote)
    this.element.replaceChildren()
    this.element.classList.remove('markdown')
    this.codeBlocks.clear()
    this.shown = []
    this.footnotes = null
  }

  private schedule(): void {
    if (this.cancelFrame !== null) return
    const wait = this.restUntil - performance.now()
    const run = (): void => {
      this.cancelFrame = null
      this.render(BUDGET_MS)
    }
    if (document.hidden || wait > 16) {
      // A hidden page has no frames, but must be up to date for who comes back to it.
      const timer = setTimeout(run, Math.max(wait, document.hidden ? 250 : 0))
      this.cancelFrame = () => clearTimeout(timer)
    } else {
      const frame = requestAnimationFrame(run)
      this.cancelFrame = () => cancelAnimationFrame(frame)
    }
  }

  private render(budgetMs: number): void {
    if (this.wanted === null || this.isDestroyed) return
    const started = performance.now()
    const { source, done } = this.wanted
    const rendering = this.document.update(source, done)
    const isComplete = this.showBlocks(rendering.blocks, started + budgetMs)
    if (isComplete) this.showFootnotes(rendering.footnotes)
    const took = performance.now() - started
    this.restUntil = took > 4 ? performance.now() + took * REST : 0
    if (!isComplete) this.schedule()
    this.options.onRender?.(isComplete && done)
  }

  /** False when the time was up before all blocks were shown. */
  private showBlocks(blocks: readonly Block[], until: number): boolean {
    const { shown } = this
    let start = 0
    while (start < shown.length && start < blocks.length && isSame(shown[start], blocks[start])) start++
    let kept = 0
    while (
      kept < shown.length - start &&
      kept < blocks.length - start &&
      isSame(shown[shown.length - 1 - kept], blocks[blocks.length - 1 - kept])
    )
      kept++
    const after = kept === 0 ? (this.footnotes?.node ?? null) : (shown[shown.length - kept]?.node ?? null)
    const old = shown.slice(start, shown.length - kept)
    const fresh: Shown[] = []
    const wantedCount = blocks.length - kept - start
    let isComplete = true
    for (let index = 0; index < wantedCount; index++) {
      const block = blocks[start + index]
      if (block === undefined) break
      if (index >= old.length && performance.now() > until) {
        isComplete = false
        break
      }
      const before = old[index]
      fresh.push(before === undefined ? this.addBlock(block, after) : this.changeBlock(before, block))
    }
    for (const gone of old.slice(fresh.length)) {
      this.forget(gone.node)
      gone.node.remove()
    }
    shown.splice(start, old.length, ...fresh)
    return isComplete
  }

  private addBlock(block: Block, before: Element | null): Shown {
    if (block.kind === 'code') {
      const code = this.createCode(block)
      this.element.insertBefore(code.element, before)
      return { block, node: code.element, code }
    }
    const node = elementOf(block.html)
    this.element.insertBefore(node, before)
    return { block, node: this.mount(node), code: null }
  }

  private changeBlock(shown: Shown, block: Block): Shown {
    if (isSame(shown, block)) return { ...shown, block }
    if (block.kind === 'code') {
      if (shown.code !== null) {
        shown.code.show(block)
        return { ...shown, block }
      }
      const code = this.createCode(block)
      shown.node.replaceWith(code.element)
      return { block, node: code.element, code }
    }
    const wanted = elementOf(block.html)
    const { previousSibling, parentNode } = shown.node
    if (shown.code !== null) {
      this.forget(shown.node)
      shown.node.replaceWith(wanted)
      return { block, node: this.mount(wanted), code: null }
    }
    morph(shown.node, wanted, this.mountNew)
    const node = (previousSibling === null ? parentNode?.firstChild : previousSibling.nextSibling) as Element
    return { block, node, code: null }
  }

  private showFootnotes(html: string): void {
    if (html === (this.footnotes?.html ?? '')) return
    if (html === '') {
      this.footnotes?.node.remove()
      this.footnotes = null
      return
    }
    const wanted = elementOf(html)
    if (this.footnotes === null) {
      this.element.append(wanted)
      this.footnotes = { html, node: this.mount(wanted) }
    } else {
      morph(this.footnotes.node, wanted, this.mountNew)
      this.footnotes = { html, node: this.footnotes.node }
    }
  }

  private readonly mountNew = (node: Node): void => {
    if (node instanceof Element) this.mount(node)
  }

  /** Brings placeholders to life, `root` itself among them. Returns what now stands in its place. */
  private mount(root: Element): Element {
    if (isPlaceholder(root)) return this.bringToLife(root)
    for (const placeholder of root.querySelectorAll('.md-code, .md-math')) this.bringToLife(placeholder)
    return root
  }

  private bringToLife(placeholder: Element): Element {
    if (placeholder.classList.contains('md-math')) {
      const formula = new Formula(placeholder as HTMLElement, this.environment.track)
      giveLife(placeholder, formula)
      return placeholder
    }
    const code = this.createCode(codeStateOf(placeholder))
    placeholder.replaceWith(code.element)
    return code.element
  }

  private createCode(state: { language: string; code: string; open: boolean }): CodeBlock {
    const code = new CodeBlock(state, this.environment)
    giveLife(code.element, code)
    this.codeBlocks.add(code)
    return code
  }

  private forget(node: Element): void {
    for (const code of this.codeBlocks) if (node.contains(code.element)) this.codeBlocks.delete(code)
  }

  /** Moves to a footnote and back without an entry in the history, which belongs to the page's own addresses. */
  private readonly followFootnote = (event: MouseEvent): void => {
    const link = event.target instanceof Element ? event.target.closest('a[href^="#"]') : null
    if (link === null || event.defaultPrevented) return
    event.preventDefault()
    const id = link.getAttribute('href')?.slice(1) ?? ''
    const target = [...this.element.querySelectorAll<HTMLElement>('[id]')].find(
      (element) => element.id === id,
    )
    target?.scrollIntoView({ block: 'nearest' })
    target?.focus({ preventScroll: true })
  }
}

function isSame(shown: Shown | undefined, block: Block | undefined): boolean {
  return shown !== undefined && block !== undefined && sameBlock(shown.block, block)
}

function elementOf(html: string): Element {
  const fragment = sanitise(html)
  const only = fragment.firstElementChild
  if (only !== null && fragment.children.length === 1) return only
  const holder = document.createElement('div')
  holder.append(fragment)
  return holder
}
