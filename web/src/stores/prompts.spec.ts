import fc from 'fast-check'
import { describe, expect, test } from 'vitest'

import { fillVariables, findVariables } from './prompts.ts'

test('variables are found once each, in the order of the text, with the first value', () => {
  expect(findVariables('{{ topic }} in {{language=French}}, {{topic=x}}; {{ language = Dutch }} {{tone =  }}')).toEqual([
    { name: 'topic', value: '' },
    { name: 'language', value: 'French' },
    { name: 'tone', value: '' },
  ]) // prettier-ignore
})

test.each(['{topic}', '{{}}', '{{ }}', '{{=x}}', '{{a', '{{a}', '{ {a}}', '{{a{b}}', '{{a}b}}'])('%j has no variable', (text) => {
  expect(findVariables(text)).toEqual([])
  expect(fillVariables(text, new Map([['a', 'x'], ['b', 'z']]))).toBe(text)
}) // prettier-ignore

describe('filling in', () => {
  test('leaves what has no value as it stands, and takes an empty one', () => {
    const values = new Map([['topic', ''], ['language', 'Latin']]) // prettier-ignore
    expect(fillVariables('{{topic}}|{{ language=French }}|{{other=1}}', values)).toBe('|Latin|{{other=1}}')
  })

  test('what is put in is not looked at again', () => {
    const values = new Map([['a', '{{b}} $& $1 $`'], ['b', '{{a}}']]) // prettier-ignore
    expect(fillVariables('{{a}}, {{b}}', values)).toBe('{{b}} $& $1 $`, {{a}}')
  })

  test('puts exactly the values between the words', () => {
    const words = fc.string({ unit: fc.constantFrom(...'ab $&\n') })
    fc.assert(
      fc.property(fc.array(fc.tuple(words, fc.constantFrom('x', 'y'), fc.string())), words, (parts, last) => {
        const text = parts.map(([before, name]) => `${before}{{${name}}}`).join('') + last
        const values = new Map(parts.map(([, name, value]) => [name, value]))
        const filled = parts.map(([before, name]) => before + values.get(name)!).join('') + last
        expect(fillVariables(text, values)).toBe(filled)
      }),
    )
  })

  test('does not take long over what is no variable', () => {
    const text = '{{' + ' '.repeat(20_000) + '{{' + 'a'.repeat(20_000) + '=' + ' '.repeat(20_000)
    const began = performance.now()
    expect(findVariables(text)).toEqual([])
    expect(performance.now() - began).toBeLessThan(500)
  })
})
