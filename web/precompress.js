// Leaves every file of the built page compressed beside it, as browsers take it; the server chooses.
// The page lies in the folder that is named, by default where the server looks for it.
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { brotliCompressSync, constants, gzipSync } from 'node:zlib'

const FOLDER = pathToFileURL(resolve(process.argv[2] ?? '../src/candide/web') + '/')
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
