// A segmenting service whose work is said by the test.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import type { Client } from '@grpc/grpc-js'
import {
  SegmentNucleiErrorSchema,
  SegmentNucleiService,
  type SegmentNucleiRequest,
} from '#proto/wellspring/steps/nuclei/v1/segment_nuclei_pb.ts'
import { start, type Call, type Serving } from '../../services/kit/serve.ts'
import { clientOf } from './support.ts'

/** What it publishes as its labels. */
export const text = 'pixels'

type Segment = (request: SegmentNucleiRequest, call: Call) => Promise<void>

/** A segmenting service that does `work`, then publishes its call's text. */
export async function startSegment(
  t: TestContext,
  store: string,
  work: Segment,
): Promise<Serving & { client: Client; published: string[] }> {
  const published: string[] = []
  const serving = await start(
    {
      name: 'segment',
      version: 'test',
      service: SegmentNucleiService,
      errors: SegmentNucleiErrorSchema,
      handlers: {
        async segmentNuclei(request, call) {
          await work(request, call)
          const path = join(await call.tempDir(), 'out.tiff')
          writeFileSync(path, text)
          const files = await call.publish({
            'labels.tiff': { path, mediaType: 'image/tiff' },
            'table.csv': { bytes: Buffer.from('a,b\n'), mediaType: 'text/csv' },
          })
          published.push(files['labels.tiff'].uri)
          return { nuclei: 1, labels: files['labels.tiff'], table: files['table.csv'] }
        },
      },
    },
    { WELLSPRING_STORE: store, WELLSPRING_DRAIN_MS: '100' },
  )
  t.after(() => serving.drain())
  return { ...serving, client: clientOf(t, serving.address), published }
}
