// Types of own-node.mjs, which is plain JavaScript because it runs under older Nodes too.
export const PACKAGED: readonly string[]
export const NODE_FROM: readonly [number, number]
export function isNewEnough(version: string): boolean
export function findNode(
  root: string,
  running?: {
    readonly platform: string
    readonly arch: string
    readonly versions: { readonly node: string }
    readonly execPath: string
  },
): string | undefined
