// The cluster that is measured: KAFKA_BROKERS, or one broker started for the run.

export function benchBrokers(): { brokers?: readonly string[] } {
  const given = process.env['KAFKA_BROKERS']
  return given ? { brokers: given.split(',') } : {}
}
