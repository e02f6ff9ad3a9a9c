package fanout

// redriven makes work of the tokens among a batch. Whoever uses SQS's own
// redrive moves the tokens of dead letters back to this queue, and then they
// carry the tasks on:
//
//	task dead in the token's life -> reopened -> its run open at a later revision -> the token carries the next life
//
// Nothing is sent, so there is no instant at which a reopened task has no
// message: a token that comes again finds its task open in the life after its
// own, begun by a redrive, and still carries it. Whoever reopened it may have died
// before the run was told, and a verdict from before has closed the run: it is
// told again, unless attempts at the task show that somebody got beyond that. A
// message that SQS had moved to the dead letters itself bears no mark; its task is
// dead for that reason.
//
// A token of a task that was replayed otherwise stays what it is, a message of an
// earlier life, and in a closed run one of a dead task stays a token.
func (d *drain) redriven(batch []Delivery, stands []Standing) error {
	var back []Task
	at := map[string]int{}
	for i := range batch {
		t, st := &batch[i].Task, stands[i]
		switch {
		case st.CarriedBy(*t):
			if st.RunOpen && st.Attempts > 0 {
				t.Life, t.Replay = st.Life, Redrive
				break
			}
			back, at[t.ID] = append(back, *t), i
		case st.RunOpen && st.Outcome == Dead && t.Life == st.Life && (t.Dead || st.Reason != nil && st.Reason.Class == Redriven):
			back, at[t.ID] = append(back, *t), i
		}
		t.Dead = false
	}
	if len(back) == 0 {
		return nil
	}
	open, err := d.Ledger.Reopen(d.hard, back)
	if err != nil {
		return err
	}
	for _, t := range open {
		i := at[t.ID]
		batch[i].Task = t
		if st := &stands[i]; st.CarriedBy(Task{Life: t.Life - 1}) {
			st.RunOpen = true
			continue
		}
		// The chunks of its list that are recorded count in every life.
		stands[i] = Standing{RunOpen: true, Life: t.Life, Replay: t.Replay, Last: stands[i].Last}
	}
	if len(open) > 0 {
		d.log.Info("dead tasks have come back to their queue and are tried again", "tier", d.Tier.Name, "tasks", len(open))
	}
	return nil
}
