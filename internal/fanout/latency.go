package fanout

import (
	"math"
	"slices"
	"time"
)

// Latencies count calls by how long they took: the calls of one class took at
// most a tenth more or less than that class says, which holds a run of any
// length in some sixty numbers.
type Latencies map[int]int

// perDoubling is how many classes there are from a time to twice that time.
const perDoubling = 4

// Add counts a call.
func (l Latencies) Add(took time.Duration) {
	ms := max(took.Seconds()*1000, 0.125)
	l[int(math.Round(perDoubling*math.Log2(ms)))]++
}

// Merge adds what another counted.
func (l Latencies) Merge(o Latencies) {
	for class, n := range o {
		l[class] += n
	}
}

// Quantile is the time within which the share q (0 to 1) of the calls were
// answered; zero when there were none.
func (l Latencies) Quantile(q float64) time.Duration {
	classes := make([]int, 0, len(l))
	all := 0
	for class, n := range l {
		classes = append(classes, class)
		all += n
	}
	if all == 0 {
		return 0
	}
	slices.Sort(classes)
	rank := int(math.Ceil(q * float64(all)))
	seen := 0
	for _, class := range classes {
		if seen += l[class]; seen >= rank {
			return ofClass(class)
		}
	}
	return ofClass(classes[len(classes)-1])
}

func ofClass(class int) time.Duration {
	return time.Duration(math.Exp2(float64(class)/perDoubling) * float64(time.Millisecond))
}
