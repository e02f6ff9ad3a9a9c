//go:build prove

package localfleet_test

// many is as many dead letters as a bad day of a large vendor leaves.
const many = 100_000
