// Package fanouttest checks the engine and its ports: models of the ports that
// live in memory, a fault injector to put before any port, and the conformance
// suites that every backend's ports must pass. Everything runs in virtual time
// (testing/synctest).
package fanouttest
