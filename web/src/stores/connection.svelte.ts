/**
 * The live line to the server: what changes anywhere, and whether the server can be heard at all.
 *
 * Whoever follows something registers here to be told of changes, and to fetch afresh after the line was cut. A hidden
 * page lets go of its lines, since browsers allow six for all pages together, and catches up when it is looked at.
 */

import { getSession } from '../services/candide.ts'
import { Subscription } from '../services/events.ts'
import { whenKeyIsNeeded } from '../services/http.ts'
import type { Conversation } from '../services/types.ts'

export type Change =
  | { kind: 'conversation'; conversation: Conversation }
  | { kind: 'folders' | 'prompts' | 'preferences' | 'shares' | 'status' | 'libraries' | 'jobs' }

/** A cut shorter than this is nobody's business. */
const QUIET_MS = 700
const BACK_SHOWN_MS = 2_500
const HIDDEN_MS = 5_000

class Connection {
  /** `lost` and `back` are shown; `back` passes by itself. */
  state = $state<'fine' | 'lost' | 'back'>('fine')
  needsKey = $state(false)
  isAwake = $state(true)
  /** Whether changes are being heard: what is fetched now is kept up to date from now on. */
  isOpen = false
  #line: Subscription | null = null
  #quiet: ReturnType<typeof setTimeout> | undefined
  #hiding: ReturnType<typeof setTimeout> | undefined
  #onChange = new Set<(change: Change) => void>()
  #onFresh = new Set<() => void>()
  #hurried = new Set<() => void>()

  begin(): void {
    whenKeyIsNeeded(() => (this.needsKey = true))
    this.#open()
    addEventListener('online', () => this.isAwake && this.#wakeUp())
    addEventListener('offline', () => this.broken())
    document.addEventListener('visibilitychange', () => {
      clearTimeout(this.#hiding)
      if (document.visibilityState === 'visible') this.#wake()
      else this.#hiding = setTimeout(() => this.#sleep(), HIDDEN_MS)
    })
  }

  /** Be told of every change; gives the way to end it. */
  onChange(call: (change: Change) => void): () => void {
    this.#onChange.add(call)
    return () => this.#onChange.delete(call)
  }

  /** Be told when what is shown must be fetched afresh: at the start and after every cut. */
  onFresh(call: () => void): () => void {
    this.#onFresh.add(call)
    return () => this.#onFresh.delete(call)
  }

  /** Be told when waiting for the network has become pointless. */
  onHurry(call: () => void): () => void {
    this.#hurried.add(call)
    return () => this.#hurried.delete(call)
  }

  hurry(): void {
    this.#line?.hurry()
    for (const call of this.#hurried) call()
  }

  /** Someone's stream broke: say so unless it is back at once. */
  broken(): void {
    clearTimeout(this.#quiet)
    if (this.state !== 'lost') this.#quiet = setTimeout(() => (this.state = 'lost'), QUIET_MS)
  }

  /** The server was heard. */
  alive(): void {
    if (this.state === 'back') return
    clearTimeout(this.#quiet)
    if (this.state === 'fine') return
    this.state = 'back'
    this.#quiet = setTimeout(() => (this.state = 'fine'), BACK_SHOWN_MS)
  }

  /** After the key was given: everything again. */
  async signedIn(): Promise<void> {
    const session = await getSession()
    this.needsKey = session.needs_key && !session.signed_in
    if (!this.needsKey) this.#wakeUp()
  }

  #open(): void {
    this.#line = new Subscription({
      path: '/api/changes',
      onOpen: () => {
        this.isOpen = true
        this.alive()
        for (const call of this.#onFresh) call()
        this.hurry()
      },
      onBreak: (error) => {
        this.isOpen = false
        if (error.status === 401) this.needsKey = true
        else this.broken()
      },
      onEvents: (events) => {
        for (const { event, data } of events) {
          if (event === 'hello') continue
          const change =
            event === 'conversation'
              ? { kind: event, conversation: JSON.parse(data) as Conversation }
              : { kind: event as 'folders' }
          for (const call of this.#onChange) call(change as Change)
        }
      },
    })
  }

  #sleep(): void {
    this.isAwake = false
    this.isOpen = false
    this.#line?.close()
    this.#line = null
  }

  #wake(): void {
    if (!this.isAwake) this.#wakeUp()
  }

  #wakeUp(): void {
    this.isAwake = true
    this.isOpen = false
    this.#line?.close()
    this.#open()
  }
}

export const connection = new Connection()
