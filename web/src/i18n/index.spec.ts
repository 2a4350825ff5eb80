import fc from 'fast-check'
import { afterEach, describe, expect, test, vi } from 'vitest'

import { de } from './de.ts'
import { en, type MessageKey, type Messages } from './en.ts'
import { es } from './es.ts'
import { fr } from './fr.ts'
import { bytes, date, dateTime, LANGUAGES, locale, monthName, number, t, tn } from './index.svelte.ts'

const ALL: Record<string, Messages> = { en, fr, es, de }
const KEYS = Object.keys(en) as MessageKey[]

const SOURCES = import.meta.glob<string>(['../**/*.svelte', '../**/*.ts', '!../**/*.spec.ts', '!./*.ts'], {
  query: '?raw',
  import: 'default',
  eager: true,
})

/** What is the same word in two languages. */
const SAME: Record<string, readonly MessageKey[]> = {
  fr: [
    'branch.versions', 'export.json', 'export.markdown', 'image', 'markdown.code', 'palette.conversations', 'palette.messages',
    'library.sources.one', 'library.sources.other', 'param.topP', 'prompts.title', 'search.results.one', 'search.results.other', 'search.site',
    'search.type', 'settings.api', 'settings.instructions', 'sidebar.label', 'source.page', 'sources.title', 'target.page', 'target.site',
    'transcript',
  ],
  es: ['export.json', 'export.markdown', 'param.topP', 'prompts.title', 'settings.api', 'settings.general'],
  de: [
    'export.json', 'export.markdown', 'folder.name', 'info.engine', 'markdown.code', 'param.topP', 'prompts.name', 'prompts.text', 'prompts.title',
    'settings.api', 'target.feed',
  ],
} // prettier-ignore

const placeholders = (text: string) => [...text.matchAll(/\{\w+\}/g)].map(([name]) => name).sort()

afterEach(async () => {
  localStorage.clear()
  vi.restoreAllMocks()
  await locale.choose('en')
})

