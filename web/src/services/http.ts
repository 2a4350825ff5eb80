/**
 * HTTP as the stores see it: JSON in and out, errors as `ApiError` with the server's own words, and the key
 * asked for once when the server wants one. No other module calls `fetch` on the server's API.
 */

export class ApiError extends Error {
  /** HTTP status; 0 when the server was not reached. */
  readonly status: number
  readonly code: string
  /** What the user can do about it, where the server says so. */
  readonly hint: string
  /** What of the request was refused, like `targets[3].uri`, where the server says so. */
  readonly param: string

  constructor(message: string, status: number, code = '', hint = '', param = '') {
    super(message)
    this.name = 'ApiError'
    this.status = status
    this.code = code
    this.hint = hint
    this.param = param
  }

  /** Whether asking again later may do: the server was not reached, or is not ready. */
  get isPassing(): boolean {
    return this.status === 0 || this.status === 429 || this.status >= 500
  }
}

type Json = Record<string, unknown> | unknown[]

export interface RequestOptions {
  json?: Json
  body?: BodyInit
  headers?: Record<string, string>
  query?: Record<string, string | number | boolean | null | undefined>
  signal?: AbortSignal | undefined
}

let onKeyNeeded: () => void = () => {}

/** Say what happens when the server asks for a key. */
export function whenKeyIsNeeded(call: () => void): void {
  onKeyNeeded = call
}

/** Send a request and give its response, whatever its body; raises ApiError on any failure. */
export async function send(method: string, path: string, options: RequestOptions = {}): Promise<Response> {
  const headers: Record<string, string> = { ...options.headers }
  let body = options.body
  if (options.json !== undefined) {
    headers['Content-Type'] = 'application/json'
    body = JSON.stringify(options.json)
  }
  let response: Response
  try {
    response = await fetch(withQuery(path, options.query), {
      method,
      headers,
      ...(body !== undefined && { body }),
      ...(options.signal && { signal: options.signal }),
    })
  } catch (error) {
    if (options.signal?.aborted) throw error
    throw new ApiError('the server cannot be reached', 0, 'unreachable')
  }
  if (response.ok) return response
  throw await readError(response)
}

/** Send a request and read the JSON that comes back; undefined for 204. */
export async function request<T>(method: string, path: string, options: RequestOptions = {}): Promise<T> {
  const response = await send(method, path, options)
  if (response.status === 204) return undefined as T
  try {
    return (await response.json()) as T
  } catch {
    throw new ApiError('the server cannot be reached', 0, 'unreachable')
  }
}

export const get = <T>(path: string, options?: RequestOptions) => request<T>('GET', path, options)
export const post = <T>(path: string, json?: Json, options?: RequestOptions) =>
  request<T>('POST', path, { ...(json && { json }), ...options })
export const patch = <T>(path: string, json: Json) => request<T>('PATCH', path, { json })
export const put = <T>(path: string, json: Json) => request<T>('PUT', path, { json })
export const del = (path: string) => request<undefined>('DELETE', path)

async function readError(response: Response): Promise<ApiError> {
  if (response.status === 401) onKeyNeeded()
  try {
    const { error } = (await response.json()) as {
      error: { message: string; code?: string | null; hint?: string | null; param?: string | null }
    }
    const { message, code, hint, param } = error
    return new ApiError(message, response.status, code ?? '', hint ?? '', param ?? '')
  } catch {
    return new ApiError(`the server answered ${response.status}`, response.status)
  }
}

function withQuery(path: string, query: RequestOptions['query']): string {
  const pairs = Object.entries(query ?? {}).filter(([, value]) => value !== undefined && value !== null)
  if (!pairs.length) return path
  return `${path}?${new URLSearchParams(pairs.map(([name, value]) => [name, String(value)]))}`
}
