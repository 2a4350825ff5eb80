/**
 * The last gate before the page: only the elements and attributes below come through, whatever made the HTML.
 *
 * The grammar writes no others. Should it, a plugin of it, or a library behind it ever be tricked, this is what holds.
 * No `style`, no `name`, no handler; classes and ids only of our own; addresses only of the kinds in `links`.
 */

import DOMPurify, { type Config } from 'dompurify'

import { isAllowedLink, isOwnImage } from './links.ts'

const TAGS = [
  'a', 'blockquote', 'br', 'button', 'code', 'del', 'div', 'em', 'h1', 'h2', 'h3', 'h4', 'h5', 'h6', 'hr', 'img', 'input', 'li', 'ol', 'p', 'pre',
  's', 'section', 'span', 'strong', 'sup', 'table', 'tbody', 'td', 'th', 'thead', 'tr', 'ul',
] // prettier-ignore
const ATTRIBUTES = [
  'alt', 'aria-label', 'checked', 'class', 'data-cite', 'data-language', 'data-open', 'data-sentence', 'decoding', 'dir', 'disabled', 'href', 'id', 'loading', 'rel', 'role',
  'scope', 'src', 'start', 'tabindex', 'target', 'type',
] // prettier-ignore
const OWN_ID = /^[\w-]*fn(?:ref)?-\d+(?:-\d+)?$/
const OWN_CLASS = /^(?:md|hljs)(?:-[\w-]+)?$|^(?:function|class|inherited|constant|invoke)_+$/

const CONFIG = {
  ALLOWED_TAGS: TAGS,
  ALLOWED_ATTR: ATTRIBUTES,
  // Attributes other than these two are words, which need not look like an address.
  ADD_URI_SAFE_ATTR: ATTRIBUTES.filter((name) => name !== 'href' && name !== 'src'),
  ALLOW_DATA_ATTR: false,
  ALLOW_ARIA_ATTR: false,
  ALLOWED_URI_REGEXP: /^(?:https?|mailto|tel):|^#|^\/api\/|^data:image\/(?:png|jpeg|gif|webp);base64,/i,
  ALLOWED_NAMESPACES: ['http://www.w3.org/1999/xhtml'],
  SANITIZE_DOM: true,
  RETURN_DOM_FRAGMENT: true,
} satisfies Config

let purify: ReturnType<typeof DOMPurify> | null = null

function gate(): ReturnType<typeof DOMPurify> {
  if (purify !== null) return purify
  purify = DOMPurify(window)
  purify.addHook('afterSanitizeAttributes', (node) => {
    if (!(node instanceof HTMLElement)) return
    keepOwn(node)
    if (node instanceof HTMLAnchorElement) guardLink(node)
    else if (node instanceof HTMLImageElement && !isOwnImage(node.getAttribute('src') ?? '')) node.remove()
    else if (node instanceof HTMLButtonElement) guardButton(node)
    else if (node instanceof HTMLInputElement) {
      node.setAttribute('type', 'checkbox')
      node.setAttribute('disabled', '')
    }
  })
  return purify
}

function keepOwn(element: HTMLElement): void {
  if (element.hasAttribute('id') && !OWN_ID.test(element.getAttribute('id') ?? ''))
    element.removeAttribute('id')
  if (element.hasAttribute('class')) {
    const own = [...element.classList].filter((name) => OWN_CLASS.test(name))
    if (own.length > 0) element.className = own.join(' ')
    else element.removeAttribute('class')
  }
}

/** The only buttons are marks that cite a source. */
function guardButton(button: HTMLButtonElement): void {
  if (!button.classList.contains('md-cite') || !/^\d{1,4}$/.test(button.getAttribute('data-cite') ?? ''))
    button.remove()
  button.setAttribute('type', 'button')
}

function guardLink(link: HTMLAnchorElement): void {
  const address = link.getAttribute('href')
  if (address === null) return
  if (/^#[\w-]*fn(?:ref)?-\d+(?:-\d+)?$/.test(address)) {
    link.removeAttribute('target')
    return
  }
  if (!isAllowedLink(address)) {
    link.removeAttribute('href')
    return
  }
  link.setAttribute('target', '_blank')
  link.setAttribute('rel', 'noopener noreferrer nofollow')
}

/** Parses HTML into nodes that are safe to put into the page. */
export function sanitise(html: string): DocumentFragment {
  return gate().sanitize(html, CONFIG)
}
