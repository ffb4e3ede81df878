// A process that dies in the middle of a flush: claims a task, commits one record, sends another, and hangs.
// Arguments: brokers, topic prefix, transactional id.
import { createKafka } from '@wellspring/kafka/connection.ts'
import { kafkajs } from '@wellspring/kafka/patches.ts'

const [brokers = '', topicPrefix = '', transactionalId = ''] = process.argv.slice(2)
const producer = createKafka({ brokers: brokers.split(',') }).producer({
  transactionalId,
  transactionTimeout: 60_000,
  maxInFlightRequests: 1,
  createPartitioner: kafkajs.Partitioners.DefaultPartitioner,
  retry: { retries: 0 },
})
await producer.connect()
for (const key of ['committed', 'open']) {
  const transaction = await producer.transaction()
  const messages = [{ key, value: 'x', partition: 0 }]
  await transaction.sendBatch({
    topicMessages: [
      { topic: `${topicPrefix}state.v1`, messages },
      { topic: `${topicPrefix}results.v1`, messages },
    ],
  })
  if (key === 'committed') await transaction.commit()
}
process.stdout.write('sent\n')
setInterval(() => {}, 1 << 30)
