//go:build prove

package fleet_test

const everyCase = true
