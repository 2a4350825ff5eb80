import fc from 'fast-check'
import { afterEach, describe, expect, test } from 'vitest'

import { prepareStatic, renderStatic } from './static.ts'
import { hostBeside, isAllowedLink, isOwnImage, revealBidiControls } from './links.ts'
import { sanitise } from './sanitise.ts'
import { MarkdownView } from './view.ts'
import corpus from './xss-corpus.json'

const ELEMENTS = new Set(
  'a blockquote br button code del div em figcaption figure h1 h2 h3 h4 h5 h6 hr img input li ol p pre s section span strong sup table tbody td th thead tr ul'.split(' '),
) // prettier-ignore
const OWN_ID = /^m1-fn(ref)?-\d+(-\d+)?$/
const SET_BY_KATEX = '.katex, .katex-display'

afterEach(() => {
  delete (window as { __xss?: number }).__xss
  document.body.replaceChildren()
})

/** Everything that could run, load, leave or pretend; KaTeX's own nodes may have styles, which it sets through the CSSOM. */
function findDangers(root: Element): string[] {
  const dangers: string[] = []
  for (const element of root.querySelectorAll('*')) {
    const isKatex = element.closest(SET_BY_KATEX) !== null
    if (!isKatex && !ELEMENTS.has(element.localName)) dangers.push(`<${element.localName}>`)
    if (
      isKatex &&
      /^(script|a|img|image|iframe|object|embed|style|link|foreignobject)$/i.test(element.localName)
    )
      dangers.push(`<${element.localName}> of KaTeX`)
    for (const { name, value } of element.attributes) {
      if (/^on/i.test(name) || ['srcdoc', 'formaction', 'name', 'ping', 'srcset', 'title'].includes(name))
        dangers.push(`${name}=${value}`)
      if (name === 'style' && (!isKatex || /url\(|fixed|expression/i.test(value)))
        dangers.push(`style=${value}`)
      if (name === 'id' && !OWN_ID.test(value)) dangers.push(`id=${value}`)
      if (name === 'src' && !isOwnImage(value)) dangers.push(`src=${value}`)
      if (/^(?:xlink:)?href$/.test(name) && !isAllowedLink(value) && !/^#m1-fn(ref)?-\d+(-\d+)?$/.test(value))
        dangers.push(`href=${value}`)
    }
    if (element instanceof HTMLAnchorElement && /^[a-z]/i.test(element.getAttribute('href') ?? '')) {
      if (element.target !== '_blank' || element.rel !== 'noopener noreferrer nofollow')
        dangers.push(`target of ${element.outerHTML}`)
    }
  }
  return dangers
}

function open(): { view: MarkdownView; element: HTMLElement } {
  const element = document.createElement('div')
  document.body.append(element)
  return { view: new MarkdownView(element, { idPrefix: 'm1-' }), element }
}

describe('the corpus of attacks', () => {
  test('has at least 150, each once', () => {
    expect(corpus.length).toBeGreaterThanOrEqual(150)
    expect(new Set(corpus.map((payload) => payload.source)).size).toBe(corpus.length)
  })

  test('would be noticed', () => {
    const holder = document.createElement('div')
    holder.innerHTML =
      '<img src="https://evil.example/x" onload="1"><a href="javascript:1" id="app">x</a><p style="x:y">'
    expect(findDangers(holder)).toHaveLength(6)
  })

  test.each(corpus)('$name leaves nothing on the page', async ({ source, kind }) => {
    const { view, element } = open()
    for (let end = 1; end < source.length; end += 3) {
      view.update(source.slice(0, end), false)
      view.flush()
      expect(findDangers(element)).toEqual([])
    }
    view.update(source, true)
    view.flush()
    if (kind !== 'diagram') await view.settled()
    expect(findDangers(element)).toEqual([])
    expect((window as { __xss?: number }).__xss).toBeUndefined()
    view.destroy()
  })

  test.each(corpus)('$name leaves nothing in a page to keep', async ({ source }) => {
    await prepareStatic(source)
    const holder = document.createElement('div')
    holder.innerHTML = renderStatic(source, { idPrefix: 'm1-' })
    expect(findDangers(holder)).toEqual([])
    expect(holder.querySelector('[style]')).toBeNull()
  })

  test.each(corpus)('$name as HTML does not pass the last gate', ({ source }) => {
    const holder = document.createElement('div')
    holder.append(sanitise(source))
    expect(findDangers(holder)).toEqual([])
  })

  test('in any order and in any mixture leaves nothing', () => {
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom(...corpus.map((payload) => payload.source)), { minLength: 2, maxLength: 4 }),
        fc.constantFrom('', '\n', '\n\n', ' '),
        (parts, glue) => {
          const { view, element } = open()
          view.update(parts.join(glue), true)
          expect(findDangers(element)).toEqual([])
          view.destroy()
        },
      ),
      { numRuns: 100 },
    )
  }, 60_000)
})

describe('a link', () => {
  test.each([
    ['google.com', 'https://evil.example/', 'evil.example'],
    ['https://google.com', 'https://google.com@evil.example/', 'evil.example'],
    ['go to www.bank.example now', 'https://evil.example/', 'evil.example'],
    ['g\u200boogle.com', 'https://evil.example/', 'evil.example'],
    ['https://аpple.com', 'https://xn--pple-43d.com/', 'xn--pple-43d.com'],
    ['me@bank.example', 'mailto:you@evil.example', 'you@evil.example'],
    ['google.com', 'https://www.google.com/search', null],
    ['the guide', 'https://evil.example/', null],
    [
      'https://web.archive.org/web/https://example.org/',
      'https://web.archive.org/web/https://example.org/',
      null,
    ],
    ['me@bank.example', 'mailto:me@bank.example', null],
    ['Node.js 20', 'https://nodejs.org/', 'nodejs.org'],
  ])('%s to %s has beside it: %s', (text, address, host) => {
    expect(hostBeside(text, address)).toBe(host)
  })

  test('shows its true host beside words that name another', () => {
    const { view, element } = open()
    view.update('[google.com](https://evil.example/x)', true)
    expect(element.querySelector('.md-host')?.textContent).toBe('(evil.example)')
  })

  test('has no letters that reorder its words', () => {
    const { view, element } = open()
    view.update('[a\u202eb](https://a.example)', true)
    expect(element.querySelector('a')?.textContent).toBe('ab')
  })
})

test('letters that reorder code are spelled out', () => {
  expect(revealBidiControls('a\u202eb')).toBe('a⟨U+202E⟩b')
})

test('a remote image is a link that says where it leads, and nothing is fetched', () => {
  const { view, element } = open()
  view.update('![a cat](https://img.example/cat.png)', true)
  expect(element.querySelector('img')).toBeNull()
  expect(element.querySelector('a.md-remote-image')?.textContent).toBe('Open image: a cat (img.example)')
})

test('images of the server itself and in the text are shown', () => {
  const { view, element } = open()
  view.update('![one](/api/files/abc-1) ![two](data:image/png;base64,iVBORw0KGgo=)', true)
  expect([...element.querySelectorAll('img')].map((image) => image.alt)).toEqual(['one', 'two'])
})
