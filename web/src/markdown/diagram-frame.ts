/**
 * Runs in `diagram.html`, an iframe without an origin: draws Mermaid's diagrams and sends them back as text.
 *
 * The source is hostile. Mermaid's strict level takes HTML and clicks out of it; should it fail, the script that
 * gets in reaches nothing: no cookies, no storage, no network but this server's static files.
 */

import mermaid from 'mermaid'

import type { DrawAnswer, DrawRequest } from './diagram.ts'

// What the source's own directives must not change.
const SECURE = [
  'secure',
  'securityLevel',
  'startOnLoad',
  'maxTextSize',
  'maxEdges',
  'suppressErrorRendering',
  'htmlLabels',
  'fontFamily',
  'themeCSS',
  'dompurifyConfig',
]

function answer(message: DrawAnswer): void {
  // The page's origin is unknown in here; the picture holds nothing that its receiver did not send.
  window.parent.postMessage(message, '*')
}

async function draw(request: DrawRequest): Promise<void> {
  mermaid.initialize({
    startOnLoad: false,
    securityLevel: 'strict',
    secure: SECURE,
    suppressErrorRendering: true,
    theme: request.theme === 'dark' ? 'dark' : 'default',
    htmlLabels: false,
    flowchart: { htmlLabels: false, useMaxWidth: false },
    maxTextSize: 50_000,
    maxEdges: 500,
    fontFamily: 'system-ui, sans-serif',
  })
  const { svg } = await mermaid.render(`diagram-${request.id}`, request.source)
  const holder = document.createElement('div')
  holder.innerHTML = svg
  const element = holder.querySelector('svg')
  if (element === null) throw new Error('no picture')
  const box = element.viewBox.baseVal
  const width = box.width > 0 ? box.width : 600
  const height = box.height > 0 ? box.height : 400
  element.removeAttribute('style')
  element.setAttribute('width', String(width))
  element.setAttribute('height', String(height))
  element.setAttribute('xmlns', 'http://www.w3.org/2000/svg')
  for (const node of element.querySelectorAll('script, a, foreignObject a, image, iframe')) unwrap(node)
  answer({
    kind: 'drawn',
    id: request.id,
    svg: new XMLSerializer().serializeToString(element),
    width,
    height,
  })
}

/** Takes out what loads or leads elsewhere. A link's place in the picture is kept. */
function unwrap(node: Element): void {
  if (node.localName !== 'a') return node.remove()
  const group = document.createElementNS('http://www.w3.org/2000/svg', 'g')
  for (const name of ['transform', 'class', 'id']) {
    const value = node.getAttribute(name)
    if (value !== null) group.setAttribute(name, value)
  }
  group.append(...node.childNodes)
  node.replaceWith(group)
}

window.addEventListener('message', (event: MessageEvent<unknown>) => {
  if (event.source !== window.parent) return
  const request = event.data as Partial<DrawRequest> | null
  if (request?.kind !== 'draw' || typeof request.source !== 'string' || typeof request.id !== 'number') return
  const { id } = request
  draw(request as DrawRequest).catch((error: unknown) =>
    answer({ kind: 'failed', id, message: error instanceof Error ? error.message : String(error) }),
  )
})

answer({ kind: 'ready' })
