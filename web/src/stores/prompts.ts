/** Variables in a prompt of the library: `{{topic}}`, or `{{language=French}}` with a value to begin with. */

export interface Variable {
  name: string
  value: string
}

const VARIABLE = /\{\{([^{}=]*)(?:=([^{}]*))?\}\}/g

/** Each variable once, in the order of the text. */
export function findVariables(text: string): Variable[] {
  const found = new Map<string, Variable>()
  for (const [, spelled = '', value = ''] of text.matchAll(VARIABLE)) {
    const name = spelled.trim()
    if (name && !found.has(name)) found.set(name, { name, value: value.trim() })
  }
  return [...found.values()]
}

/** The text with every variable replaced; what is put in is not looked at again. */
export function fillVariables(text: string, values: ReadonlyMap<string, string>): string {
  return text.replace(VARIABLE, (whole, name: string) => values.get(name.trim()) ?? whole)
}
