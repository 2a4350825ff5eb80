import { afterEach, describe, expect, test, vi } from 'vitest'

import { prepareStatic, renderStatic, toPlainText } from './static.ts'
import { MarkdownView, type MarkdownOptions } from './view.ts'

afterEach(() => {
  document.body.replaceChildren()
  vi.restoreAllMocks()
})

function show(source: string, options: MarkdownOptions = {}): { element: HTMLElement; view: MarkdownView } {
  const element = document.createElement('div')
  document.body.append(element)
  const view = new MarkdownView(element, options)
  view.update(source, true)
  return { element, view }
}

describe('formulae', () => {
  test.each([
    ['$x^2$', ['x^2']],
    ['a $x$, then $y$.', ['x', 'y']],
    ['$$x$$', ['x']],
    ['\\(a+b\\) and \\[c\\]', ['a+b', 'c']],
    ['$$\n\\frac12\n$$', ['\\frac12']],
    ['\\[\n\\frac12\n\\]', ['\\frac12']],
    ['text:\n$$\na\n$$\nmore', ['a']],
    ['- item\n  $$\n  a\n  $$', ['a']],
    ['$2 + 2 = 4$', ['2 + 2 = 4']],
    ['$10$', ['10']],
    ['It costs $5 and $10.', []],
    ['From $5 to 10$ a piece', []],
    ['$5-$10', []],
    ['US$5 or A$6', []],
    ['$HOME/bin:$PATH', []],
    ['`$x$`', []],
    ['\\$x\\$', []],
    ['$5, $6 and $7', []],
    ['a $ b $ c', []],
  ])('%j has %j', (source, formulae) => {
    const holder = document.createElement('div')
    holder.innerHTML = renderStatic(source)
    expect(
      [...holder.querySelectorAll('.md-math')].map(
        (one) => one.querySelector('annotation')?.textContent ?? one.textContent,
      ),
    ).toEqual(formulae)
  })

  test('are set by KaTeX without HTML of their own', async () => {
    const { element, view } = show('$\\frac{a}{b}$ and $\\href{javascript:alert(1)}{x}$')
    await view.settled()
    expect(element.querySelector('.katex .mfrac')).not.toBeNull()
    expect(element.querySelector('a')).toBeNull()
  })

  test('that are wrong show their source', async () => {
    const { element, view } = show('$\\frac{a$')
    await view.settled()
    expect(element.querySelector('.md-math-error')?.textContent).toBe('\\frac{a')
  })

  test('are MathML without styles in a page to keep', async () => {
    await prepareStatic('$x^2$')
    const html = renderStatic('$x^2$ $\\color{red}{y}$')
    expect(html).toContain('<msup>')
    expect(html).not.toContain('style=')
  })
})

describe('code', () => {
  test('has its colours when it is closed', async () => {
    const { element, view } = show('```py\nprint(1)\n```')
    expect(element.querySelector('.hljs-built_in')).toBeNull()
    await view.settled()
    expect(element.querySelector('.hljs-built_in')?.textContent).toBe('print')
    expect(element.querySelector('pre')?.getAttribute('aria-label')).toBe('Code, py')
    expect(element.querySelector('pre')?.tabIndex).toBe(0)
  })

  test('of a language that nobody knows stays as it is', async () => {
    const { element, view } = show('```constructor\nx < y\n```\n\n```whatever\nz\n```')
    await view.settled()
    expect([...element.querySelectorAll('code')].map((code) => code.innerHTML)).toEqual([
      '<span class="md-code-piece">x &lt; y</span>',
      '<span class="md-code-piece">z</span>',
    ])
  })

  test('is copied as it was written, and the button says so', async () => {
    const writeText = vi.fn(() => Promise.resolve())
    vi.stubGlobal('navigator', { clipboard: { writeText } })
    const { element } = show('```\na\u202eb\n```', { labels: { copy: 'Copier', copied: 'Copié' } })
    const button = element.querySelector('button')
    expect(button?.textContent).toBe('Copier')
    button?.click()
    await vi.waitFor(() => expect(button?.textContent).toBe('Copié'))
    expect(writeText).toHaveBeenCalledWith('a\u202eb')
    expect(element.querySelector('[role=status]')?.textContent).toBe('Copié')
    expect(element.querySelector('code')?.textContent).toBe('a⟨U+202E⟩b')
    vi.unstubAllGlobals()
  })

  test('that cannot be copied says so', async () => {
    vi.stubGlobal('navigator', { clipboard: { writeText: () => Promise.reject(new Error('no')) } })
    const { element } = show('```\na\n```')
    const button = element.querySelector('button')
    button?.click()
    await vi.waitFor(() => expect(button?.textContent).toBe('Could not copy'))
    vi.unstubAllGlobals()
  })

  test('that grows is only appended to', () => {
    const element = document.createElement('div')
    const view = new MarkdownView(element)
    let source = '```js\n'
    for (let line = 0; line < 450; line++) {
      source += `line ${line}\n`
      view.update(source, false)
      view.flush()
    }
    const [first] = element.querySelectorAll('.md-code-piece')
    const text = first?.firstChild
    expect(element.querySelectorAll('.md-code-piece')).toHaveLength(3)
    view.update(`${source}more\n`, false)
    view.flush()
    expect(element.querySelector('.md-code-piece')?.firstChild).toBe(text)
    view.update(`${source}more\n\`\`\`\n`, true)
    view.flush()
    expect(element.querySelector('.md-code-piece')?.firstChild).toBe(text)
    expect(element.querySelector('code')?.textContent.endsWith('line 449\nmore')).toBe(true)
  })
})

