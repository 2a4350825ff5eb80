/** Markdown for the page: `MarkdownView` shows a text that grows, `renderStatic` gives HTML to keep, `toPlainText` words to read out. */

export type { Evidence, MarkedSentence } from './citations.ts'
export { englishLabels, type MarkdownLabels } from './labels.ts'
export { MarkdownView, type MarkdownOptions } from './view.ts'
export { prepareStatic, renderStatic, toPlainText, type StaticOptions } from './static.ts'
