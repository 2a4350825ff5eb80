import fc from 'fast-check'
import { describe, expect, test } from 'vitest'

import type { Grounding, NumberedSource } from '../services/sources.ts'
import {
  collectSources,
  cutAt,
  makeEvidence,
  makeSnippet,
  noteOfExtract,
  partExtract,
  placeOf,
  titleOf,
  webAddress,
} from './evidence.ts'

const source = (number: number, known: Partial<NumberedSource> = {}): NumberedSource => ({
  number,
  id: `source_${number}`,
  uri: `/garden/${number}.md`,
  title: `Title ${number}`,
  ...known,
})
const passage = (start: number, end: number) => ({ id: start, start, end, text: 'x'.repeat(end - start) })
const collected = (...sources: NumberedSource[]) => new Map(sources.map((one) => [one.number, one]))

test('sources of earlier answers keep their numbers, and show all passages that were shown of them', () => {
  const found = collectSources([
    { grounding: { sources: [source(2, { passages: [passage(5, 9), passage(20, 30)] })] } },
    { grounding: null },
    { grounding: { sources: [source(1), source(2, { passages: [passage(5, 9), passage(0, 4)] })] } },
  ])
  expect([...found.keys()].sort()).toEqual([1, 2])
  expect(found.get(2)?.passages?.map((one) => one.start)).toEqual([5, 20, 0])
})

describe('an extract', () => {
  const extract = [
    { text: '« Beans grow. » [1]', start: 11, end: 30, support: 'quoted' as const, citations: [] },
  ]

  test('begins where the first sentence of the sources does, counted in characters by the server', () => {
    const text = '𝄞 they fly\n« Beans grow. » [1]'
    expect(partExtract(text, { extract })).toEqual(['𝄞 they fly', '« Beans grow. » [1]'])
    expect(partExtract(text, { extract: [] })).toEqual([text, ''])
  })

  test('is said to be instead of an answer only where the engine failed or wrote nothing', () => {
    expect(noteOfExtract('They fly.', 'stop')).toBe('sources.notBorneOut')
    expect(noteOfExtract('They fl', 'extract')).toBe('sources.extract')
    expect(noteOfExtract('', 'stop')).toBe('sources.extract')
  })
})

describe('the evidence of an answer', () => {
  test('is nothing without sources', () => {
    expect(makeEvidence('text', null, new Map())).toBeUndefined()
  })

  test('has the sentences where they stand, counted in characters by the server', () => {
    const lines = ['𝄞𝄞 one.', 'Two é𝄞.\r', '', 'Three.']
    const text = lines.join('\n')
    const characters = [...text]
    const place = (words: string) => {
      const start = [...text.slice(0, text.indexOf(words))].length
      return { start, end: start + [...words].length, text: words }
    }
    const wanted = ['𝄞𝄞 one.', 'Two é𝄞.', 'Three.']
    const grounding: Grounding = {
      sentences: wanted.map((words) => ({ ...place(words), support: 'supported' })),
    }
    const { sentences } = makeEvidence(text, grounding, collected(source(1)))!
    const normal = text.replace(/\r\n?/g, '\n')
    expect(sentences.map(({ start, end }) => normal.slice(start, end))).toEqual(wanted)
    expect(characters.length).toBeLessThan(text.length)
  })

  test('names what the server tied to a sentence, and leaves the marks of the model to the text', () => {
    const citation = (number: number, by_model: boolean) => ({
      number,
      by_model,
      start: 0,
      end: 1,
      quote: 'x',
    })
    const { sentences } = makeEvidence(
      'One.',
      {
        sentences: [
          {
            text: 'One.',
            start: 0,
            end: 4,
            support: 'unsupported',
            citations: [citation(1, true), citation(2, false), citation(2, false)],
          },
        ],
      },
      collected(source(1), source(2)),
    )!
    expect(sentences).toEqual([{ start: 0, end: 4, isUnsupported: true, sources: [2] }])
  })
})

test.each([
  ['https://beans.example/a?b#c', 'https://beans.example/a?b#c'],
  ['http://beans.example', 'http://beans.example/'],
  ['javascript:alert(1)', null],
  ['JaVaScRiPt:alert(1)', null],
  [' javascript:alert(1)', null],
  ['java\nscript:alert(1)', null],
  ['data:text/html,<script>alert(1)</script>', null],
  ['file:///etc/passwd', null],
  ['blob:https://beans.example/1', null],
  ['/garden/beans.md', null],
  ['//beans.example/x', null],
  ['', null],
])('the address %j leads to %j', (uri, wanted) => {
  expect(webAddress(uri)).toBe(wanted)
})

