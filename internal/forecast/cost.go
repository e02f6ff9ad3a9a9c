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
	Rows   float64 // of the tasks, those of the last tier, whose rows become tables; 0: they do not
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
	return r.withLake(w, t)
}

// withLake adds what it takes to make tables of a run, by the requests that were
// counted for a landed object and for a publication (docs/aws.md).
func (r Result) withLake(w price.Work, t Tree) price.Work {
	if t.Rows == 0 || len(r.Tiers) == 0 {
		return w
	}
	last := r.Tiers[len(r.Tiers)-1]
	objects := max(t.Rows/256, (last.To-last.From).Seconds()/10.5)
	w.S3Puts += 2*objects + 10
	w.S3Gets += 4*objects + 20
	w.SQSRequests += 1.3 * objects
	w.DynamoReads += objects + t.Tasks/12
	w.LambdaRequests += objects / 2
	w.LakeSeconds += objects/10 + 20
	w.LakeMB = 512
	w.LogBytes += objects / 2 * 500
	return w
}

// Scaled is what a run uses, by what the last one did for so many calls. What
// takes time rather than calls is taken from the forecast.
func (r Result) Scaled(used map[string]float64, calls float64, t Tree, mb int) price.Work {
	if calls <= 0 || used["sqs"] == 0 {
		return r.Work(t, mb)
	}
	rows := t
	t.Rows = 0
	w := r.Work(t, mb)
	by := r.Calls / calls
	w.SQSRequests, w.DynamoWrites, w.DynamoReads = used["sqs"]*by, used["writes"]*by, used["reads"]*by
	w.S3Puts, w.S3Gets = used["puts"]*by, used["gets"]*by
	return r.withLake(w, rows)
}
