/** Parts of the page that typing can begin without. They come when the page rests, and are there when they are asked for. */

/** Half of the page's weight, with Markdown. */
export const loadTranscript = once(() => import('../components/Transcript.svelte'))
/** The dialogs, but for the settings. */
export const loadPanels = once(() => import('../components/Panels.svelte'))

/** A rest is waited for no longer than this. */
const PATIENCE_MS = 1_000

/** Fetch them, one after the other. What cannot be fetched now is tried again when it is asked for. */
export function loadParts(): void {
  const whenIdle =
    'requestIdleCallback' in window
      ? (call: () => void) => requestIdleCallback(call, { timeout: PATIENCE_MS })
      : (call: () => void) => setTimeout(call, PATIENCE_MS / 5)
  const load = ([first, ...rest]: readonly (() => Promise<unknown>)[]): void => {
    if (first)
      whenIdle(() =>
        first().then(
          () => load(rest),
          () => {},
        ),
      )
  }
  load([loadTranscript, loadPanels])
}

/** What is here already is not waited for again; what failed is tried again. */
function once<T>(load: () => Promise<T>): () => Promise<T> {
  let loading: Promise<T> | undefined
  return () =>
    (loading ??= load().catch((error: unknown) => {
      loading = undefined
      throw error
    }))
}
