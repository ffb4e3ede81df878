// kafkajs's log in the form of ours.
import type { LogEntry, logCreator } from 'kafkajs'
import type { Logger } from './logger.ts'

const errorLevel = 1
const warnLevel = 2

/** Passes warnings and errors on, but for refusals that are retried in place (patch busyTransactions). */
export function kafkaLogCreator(logger: Logger): logCreator {
  return () =>
    ({ namespace, level, log }: LogEntry) => {
      if (level > warnLevel || isRetriedRefusal(log)) return
      const { message, timestamp: _, logger: __, ...fields } = log
      logger(level === errorLevel ? 'error' : 'warn', `kafka: ${message}`, { namespace, ...fields })
    }
}

function isRetriedRefusal(log: LogEntry['log']): boolean {
  return (
    /^Response (AddPartitionsToTxn|InitProducerId)\(/.test(log.message) &&
    String(log['error']).includes('another concurrent operation on the same transaction')
  )
}
