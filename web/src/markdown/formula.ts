/**
 * A formula on the page, set by KaTeX, which is fetched with the first one. Until then, and where it fails, its source is shown.
 *
 * KaTeX builds nodes and sets their styles through the CSSOM: the page's Content-Security-Policy knows no inline style.
 */

import type { KatexOptions } from 'katex'

import type { Living } from './morph.ts'

type Katex = typeof import('katex').default

let katex: Katex | null = null
let loading: Promise<Katex> | null = null

export function loadKatex(): Promise<Katex> {
  loading ??= Promise.all([import('katex'), import('katex/dist/katex.min.css')])
    .then(([module]) => (katex = module.default))
    .catch((error: unknown) => {
      loading = null
      throw error
    })
  return loading
}

export function loadedKatex(): Katex | null {
  return katex
}

/** Nothing that a formula says may open an address, name an element, grow beyond the page or expand without end. */
export function katexOptions(display: boolean): KatexOptions {
  return {
    displayMode: display,
    throwOnError: true,
    trust: false,
    strict: 'ignore',
    maxSize: 50,
    maxExpand: 500,
    output: 'htmlAndMathml',
  }
}

export class Formula implements Living {
  private tex = ''
  private readonly isDisplay: boolean

  constructor(
    readonly element: HTMLElement,
    private readonly track: (work: Promise<unknown>) => void,
  ) {
    this.isDisplay = element.classList.contains('md-math-display')
    this.show(element.textContent ?? '')
  }

  accept(placeholder: Element): boolean {
    if (
      placeholder.className !== this.element.className.replace(' md-math-error', '') ||
      placeholder.nodeName !== this.element.nodeName
    )
      return false
    const tex = placeholder.textContent ?? ''
    if (tex !== this.tex) this.show(tex)
    return true
  }

  private show(tex: string): void {
    this.tex = tex
    if (katex !== null) this.set(katex)
    else {
      this.element.textContent = tex
      this.track(
        loadKatex().then(
          (loaded) => {
            if (this.tex === tex) this.set(loaded)
          },
          () => undefined,
        ),
      )
    }
  }

  private set(loaded: Katex): void {
    try {
      const set = document.createElement('span')
      loaded.render(this.tex, set, katexOptions(this.isDisplay))
      this.element.replaceChildren(...set.childNodes)
      this.element.classList.remove('md-math-error')
    } catch {
      this.element.textContent = this.tex
      this.element.classList.add('md-math-error')
    }
  }
}
