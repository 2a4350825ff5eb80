import fc from 'fast-check'
import { describe, expect, test } from 'vitest'

import type { Evidence, MarkedSentence } from './citations.ts'
import { renderStatic } from './static.ts'
import { MarkdownView } from './view.ts'

const SOURCES = new Map([
  [1, 'The garden'],
  [2, 'The well'],
  [12, '"><img src=x onerror=alert(1)>'],
])
const only = (sentences: MarkedSentence[] = []): Evidence => ({ sources: SOURCES, sentences })

function show(source: string, evidence: Evidence = only()): HTMLElement {
  const element = document.createElement('div')
  const view = new MarkdownView(element)
  view.update(source, true, evidence)
  view.flush()
  return element
}

const chips = (element: Element) =>
  [...element.querySelectorAll<HTMLElement>('button.md-cite')].map((chip) => chip.dataset['cite'])

/** What is marked as unsupported, piece by piece. */
const doubted = (element: Element) =>
  [...element.querySelectorAll('.md-unsupported')].map((span) => span.textContent)

/** The sentence of a source that has these words, from and to them. */
function sentence(source: string, words: string, more: Partial<MarkedSentence> = {}): MarkedSentence {
  const start = source.indexOf(words)
  expect(start, words).toBeGreaterThanOrEqual(0)
  return { start, end: start + words.length, isUnsupported: true, sources: [], ...more }
}

describe('a mark', () => {
  test.each([
    ['Beans grow [1].', ['1']],
    ['Beans [1, 2] and [2;1].', ['1', '2', '2', '1']],
    ['Beans [1][2].', ['1', '2']],
    ['Beans 【2】, ［1］ and 【1†source】.', ['2', '1', '1']],
    ['Beans [1-2] and [1–2]', ['1', '2', '1', '2']],
    ['**Beans [1]**, *wells [2]*, ~~none [1]~~', ['1', '2', '1']],
    ['# Beans [1]\n\n- one [2]\n- [1] two\n\n> said [2]', ['1', '2', '1', '2']],
    ['| a | b |\n|---|---|\n| x [1] | y [2] |', ['1', '2']],
    ['[1] begins a line', ['1']],
    ['Beans [1]: so it is', ['1']],
  ])('in %j becomes a button', (source, wanted) => {
    expect(chips(show(source))).toEqual(wanted)
  })

  test.each([
    '`a[1]` and ``b [2]``',
    '```\nx = a[1]\n```',
    '    indented [1]',
    '[1](https://beans.example)',
    '[see [1] there](https://beans.example)',
    '![1](https://beans.example/b.png)',
    'in [3], [0], [-1], [1.5], [] and [x]',
    '$a[1] + b$',
    '\\[1]',
  ])('in %j stays what it is', (source) => {
    expect(chips(show(source))).toEqual([])
  })

  test('of a number that no source has stays text beside one that has', () => {
    const element = show('Beans [1, 7].')
    expect(chips(element)).toEqual(['1'])
    expect(element.textContent).toContain('[7]')
  })

  test('is not one without sources', () => {
    const element = show('Beans [1].', { sources: new Map(), sentences: [] })
    expect(element.innerHTML).toContain('[1]')
  })

  test('says the number and the title, whatever stands in that', () => {
    const element = show('a [12]')
    expect(element.querySelector('.md-cite')?.getAttribute('aria-label')).toBe(
      'Source 12: "><img src=x onerror=alert(1)>',
    )
    expect(element.querySelector('img')).toBeNull()
  })

  test('never stands half there while it comes', () => {
    const element = document.createElement('div')
    const view = new MarkdownView(element)
    const source = 'Beans grow [1, 2] here.'
    for (let end = 1; end < source.length; end++) {
      view.update(source.slice(0, end), false, EVIDENCE)
      view.flush()
      expect(element.textContent).not.toMatch(/[[\]]/)
    }
    expect(chips(element)).toEqual(['1', '2'])
  })
  const EVIDENCE = only()

  test('becomes a link to its source on a page that is kept', () => {
    const html = renderStatic('Beans [2].', {}, { evidence: only(), anchor: 's-' })
    expect(html).toContain('<a class="md-cite" href="#s-2"')
    expect(html).not.toContain('<button')
  })
})

