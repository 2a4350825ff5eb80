/** Identifiers as the server makes them: a prefix and 26 characters of Crockford's base 32 that sort by time (ULID). */

const ALPHABET = '0123456789abcdefghjkmnpqrstvwxyz'

let last = 0

/** Make an id like `conv_01k9...`; those that one page makes always ascend. */
export function newId(prefix: string, now = (last = Math.max(Date.now(), last + 1))): string {
  let time = ''
  for (let rest = now, n = 0; n < 10; n++, rest = Math.floor(rest / 32)) time = ALPHABET[rest % 32] + time
  const random = Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => ALPHABET[byte % 32]).join(
    '',
  )
  return `${prefix}_${time}${random}`
}
