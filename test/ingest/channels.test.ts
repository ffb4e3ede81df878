import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ChannelKind } from '#proto/wellspring/lab/v1/identity_pb.ts'
import { kindOfName, parseChannels } from '../../ingest/channels.ts'

const { NUCLEI, BRIGHTFIELD, FLUORESCENCE, UNSPECIFIED } = ChannelKind

const names: readonly [string, ChannelKind][] = [
  ['DAPI', NUCLEI],
  ['HOECHST 33342', NUCLEI],
  ['Hoechst', NUCLEI],
  ['DNA', NUCLEI],
  ['OrigDNA', NUCLEI],
  ['Nuclei', NUCLEI],
  ['Brightfield', BRIGHTFIELD],
  ['OrigBrightfield', BRIGHTFIELD],
  ['BF', BRIGHTFIELD],
  ['TL', BRIGHTFIELD],
  ['TL 20', BRIGHTFIELD],
  ['Phase contrast', BRIGHTFIELD],
  ['FITC', FLUORESCENCE],
  ['Texas Red', FLUORESCENCE],
  ['Cy5', FLUORESCENCE],
  ['GFP', FLUORESCENCE],
  ['RFP', FLUORESCENCE],
  ['Alexa 647', FLUORESCENCE],
  ['488 long', FLUORESCENCE],
  ['OrigER', FLUORESCENCE],
  ['mRNA', FLUORESCENCE],
  ['w1', UNSPECIFIED],
  ['ch5', UNSPECIFIED],
  ['d0', UNSPECIFIED],
  ['Channel2', UNSPECIFIED],
  ['Turtle', UNSPECIFIED],
]

for (const [name, kind] of names)
  test(`channel "${name}" is kind ${kind}`, () => assert.equal(kindOfName(name), kind))

test('--channels names kinds', () => {
  const kinds = parseChannels('w1=nuclei, Texas Red=fluorescence,bf=brightfield')
  assert.deepEqual(
    [...kinds],
    [
      ['w1', NUCLEI],
      ['Texas Red', FLUORESCENCE],
      ['bf', BRIGHTFIELD],
    ],
  )
})

for (const wrong of ['w1', 'w1=', 'w1=nucleus', '=nuclei', ''])
  test(`--channels "${wrong}" is refused`, () => {
    assert.throws(() => parseChannels(wrong), /is not NAME=KIND/)
  })
