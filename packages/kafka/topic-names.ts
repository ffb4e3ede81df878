// The topics by name, without their prefix: the twins of the port add it.

/** Topics that tasks read; co-partitioned, `tasks` partitions each. */
export const INPUT_TOPICS = ['images.v1', 'commands.v1'] as const
export type InputTopic = (typeof INPUT_TOPICS)[number]

/** Topics that tasks write; partition = task, but for plate-events.v1, partitioned by experiment. */
export const OUTPUT_TOPICS = [
  'state.v1',
  'results.v1',
  'quality.v1',
  'plate-events.v1',
  'dead-letters.v1',
  'spans.v1',
  'status.v1',
] as const
export type OutputTopic = (typeof OUTPUT_TOPICS)[number]

/** Partitions of plate-events.v1, keyed by experiment. */
export const PLATE_EVENT_PARTITIONS = 8
