// Serves SQS on a free loopback port, prints the port, and ends with its stdin:
// it never outlives whoever started it.
import { buildApp } from 'fauxqs'

const app = buildApp({ logger: false })
await app.listen({ host: '127.0.0.1', port: 0 })
console.log(app.server.address().port)
process.stdin.resume().on('end', () => process.exit(0)).on('error', () => process.exit(0))
