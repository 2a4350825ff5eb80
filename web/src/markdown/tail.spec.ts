import { describe, expect, test } from 'vitest'

import { MarkdownView } from './view.ts'

function growing(source: string): HTMLElement {
  const element = document.createElement('div')
  const view = new MarkdownView(element)
  view.update(source, false)
  view.flush()
  return element
}

describe('half a construct at the end', () => {
  test.each([
    ['Hello **bo', 'Hello bo', 'strong'],
    ['Hello **bold wor*', 'Hello bold wor', 'strong'],
    ['Hello *so', 'Hello so', 'em'],
    ['some `co', 'some co', 'code'],
    ['some ~~gone', 'some gone', 's'],
    ['a **bold `co', 'a bold co', 'strong code'],
    ['- one\n- **two', null, 'li:nth-child(2) strong'],
    ['> quoted **wor', null, 'blockquote strong'],
    ['| a | b', null, 'th:nth-child(2)'],
    ['| a | b |\n|--', null, 'th:nth-child(2)'],
    ['| a | b |\n|---|---|\n| **x', null, 'td strong'],
    ['so $x_', 'so x_', '.md-pending'],
    ['so \\(x_', 'so x_', '.md-pending'],
    ['$$\nx^2', 'x^2', 'div.md-pending'],
    ['said[^1]', 'said1', 'sup.md-pending'],
  ])('%j is shown as what it becomes', (source, text, selector) => {
    const element = growing(source)
    expect(element.querySelector(selector)).not.toBeNull()
    if (text !== null)
      expect(element.textContent.trim()).toBe(
        text.replace('x_', source.includes('$') || source.includes('\\(') ? 'x' : 'x_'),
      )
  })

  test.each([
    ['Hello **', 'Hello'],
    ['Hello `', 'Hello'],
    ['see [the li', 'see the li'],
    ['see [the link](https://ex', 'see the link'],
    ['see ![pic](https://ex', 'see'],
    ['Title\n-', 'Title'],
    ['Title\n==', 'Title'],
    ['words\n#', 'words'],
    ['words\n1', 'words'],
    ['words\n```', 'words'],
    ['It costs $5', 'It costs $5'],
    ['5 * 3', '5 * 3'],
    ['snake_case_name', 'snake_case_name'],
  ])('%j has no marks', (source, text) => {
    const element = growing(source)
    expect(element.textContent.trim()).toBe(text)
    expect(element.querySelector('h1, h2, ul, figure')).toBeNull()
  })

  test('a fence that is about to close does not show its marks', () => {
    expect(growing('```py\nx = 1\n``').querySelector('code')?.textContent).toBe('x = 1')
  })
})
