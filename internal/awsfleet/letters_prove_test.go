//go:build prove

package awsfleet_test

// letterCount is as many dead letters as a bad day of a large vendor leaves.
const letterCount = 100_000
