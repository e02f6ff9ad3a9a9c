package governor_test

// cases is how many cases, or how much time, a long test takes: few in make test,
// all in make prove.
func cases(few, all int) int {
	if everyCase {
		return all
	}
	return few
}
