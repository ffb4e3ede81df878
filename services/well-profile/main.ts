// Step well-profile: medians over all objects of a well.
import { readFile } from 'node:fs/promises'
import { parse } from 'csv-parse/sync'
import {
  WellProfileErrorSchema,
  WellProfileService,
  type ProfileWellRequest,
} from '#proto/wellspring/steps/wellprofile/v1/well_profile_pb.ts'
import { serve, type Call } from '../kit/serve.ts'
import { columnsDiffer, mediansOf, type Table } from './profile.ts'

await serve({
  name: 'well-profile',
  version: '1.0.0',
  service: WellProfileService,
  errors: WellProfileErrorSchema,
  handlers: { profileWell },
})

async function profileWell({ sites, sitesExpected }: ProfileWellRequest, call: Call) {
  const tables: Table[] = []
  for (const { objects, site } of sites) {
    if (objects === undefined) throw call.fail('ARTIFACT_NOT_READY', `site ${site} has no table`)
    const [columns = [], ...rows]: string[][] = parse(
      await readFile(await call.openArtifact(objects)),
    )
    tables.push({ columns, rows })
  }
  const difference = columnsDiffer(tables)
  if (difference !== undefined) throw call.fail('COLUMNS_DIFFER', difference)
  const nucleiCount = sites.reduce((sum, site) => sum + site.nucleiCount, 0)
  return {
    nucleiCount,
    nucleiPerSite: sites.length === 0 ? 0 : nucleiCount / sites.length,
    objectCount: tables.reduce((sum, { rows }) => sum + rows.length, 0),
    medians: mediansOf(tables),
    sitesUsed: sites.map(({ site }) => site),
    sitesMissing: Math.max(0, sitesExpected - sites.length),
  }
}
