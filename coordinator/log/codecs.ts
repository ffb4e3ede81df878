// Codecs that kafkajs leaves out: without them a producer that compresses with one of them ends our consumer.
import { createRequire } from 'node:module'
import { promisify } from 'node:util'
import { zstdDecompress } from 'node:zlib'

/** What kafkajs calls. We write uncompressed: our records are small and batches short. */
export type Codec = {
  compress(): Promise<never>
  decompress(buffer: Buffer): Promise<Buffer>
}

const require = createRequire(import.meta.url)
const snappyBlock = require('snappyjs') as { uncompress(data: Buffer): Uint8Array }
const lz4Frame = require('lz4js') as { decompress(data: Buffer): Uint8Array }

// Java frames snappy its own way (xerial): magic, version, lowest version, then blocks with a length before each.
const xerialMagic = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0x00])
const xerialHeaderBytes = 16

export const snappy = readOnly('Snappy', async (buffer) => {
  if (!buffer.subarray(0, xerialMagic.length).equals(xerialMagic)) {
    return Buffer.from(snappyBlock.uncompress(buffer))
  }
  const blocks: Uint8Array[] = []
  for (let at = xerialHeaderBytes; at < buffer.length;) {
    const length = buffer.readInt32BE(at)
    blocks.push(snappyBlock.uncompress(buffer.subarray(at + 4, at + 4 + length)))
    at += 4 + length
  }
  return Buffer.concat(blocks)
})

export const lz4 = readOnly('LZ4', async (buffer) => Buffer.from(lz4Frame.decompress(buffer)))

export const zstd = readOnly('ZSTD', promisify<Buffer, Buffer>(zstdDecompress))

function readOnly(name: string, decompress: Codec['decompress']): Codec {
  const compress = async (): Promise<never> => {
    throw new Error(`${name} is only read here, not written: send without compression or with GZIP`)
  }
  return { compress, decompress }
}
