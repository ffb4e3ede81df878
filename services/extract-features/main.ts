// Step extract-features: wraps a job server that forgets its jobs when it is started again.
import {
  ExtractFeaturesErrorSchema,
  ExtractFeaturesService,
  type ExtractFeaturesRequest,
} from '#proto/wellspring/steps/features/v1/extract_features_pb.ts'
import { openImage } from '../kit/images.ts'
import { serve, type Call } from '../kit/serve.ts'
import { runJob } from './jobs.ts'
import { checkTable, columnsOf, emptyTable } from './table.ts'

const url = process.env['WELLSPRING_CELLFEAT_URL'] ?? 'http://127.0.0.1:8081'

await serve({
  name: 'extract-features',
  version: '1.0.0',
  service: ExtractFeaturesService,
  errors: ExtractFeaturesErrorSchema,
  handlers: { extractFeatures },
})

async function extractFeatures(request: ExtractFeaturesRequest, call: Call) {
  const columns = columnsOf(request.images.map(({ channel }) => channel))
  const { csv, rows } = await tableOf(request, columns, call)
  let imageFeatures: ReturnType<typeof checkTable>
  try {
    imageFeatures = checkTable(csv, columns, rows)
  } catch (error) {
    throw call.fail('SHORT_RESULT', String(error))
  }
  const file = { bytes: Buffer.from(csv), mediaType: 'text/csv' }
  const { 'objects.csv': objects } = await call.publish({ 'objects.csv': file })
  return { objectCount: rows, objects, columns, imageFeatures }
}

async function tableOf(request: ExtractFeaturesRequest, columns: readonly string[], call: Call) {
  if (request.labels === undefined) return { csv: emptyTable(columns), rows: 0 }
  const labels = await call.openArtifact(request.labels)
  const images: { channel: string; path: string; offset?: number }[] = []
  for (const { channel, image, pixelOffset } of request.images) {
    if (image === undefined) throw call.fail('BAD_INPUT', `channel ${channel} names no image`)
    const path = await openImage(image, call, { corrupt: 'BAD_INPUT' })
    images.push({ channel, path, ...(pixelOffset > 0 && { offset: pixelOffset }) })
  }
  return await call.legacy('http cellfeat', { 'url.full': `${url}/jobs` }, (traceparent) =>
    runJob(url, { labels, images }, { call, traceparent }),
  )
}
