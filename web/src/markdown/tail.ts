/**
 * What the end of a text that still grows most likely means, so that half a construct does not flash as its marks.
 *
 * Guesses only: nothing here touches a text that is complete.
 */

const MARKS_ONLY = /(^|\n)[ \t>]*(?:[-+*=#_~>]+|\d{1,9}[.)]?|`+|[-+*] \[[ xX]?\]?|\|)[ \t]*$/
const DELIMITERS = /^\s{0,3}\|[\s:|-]*$/

/** Takes marks off the end whose line has nothing else yet, and gives a table's head the line that makes it one. */
export function completeLines(source: string): string {
  const marks = MARKS_ONLY.exec(source)
  if (marks !== null) source = source.slice(0, marks.index)
  const lines = source.slice(source.lastIndexOf('\n\n') + 1).split('\n')
  if (lines.at(-1) === '') return source
  const first = lines.findIndex((line) => line.trim() !== '' && /^\s{0,3}\|/.test(line))
  if (first < 0) return source
  const head = lines[first] ?? ''
  const after = lines.length - 1 - first
  if (after > 1 || (after === 1 && !DELIMITERS.test(lines[first + 1] ?? ''))) return source
  const columns = head
    .trim()
    .replace(/^\||\|$/g, '')
    .split(/(?<!\\)\|/).length
  const before = source.slice(0, source.lastIndexOf(after === 1 ? `\n${lines[first + 1] ?? ''}` : head))
  const closed = after === 1 ? '' : head.trimEnd().endsWith('|') ? head : `${head} |`
  return `${before}${closed}\n|${' --- |'.repeat(columns)}`
}

interface Opened {
  mark: string
  at: number
}

/** Closes or hides what the end of an inline text leaves open: emphasis, code, links, images. */
export function completeInline(text: string): string {
  const opened: Opened[] = []
  let out = text
  for (let i = 0; i < out.length;) {
    const letter = out[i] ?? ''
    if (letter === '\\') {
      if (i === out.length - 1) return close(out.slice(0, i), opened)
      i += 2
    } else if (letter === '`') {
      const run = runLength(out, i)
      const end = findRun(out, i + run, run)
      if (end >= 0) i = end + run
      else {
        const rest = out.slice(i + run)
        const code = rest.replace(/`+$/, '')
        if (code.trim() === '') return close(out.slice(0, i), opened)
        return close(out.slice(0, i + run) + code + '`'.repeat(run), opened, true)
      }
    } else if (letter === '*' || letter === '_' || letter === '~') {
      const run = runLength(out, i)
      const before = out[i - 1] ?? ' '
      const after = out[i + run]
      const opens =
        after !== undefined && !/\s/.test(after) && !(letter === '_' && /[\p{L}\p{N}]/u.test(before))
      const closes = !/\s/.test(before)
      if (after === undefined) {
        const left = out.slice(0, i)
        return close(left, opened)
      }
      let left = run
      if (closes) {
        while (left > 0) {
          const last = opened.findLastIndex((one) => one.mark[0] === letter && one.mark.length <= left)
          if (last < 0) break
          left -= opened[last]?.mark.length ?? left
          opened.length = last
        }
      }
      if (opens && left > 0 && (letter !== '~' || left === 2)) {
        if (left >= 2) opened.push({ mark: letter.repeat(2), at: i })
        if (left % 2 === 1) opened.push({ mark: letter, at: i })
      }
      i += run
    } else if (letter === '[') {
      const isImage = out[i - 1] === '!'
      const end = closingBracket(out, i)
      if (end < 0) {
        if (isImage) return close(out.slice(0, i - 1), opened)
        if (out[i + 1] === '^') return close(out.slice(0, i), opened)
        out = out.slice(0, i) + out.slice(i + 1)
        continue
      }
      if (out[end + 1] === '(' && linkEnd(out, end + 1) < 0) {
        if (isImage) return close(out.slice(0, i - 1), opened)
        out = out.slice(0, i) + out.slice(i + 1, end)
        continue
      }
      if (isImage && end === out.length - 1) return close(out.slice(0, i - 1), opened)
      i = isImage || out[end + 1] !== '(' ? end + 1 : i + 1
    } else if (letter === ']' && out[i + 1] === '(') {
      const end = linkEnd(out, i + 1)
      i = end < 0 ? i + 1 : end + 1
    } else if (letter === '!' && i === out.length - 1) {
      i++
    } else i++
  }
  return close(out, opened)
}

function close(text: string, opened: Opened[], afterCode = false): string {
  let out = text
  for (const { mark, at } of [...opened].reverse()) {
    if (!afterCode) out = out.trimEnd()
    if (out.length <= at + mark.length) out = out.slice(0, at)
    else out += mark
  }
  return out
}

function runLength(text: string, at: number): number {
  let end = at
  while (text[end] === text[at]) end++
  return end - at
}

function findRun(text: string, from: number, length: number): number {
  for (let i = text.indexOf('`', from); i >= 0;) {
    const run = runLength(text, i)
    if (run === length) return i
    i = text.indexOf('`', i + run)
  }
  return -1
}

function closingBracket(text: string, at: number): number {
  let depth = 0
  for (let i = at; i < text.length; i++) {
    if (text[i] === '\\') i++
    else if (text[i] === '[') depth++
    else if (text[i] === ']' && --depth === 0) return i
  }
  return -1
}

function linkEnd(text: string, at: number): number {
  let depth = 0
  for (let i = at; i < text.length; i++) {
    if (text[i] === '\\') i++
    else if (text[i] === '(') depth++
    else if (text[i] === ')' && --depth === 0) return i
    else if (text[i] === '\n' && text[i + 1] === '\n') return -1
  }
  return -1
}
