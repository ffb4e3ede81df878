// Finds the Node that our programs run on: the one that npm installed beside us, or else the one that runs us already.
import { existsSync } from 'node:fs'
import { join } from 'node:path'

/** Platforms for which package-lock.json holds a Node with its checksum: the optional dependencies of package.json. */
export const PACKAGED = ['linux-arm64', 'linux-x64']
/** The first that runs TypeScript as it is, without a flag or a warning: major, minor. */
export const NODE_FROM = [24, 3]

/**
 * Path of the Node to use in the repository at `root`. Undefined where npm has not installed it yet, and on a platform
 * without a package whose own Node is older than NODE_FROM.
 */
export function findNode(root, { platform, arch, versions, execPath } = process) {
  const place = `${platform}-${arch}`
  if (!PACKAGED.includes(place)) return isNewEnough(versions.node) ? execPath : undefined
  const installed = join(root, 'node_modules', `node-${place}`, 'bin', 'node')
  return existsSync(installed) ? installed : undefined
}

/** Whether a version runs our TypeScript as it is. */
export function isNewEnough(version) {
  const [major, minor] = version.split('.').map(Number)
  return major > NODE_FROM[0] || (major === NODE_FROM[0] && minor >= NODE_FROM[1])
}
