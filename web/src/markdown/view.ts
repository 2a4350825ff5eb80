/**
 * Markdown on the page, while it grows.
 *
 * However often `update` is called, the page changes at most once a frame, for a bounded time, and less often when a
 * change is slow. Nodes of settled blocks are never touched: a selection in them stays.
 */

import { CodeBlock, codeStateOf, type CodeEnvironment } from './code-block.ts'
import type { Evidence } from './citations.ts'
import type { DiagramTheme } from './diagram.ts'
import {
  MarkdownDocument,
  sameBlock,
  sameShell,
  type Block,
  type DocumentOptions,
  type HtmlBlock,
} from './document.ts'
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
  /** The nodes of each part, where the block's parts have a slot. */
  parts: ShownPart[]
  /** False while parts of it are not shown yet. */
  isComplete: boolean
}

interface ShownPart {
  html: string
  nodes: ChildNode[]
}

/** How long putting new blocks into the page may take within one frame. */
const BUDGET_MS = 8
/** How many items of a list are put in between two looks at the clock. */
const BATCH = 24
/** The page rests this many times as long as the last change took. */
const REST = 3

export class MarkdownView {
  private readonly document: MarkdownDocument
  private readonly environment: CodeEnvironment
  private readonly codeBlocks = new Set<CodeBlock>()
  private readonly work = new Set<Promise<unknown>>()
  private wanted: { source: string; done: boolean; evidence: Evidence | undefined } | null = null
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
   * @param evidence the sources that its marks name, and its sentences; another object is another evidence
   */
  update(source: string, done: boolean, evidence?: Evidence): void {
    if (this.isDestroyed) return
    const isFirst = this.wanted === null
    this.wanted = { source, done, evidence }
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
    for (const block of this.codeBlocks) {
      if (this.element.contains(block.element)) block.retheme()
      else this.codeBlocks.delete(block)
    }
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
    const { source, done, evidence } = this.wanted
    const rendering = this.document.update(source, done, evidence)
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
      // One block at least, or a slow machine would never show any.
      if (index > old.length && performance.now() > until) {
        isComplete = false
        break
      }
      const before = old[index]
      const now =
        before === undefined ? this.addBlock(block, after, until) : this.changeBlock(before, block, until)
      fresh.push(now)
      isComplete &&= now.isComplete
    }
    for (const gone of old.slice(fresh.length)) {
      this.forget(gone.node)
      gone.node.remove()
    }
    shown.splice(start, old.length, ...fresh)
    return isComplete
  }

  private addBlock(block: Block, before: Element | null, until: number): Shown {
    if (block.kind === 'code') {
      const code = this.createCode(block)
      this.element.insertBefore(code.element, before)
      return { block, node: code.element, code, parts: [], isComplete: true }
    }
    const node = elementOf(block.slot === null ? block.parts.join('') : block.shell.join(''))
    this.element.insertBefore(node, before)
    if (block.slot === null) return { block, node: this.mount(node), code: null, parts: [], isComplete: true }
    return this.showParts({ block, node, code: null, parts: [], isComplete: false }, block, until)
  }

  private changeBlock(shown: Shown, block: Block, until: number): Shown {
    if (isSame(shown, block)) return { ...shown, block }
    if (block.kind === 'code' && shown.code !== null) {
      shown.code.show(block)
      return { ...shown, block }
    }
    if (block.kind === 'html' && shown.block.kind === 'html') {
      if (block.slot !== null && sameShell(shown.block, block)) return this.showParts(shown, block, until)
      if (block.slot === null || shown.block.slot === null) {
        const wanted = elementOf(block.shell[0] + block.parts.join('') + block.shell[1])
        if (block.slot === null || wanted.nodeName === shown.node.nodeName)
          return this.morphBlock(shown, block, wanted)
      }
    }
    this.forget(shown.node)
    const now = this.addBlock(block, shown.node, until)
    shown.node.remove()
    return now
  }

  /** Changes a block as a whole; the nodes of its parts, if it has any now, are those that then stand in its slot. */
  private morphBlock(shown: Shown, block: HtmlBlock, wanted: Element): Shown {
    const { previousSibling, parentNode } = shown.node
    morph(shown.node, wanted, this.mountNew)
    const node = (previousSibling === null ? parentNode?.firstChild : previousSibling.nextSibling) as Element
    if (block.slot === null) return { block, node, code: null, parts: [], isComplete: true }
    const slot = slotOf(node, block.slot)
    const children = [...slot.childNodes].filter((child) => block.slot === 'p' || child instanceof Element)
    for (const child of [...slot.childNodes]) if (!children.includes(child)) child.remove()
    if (block.slot === 'p' || children.length !== block.parts.length) {
      return this.showParts(
        { block, node, code: null, parts: [{ html: '', nodes: children }], isComplete: false },
        block,
        Number.POSITIVE_INFINITY,
      )
    }
    return {
      block,
      node,
      code: null,
      parts: block.parts.map((html, index) => ({ html, nodes: children.slice(index, index + 1) })),
      isComplete: true,
    }
  }

  /** Shows those parts that differ from what is shown, as far as time allows. */
  private showParts(shown: Shown, block: HtmlBlock, until: number): Shown {
    const { node, parts } = shown
    if (block.slot === null) return shown
    const slot = slotOf(node, block.slot)
    for (const gone of parts.splice(block.parts.length)) for (const child of gone.nodes) child.remove()
    let added = 0
    for (let index = 0; index < block.parts.length;) {
      const html = block.parts[index] ?? ''
      const before = parts[index]
      if (before?.html === html) {
        index++
        continue
      }
      if (before !== undefined) {
        before.nodes = this.morphNodes(slot, before.nodes, [
          ...slotOf(elementOf(block.shell.join(html)), block.slot).childNodes,
        ])
        before.html = html
        index++
        continue
      }
      if (added > 0 && performance.now() > until) return { block, node, code: null, parts, isComplete: false }
      added++
      // Items and rows are one element each, so that many can be sanitised at once.
      const count = block.slot === 'p' ? 1 : BATCH
      const batch = block.parts.slice(index, index + count)
      const nodes = [...slotOf(elementOf(block.shell.join(batch.join(''))), block.slot).childNodes].filter(
        (child) => block.slot === 'p' || child instanceof Element,
      )
      slot.append(...nodes)
      const mounted = nodes.map((child) => (child instanceof Element ? this.mount(child) : child))
      batch.forEach((part, at) =>
        parts.push({ html: part, nodes: block.slot === 'p' ? mounted : mounted.slice(at, at + 1) }),
      )
      index += batch.length
    }
    return { block, node, code: null, parts, isComplete: true }
  }

  private morphNodes(slot: Element, nodes: ChildNode[], wanted: ChildNode[]): ChildNode[] {
    const marker = document.createComment('')
    const last = nodes.at(-1)
    slot.insertBefore(marker, last === undefined ? null : last.nextSibling)
    const first = nodes[0]?.previousSibling ?? null
    const hasFirst = nodes.length > 0
    wanted.forEach((child, index) => {
      const existing = nodes[index]
      if (existing !== undefined) morph(existing, child, this.mountNew)
      else {
        slot.insertBefore(child, marker)
        this.mountNew(child)
      }
    })
    for (const gone of nodes.slice(wanted.length)) gone.remove()
    const now: ChildNode[] = []
    for (
      let child = hasFirst && first === null ? slot.firstChild : (first?.nextSibling ?? null);
      child !== null && child !== marker;
      child = child.nextSibling
    )
      now.push(child)
    marker.remove()
    return now
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
  return shown !== undefined && block !== undefined && shown.isComplete && sameBlock(shown.block, block)
}

function slotOf(element: Element, slot: NonNullable<HtmlBlock['slot']>): Element {
  return element.localName === slot ? element : (element.querySelector(slot) ?? element)
}

function elementOf(html: string): Element {
  const fragment = sanitise(html)
  const only = fragment.firstElementChild
  if (only !== null && fragment.children.length === 1) return only
  const holder = document.createElement('div')
  holder.append(fragment)
  return holder
}
