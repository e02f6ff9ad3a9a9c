//go:build prove

package governor_test

const everyCase = true
