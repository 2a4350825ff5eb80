/**
 * A block of code on the page: its language, its text, buttons to copy and to download it, colours once it is closed.
 *
 * Text that grows is appended in pieces of 200 lines, so that the browser lays out only the last piece. What is copied
 * is the code as it was written; what is shown spells out letters that would reorder it.
 */

import { canHighlight, fileName, highlight } from './highlight.ts'
import { Diagram, type DiagramTheme } from './diagram.ts'
import { fillLabel, type MarkdownLabels } from './labels.ts'
import { revealBidiControls } from './links.ts'
import type { Living } from './morph.ts'
import { sanitise } from './sanitise.ts'

const LINES_A_PIECE = 200
/** Above this many characters colouring would hold up the page for longer than a frame. */
const LONGEST_COLOURED = 30_000
const MOST_COLOURED_LINE = 5_000

export interface CodeEnvironment {
  labels: MarkdownLabels
  theme: () => DiagramTheme
  /** Is told of work under way, for those who wait for all of it. */
  track: (work: Promise<unknown>) => void
}

export interface CodeState {
  language: string
  code: string
  open: boolean
}

export function codeStateOf(placeholder: Element): CodeState {
  return {
    language: placeholder.getAttribute('data-language') ?? '',
    code: placeholder.textContent ?? '',
    open: placeholder.hasAttribute('data-open'),
  }
}

export class CodeBlock implements Living {
  readonly element: HTMLElement
  private readonly name = document.createElement('span')
  private readonly pre = document.createElement('pre')
  private readonly content = document.createElement('code')
  private readonly status = document.createElement('span')
  private readonly copyButton: HTMLButtonElement
  private readonly actions = document.createElement('span')
  private state: CodeState = { language: '', code: '', open: true }
  private pieces: { text: Text; lines: number }[] = []
  private shown = ''
  private coloured = false
  private diagram: Diagram | null = null
  private version = 0
  private resetTimer: ReturnType<typeof setTimeout> | undefined

  constructor(
    state: CodeState,
    private readonly environment: CodeEnvironment,
  ) {
    const { labels } = environment
    this.element = document.createElement('figure')
    this.element.className = 'md-code-block'
    const bar = document.createElement('figcaption')
    bar.className = 'md-code-bar'
    this.name.className = 'md-code-language'
    this.status.className = 'md-visually-hidden'
    this.status.setAttribute('role', 'status')
    this.copyButton = button(labels.copy, () => void this.copy())
    this.actions.className = 'md-code-actions'
    this.actions.append(
      this.copyButton,
      button(labels.download, () => this.download()),
      this.status,
    )
    bar.append(this.name, this.actions)
    this.pre.className = 'md-code-text'
    this.pre.tabIndex = 0
    this.pre.dir = 'ltr'
    this.pre.setAttribute('role', 'region')
    this.pre.append(this.content)
    this.element.append(bar, this.pre)
    this.name.textContent = labels.plainText
    this.show(state)
  }

  accept(placeholder: Element): boolean {
    if (!placeholder.classList.contains('md-code')) return false
    this.show(codeStateOf(placeholder))
    return true
  }

  show(state: CodeState): void {
    const code = state.code.replace(/\n$/, '')
    const before = this.state
    if (
      this.pre.hasAttribute('aria-label') &&
      before.code === code &&
      before.language === state.language &&
      before.open === state.open
    )
      return
    this.state = { ...state, code }
    this.version++
    if (before.language !== state.language || !this.pre.hasAttribute('aria-label')) {
      const language = state.language === '' ? this.environment.labels.plainText : state.language
      this.name.textContent = language
      this.pre.setAttribute('aria-label', fillLabel(this.environment.labels.code, { language }))
    }
    this.setText(revealBidiControls(code))
    if (state.open) this.dropDiagram()
    else this.finish()
  }

  /** Draws a diagram again in the page's new colours. */
  retheme(): void {
    this.diagram?.draw()
  }

