//go:build !prove

package fleet_test

// everyCase says that tests with many cases try all of them, as in make prove.
const everyCase = false
