/**
 * Colours for code, by highlight.js: its core and each language are fetched when first needed.
 *
 * The answer is HTML of spans with classes and still has to pass `sanitise`.
 */

import type { HLJSApi, LanguageFn } from 'highlight.js'

type Loader = () => Promise<{ default: LanguageFn }>

const LOADERS: Record<string, Loader> = {
  bash: () => import('highlight.js/lib/languages/bash'),
  c: () => import('highlight.js/lib/languages/c'),
  clojure: () => import('highlight.js/lib/languages/clojure'),
  cmake: () => import('highlight.js/lib/languages/cmake'),
  cpp: () => import('highlight.js/lib/languages/cpp'),
  csharp: () => import('highlight.js/lib/languages/csharp'),
  css: () => import('highlight.js/lib/languages/css'),
  dart: () => import('highlight.js/lib/languages/dart'),
  diff: () => import('highlight.js/lib/languages/diff'),
  dockerfile: () => import('highlight.js/lib/languages/dockerfile'),
  elixir: () => import('highlight.js/lib/languages/elixir'),
  elm: () => import('highlight.js/lib/languages/elm'),
  erlang: () => import('highlight.js/lib/languages/erlang'),
  fortran: () => import('highlight.js/lib/languages/fortran'),
  go: () => import('highlight.js/lib/languages/go'),
  graphql: () => import('highlight.js/lib/languages/graphql'),
  groovy: () => import('highlight.js/lib/languages/groovy'),
  haskell: () => import('highlight.js/lib/languages/haskell'),
  ini: () => import('highlight.js/lib/languages/ini'),
  java: () => import('highlight.js/lib/languages/java'),
  javascript: () => import('highlight.js/lib/languages/javascript'),
  json: () => import('highlight.js/lib/languages/json'),
  julia: () => import('highlight.js/lib/languages/julia'),
  kotlin: () => import('highlight.js/lib/languages/kotlin'),
  latex: () => import('highlight.js/lib/languages/latex'),
  less: () => import('highlight.js/lib/languages/less'),
  lua: () => import('highlight.js/lib/languages/lua'),
  makefile: () => import('highlight.js/lib/languages/makefile'),
  markdown: () => import('highlight.js/lib/languages/markdown'),
  matlab: () => import('highlight.js/lib/languages/matlab'),
  nginx: () => import('highlight.js/lib/languages/nginx'),
  nix: () => import('highlight.js/lib/languages/nix'),
  objectivec: () => import('highlight.js/lib/languages/objectivec'),
  ocaml: () => import('highlight.js/lib/languages/ocaml'),
  perl: () => import('highlight.js/lib/languages/perl'),
  php: () => import('highlight.js/lib/languages/php'),
  powershell: () => import('highlight.js/lib/languages/powershell'),
  protobuf: () => import('highlight.js/lib/languages/protobuf'),
  python: () => import('highlight.js/lib/languages/python'),
  r: () => import('highlight.js/lib/languages/r'),
  ruby: () => import('highlight.js/lib/languages/ruby'),
  rust: () => import('highlight.js/lib/languages/rust'),
  scala: () => import('highlight.js/lib/languages/scala'),
  scss: () => import('highlight.js/lib/languages/scss'),
  shell: () => import('highlight.js/lib/languages/shell'),
  sql: () => import('highlight.js/lib/languages/sql'),
  swift: () => import('highlight.js/lib/languages/swift'),
  typescript: () => import('highlight.js/lib/languages/typescript'),
  vim: () => import('highlight.js/lib/languages/vim'),
  wasm: () => import('highlight.js/lib/languages/wasm'),
  xml: () => import('highlight.js/lib/languages/xml'),
  yaml: () => import('highlight.js/lib/languages/yaml'),
}

const ALIASES: Record<string, string> = {
  'c++': 'cpp', 'c#': 'csharp', clj: 'clojure', conf: 'nginx', console: 'shell', cs: 'csharp', docker: 'dockerfile', ex: 'elixir', exs: 'elixir',
  f90: 'fortran', gql: 'graphql', golang: 'go', h: 'c', hpp: 'cpp', hs: 'haskell', html: 'xml', jl: 'julia', js: 'javascript', json5: 'json',
  jsonc: 'json', jsonl: 'json', jsx: 'javascript', kt: 'kotlin', make: 'makefile', md: 'markdown', mjs: 'javascript', ml: 'ocaml', mysql: 'sql',
  objc: 'objectivec', patch: 'diff', pl: 'perl', postgresql: 'sql', proto: 'protobuf', ps1: 'powershell', py: 'python', python3: 'python',
  rb: 'ruby', rs: 'rust', sh: 'bash', sqlite: 'sql', svelte: 'xml', svg: 'xml', tex: 'latex', toml: 'ini', ts: 'typescript', tsx: 'typescript',
  vue: 'xml', wat: 'wasm', yml: 'yaml', zsh: 'bash',
} // prettier-ignore

/** How long a name of a file with such code ends, for those where it is not the language's own name. */
const EXTENSIONS: Record<string, string> = {
  bash: 'sh', clojure: 'clj', csharp: 'cs', elixir: 'ex', haskell: 'hs', javascript: 'js', julia: 'jl', kotlin: 'kt', latex: 'tex', markdown: 'md',
  objectivec: 'm', ocaml: 'ml', perl: 'pl', powershell: 'ps1', protobuf: 'proto', python: 'py', ruby: 'rb', rust: 'rs', shell: 'sh',
  typescript: 'ts', yaml: 'yaml', mermaid: 'mmd', matlab: 'm', erlang: 'erl', fortran: 'f90', makefile: 'mk',
} // prettier-ignore

let core: Promise<HLJSApi> | null = null

function canonical(language: string): string {
  return Object.hasOwn(ALIASES, language) ? (ALIASES[language] ?? language) : language
}

export function canHighlight(language: string): boolean {
  return Object.hasOwn(LOADERS, canonical(language))
}

/** HTML of `code` with its colours, not sanitised yet, or null where the language is not known or could not be fetched. */
export async function highlight(code: string, language: string): Promise<string | null> {
  const name = canonical(language)
  if (!Object.hasOwn(LOADERS, name)) return null
  try {
    core ??= import('highlight.js/lib/core').then((module) => module.default)
    const hljs = await core
    if (hljs.getLanguage(name) === undefined) {
      const grammar = await LOADERS[name]?.()
      if (grammar === undefined) return null
      hljs.registerLanguage(name, grammar.default)
    }
    return hljs.highlight(code, { language: name, ignoreIllegals: true }).value
  } catch {
    // Without a network the code stays as it is; the next block tries again.
    core = null
    return null
  }
}

/** The name under which a block is downloaded. */
export function fileName(language: string): string {
  if (language === 'dockerfile' || language === 'makefile')
    return language === 'makefile' ? 'Makefile' : 'Dockerfile'
  const name = canonical(language)
  const ending = /^(?:html|svg|svelte|vue|jsx|tsx|toml|jsonl|jsonc|h|hpp)$/.test(language)
    ? language
    : (EXTENSIONS[name] ?? name)
  return `code.${/^[a-z0-9]{1,12}$/.test(ending) ? ending : 'txt'}`
}
