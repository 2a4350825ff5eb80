import fc from 'fast-check'
import { afterEach, describe, expect, test } from 'vitest'

import { MarkdownView } from './view.ts'

const views: MarkdownView[] = []

afterEach(() => {
  for (const view of views.splice(0)) view.destroy()
  document.body.replaceChildren()
})

function open(options = {}): { view: MarkdownView; element: HTMLElement } {
  const element = document.createElement('div')
  document.body.append(element)
  const view = new MarkdownView(element, options)
  views.push(view)
  return { view, element }
}

function show(source: string, done = true): HTMLElement {
  const { view, element } = open()
  view.update(source, done)
  view.flush()
  return element
}

const LINES = [
  '', '', '', 'words', 'more words with **strong** and *soft* and `code`', '# Heading', '## Other #', '===', '---', '***', '- item', '- [ ] task', '- [x] done task',
  '  - inner', '    deep', '1. one', '2. two', '10) ten', '> quote', '> > twice', '> - item in quote', '```', '```py', '````', '~~~', '  ```', '| a | b |', '|---|:-:|',
  '| 1 | 2 |', 'a | b', '[a]: https://a.example', '[b]: https://b.example "title', 'end of title"', 'see [a] and [text][b] and [c]', '[^1]: first note', '[^2]: second',
  '    more of the note', 'said[^1] and again[^1]', 'also[^2] and ^[inline note]', '[^1]', '<div onclick=x>', '</div>', '<br>', '<!--', '$$', 'x^2 + $y$', '$x_1$ costs $5 or $10',
  '\\[', '\\]', '\\(a\\)', '![alt](https://img.example/x.png)', '[open](https://x', '**unclosed', '`tick', 'https://example.org/a_b', 'tab\there', '\tcode', '\\', 'ünïcödé 🙂 עברית',
  '[a', '$', '-', '+ ', '*', '_', '~~gone~~', '~~half', 'a  ', '[c]: <https://c.example>', '![img', '|', '|-', '| only head |', '- - -', '1.',
] // prettier-ignore

const markdown = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.array(fc.constantFrom(...LINES), { maxLength: 30 }).map((lines) => lines.join('\n')),
  },
  {
    weight: 2,
    arbitrary: fc
      .array(fc.constantFrom(...LINES, '\n', '\n\n', ' ', '  ', '    ', '\r\n', '\r'), { maxLength: 30 })
      .map((parts) => parts.join('')),
  },
  {
    weight: 1,
    arbitrary: fc.string({ maxLength: 80, unit: fc.constantFrom(...'ab \n\n*_`~[]()!#>-+|$\\<&^:1.') }),
  },
)

/** What an element holds; the order of attributes says nothing. */
function markupOf(element: Element): string {
  const copy = element.cloneNode(true) as Element
  for (const inner of copy.querySelectorAll('*')) {
    const attributes = [...inner.attributes].sort((a, b) => (a.name < b.name ? -1 : 1))
    for (const { name } of attributes) inner.removeAttribute(name)
    for (const { name, value } of attributes) inner.setAttribute(name, value)
  }
  return copy.innerHTML
}

function* cut(source: string, sizes: number[]): Generator<string> {
  let end = 0
  for (let i = 0; end < source.length; i++) {
    end = Math.min(source.length, end + (sizes[i % sizes.length] ?? 1))
    yield source.slice(0, end)
  }
}

describe('a text that grows', () => {
  test('is in the end what it is when it is shown at once', () => {
    fc.assert(
      fc.property(
        markdown,
        fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 8 }),
        (source, sizes) => {
          const { view, element } = open()
          for (const part of cut(source, sizes)) {
            view.update(part, false)
            view.flush()
          }
          view.update(source, true)
          view.flush()
          expect(markupOf(element)).toBe(markupOf(show(source)))
        },
      ),
      { numRuns: 200 },
    )
  }, 60_000)

  test('shows what it settled as a whole rendering does, before it is done', () => {
    fc.assert(
      fc.property(
        markdown,
        fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 8 }),
        (body, sizes) => {
          // Behind a heading all of it is settled; definitions after it would change it.
          const source = `${body.replace(/[`~$\\]/g, '')}\n\n# End\n`
          const { view, element } = open()
          for (const part of cut(source, sizes)) {
            view.update(part, false)
            view.flush()
          }
          const pending = element.querySelector('.md-pending')
          if (pending === null && element.lastElementChild?.nodeName === 'H1')
            expect(markupOf(element)).toBe(markupOf(show(source)))
        },
      ),
      { numRuns: 150 },
    )
  }, 60_000)

  test('keeps the nodes of settled blocks', () => {
    const { view, element } = open()
    view.update('First **para**.\n\n- one\n- two\n\nSecond', false)
    view.flush()
    const [first, list] = [...element.children]
    view.update('First **para**.\n\n- one\n- two\n\nSecond para, and\n\n```py\nx = 1\n', false)
    view.flush()
    const code = element.querySelector('figure')
    view.update('First **para**.\n\n- one\n- two\n\nSecond para, and\n\n```py\nx = 1\n```\n\nEnd', true)
    view.flush()
    expect(element.children[0]).toBe(first)
    expect(element.children[1]).toBe(list)
    expect(element.querySelector('figure')).toBe(code)
  })
})
