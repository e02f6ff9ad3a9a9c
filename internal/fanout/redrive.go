package fanout

// redriven makes work of the tokens among a batch. Whoever uses SQS's own
// redrive moves the tokens of dead letters back to this queue, and then they
// carry the tasks on:
//
//	task dead in the token's life -> reopened -> the token carries the next life
//
// Nothing is sent, so there is no instant at which a reopened task has no
// message: a token that comes again finds its task open in the life after its
// own, begun by a redrive, and still carries it. A message that SQS had moved to
// the dead letters itself bears no mark; its task is dead for that reason.
//
// A token of a task that was replayed otherwise stays what it is, a message of an
// earlier life.
func (d *drain) redriven(batch []Delivery, stands []Standing) error {
	var back []Task
	at := map[string]int{}
	for i := range batch {
		t, st := &batch[i].Task, stands[i]
		switch {
		case !st.RunOpen:
		case st.Outcome == Dead && t.Life == st.Life && (t.Dead || st.Reason != nil && st.Reason.Class == Redriven):
			back, at[t.ID] = append(back, *t), i
		case st.Outcome == "" && st.Replay == Redrive && t.Life == st.Life-1:
			t.Life, t.Replay = st.Life, Redrive
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
		// The chunks of its list that are recorded count in every life.
		stands[i] = Standing{RunOpen: true, Life: t.Life, Replay: t.Replay, Last: stands[i].Last}
	}
	if len(open) > 0 {
		d.log.Info("dead tasks have come back to their queue and are tried again", "tier", d.Tier.Name, "tasks", len(open))
	}
	return nil
}
