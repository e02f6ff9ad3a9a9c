package forecast

import "github.com/sluicehq/sluice/internal/price"

// Memory is the smallest memory of a tier's function, in MB, that carries a rate
// of calls a second, as measured with the functions' programs held to the share
// of a core that Lambda gives for it (docs/aws.md): 128 MB up to 50 calls a
// second, and in proportion beyond.
func Memory(callsPerSecond float64) int {
	const carries = 50.0 // calls a second in 128 MB
	mb := 128
	for float64(mb)/128*carries < callsPerSecond && mb < 10_240 {
		mb *= 2
	}
	return mb
}

// Tree is what of a forecast AWS bills by.
type Tree struct {
	Tasks  float64 // in all tiers, still to be done
	Lists  float64 // of these, those with tiers below
	Unique float64 // children of unique tiers
	Tiers  int
}

// Work is what a run with a forecast uses on AWS, by what was counted of the
// functions' real programs (make price, and the budgets' test): requests fall
// with the rate, because batches are fuller then.
func (r Result) Work(t Tree, mb int) price.Work {
	seconds, active := r.Duration.Seconds(), 0.0
	for _, tier := range r.Tiers {
		active += (tier.To - tier.From).Seconds()
	}
	rate := r.Calls / max(seconds, 1)
	minutes := r.Duration.Minutes()
	var w price.Work
	w.SQSRequests = t.Tasks * (0.31 + 0.55/max(rate, 1))
	governor := r.Calls * (0.029 + 0.6/max(rate, 1))
	samples := active / 10
	w.DynamoWrites = t.Tasks + t.Lists + t.Unique + governor + 1.3*samples
	w.DynamoReads = t.Tasks + 3.3*active + 3*samples
	w.S3Puts = max(t.Tasks/256, active/10.5) + float64(t.Tiers)
	w.S3Gets = float64(t.Tiers) * 20
	w.Ticks = minutes * float64(t.Tiers+1)
	w.LambdaRequests = w.Ticks
	w.LambdaSeconds = active + minutes*0.3
	w.LambdaMB = float64(mb)
	w.LogBytes = w.LambdaRequests*330 + active/840*2500
	return w
}

// Scaled is what a run uses, by what the last one did for so many calls. What
// takes time rather than calls is taken from the forecast.
func (r Result) Scaled(used map[string]float64, calls float64, t Tree, mb int) price.Work {
	w := r.Work(t, mb)
	if calls <= 0 || used["sqs"] == 0 {
		return w
	}
	by := r.Calls / calls
	w.SQSRequests, w.DynamoWrites, w.DynamoReads = used["sqs"]*by, used["writes"]*by, used["reads"]*by
	w.S3Puts, w.S3Gets = used["puts"]*by, used["gets"]*by
	return w
}
