import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'

import { readRoute, router } from './router.svelte.ts'

const read = (path: string) => readRoute(new URL(path, 'http://candide.test'))

const NEW = { name: 'new', folderId: null, libraryId: null, isTemporary: false }

describe('an address', () => {
  test.each([
    ['/', NEW],
    ['/?temporary', { ...NEW, isTemporary: true }],
    ['/folder/fold_1', { ...NEW, folderId: 'fold_1' }],
    ['/c/conv_1', { name: 'conversation', id: 'conv_1', messageId: null }],
    ['/c/conv_1/', { name: 'conversation', id: 'conv_1', messageId: null }],
    ['/c/conv_1#msg_1', { name: 'conversation', id: 'conv_1', messageId: 'msg_1' }],
    ['/?library=lib_1', { ...NEW, libraryId: 'lib_1' }],
    ['/libraries', { name: 'libraries', id: null }],
    ['/libraries/lib_1', { name: 'libraries', id: 'lib_1' }],
    ['/search?query=b%26b', { name: 'search', query: new URLSearchParams({ query: 'b&b' }) }],
    ['/share/abc', { name: 'share', token: 'abc' }],
    ['/share/', NEW],
    ['/c', NEW],
    ['/settings', NEW],
    ['/c/a%20b', { name: 'conversation', id: 'a b', messageId: null }],
    ['/c/100%', { name: 'conversation', id: '100%', messageId: null }],
  ])('%s is read', (path, route) => {
    expect(read(path)).toEqual(route)
  })

  test('is always read, whatever it says', () => {
    fc.assert(fc.property(fc.constantFrom('/c/', '/share/', '/folder/', '/'), fc.string(), (page, rest) => {
      readRoute({ pathname: page + rest, search: rest, hash: rest })
    })) // prettier-ignore
  })
})

describe('going', () => {
  beforeEach(() => {
    router.begin()
    router.go('/')
  })
  afterEach(() => document.body.replaceChildren())

  test('makes an entry in the history, once', () => {
    const before = history.length
    router.go('/c/one')
    router.go('/c/one')
    expect(router.route).toMatchObject({ name: 'conversation', id: 'one' })
    expect(history.length).toBe(before + 1)
    router.go('/c/two', { replace: true })
    expect([history.length, location.pathname]).toEqual([before + 1, '/c/two'])
  })

  test('back is followed', async () => {
    router.go('/c/one')
    history.back()
    await new Promise((resolve) => addEventListener('popstate', resolve, { once: true }))
    expect(router.route.name).toBe('new')
  })

  function click(html: string, options: MouseEventInit = {}): MouseEvent {
    document.body.innerHTML = html
    const event = new MouseEvent('click', { bubbles: true, cancelable: true, ...options })
    document.body.addEventListener('click', router.follow, { once: true })
    document.querySelector('b')!.dispatchEvent(event)
    return event
  }

  test('follows the page’s own links', () => {
    expect(click('<a data-route href="/c/one#m"><b>one</b></a>').defaultPrevented).toBe(true)
    expect(router.route).toEqual({ name: 'conversation', id: 'one', messageId: 'm' })
  })

  test.each([{ button: 1 }, { ctrlKey: true }, { metaKey: true }, { shiftKey: true }, { altKey: true }])(
    'leaves a click with %j to the browser',
    (options) => {
      addEventListener('click', (event) => event.preventDefault(), { once: true })
      click('<a data-route href="/c/one"><b>one</b></a>', options)
      expect(router.route.name).toBe('new')
    },
  )

  test('leaves other links to the browser', () => {
    addEventListener('click', (event) => event.preventDefault(), { once: true })
    click('<a href="/c/one"><b>one</b></a>')
    expect(router.route.name).toBe('new')
  })
})