test('whatever a source says is its address, a link leads to the web or nowhere', () => {
  const scheme = fc.constantFrom(
    'javascript:',
    'vbscript:',
    'data:',
    'https:',
    '\u0000javascript:',
    'feed:',
    '',
  )
  fc.assert(
    fc.property(scheme, fc.string({ unit: 'binary' }), (before, rest) => {
      const address = webAddress(before + rest)
      if (address !== null) expect(address).toMatch(/^https?:/)
    }),
  )
})

test('a source without a title is called by the end of its address', () => {
  expect(titleOf({ title: '', uri: 'https://beans.example/a/b.html' })).toBe('b.html')
  expect(titleOf({ title: '', uri: 'C:\\garden\\beans.pdf' })).toBe('beans.pdf')
  expect(titleOf({ title: '', uri: '' })).toBe('')
  expect(placeOf('/home/x/uploads/lib_1/beans.md')).toBe('beans.md')
  expect(placeOf('/home/x/beans.md')).toBe('/home/x/beans.md')
})

test('cutting a text at spans loses nothing of it, wherever they are', () => {
  const span = fc.tuple(fc.nat(30), fc.nat(30)).map(([at, length]) => [at, at + length] as const)
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), fc.array(span), (text, spans) => {
      const pieces = cutAt(text, spans)
      expect(pieces.map((piece) => piece.text).join('')).toBe(text)
      const characters = [...text]
      const hits = pieces.filter((piece) => piece.isHit).reduce((n, piece) => n + [...piece.text].length, 0)
      const wanted = characters.filter((_, n) => spans.some(([start, end]) => start <= n && n < end)).length
      expect(hits).toBe(wanted)
    }),
  )
})

describe('a snippet', () => {
  const filler = (n: number) => Array.from({ length: n }, (_, at) => `word${at}`).join(' ')
  const spansOf = (text: string, ...words: string[]) =>
    words.flatMap((word) => {
      const at = [...text.slice(0, text.indexOf(word))].length
      return [[at, at + [...word].length] as const]
    })
  const said = (pieces: { text: string }[]) => pieces.map((piece) => piece.text).join('')

  test('of a short passage is all of it', () => {
    expect(makeSnippet('Beans grow.', [[0, 5]])).toEqual([
      { text: 'Beans', isHit: true },
      { text: ' grow.', isHit: false },
    ])
  })

  test('shows the part where the most different words were found, with whole words around them', () => {
    const text = `beans ${filler(120)} 𝄞 the beans are sown in May ${filler(120)}`
    const far = text.indexOf('the beans') + 4
    const shift = [...text.slice(0, far)].length
    const spans = [[0, 5] as const, [shift, shift + 5] as const, ...spansOf(text, 'sown', 'May')]
    const pieces = makeSnippet(text, spans)
    expect(pieces.filter((piece) => piece.isHit).map((piece) => piece.text)).toEqual(['beans', 'sown', 'May'])
    expect(said(pieces)).toMatch(/^…\u00a0word\d+ .* word\d+\u00a0…$/)
    expect(said(pieces).length).toBeLessThan(300)
  })

  test('of what was found by its meaning begins where the passage does', () => {
    expect(said(makeSnippet(filler(200), []))).toMatch(/^word0 word1 .* word\d+\u00a0…$/)
  })

  test('at the end of a passage says that it goes no further', () => {
    const text = `${filler(200)} beans.`
    expect(said(makeSnippet(text, spansOf(text, 'beans')))).toMatch(/^…\u00a0word\d+ .* beans\.$/)
  })

  test('says only what stands in the passage, and marks only what was found', () => {
    const span = fc
      .tuple(fc.nat(900), fc.integer({ min: 1, max: 12 }))
      .map(([at, n]) => [at, at + n] as const)
    fc.assert(
      fc.property(
        fc.string({ unit: 'grapheme', minLength: 300, maxLength: 900 }),
        fc.array(span),
        (text, spans) => {
          const pieces = makeSnippet(text, spans)
          expect(text).toContain(
            said(pieces)
              .replace(/^…\u00a0/, '')
              .replace(/\u00a0…$/, ''),
          )
          const characters = [...text]
          const marked = characters
            .filter((_, n) => spans.some(([start, end]) => start <= n && n < end))
            .join('')
          for (const piece of pieces) if (piece.isHit) expect(marked).toContain(piece.text)
        },
      ),
    )
  })
})
