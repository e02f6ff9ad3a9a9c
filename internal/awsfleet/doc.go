// Package awsfleet is the fleet's ports on AWS: SQS for queues, DynamoDB for
// the ledger, the runs, the governor's item and the leases of drains, S3 for
// the landing and the lake, SSM and Secrets Manager for secrets. One stack serves one vendor.
//
// The one table of a stack, by partition key and sort key:
//
//	vendor       open               r:RUN = rev for every run that may be open: a superset (open.go)
//	vendor       governor           the governor's item and its revision (governor.go)
//	log          TIME#REV#N         the governor's audit log
//	runs         OPENED#RUN         the list of runs; written before the run, so a name may lack its run
//	window       FROM_TO            the current run of a window, whole, and the run that it replaces
//	waiting      FROM_TO            a window that waits for the open run to end
//	waiting      publish#RUN        a closed run that is to be published in the lake (publish.go)
//	drain        TIER#SLOT          who drains a tier
//	run#RUN      run                a run: its state, revision and last verdict
//	run#RUN      count#TIER         counters for people to look at; never the verdict
//	run#RUN#S    TASK               all of a task: its end, the first chunk of its list, its failures
//	run#RUN#S    TASK#c000001       a later chunk of its list
//	run#RUN#kS   CHILD              which parent a child of a unique tier belongs to
//
// S is one of sixteen shards, so that no partition carries a whole run. Rows of
// a run, of windows and of the audit log carry ttl, in epoch seconds: DynamoDB
// drops them some days later.
//
// Everything is written by single conditional writes, in an order in which a
// crash between any two leaves a state that the next writer mends. An error
// means that it is unknown what took effect, and doing it again is safe.
package awsfleet
