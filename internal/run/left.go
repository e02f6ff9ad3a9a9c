package run

// Expected is how many tasks each tier will have had at the end, top first.
// exact tells for which that is known: where every task above has ended. For the
// others it is estimated by the tree of the last run (nil: there is none), or
// else by how many children the tasks that have ended brought on average.
func Expected(tiers []string, counts map[string]Count, last *Verdict) (tasks []int, exact []bool) {
	lastOf := func(i int) int {
		if last == nil {
			return 0
		}
		for _, s := range last.Tiers {
			if s.Tier == tiers[i] {
				return s.Known
			}
		}
		return 0
	}
	known := true
	for i, tier := range tiers {
		c := counts[tier]
		n := max(c.Known, c.Settled())
		if i > 0 && !known {
			above := counts[tiers[i-1]]
			switch {
			case lastOf(i-1) > 0:
				n = max(n, tasks[i-1]*lastOf(i)/lastOf(i-1))
			case above.Settled() > 0:
				n = max(n, n*tasks[i-1]/above.Settled())
			}
		}
		tasks, exact = append(tasks, n), append(exact, known)
		known = known && c.Settled() >= c.Known && c.Known > 0
	}
	return tasks, exact
}
