// Package lambdatest is a Lambda service for tests: it starts a function's real
// program under a Runtime API of its own, invokes it, freezes it between
// invocations, kills it at its deadline, and can give it a share of a core.
//
// What it serves is the documented interface for custom runtimes:
// https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
package lambdatest
