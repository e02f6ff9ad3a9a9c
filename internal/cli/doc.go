// Package cli is the operator's command: what can be typed, what is shown while
// it works, and what is said at the end. It decides nothing about calls, queues
// or verdicts; it asks the packages that do and puts their answers into words.
//
// Every command runs in process through Main, which neither exits nor touches
// signals: a main does that.
package cli