describe('footnotes', () => {
  test('have ids of their own message', () => {
    const { element } = show('a[^x] b[^x]\n\n[^x]: note', { idPrefix: 'm7-' })
    expect([...element.querySelectorAll('[id]')].map((one) => one.id)).toEqual([
      'm7-fnref-1',
      'm7-fnref-1-2',
      'm7-fn-1',
    ])
    expect(element.querySelector('a.md-footnote')?.getAttribute('href')).toBe('#m7-fn-1')
    expect(element.querySelectorAll('.md-footnote-back')).toHaveLength(2)
  })

  test('are gone to without changing the address', () => {
    const { element } = show('a[^x]\n\n[^x]: note', { idPrefix: 'm7-' })
    Element.prototype.scrollIntoView = () => undefined
    element.querySelector<HTMLElement>('a.md-footnote')?.click()
    expect(document.activeElement?.id).toBe('m7-fn-1')
    expect(location.hash).toBe('')
  })

  test('that come later make references of what stood before, in the nodes that were there', () => {
    const element = document.createElement('div')
    const view = new MarkdownView(element)
    view.update('said[^1] and [link]\n\nsecond\n\nthird', false)
    view.flush()
    const first = element.firstElementChild
    view.update(
      'said[^1] and [link]\n\nsecond\n\nthird\n\n[^1]: note\n\n[link]: https://a.example\n\nend\n\nof it',
      false,
    )
    view.flush()
    expect(element.firstElementChild).toBe(first)
    expect(first?.querySelector('.md-footnote')).not.toBeNull()
    expect(first?.querySelector('a[href="https://a.example"]')?.textContent).toBe('link')
  })
})

test('tasks are boxes with names that cannot be ticked', () => {
  const { element } = show('- [x] done\n- [ ] open\n- [link] no task')
  const boxes = [...element.querySelectorAll('input')]
  expect(boxes.map((box) => [box.disabled, box.checked, box.getAttribute('aria-label')])).toEqual([
    [true, true, 'Done'],
    [true, false, 'Not done'],
  ])
})

test('names of files are no links, addresses are', () => {
  const { element } = show('main.rs README.md https://a.example/x me@a.example')
  expect([...element.querySelectorAll('a')].map((link) => link.getAttribute('href'))).toEqual([
    'https://a.example/x',
    'mailto:me@a.example',
  ])
})

test('<br> breaks the line, other HTML is text', () => {
  const { element } = show('a<br>b <b>c</b>')
  expect(element.querySelector('br')).not.toBeNull()
  expect(element.textContent).toContain('<b>c</b>')
})

test('headings stand below those of the page', () => {
  expect(show('# One\n\n##### Five', { headingOffset: 2 }).element.innerHTML).toContain(
    '<h3 dir="auto">One</h3><h6 dir="auto">Five</h6>',
  )
})

test('updates are shown once a frame', async () => {
  const onRender = vi.fn()
  const element = document.createElement('div')
  const view = new MarkdownView(element, { onRender })
  for (let end = 1; end < 50; end++) view.update('word '.repeat(end), false)
  expect(onRender).not.toHaveBeenCalled()
  await vi.waitFor(() => expect(onRender).toHaveBeenCalledTimes(1))
  expect(element.textContent).toBe('word '.repeat(49).trim())
})

test('a list that grows keeps the nodes of its items, and a selection in them', () => {
  const element = document.createElement('div')
  const view = new MarkdownView(element)
  view.update('- one **bold**\n- two\n', false)
  view.flush()
  const words = element.querySelector('strong')?.firstChild
  const item = element.querySelector('li')
  view.update('- one **bold**\n- two\n- three\n  - deep\n', false)
  view.flush()
  expect(element.querySelector('li')).toBe(item)
  view.update('- one **bold**\n- two\n- three\n  - deep\n\n- four', true)
  view.flush()
  expect(element.querySelector('strong')?.firstChild?.textContent).toBe(words?.textContent)
  expect(element.querySelectorAll('li')).toHaveLength(5)
})

test('a text that is not what it was is shown anew', () => {
  const { element, view } = show('# One\n\ntwo')
  view.update('other', true)
  view.flush()
  expect(element.innerHTML).toBe('<p dir="auto">other</p>')
})

test('words without marks are what a screen reader says', () => {
  const source =
    '# Title\n\nA **b** [c](https://x.example) `d` ![e](https://x.example/e.png)[^1]\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n- [x] f\n\n```py\ng\n```\n\n[^1]: h'
  expect(toPlainText(source)).toBe('Title\nA b c d e\na, b\n1, 2\nf\ng')
})
