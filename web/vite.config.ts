/// <reference types="vitest/config" />
import { svelte } from '@sveltejs/vite-plugin-svelte'
import { defineConfig, type Rolldown } from 'vite'
import { precompress } from './precompress.js'

type Graph = Parameters<Rolldown.CodeSplittingNameFunction>[1]

const pathOf = (name: string) =>
  decodeURIComponent(new URL(`./src/${name}`, import.meta.url).pathname).replace(/^\/(?=[A-Za-z]:)/, '')
const MAIN = pathOf('main.ts')

/** What modules of ours bring with them; what they load later too, if that is wanted. */
function reach(graph: Graph, names: readonly string[], isWhole = false): Set<string> {
  const found = new Set<string>()
  const waiting = names.map(pathOf)
  for (let id = waiting.pop(); id !== undefined; id = waiting.pop()) {
    if (found.has(id)) continue
    found.add(id)
    const module = graph.getModuleInfo(id)
    waiting.push(...(module?.importedIds ?? []), ...((isWhole && module?.dynamicallyImportedIds) || []))
  }
  return found
}

/**
 * The first load comes in a few files: what typing begins with, then the transcript, then the dialogs. What the frame of
 * diagrams loads too stands apart, because that frame is in an origin of nobody's, where the page's modules cannot begin.
 */
function groupModules(graph: Graph): Map<string, string> {
  const app = reach(graph, ['main.ts'])
  const transcript = reach(graph, ['components/Transcript.svelte'])
  const panels = reach(graph, ['components/Panels.svelte'])
  const others = reach(graph, [
    'routes/SearchRoute.svelte',
    'routes/LibrariesRoute.svelte',
    'components/SourceViewer.svelte',
    'components/Settings.svelte',
  ])
  const frame = reach(graph, ['markdown/diagram-frame.ts'], true)
  const groups = new Map<string, string>()
  for (const id of panels) groups.set(id, others.has(id) ? 'app' : 'panels')
  for (const id of transcript) groups.set(id, others.has(id) || panels.has(id) ? 'app' : 'transcript')
  for (const id of app) groups.set(id, 'app')
  for (const id of groups.keys())
    if (frame.has(id)) groups.set(id, id.includes('dompurify') ? 'purify' : 'shared')
  // It imports the others, and nothing imports it.
  groups.delete(MAIN)
  return groups
}

let groups: Map<string, string> | undefined
const groupOf: Rolldown.CodeSplittingNameFunction = (id, graph) =>
  (groups ??= groupModules(graph)).get(id) ?? null

export default defineConfig(({ mode }) => ({
  plugins: [svelte(), precompress()],
  build: {
    outDir: '../src/candide/web',
    emptyOutDir: true,
    target: 'es2022',
    // Every asset is a file of its own: the page's Content-Security-Policy has no room for inlined ones.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rolldownOptions: {
      input: { index: 'index.html', diagram: 'diagram.html' },
      output: {
        codeSplitting: { includeDependenciesRecursively: false, groups: [{ name: groupOf }] },
      },
    },
    chunkSizeWarningLimit: 1000,
    reportCompressedSize: false,
  },
  server: { proxy: { '/api': 'http://127.0.0.1:8000', '/v1': 'http://127.0.0.1:8000' } },
  resolve: mode === 'test' ? { conditions: ['browser'] } : {},
  test: {
    environment: 'jsdom',
    include: ['src/**/*.spec.ts'],
    testTimeout: 20_000,
    setupFiles: ['vitest.setup.ts'],
  },
}))
