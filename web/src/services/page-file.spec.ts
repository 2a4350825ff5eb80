import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'

import { MessageNode, newMessage } from '../stores/tree.svelte.ts'
import type { Message } from './types.ts'
import { writePage } from './page-file.ts'

const say = (role: Message['role'], text: string, known: Partial<Message> = {}) =>
  new MessageNode(
    newMessage({ id: 'msg_1', role, parent_id: null, text, created_at: 1_700_000_000, ...known }),
  )

const parse = (html: string) => new DOMParser().parseFromString(html, 'text/html')

const PNG = 'data:image/png;base64,iVBORw0KGgo='

beforeEach(() => {
  vi.stubGlobal('fetch', async (address: string) => {
    if (address !== '/api/files/file_1') return { ok: false, blob: async () => new Blob(['{"error":{}}']) }
    return { ok: true, blob: async () => new Blob([Uint8Array.from(atob(PNG.split(',')[1]!), (c) => c.charCodeAt(0))], { type: 'image/png' }) }
  }) // prettier-ignore
})

afterEach(() => vi.unstubAllGlobals())

/** Nothing in the file runs, and nothing in it is fetched when it is opened. */
function expectHarmless(html: string): void {
  const page = parse(html)
  expect([...page.querySelectorAll('script, iframe, object, embed, link, base, form, svg, video, audio, source, template, noscript')]).toEqual([]) // prettier-ignore
  expect(page.querySelectorAll('style').length).toBe(1)
  expect(page.querySelectorAll('meta').length).toBe(4)
  expect(page.querySelectorAll('title').length).toBe(1)
  for (const element of page.querySelectorAll('*')) {
    for (const { name, value } of element.attributes) {
      expect(name).not.toMatch(
        /^on|^style$|^srcset$|^action$|^formaction$|^background$|^poster$|^ping$|:href$/i,
      )
      if (name === 'src') expect(value).toMatch(/^data:image\/(png|jpeg|gif|webp);base64,/)
      if (name === 'href') {
        expect(element.localName).toBe('a')
        expect(value).toMatch(/^(https?:|mailto:|tel:|#)/)
      }
    }
  }
  expect(page.querySelector('style')!.textContent).not.toMatch(/url\(|@import/)
}

const HOSTILE = [
  '<script>alert(1)</script>', '</title><script>alert(1)</script>', '</style><script>alert(1)</script>', '"><img src=x onerror=alert(1)>', "' onmouseover='alert(1)",
  '<svg onload=alert(1)>', '<iframe src="https://evil.example">', '[x](javascript:alert(1))', '[x](JaVaScRiPt&#58;alert(1))', '[x](data:text/html,<script>alert(1)</script>)',
  '![x](https://evil.example/pixel.png)', '![x](//evil.example/pixel.png)', '![x](javascript:alert(1))', '![x](data:image/svg+xml,<svg onload=alert(1)>)',
  '<https://evil.example/"onclick=alert(1)>', '```<script>\nalert(1)\n</script>\n```', '`<img src=x onerror=alert(1)>`', '$\\href{javascript:alert(1)}{x}$',
  '$$\\htmlData{onclick=alert(1)}{x} \\includegraphics{https://evil.example/x.png}$$', '<!-- --><style>@import "https://evil.example"</style>',
  '|<b onclick=alert(1)>|\n|-|\n|![x](/api/files/file_1)|', '<base href="https://evil.example">', '<meta http-equiv=refresh content="0;url=https://evil.example">', '\u202e<a href=x>', '[^1]\n\n[^1]: <script>',
] // prettier-ignore
const hostile = fc.array(fc.oneof(fc.constantFrom(...HOSTILE), fc.string({ unit: fc.constantFrom(...'<>"\'&;=/![]()`$\\ax\n') })), { maxLength: 5 }).map((parts) => parts.join('')) // prettier-ignore

describe('a page', () => {
  test.each(HOSTILE)('does not run %j, wherever it stands', async (text) => {
    const file = { id: text, name: text, media_type: text, size: 1 }
    const html = await writePage(text, [
      say('user', text, { parts: [{ type: 'file', file }, { type: 'image_url', image_url: { url: text }, file }] }),
      say('assistant', text, { id: text, model: text, reasoning: text }),
    ]) // prettier-ignore
    expectHarmless(html)
    expect(parse(html).title).toBe(text.replace(/\s+/g, ' ').trim())
    expect(parse(html).querySelector('.said')!.textContent).toBe(text)
  })

  test('does not run any mixture of that', async () => {
    await fc.assert(
      fc.asyncProperty(hostile, hostile, async (title, text) => {
        expectHarmless(await writePage(title, [say('user', text), say('assistant', text, { model: title })]))
      }),
      { numRuns: 30 },
    )
  })

  test('allows itself no script and nothing from elsewhere', async () => {
    const policy = parse(await writePage('t', []))
      .querySelector('meta[http-equiv]')!
      .getAttribute('content')
    expect(policy).toBe("default-src 'none'; img-src data:; style-src 'unsafe-inline'")
  })

  test('holds the branch in its order, without what the system was told', async () => {
    const html = await writePage('Candide', [
      say('system', 'secret'),
      say('user', 'Who?\n  Me'),
      say('assistant', '**You**, and $x^2$.', { model: 'qwen' }),
      say('assistant', ''),
    ])
    const page = parse(html)
    expect(page.querySelector('h1')!.textContent).toBe('Candide')
    expect([...page.querySelectorAll('article h2')].map((one) => one.textContent)).toEqual(['You', 'qwen'])
    expect(page.querySelector('.said')!.textContent).toBe('Who?\n  Me')
    expect(page.querySelector('article.assistant strong')!.textContent).toBe('You')
    expect(page.querySelector('math')).not.toBe(null)
    expect(html).not.toContain('secret')
    expect(page.querySelector('footer')!.textContent).toContain('2023')
  })

  test('has its pictures inside, those in the words too', async () => {
    const file = { id: 'file_1', name: 'a "b".png', media_type: 'image/png', size: 8 }
    const picture = { type: 'image_url', image_url: { url: '/api/files/file_1' }, file }
    const page = parse(
      await writePage('t', [
        say('user', 'look', { parts: [picture] }),
        say('assistant', 'So: ![drawn <b>](/api/files/file_1)'),
      ]),
    )
    expect([...page.querySelectorAll('img')].map((one) => [one.src, one.alt])).toEqual([
      [PNG, 'a "b".png'],
      [PNG, 'drawn <b>'],
    ])
  })

  test('names a picture that cannot be had', async () => {
    const named = { id: 'f', name: 'gone.png', media_type: 'image/png', size: 8 }
    const html = await writePage('t', [
      say('user', 'look', {
        parts: [
          { type: 'image_url', image_url: { url: '/api/files/file_gone' }, file: named },
          { type: 'image_url', image_url: { url: 'https://evil.example/x.png' } },
          { type: 'file', file: { ...named, name: 'notes.txt' } },
          { type: 'tool_call' },
        ],
      }),
      say('assistant', '![drawn](/api/files/file_gone)'),
    ])
    const page = parse(html)
    expect([...page.querySelectorAll('.file')].map((one) => one.textContent)).toEqual(['gone.png', 'Image', 'notes.txt', 'drawn']) // prettier-ignore
    expectHarmless(html)
  })
})

describe('an answer from sources', () => {
  const passage = { id: 1, source_id: 's', start: 0, end: 5, text: 'Beans <b>grow</b>.' }
  const grounding = (uri: string, title: string) => ({
    sources: [{ number: 3, id: 's', uri, title, site: 'beans.example', published: 0, passages: [passage] }],
    sentences: [
      {
        text: 'Beans fly.',
        start: 16,
        end: 26,
        support: 'unsupported' as const,
        citations: [],
      },
    ],
    unread: ['broken.pdf'],
    checked: true,
  })

  test('leads from its marks to its sources, which say what was read', async () => {
    const answer = say('assistant', 'Beans grow [3]. Beans fly.', {
      id: 'msg_2',
      grounding: grounding('https://beans.example/a', 'Beans'),
    })
    const html = await writePage('Beans', [say('user', 'What?'), answer])
    expectHarmless(html)
    const page = parse(html)
    const mark = page.querySelector<HTMLAnchorElement>('a.md-cite')!
    expect(mark.textContent).toBe('3')
    const item = page.querySelector(mark.getAttribute('href')!)!
    expect(item.textContent).toContain('Beans <b>grow</b>.')
    expect(item.querySelector('a')?.getAttribute('href')).toBe('https://beans.example/a')
    expect(page.querySelector('.md-unsupported')?.textContent).toBe('Beans fly.')
    expect(page.body.textContent).toContain('broken.pdf')
  })

  test('that no source bears out stands outside of the sentences of the sources that follow it', async () => {
    const text = 'Beans fly.\n\n« Beans grow. » [3]'
    const known = grounding('/a.md', 'Beans')
    const answer = say('assistant', text, {
      id: 'msg_2',
      grounding: {
        ...known,
        sentences: [{ ...known.sentences[0]!, start: 0, end: 10 }],
        extract: [{ text: '« Beans grow. » [3]', start: 12, end: 31, support: 'quoted', citations: [] }],
      },
    })
    const page = parse(await writePage('Beans', [answer]))
    const block = page.querySelector('.extract')!
    expect(block.textContent?.trim()).toBe('« Beans grow. » 3')
    expect(block.previousElementSibling?.textContent).toContain('do not bear this answer out')
    expect(page.querySelector('.md-unsupported')?.textContent).toBe('Beans fly.')
  })

  test.each(HOSTILE)('whose source calls itself %j runs nothing', async (hostile) => {
    for (const uri of [hostile, `javascript:${hostile}`, 'javascript:alert(1)']) {
      const answer = say('assistant', 'Beans grow [3].', { id: 'msg_2', grounding: grounding(uri, hostile) })
      expectHarmless(await writePage('Beans', [answer]))
    }
  })

  test('that names a source of an earlier answer shows it too', async () => {
    const first = say('assistant', 'One [3].', { id: 'msg_1', grounding: grounding('/a.md', 'Alpha') })
    const other = { ...grounding('/b.md', 'Beta'), sentences: [] }
    other.sources[0]!.number = 4
    const citations = [{ number: 3, start: 0, end: 5, quote: 'Beans', by_model: true }]
    const second = say('assistant', 'Two [3].', {
      id: 'msg_2',
      grounding: { ...other, sentences: [{ text: 'Two [3].', start: 0, end: 8, support: 'supported', citations }] },
    }) // prettier-ignore
    const page = parse(await writePage('Both', [first, second]))
    expect(page.querySelector('#msg_2-source-3')?.textContent).toContain('Alpha')
    expect(page.querySelector('#msg_2-source-4')?.textContent).toContain('Beta')
  })
})
