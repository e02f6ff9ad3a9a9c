// Package fanout is the engine: it drains one tier's queue under a governor,
// calls the vendor, and sends what it found to the tier below.
//
// Its one idea is an order of writes that holds at every instant, whatever
// fails between two of them:
//
//	message deleted => task settled => result durable and children sent
//	                                   (or dead-lettered with its reason)
//
// Every failure is then repaired by the queue's next delivery, which asks the
// ledger how far the last one came. To keep that cheap the unit of commit is a
// batch across tasks: one landing object, then the rows of the lists in it,
// the claims, the sends, the settles and the deletes (see committer).
//
// A worker never takes from the queue what it will not soon be allowed to
// send: first it asks the governor, then it receives (see drain.room).
//
// Two contexts rule shutdown. After soft nothing starts: no receive, no permit,
// no next page. After hard nothing goes on.
//
// The package uses the standard library only. Queue, Ledger, Landing, Governor
// and Vendor are its ports; internal/fanout/fanouttest has a model, a fault
// injector and a conformance suite for them.
package fanout
