/**
 * Which addresses an answer may name, and where a link's words hide where it leads.
 *
 * Addresses come from a model or from pages that it read, so all of them are hostile until shown otherwise.
 */

const LINK_SCHEMES = new Set(['http:', 'https:', 'mailto:', 'tel:'])
const DATA_IMAGE = /^data:image\/(?:png|jpeg|gif|webp);base64,[a-z0-9+/=\s%]+$/i
const OWN_IMAGE = /^\/api\/(?:files\/[\w-]+|shared\/[\w-]+\/files\/[\w-]+)$/
const HOST_IN_TEXT =
  /(?:^|[\s/@("'<:])((?:[\p{L}\p{N}](?:[\p{L}\p{N}\p{M}-]*[\p{L}\p{N}\p{M}])?\.)+(?:xn--[a-z0-9-]+|\p{L}{2,}))(?=$|[\s/:?#)"'>,;!]|\.(?:\s|$))/giu
// Letters that only turn the direction of what stands around them. In prose they are legitimate and end with their block;
// in a link's words and in code they make text read as something else than it is ("Trojan Source", CVE-2021-42574).
const BIDI_CONTROLS = /[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g
const INVISIBLE = /[\u0000-\u001f\u007f-\u009f\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g

export function parseAddress(address: string): URL | null {
  try {
    return new URL(address)
  } catch {
    return null
  }
}

/** True for an absolute http, https, mailto or tel address. Relative ones mean nothing in an answer. */
export function isAllowedLink(address: string): boolean {
  if (/[\u0000-\u0020\u007f]/.test(address)) return false
  const url = parseAddress(address)
  return url !== null && LINK_SCHEMES.has(url.protocol)
}

/** True for an image that can be shown without asking another host for it. */
export function isOwnImage(address: string): boolean {
  return DATA_IMAGE.test(address) || OWN_IMAGE.test(address)
}

export function stripBidiControls(text: string): string {
  return text.replace(BIDI_CONTROLS, '')
}

/** Code as it is shown: controls that reorder text are spelled out, so that what is read is what would run. */
export function revealBidiControls(code: string): string {
  return code.replace(
    BIDI_CONTROLS,
    (letter) => `⟨U+${letter.charCodeAt(0).toString(16).toUpperCase().padStart(4, '0')}⟩`,
  )
}

function bareHost(host: string): string {
  return host
    .toLowerCase()
    .replace(/^www\./, '')
    .replace(/\.$/, '')
}

/**
 * The host (or mail address) to show beside a link, or null when its words do not claim another one.
 * A host written with other alphabets' letters (punycode) is always shown, since it may look like a well-known one.
 */
export function hostBeside(text: string, address: string): string | null {
  const url = parseAddress(address)
  if (url === null) return null
  const words = text.normalize('NFKC').replace(INVISIBLE, '')
  if (url.protocol === 'mailto:' || url.protocol === 'tel:') {
    const target = decode(url.pathname)
    const claimed = words
      .match(/[^\s<>()]+@[^\s<>()]+/)?.[0]
      .replace(/^mailto:/i, '')
      .replace(/[.,;:!?]+$/, '')
    const claimsHost = claimed === undefined && claimedHosts(words).length > 0
    return claimsHost || (claimed !== undefined && claimed.toLowerCase() !== target.toLowerCase())
      ? target
      : null
  }
  const host = url.hostname
  if (/(^|\.)xn--/.test(host)) return url.host
  const others = claimedHosts(words).filter((claimed) => claimed !== bareHost(host))
  // The path of an address may well name other hosts ("https://web.archive.org/web/https://example.org").
  if (others.length > 0 && !isItsOwnAddress(words, url)) return url.host
  return null
}

function isItsOwnAddress(words: string, url: URL): boolean {
  if (url.username !== '' || url.password !== '') return false
  const claimed = parseAddress(words.trim())
  return claimed !== null && claimed.host === url.host && claimed.username === ''
}

function claimedHosts(words: string): string[] {
  const hosts: string[] = []
  for (const match of words.matchAll(HOST_IN_TEXT)) {
    const url = parseAddress(`https://${match[1] ?? ''}`)
    if (url !== null) hosts.push(bareHost(url.hostname))
  }
  return hosts
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}
