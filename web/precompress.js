// Leaves every file of the built page compressed beside it, as browsers take it; the server chooses.
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { brotliCompressSync, constants, gzipSync } from 'node:zlib'

const FOLDER = new URL('../src/candide/web/', import.meta.url)
const COMPRESSIBLE = /\.(css|html|js|json|svg|txt|wasm|webmanifest)$/
const SMALLEST = 1024

for (const name of readdirSync(FOLDER, { recursive: true })) {
  const path = new URL(name.replaceAll('\\', '/'), FOLDER)
  if (!COMPRESSIBLE.test(name) || statSync(path).size < SMALLEST) continue
  const plain = readFileSync(path)
  const params = { [constants.BROTLI_PARAM_QUALITY]: 9, [constants.BROTLI_PARAM_SIZE_HINT]: plain.length }
  writeFileSync(`${path.pathname}.br`, brotliCompressSync(plain, { params }))
  writeFileSync(`${path.pathname}.gz`, gzipSync(plain, { level: 9 }))
}