  private setText(text: string): void {
    if (!this.coloured && text === this.shown) return
    if (this.coloured || !text.startsWith(this.shown)) {
      this.content.replaceChildren()
      this.pieces = []
      this.shown = ''
      this.coloured = false
    }
    let rest = text.slice(this.shown.length)
    this.shown = text
    while (rest !== '') {
      let piece = this.pieces.at(-1)
      if (piece === undefined || piece.lines >= LINES_A_PIECE) {
        const element = document.createElement('span')
        element.className = 'md-code-piece'
        piece = { text: document.createTextNode(''), lines: 0 }
        element.append(piece.text)
        this.content.append(element)
        this.pieces.push(piece)
      }
      let end = -1
      while (piece.lines < LINES_A_PIECE) {
        const next = rest.indexOf('\n', end + 1)
        if (next < 0) {
          end = rest.length
          break
        }
        end = next
        piece.lines++
      }
      const cut = Math.min(rest.length, end + 1)
      piece.text.appendData(rest.slice(0, cut))
      rest = rest.slice(cut)
    }
  }

  private finish(): void {
    const { language, code } = this.state
    if (language === 'mermaid') {
      if (this.diagram === null) {
        this.diagram = new Diagram(this.element, this.actions, this.environment)
      }
      this.diagram.draw(code)
    } else {
      this.dropDiagram()
      this.environment.track(this.colour())
    }
  }

  private dropDiagram(): void {
    this.diagram?.destroy()
    this.diagram = null
  }

  private async colour(): Promise<void> {
    const { language, code } = this.state
    if (this.coloured || code === '' || code.length > LONGEST_COLOURED || !canHighlight(language)) return
    if (code.length > MOST_COLOURED_LINE && code.split('\n').some((line) => line.length > MOST_COLOURED_LINE))
      return
    const version = this.version
    await whenIdle()
    if (version !== this.version) return
    const html = await highlight(this.shown, language)
    if (html === null || version !== this.version || this.coloured) return
    const piece = document.createElement('span')
    piece.className = 'md-code-piece'
    piece.append(sanitise(html))
    this.content.replaceChildren(piece)
    this.pieces = []
    this.coloured = true
  }

  private async copy(): Promise<void> {
    const { labels } = this.environment
    let said: string
    try {
      await navigator.clipboard.writeText(this.state.code)
      said = labels.copied
    } catch {
      // Without a secure context there is no clipboard: an address in the home network, say.
      said = copyBySelection(this.state.code) ? labels.copied : labels.copyFailed
    }
    this.status.textContent = said
    this.copyButton.textContent = said
    clearTimeout(this.resetTimer)
    this.resetTimer = setTimeout(() => {
      this.copyButton.textContent = labels.copy
      this.status.textContent = ''
    }, 2_000)
  }

  private download(): void {
    const address = URL.createObjectURL(
      new Blob([this.state.code, '\n'], { type: 'text/plain;charset=utf-8' }),
    )
    const link = document.createElement('a')
    link.href = address
    link.download = fileName(this.state.language)
    link.click()
    setTimeout(() => URL.revokeObjectURL(address), 10_000)
  }
}

function button(label: string, onClick: () => void): HTMLButtonElement {
  const element = document.createElement('button')
  element.type = 'button'
  element.className = 'md-code-action'
  element.textContent = label
  element.addEventListener('click', onClick)
  return element
}

function copyBySelection(text: string): boolean {
  const area = document.createElement('textarea')
  const focused = document.activeElement
  area.value = text
  area.className = 'md-visually-hidden'
  document.body.append(area)
  area.select()
  let copied = false
  try {
    copied = document.execCommand('copy')
  } catch {
    copied = false
  }
  area.remove()
  if (focused instanceof HTMLElement) focused.focus({ preventScroll: true })
  return copied
}

function whenIdle(): Promise<void> {
  return new Promise((resolve) => {
    if ('requestIdleCallback' in window) requestIdleCallback(() => resolve(), { timeout: 1_000 })
    else setTimeout(resolve, 0)
  })
}
