// Package governor hands out permits for a whole fleet: the right to start one
// vendor call at a booked instant, valid in every limit of the vendor that binds it.
//
// The one idea: all processes append to one sequence of slots. The vendor's item
// remembers the latest slot that anybody has booked; a process books its next
// ones after it, as far apart as the strictest limit demands, in one conditional
// write. A slot is used at its instant, or a little later, or never. So nobody
// asks before a call, a crash wastes slots and never doubles them, and what the
// vendor sees depends on slots alone:
//
//	booked in one write -> its instant comes -> not withdrawn, not too late,
//	not blind -> the call starts
//
// The item (see Item) is a JSON text per vendor, read every Poll while calls are
// made:
//
//	booked           the latest slot, of all lanes
//	lanes            the sequences of slots of limits that bind some calls only, or weigh them
//	quotas           what is booked of the days and hours that calendar limits count by
//	told             what the vendor's headers leave of a limit until its reset
//	epoch, cuts      slots withdrawn by a brake, a stop, an outage, a new rate
//	brake            nobody calls before; how often in a row
//	probe            the slot after a brake that stands alone
//	breaker          the vendor is down: since when, next probe, who is at it
//	stop             stopped by an operator, refused credentials, a budget, drift
//	members          processes: alive until, places in flight wanted and held
//	overrides        limits that an operator has changed, and for how long
//	eases            what brakes have left of a limit's rate, rising again
//	lowered          limits of which the vendor's headers allow less
//	budget           how many calls a run may make, and until when
//	log              who changed what, and why
//
// One goroutine hands out slots as they come due, one does all background work
// with the store; both run only while somebody waits, a slot is ahead or places
// in flight are held.
//
// It fails closed: with the last good read older than Stale, or a clock that the
// store does not agree with, there are no calls.
package governor
