/** A branch as one HTML file that needs nothing else: no script, no style from elsewhere, pictures inside. */

import { t, tn, date, dateTime, locale } from '../i18n/index.svelte.ts'
import { prepareStatic, renderStatic } from '../markdown/index.ts'
import {
  collectSources,
  makeEvidence,
  noteOfExtract,
  partExtract,
  titleOf,
  webAddress,
  type Sources,
} from '../stores/evidence.ts'
import type { MessageNode } from '../stores/tree.svelte.ts'
import styles from './page-file.css?raw'

/** The document, with the messages of the branch in their order. Pictures that cannot be had are named instead. */
export async function writePage(title: string, branch: readonly MessageNode[]): Promise<string> {
  const parts: string[] = []
  for (const [n, node] of branch.entries()) {
    if (node.role === 'system' || !(node.text || node.parts.length)) continue
    const speaker = node.role === 'user' ? t('message.yours') : (node.model ?? t('message.answer'))
    if (node.role !== 'user') await prepareStatic(node.text)
    const sources = collectSources(branch.slice(0, n + 1).reverse())
    const body =
      node.role === 'user'
        ? `<p class="said">${escapeHtml(node.text)}</p>`
        : (await keepPictures(writeAnswer(node, sources))) + writeSources(node, sources)
    const pictures = await Promise.all(node.parts.map((part) => readPicture(part)))
    parts.push(
      `<article class="${node.role}"><h2>${escapeHtml(speaker)}</h2>${pictures.join('')}<div dir="auto">${body}</div></article>`,
    )
  }
  const last = branch.at(-1)
  return `<!doctype html>
<html lang="${locale.language}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="referrer" content="no-referrer">
<title>${escapeHtml(title)}</title>
<style>${styles}</style>
</head>
<body>
<main>
<h1>${escapeHtml(title)}</h1>
${parts.join('\n')}
<footer>${last ? escapeHtml(dateTime(last.createdAt)) : ''} · Candide</footer>
</main>
</body>
</html>
`
}

function writeAnswer(node: MessageNode, sources: Sources): string {
  const evidence = makeEvidence(node.text, node.grounding, sources)
  const labels = { citation: t('markdown.citation'), unsupported: t('markdown.unsupported') }
  const anchor = sourceId(node, '')
  const [own, extract] = partExtract(node.text, node.grounding)
  const written = renderStatic(own, { idPrefix: node.id, labels }, evidence && { evidence, anchor })
  if (!extract) return written
  const quoted = renderStatic(
    extract,
    { idPrefix: `${node.id}-extract`, labels },
    evidence && { evidence: { ...evidence, sentences: [] }, anchor },
  )
  const note = escapeHtml(t(noteOfExtract(own, node.finishReason)))
  return `${own && written}<p class="note">${note}</p><blockquote class="extract">${quoted}</blockquote>`
}

/** What an answer rests on, with the passages that the model was shown. */
function writeSources(node: MessageNode, sources: Sources): string {
  const { grounding } = node
  if (!grounding?.sources?.length) return ''
  const named = new Set(grounding.sources.map((one) => one.number))
  for (const { citations } of grounding.sentences ?? [])
    for (const { number } of citations ?? []) named.add(number)
  const areNearest = grounding.abstained || grounding.is_good === false
  const items = [...sources.values()]
    .filter(({ number }) => named.has(number))
    .sort((one, other) => one.number - other.number)
    .map((source) => {
      const address = webAddress(source.uri)
      const title = escapeHtml(titleOf(source))
      const from = [source.site, typeof source.published === 'number' ? date(source.published) : '']
      const passages = (source.passages ?? []).map(
        (one) => `<blockquote>${escapeHtml(one.text)}</blockquote>`,
      )
      return `<li id="${escapeHtml(sourceId(node, source.number))}" value="${source.number}">${
        address ? `<a href="${escapeHtml(address)}" rel="noopener noreferrer nofollow">${title}</a>` : title
      } <small>${escapeHtml(from.filter(Boolean).join(' · '))}</small>${
        passages.length
          ? `<details><summary>${escapeHtml(t('source.text'))}</summary>${passages.join('')}</details>`
          : ''
      }</li>`
    })
  const unsupported = (grounding.sentences ?? []).filter((one) => one.support === 'unsupported').length
  const notes = [
    ...(grounding.unread?.length ? [`${t('sources.unread')} ${grounding.unread.join(', ')}`] : []),
    ...(unsupported ? [tn('sources.unsupported', unsupported)] : []),
  ].map((note) => `<p class="note">${escapeHtml(note)}</p>`)
  const heading = escapeHtml(areNearest ? t('sources.nearest') : t('sources.title'))
  return `${notes.join('')}<section class="sources"><h3>${heading}</h3><ol>${items.join('')}</ol></section>`
}

const sourceId = ({ id }: Pick<MessageNode, 'id'>, number: number | '') =>
  `${id.replace(/[^\w-]/g, '')}-source-${number}`

/** HTML with the pictures inside that it has from here. */
async function keepPictures(html: string): Promise<string> {
  // A document of its own: in the page, pictures would be fetched as soon as they are parsed.
  const { body } = new DOMParser().parseFromString(html, 'text/html')
  for (const picture of body.querySelectorAll('img[src^="/api/"]')) {
    const url = picture.getAttribute('src') ?? ''
    const name = picture.getAttribute('alt') ?? ''
    picture.outerHTML = await readPicture({ type: 'image_url', image_url: { url } }, name)
  }
  return body.innerHTML
}

async function readPicture(
  part: MessageNode['parts'][number],
  called = part.file?.name ?? '',
): Promise<string> {
  const url = part.image_url?.url
  const name = escapeHtml(called)
  if (!url) return name && `<p class="file">${name}</p>`
  try {
    if (!url.startsWith('/api/')) throw new Error('not here')
    const response = await fetch(url)
    if (!response.ok) throw new Error('not there')
    const blob = await response.blob()
    const data = await new Promise<string>((resolve, reject) => {
      const reader = new FileReader()
      reader.onload = () => resolve(reader.result as string)
      reader.onerror = () => reject(reader.error)
      reader.readAsDataURL(blob)
    })
    return `<img src="${escapeHtml(data)}" alt="${name}">`
  } catch {
    return `<p class="file">${name || escapeHtml(t('image'))}</p>`
  }
}

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`)
}
