import fc from 'fast-check'
import { expect, test } from 'vitest'

import { newId } from './ids.ts'

/** `spell_id` of candide.domain.ids: five bits a character, from the highest. */
function spell(number: bigint): string {
  const alphabet = '0123456789abcdefghjkmnpqrstvwxyz'
  return Array.from({ length: 26 }, (_, n) => alphabet[Number((number >> BigInt(125 - 5 * n)) & 31n)]).join(
    '',
  )
}

const moment = fc.nat({ max: 2 ** 48 - 1 })

test('an id is a prefix and 26 characters of Crockford’s base 32', () => {
  fc.assert(
    fc.property(moment, (now) => {
      expect(newId('conv', now)).toMatch(/^conv_[0-7][0-9a-hjkmnp-tv-z]{25}$/)
    }),
  )
})

test('its beginning is the time, as the server spells it', () => {
  fc.assert(
    fc.property(moment, (now) => {
      expect(newId('msg', now).slice(4, 14)).toBe(spell(BigInt(now) << 80n).slice(0, 10))
    }),
  )
})

test('ids sort by time', () => {
  fc.assert(
    fc.property(moment, moment, (one, other) => {
      fc.pre(one !== other)
      expect(newId('a', one) < newId('a', other)).toBe(one < other)
    }),
  )
})

test('those that one page makes always ascend, within one millisecond too', () => {
  const made = Array.from({ length: 2000 }, () => newId('key'))
  expect(made).toEqual([...new Set(made)].sort())
})
