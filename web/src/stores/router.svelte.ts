/** Which page is shown: the address, read into a route. */

export type Route =
  | { name: 'new'; folderId: string | null; libraryId: string | null; isTemporary: boolean }
  | { name: 'conversation'; id: string; messageId: string | null }
  | { name: 'share'; token: string }
  /** All libraries, or one of them. */
  | { name: 'libraries'; id: string | null }
  /** The page of searches; what is searched stands in its address. */
  | { name: 'search'; query: URLSearchParams }

class Router {
  route = $state.raw<Route>(readRoute(location))

  begin(): void {
    addEventListener('popstate', () => (this.route = readRoute(location)))
  }

  go(path: string, options: { replace?: boolean } = {}): void {
    if (options.replace) history.replaceState(null, '', path)
    else if (path !== location.pathname + location.search + location.hash) history.pushState(null, '', path)
    this.route = readRoute(location)
  }

  /** Follow a link of the page itself without loading it again; what the user wants in a new tab is the browser's. */
  follow = (event: MouseEvent): void => {
    if (
      event.defaultPrevented ||
      event.button !== 0 ||
      event.metaKey ||
      event.ctrlKey ||
      event.shiftKey ||
      event.altKey
    )
      return
    const link = (event.target as Element).closest('a[data-route]')
    if (!(link instanceof HTMLAnchorElement)) return
    event.preventDefault()
    this.go(link.pathname + link.search + link.hash)
  }
}

export function readRoute({ pathname, search, hash }: Pick<Location, 'pathname' | 'search' | 'hash'>): Route {
  const [, page = '', id = ''] = pathname.split('/')
  if (page === 'c' && id) return { name: 'conversation', id: decode(id), messageId: hash.slice(1) || null }
  if (page === 'share' && id) return { name: 'share', token: decode(id) }
  if (page === 'libraries') return { name: 'libraries', id: id ? decode(id) : null }
  const query = new URLSearchParams(search)
  if (page === 'search') return { name: 'search', query }
  return {
    name: 'new',
    folderId: page === 'folder' && id ? decode(id) : null,
    libraryId: query.get('library'),
    isTemporary: query.has('temporary'),
  }
}

/** A part of an address as it was meant; one that is spelled wrong is what it says. */
function decode(part: string): string {
  try {
    return decodeURIComponent(part)
  } catch {
    return part
  }
}

export const router = new Router()
