//go:build !prove

package awsfleet_test

// letterCount is a few of the dead letters of a bad day.
const letterCount = 300
