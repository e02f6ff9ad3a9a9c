//go:build !prove

package governor_test

// everyCase says that tests with many cases try all of them, as in make prove.
const everyCase = false
