import { afterEach, expect, test, vi } from 'vitest'

import type { DrawRequest } from './diagram.ts'
import { MarkdownView } from './view.ts'

const SOURCE = '```mermaid\nflowchart LR\n  accTitle: The way\n  A --> B\n```\n'

afterEach(() => vi.restoreAllMocks())

function say(data: unknown, source: MessageEventSource | null): void {
  window.dispatchEvent(new MessageEvent('message', { data, source }))
}

function frameWindow(): Window {
  const frame = document.querySelector<HTMLIFrameElement>('iframe.md-diagram-frame')
  if (frame?.contentWindow == null) throw new Error('no frame')
  return frame.contentWindow
}

/** Answers the next request of the page as the frame would. */
async function answer(make: (request: DrawRequest) => unknown): Promise<DrawRequest> {
  const post = vi.spyOn(frameWindow(), 'postMessage').mockImplementation(() => undefined)
  say({ kind: 'ready' }, frameWindow())
  await vi.waitFor(() => expect(post).toHaveBeenCalled())
  const request = post.mock.calls.at(-1)?.[0] as DrawRequest
  say(make(request), frameWindow())
  post.mockRestore()
  return request
}

test('a diagram is code while it grows, a picture once it is closed, and again code when asked', async () => {
  const element = document.createElement('div')
  document.body.append(element)
  const view = new MarkdownView(element, { theme: () => 'dark' })
  view.update(SOURCE.slice(0, -5), false)
  view.flush()
  expect(document.querySelector('iframe')).toBeNull()
  view.update(SOURCE, true)
  view.flush()
  await vi.waitFor(() => expect(document.querySelector('iframe')).not.toBeNull())
  expect(document.querySelector('iframe')?.getAttribute('sandbox')).toBe('allow-scripts')

  // What another window says counts for nothing.
  say({ kind: 'ready' }, window)
  const request = await answer(({ id }) => {
    say({ kind: 'drawn', id, svg: '<svg>forged</svg>', width: 1, height: 1 }, window)
    return { kind: 'drawn', id, svg: '<svg><!-- true --></svg>', width: 200, height: 100 }
  })
  await view.settled()
  expect(request).toMatchObject({ source: 'flowchart LR\n  accTitle: The way\n  A --> B', theme: 'dark' })
  const image = element.querySelector('img')
  expect(image?.getAttribute('src')).toBe(
    'data:image/svg+xml;charset=utf-8,' + encodeURIComponent('<svg><!-- true --></svg>'),
  )
  expect(image?.alt).toBe('Diagram: The way')
  const code = element.querySelector<HTMLElement>('.md-code-text')
  expect(code?.hidden).toBe(true)
  const toggle = element.querySelector('button')
  expect(toggle?.textContent).toBe('Show code')
  toggle?.click()
  expect(code?.hidden).toBe(false)
  expect(toggle?.textContent).toBe('Show diagram')
})

test('a diagram that cannot be drawn stays code, with a short reason', async () => {
  const element = document.createElement('div')
  document.body.append(element)
  const view = new MarkdownView(element)
  view.update('```mermaid\nnonsense\n```', true)
  await vi.waitFor(() => expect(document.querySelector('iframe')).not.toBeNull())
  await answer(({ id }) => ({ kind: 'failed', id, message: 'Parse error\nat line 1' }))
  await view.settled()
  expect(element.querySelector<HTMLElement>('.md-code-text')?.hidden).toBe(false)
  expect(element.querySelector('.md-diagram-note')?.textContent).toBe(
    'This diagram could not be drawn: Parse error',
  )
})
