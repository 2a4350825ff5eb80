/**
 * Turns one element into another while keeping every node that both have, so that a selection in it survives.
 *
 * Text that only grows is appended to. Elements that have a life of their own (code, formulae) take part through
 * `Living`: they are told what their placeholder says now instead of being compared with it.
 */

export interface Living {
  /** Shows what a placeholder says now; false when it is of another kind and must take this one's place. */
  accept(placeholder: Element): boolean
}

const living = new WeakMap<Node, Living>()

export function giveLife(element: Element, life: Living): void {
  living.set(element, life)
}

/** `mount` is called with every node that is put in newly, after it stands in its place. */
export function morph(node: Node, wanted: Node, mount: (node: Node) => void): void {
  const life = living.get(node)
  if (life !== undefined) {
    if (wanted instanceof Element && life.accept(wanted)) return
    replace(node, wanted, mount)
  } else if (node.nodeType === Node.TEXT_NODE && wanted.nodeType === Node.TEXT_NODE)
    morphText(node as Text, wanted as Text)
  else if (
    node instanceof Element &&
    wanted instanceof Element &&
    node.nodeName === wanted.nodeName &&
    !isPlaceholder(wanted)
  ) {
    morphAttributes(node, wanted)
    morphChildren(node, wanted, mount)
  } else replace(node, wanted, mount)
}

export function isPlaceholder(element: Element): boolean {
  return element.classList.contains('md-code') || element.classList.contains('md-math')
}

function replace(node: Node, wanted: Node, mount: (node: Node) => void): void {
  node.parentNode?.replaceChild(wanted, node)
  mount(wanted)
}

function morphText(text: Text, wanted: Text): void {
  if (text.data === wanted.data) return
  if (wanted.data.startsWith(text.data)) text.appendData(wanted.data.slice(text.data.length))
  else text.data = wanted.data
}

function morphAttributes(element: Element, wanted: Element): void {
  for (const { name } of [...element.attributes])
    if (!wanted.hasAttribute(name)) element.removeAttribute(name)
  for (const { name, value } of [...wanted.attributes])
    if (element.getAttribute(name) !== value) element.setAttribute(name, value)
}

function morphChildren(element: Element, wanted: Element, mount: (node: Node) => void): void {
  const children = [...element.childNodes]
  const wantedChildren = [...wanted.childNodes]
  wantedChildren.forEach((child, index) => {
    const existing = children[index]
    if (existing !== undefined) morph(existing, child, mount)
    else {
      element.appendChild(child)
      mount(child)
    }
  })
  for (const child of children.slice(wantedChildren.length)) child.remove()
}
