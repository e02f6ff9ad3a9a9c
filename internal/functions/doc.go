// Package functions is what the fleet's Lambda functions do: seed starts a run,
// tier drains one tier's queue for as long as there is work and time, close looks
// after open runs and computes their verdicts.
//
// A schedule ticks each of them. A tick that finds nothing to do costs two or
// three requests and ends within milliseconds; nothing is kept between ticks but
// in the stores, so that any of them may be killed at any moment.
//
// Who drains which tier is told by leases. They save money, not data: two
// drains of one tier are as safe as one, since the governor paces the whole fleet
// and the ledger settles once.
package functions
