/// <reference types="vitest/config" />
import { svelte } from '@sveltejs/vite-plugin-svelte'
import { defineConfig } from 'vite'
import { precompress } from './precompress.js'

export default defineConfig(({ mode }) => ({
  plugins: [svelte(), precompress()],
  build: {
    outDir: '../src/candide/web',
    emptyOutDir: true,
    target: 'es2022',
    // Every asset is a file of its own: the page's Content-Security-Policy has no room for inlined ones.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rolldownOptions: { input: { index: 'index.html', diagram: 'diagram.html' } },
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
