//go:build !prove

package localfleet_test

// many dead letters are a fiftieth of those of a bad day.
const many = 2000
