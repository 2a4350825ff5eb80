/**
 * Words, dates and numbers in the user's language. English is built in; the others are loaded when they are chosen.
 * `Messages` makes the compiler refuse a language in which a string is missing.
 */

import { en, type MessageKey, type Messages } from './en.ts'

export const LANGUAGES = { en: 'English', fr: 'Français', es: 'Español', de: 'Deutsch' } as const
export type Language = keyof typeof LANGUAGES

const LOADERS: Record<Language, () => Promise<Messages>> = {
  en: async () => en,
  fr: async () => (await import('./fr.ts')).fr,
  es: async () => (await import('./es.ts')).es,
  de: async () => (await import('./de.ts')).de,
}
const KEPT = 'candide.language'

class Locale {
  /** What the user chose; null follows the browser. */
  chosen = $state<Language | null>(null)
  language = $state<Language>('en')
  messages = $state.raw<Messages>(en)

  /** Load the language that was chosen, or that the browser asks for. */
  async begin(): Promise<void> {
    const kept = readKept()
    this.chosen = kept
    await this.#use(kept ?? browserLanguage())
  }

  async choose(language: Language | null): Promise<void> {
    this.chosen = language
    if (language) localStorage.setItem(KEPT, language)
    else localStorage.removeItem(KEPT)
    await this.#use(language ?? browserLanguage())
  }

  async #use(language: Language): Promise<void> {
    try {
      this.messages = await LOADERS[language]()
      this.language = language
    } catch {
      // The words could not be loaded (the server is away): English is always here.
      this.messages = en
      this.language = 'en'
    }
    document.documentElement.lang = this.language
    document.documentElement.dir = isRightToLeft() ? 'rtl' : 'ltr'
  }
}

export const locale = new Locale()

/** A string with its {names} filled in. */
export function t(key: MessageKey, values: Record<string, string | number> = {}): string {
  return locale.messages[key].replace(/\{(\w+)\}/g, (whole, name: string) => {
    const value = values[name]
    return value === undefined ? whole : typeof value === 'number' ? number(value) : value
  })
}

type CountedKey = {
  [K in MessageKey]: K extends `${infer Base}.one`
    ? `${Base}.other` extends MessageKey
      ? Base
      : never
    : never
}[MessageKey]

/** A string that depends on a number: `key.one` or `key.other`, by the language's own rule. */
export function tn(key: CountedKey, n: number, values: Record<string, string | number> = {}): string {
  const form = new Intl.PluralRules(locale.language).select(n) === 'one' ? 'one' : 'other'
  return t(`${key}.${form}` as MessageKey, { n, ...values })
}

export const number = (value: number, options?: Intl.NumberFormatOptions) =>
  new Intl.NumberFormat(locale.language, options).format(value)

/** A size in decimal units, as the command line shows it. */
export function bytes(size: number): string {
  const units = ['byte', 'kilobyte', 'megabyte', 'gigabyte', 'terabyte'] as const
  const digits = (power: number) => (power > 1 ? 1 : 0)
  let power = 0
  // What is rounded to a thousand of one unit is one of the next.
  while (power < units.length - 1 && Number((size / 1000 ** power).toFixed(digits(power))) >= 1000) power++
  return number(size / 1000 ** power, {
    style: 'unit',
    unit: units[power]!,
    unitDisplay: power ? 'short' : 'long',
    maximumFractionDigits: digits(power),
  })
}

/** A moment in full; seconds since 1970. */
export const dateTime = (seconds: number) =>
  new Intl.DateTimeFormat(locale.language, { dateStyle: 'long', timeStyle: 'short' }).format(seconds * 1000)

export const date = (seconds: number) =>
  new Intl.DateTimeFormat(locale.language, { dateStyle: 'medium' }).format(seconds * 1000)

export const monthName = (seconds: number) =>
  new Intl.DateTimeFormat(locale.language, { month: 'long', year: 'numeric' }).format(seconds * 1000)

function readKept(): Language | null {
  const kept = localStorage.getItem(KEPT)
  return kept && Object.hasOwn(LANGUAGES, kept) ? (kept as Language) : null
}

function browserLanguage(): Language {
  for (const wanted of navigator.languages) {
    const language = wanted.slice(0, 2).toLowerCase()
    if (language in LANGUAGES) return language as Language
  }
  return 'en'
}

/** Whether the page runs from right to left: by its language, or by `?dir=rtl`, with which the layout is tried. */
function isRightToLeft(): boolean {
  return new URLSearchParams(location.search).get('dir') === 'rtl'
}
