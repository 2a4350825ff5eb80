/** The words that rendered Markdown shows of its own. The app passes translations; `{name}` stands for a value. */

export interface MarkdownLabels {
  copy: string
  copied: string
  copyFailed: string
  download: string
  /** Name of a code block for screen readers, `{language}`. */
  code: string
  /** Shown as the language where a block names none. */
  plainText: string
  table: string
  /** Button that opens a remote image: `{alt}`, `{host}`. */
  remoteImage: string
  taskDone: string
  taskOpen: string
  footnotes: string
  /** `{number}` */
  footnote: string
  /** `{number}` */
  footnoteBack: string
  /** A mark that cites a source: `{number}`, `{title}`. */
  citation: string
  /** Said of a sentence that no source bears out. */
  unsupported: string
  diagram: string
  drawing: string
  showCode: string
  showDiagram: string
  diagramFailed: string
}

export const englishLabels: MarkdownLabels = {
  copy: 'Copy',
  copied: 'Copied',
  copyFailed: 'Could not copy',
  download: 'Download',
  code: 'Code, {language}',
  plainText: 'text',
  table: 'Table',
  remoteImage: 'Open image: {alt} ({host})',
  taskDone: 'Done',
  taskOpen: 'Not done',
  footnotes: 'Footnotes',
  footnote: 'Footnote {number}',
  footnoteBack: 'Back to reference {number}',
  citation: 'Source {number}: {title}',
  unsupported: 'not found in the sources',
  diagram: 'Diagram',
  drawing: 'Drawing the diagram…',
  showCode: 'Show code',
  showDiagram: 'Show diagram',
  diagramFailed: 'This diagram could not be drawn',
}

export function fillLabel(label: string, values: Record<string, string>): string {
  return label.replace(/\{(\w+)\}/g, (whole, name: string) => values[name] ?? whole)
}
