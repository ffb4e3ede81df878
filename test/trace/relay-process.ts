// A coordinator's part in the forwarding of spans, as a process of its own that can be killed. Argument: its settings as
// JSON, with the address of a backend; prints a line when it has joined.
import type { Config } from '../../coordinator/config.ts'
import { openClient } from '@wellspring/kafka/client.ts'
import { openSpanRelay } from '../../coordinator/spans.ts'

const config = JSON.parse(process.argv[2] ?? '{}') as Config
const client = openClient({ ...config, clientId: 'killed' })
await openSpanRelay(config, client, () => {})
process.stdout.write('joined\n')
