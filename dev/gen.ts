// `npm run gen`: formats our contracts and writes their TypeScript to proto/gen, which is committed.
import { generate } from './generate.ts'
import { runTool } from './tools.ts'

const format = await runTool('buf', ['format', '-w', '--path', 'proto/wellspring'])
const made = format.code === 0 ? await generate('.') : format
process.stderr.write(made.output)
process.exit(made.code)
