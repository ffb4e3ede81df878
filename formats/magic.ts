// Names of formats by their first bytes.

type Part = readonly [bytes: string, at: number]
type Magic = { readonly name: string; readonly parts: readonly Part[] }

const magic = (name: string, bytes: string, at = 0): Magic => ({ name, parts: [[bytes, at]] })

const known: readonly Magic[] = [
  magic('PNG', '\x89PNG\r\n\x1a\n'),
  magic('a JPEG', '\xff\xd8\xff'),
  magic('a JPEG 2000', '\0\0\0\x0cjP  \r\n\x87\n'),
  magic('a JPEG 2000', '\xffO\xffQ'),
  magic('a JPEG XL', '\0\0\0\x0cJXL \r\n\x87\n'),
  magic('a JPEG XL', '\xff\n'),
  magic('a JPEG XR', 'II\xbc'),
  magic('a GIF', 'GIF8'),
  {
    // Two letters are too few: a text may begin with them.
    name: 'a BMP',
    parts: [
      ['BM', 0],
      ['\0\0\0\0', 6],
    ],
  },
  magic('a WebP', 'WEBP', 8),
  magic('an HEIF or AVIF', 'ftyp', 4),
  magic('a Zeiss CZI', 'ZISRAWFILE'),
  magic('a Nikon ND2', '\xda\xce\xbe\n'),
  magic('a Leica LIF', 'p\0\0\0'),
  magic('an OLE compound (OIB, ZVI)', '\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1'),
  magic('a DICOM', 'DICM', 128),
  magic('an HDF5', '\x89HDF\r\n\x1a\n'),
  magic('a FITS', 'SIMPLE  ='),
  magic('a NumPy', '\x93NUMPY'),
  magic('a MAT', 'MATLAB 5.0 MAT-file'),
  magic('an MRC', 'MAP ', 208),
  magic('an ICS', 'ics_version'),
  magic('a PDF', '%PDF-'),
  magic('a ZIP', 'PK\x03\x04'),
  magic('a gzip', '\x1f\x8b'),
  magic('an AppleDouble', '\0\x05\x16\x07'),
]

/** "PNG", or with its article the name of another format; undefined: none that is known. */
export function formatOf(head: Buffer): string | undefined {
  const has = ([bytes, at]: Part): boolean =>
    head.toString('latin1', at, at + bytes.length) === bytes
  return known.find(({ parts }) => parts.every(has))?.name
}