describe.each(Object.entries(ALL))('the words in %s', (_language, messages) => {
  test('have exactly the keys of English', () => {
    expect(Object.keys(messages).sort()).toEqual([...KEYS].sort())
  })

  test('are never empty, and stand without spaces around them', () => {
    for (const key of KEYS) {
      expect(messages[key], key).not.toBe('')
      expect(messages[key], key).toBe(messages[key].trim())
    }
  })

  test('have the placeholders of English', () => {
    for (const key of KEYS) expect(placeholders(messages[key]), key).toEqual(placeholders(en[key]))
  })

  test('have the marks of print, not those of a typewriter', () => {
    for (const key of KEYS) expect(messages[key], key).not.toMatch(/\.\.\.|\w'\w|"/)
  })
})

test.each(Object.entries(SAME))('%s is no English left by mistake', (language, same) => {
  const left = KEYS.filter((key) => ALL[language]![key] === en[key])
  expect(left.sort()).toEqual([...same].sort())
})

test('every language that can be chosen has its words, and is written as it calls itself', async () => {
  expect(Object.keys(ALL).sort()).toEqual(Object.keys(LANGUAGES).sort())
  for (const language of Object.keys(LANGUAGES) as (keyof typeof LANGUAGES)[]) {
    await locale.choose(language)
    expect(locale.messages).toBe(ALL[language])
    expect(document.documentElement.lang).toBe(language)
  }
})

test('a string that is counted has both its forms', () => {
  for (const key of KEYS) {
    if (key.endsWith('.one')) expect(KEYS).toContain(key.replace(/one$/, 'other'))
    if (key.endsWith('.other')) expect(KEYS).toContain(key.replace(/other$/, 'one'))
  }
})

test('French has a narrow no-break space where its print wants one, and no other', () => {
  for (const key of KEYS) {
    // Addresses and placeholders aside, of which there are none with such marks.
    expect(fr[key], key).not.toMatch(/[^\u202f][;:!?»]|«[^\u202f]|\u00a0/)
  }
})

test('German stands off its dots, Spanish opens its questions', () => {
  for (const key of KEYS) {
    expect(de[key], key).not.toMatch(/[^\u00a0]…/)
    expect((es[key].match(/\?/g) ?? []).length, key).toBe((es[key].match(/¿/g) ?? []).length)
  }
})

test('every string is shown somewhere', () => {
  const source = Object.values(SOURCES).join('\n')
  // Keys made of a constant beginning and a value: t(`export.${format}`).
  const made = [...source.matchAll(/\bt\(`([\w.]+\.)\$\{/g)].map(([, beginning]) => beginning!)
  const unused = KEYS.filter((key) => {
    const base = key.replace(/\.(one|other)$/, '')
    return !source.includes(`'${base}'`) && !made.some((beginning) => key.startsWith(beginning))
  })
  expect(unused).toEqual([])
})

describe('a component', () => {
  const components = Object.entries(SOURCES).filter(([name]) => name.endsWith('.svelte'))
  /** The product's name, and what stands in code. */
  const WORDLESS = /^(?:Candide|HTML|JSON|Markdown|ZIP|api_key|Esc)$/

  test.each(components)('%s says nothing that is not translated', (_name, source) => {
    const markup = source.replace(/<(script|style)\b[^]*?<\/\1>/g, '').replace(/<!--[^]*?-->/g, '')
    const attributes = [
      ...markup.matchAll(/\b(?:aria-label|title|placeholder|alt|label)="([^"{]*\p{L}[^"{]*)"/gu),
    ]
    expect(attributes.map(([whole]) => whole)).toEqual([])
    const words = textOf(markup)
      .split(/[\s·,()]+/)
      .filter((word) => /\p{L}{2}/u.test(word) && !WORDLESS.test(word))
    expect(words).toEqual([])
  })

  /** What stands between the tags, without expressions and blocks. */
  function textOf(markup: string): string {
    let text = ''
    let depth = 0
    let tag = false
    for (let i = 0; i < markup.length; i++) {
      const character = markup[i]!
      if (character === '{') depth++
      else if (character === '}') depth--
      else if (depth) continue
      else if (character === '<' && /[a-zA-Z/]/.test(markup[i + 1] ?? '')) tag = true
      else if (character === '>' && tag) {
        tag = false
        text += ' '
      } else if (!tag) text += character
    }
    return text
  }
})

describe('choosing', () => {
  test('is kept, and taken back to what the browser asks for', async () => {
    vi.spyOn(navigator, 'languages', 'get').mockReturnValue(['pt-BR', 'de-AT', 'fr'])
    await locale.choose('fr')
    await locale.begin()
    expect([locale.chosen, locale.language]).toEqual(['fr', 'fr'])
    await locale.choose(null)
    expect([locale.chosen, locale.language]).toEqual([null, 'de'])
    await locale.begin()
    expect([locale.chosen, locale.language]).toEqual([null, 'de'])
  })

  test.each(['xx', 'toString', '__proto__', ''])(
    'what is kept and is none, like %j, is as if nothing were',
    async (kept) => {
      vi.spyOn(navigator, 'languages', 'get').mockReturnValue(['es'])
      localStorage.setItem('candide.language', kept)
      await locale.begin()
      expect([locale.chosen, locale.language]).toEqual([null, 'es'])
    },
  )

  test.each([[['constructor']], [[]], [['pt', 'zh-Hans']]])(
    'a browser that asks for %j gets English',
    async (asked) => {
      vi.spyOn(navigator, 'languages', 'get').mockReturnValue(asked)
      await locale.choose(null)
      expect(locale.language).toBe('en')
    },
  )
})

describe('filling in', () => {
  test('what is put in is not looked at again', () => {
    expect(t('answer.switched', { from: '{to} $& $1', to: '{from}' })).toBe(
      '{to} $& $1 failed; the answer goes on with {from}.',
    )
  })

  test('leaves what it has no value for, whatever it is called', () => {
    expect(t('composer.removeFile')).toBe('Remove {name}')
    fc.assert(
      fc.property(fc.string(), (name) => {
        expect(t('composer.removeFile', { name })).toBe(`Remove ${name}`)
      }),
    )
  })

  test('writes numbers as the language does', async () => {
    await locale.choose('de')
    expect(t('model.context', { n: 32768 })).toBe('32.768 Tokens Kontext')
    await locale.choose('fr')
    expect(t('model.context', { n: 32768 })).toBe('32\u202f768 tokens de contexte')
  })
})

describe('counting', () => {
  test.each([
    ['en', ['0 added', '1 added', '2 added']],
    // French says none in the singular.
    ['fr', ['0 ajoutée', '1 ajoutée', '2 ajoutées']],
    ['es', ['0 añadidas', '1 añadida', '2 añadidas']],
    ['de', ['0 hinzugefügt', '1 hinzugefügt', '2 hinzugefügt']],
  ] as const)('in %s', async (language, said) => {
    await locale.choose(language)
    expect([0, 1, 2].map((n) => tn('import.added', n))).toEqual(said)
  })

  test('of a million has the form for many', async () => {
    await locale.choose('es')
    expect(tn('import.added', 1_000_000)).toBe('1.000.000 añadidas')
  })
})

describe('sizes', () => {
  test.each([
    [0, '0 bytes'],
    [1, '1 byte'],
    [999, '999 bytes'],
    [1000, '1 kB'],
    [999_499, '999 kB'],
    [999_999, '1 MB'],
    [1_500_000, '1.5 MB'],
    [999_999_999, '1 GB'],
    [4_683_074_240, '4.7 GB'],
    [5e15, '5,000 TB'],
  ])('%d is %s', (size, said) => {
    expect(bytes(size)).toBe(said)
  })

  test('never say a thousand of a unit that has a next one, and never shrink as they grow', () => {
    const size = fc.oneof(
      fc.nat(),
      fc.maxSafeNat(),
      fc.tuple(fc.nat(4), fc.integer({ min: -600, max: 600 })).map(([power, by]) => 1000 ** power + by),
    ).filter((n) => n >= 0 && n < 1e15) // prettier-ignore
    const units = ['byte', 'bytes', 'kB', 'MB', 'GB', 'TB']
    const worth = (said: string) => {
      const [n, unit] = said.split(' ') as [string, string]
      expect(units).toContain(unit)
      expect(Number(n.replaceAll(',', '')), said).toBeLessThan(1000)
      return Number(n) * 1000 ** Math.max(0, units.indexOf(unit) - 1)
    }
    fc.assert(
      fc.property(size, size, (one, other) => {
        const [less, more] = one < other ? [one, other] : [other, one]
        expect(worth(bytes(less))).toBeLessThanOrEqual(worth(bytes(more)))
      }),
    )
  })
})

test('numbers and dates follow the language', async () => {
  const noon = new Date(2026, 2, 5, 12, 30).getTime() / 1000
  await locale.choose('de')
  expect(number(0.5, { style: 'percent' })).toBe('50\u00a0%')
  expect(monthName(noon)).toBe('März 2026')
  expect(date(noon)).toBe('05.03.2026')
  await locale.choose('fr')
  expect(monthName(noon)).toBe('mars 2026')
  expect(dateTime(noon)).toContain('5 mars 2026')
})