describe('a sentence that nothing supports', () => {
  test.each([
    ['One is so. Two is not. Three is so.', 'Two is not.', ['Two is not.']],
    ['Is **so. Two** is not.', 'Two** is not.', ['Two', ' is not.']],
    ['- one\n- Two is not.\n- three', '- Two is not.', ['Two is not.']],
    ['> Two is\n> not so.\n\nThree.', 'Two is\n> not so.', ['Two is\nnot so.']],
    ['1. 1\n2. Two _is_ not', '2. Two _is_ not', ['Two ', 'is', ' not']],
    ['| a | b |\n|--|--|\n| x | Two. |', 'Two.', ['Two.']],
    ['## Two is not', 'Two is not', ['Two is not']],
    [
      'See [the Two. guide](https://b.example) now',
      'Two. guide](https://b.example) now',
      ['Two. guide', ' now'],
    ],
    ['It is `code. and` so. Two.', 'Two.', ['Two.']],
  ])('in %j is marked', (source, words, wanted) => {
    const element = show(source, only([sentence(source, words)]))
    expect(doubted(element)).toEqual(wanted)
    expect(element.querySelectorAll('.md-doubt')).toHaveLength(1)
  })

  test('says so in words too, and leaves its marks as they are', () => {
    const source = 'One [1]. Two [2].'
    const element = show(source, only([sentence(source, 'Two [2].')]))
    expect(chips(element)).toEqual(['1', '2'])
    expect(element.querySelector('.md-cite[data-cite="2"]')?.getAttribute('data-sentence')).toBe('0')
    expect(element.querySelector('.md-doubt')?.textContent).toContain('not found in the sources')
  })
})

test('a sentence without a mark of its own ends with those of its sources', () => {
  const source = 'One is so. Two is so.'
  const element = show(
    source,
    only([sentence(source, 'One is so.', { isUnsupported: false, sources: [2, 1, 99] })]),
  )
  expect(element.innerHTML).toMatch(/One is so\.<button[^>]*data-cite="2"[^]*<button[^>]*data-cite="1"/)
  expect(chips(element)).toEqual(['2', '1'])
})

test('a sentence with a mark of a source has no second one', () => {
  const source = 'One **is [1]** so. Two is so.'
  const element = show(
    source,
    only([sentence(source, 'One **is [1]** so.', { isUnsupported: false, sources: [1, 2] })]),
  )
  expect(chips(element)).toEqual(['1', '2'])
})

test('sentences change nothing of what a text says, wherever they begin and end', () => {
  const block = fc.constantFrom(
    'Water *the beans* twice. Not more!', '- one **two. three** four\n- `five. six` [1]', '> said she [2]. He [said](https://b.example). So',
    '| a. b | c |\n|---|---|\n| d [1]. | **e. f** |', '```\ncode. more\n```', '# Head. Line', '1. $x. y$ and\n   more &amp; more\n2. z\\*z. 𝄞 é', 'a[^1] b.\n\n[^1]: note. two',
  ) // prettier-ignore
  fc.assert(
    fc.property(
      fc.array(block, { minLength: 1, maxLength: 5 }),
      fc.array(fc.nat(), { maxLength: 12 }),
      (blocks, at) => {
        const source = blocks.join('\n\n')
        const cuts = [...new Set(at.map((n) => n % (source.length + 1)))].sort((one, other) => one - other)
        const sentences = cuts.slice(1).map((end, n) => ({
          start: cuts[n]!,
          end,
          isUnsupported: n % 2 === 0,
          sources: [],
        }))
        const plain = show(source)
        const marked = show(source, only(sentences))
        for (const note of marked.querySelectorAll('.md-doubt')) note.remove()
        expect(marked.textContent).toBe(plain.textContent)
        for (const span of [...marked.querySelectorAll('.md-unsupported')])
          span.replaceWith(...span.childNodes)
        for (const chip of marked.querySelectorAll('[data-sentence]')) chip.removeAttribute('data-sentence')
        marked.normalize()
        plain.normalize()
        expect(marked.innerHTML).toBe(plain.innerHTML)
      },
    ),
    { numRuns: 100 },
  )
})
