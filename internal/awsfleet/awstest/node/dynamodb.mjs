// Serves DynamoDB, in memory, on a free loopback port, prints the port, and ends
// with its stdin: it never outlives whoever started it.
import dynalite from 'dynalite'

// A client that is killed in the middle of a request must not take the server
// with it: the tests kill many.
process.on('uncaughtException', (err) => console.error('survived:', err))

const server = dynalite({ createTableMs: 0, deleteTableMs: 0, updateTableMs: 0 })
server.listen(0, '127.0.0.1', () => console.log(server.address().port))
process.stdin.resume().on('end', () => process.exit(0)).on('error', () => process.exit(0))
