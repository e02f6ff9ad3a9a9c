// Package awstest gives tests servers that speak AWS's protocols on loopback
// ports: fauxqs for SQS and dynalite for DynamoDB (Node programs, installed by
// npm from a lock file when they are missing), gofakes3 for S3 in process. For
// SSM and Secrets Manager there is none to be had, so the small fake of their
// documented protocol is ours.
//
// A recording proxy stands before all of them: it tells what was called, by
// whose key, on what, and can fail any request before or after it took effect.
//
// With SLUICE_TEST_AWS=1 in the environment there are no servers: what is made
// is made in the account and region that the environment names, under names of
// its own, and removed when the test ends.
package awstest
