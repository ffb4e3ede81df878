// The environment that a program gets: what it needs to run, by name, and none of what its wrapper knows.

/** For finding programs, files and words. */
const always = ['PATH', 'HOME', 'USER', 'LOGNAME', 'SHELL', 'TZ', 'TMPDIR', 'TMP', 'TEMP']
const locale = ['LANG', 'LANGUAGE', 'LC_*']

/**
 * Picks a program's variables out of an environment: always those by which programs find their files and their
 * language, and those named here, each a name or a beginning with * behind it. Secrets are in none of the usual ones.
 */
export function programEnvironment(
  environment: NodeJS.ProcessEnv,
  names: readonly string[] = [],
): Record<string, string> {
  const wanted = [...always, ...locale, ...names]
  const isWanted = (name: string): boolean =>
    wanted.some((one) => (one.endsWith('*') ? name.startsWith(one.slice(0, -1)) : name === one))
  const picked: Record<string, string> = {}
  for (const [name, value] of Object.entries(environment))
    if (value !== undefined && isWanted(name)) picked[name] = value
  return picked
}

/** Names in WELLSPRING_PROGRAM_ENV, for instance "CUDA_VISIBLE_DEVICES,OMP_*". */
export function namesGiven(environment: NodeJS.ProcessEnv): string[] {
  const names = (environment['WELLSPRING_PROGRAM_ENV'] ?? '').split(',')
  return names.map((name) => name.trim()).filter((name) => name !== '' && name !== '*')
}
