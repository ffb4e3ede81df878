// Connect 2 names this DOM type; adding lib "dom" would let a bare `event` type-check everywhere.
type HeadersInit = [string, string][] | Record<string, string> | Headers
