package awsfleet

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/sluicehq/sluice/internal/fanout"
)

// The rows of the ledger, see the package comment. A row of a task has these
// attributes, all of which may be absent:
//
//	life out fetch object chunk children rows pages at tier   its end, in its life (none: the first)
//	path                                                      of a task that is done or gone: its keys
//	task reason                                               of a dead or discarded one: all of it, and why
//	replay w                                                  the tag of the replay that began its life; what operators did about it
//	l {t f o c r p u e s}                                     the first chunk of its list
//	f h n                                                     failed attempts: as LIFE.CHUNK.FETCH, their reasons, how many in this life

const (
	shards      = 16
	countPrefix = "count#"
	chunkMark   = "#c"
)

func runPK(run string) string { return "run#" + run }

func shardPK(run string, shard int) string { return fmt.Sprintf("run#%s#%02x", run, shard) }

func shardOf(id string) int {
	h := fnv.New32a()
	h.Write([]byte(id))
	return int(h.Sum32() % shards)
}

func runKey(run string) key { return key{runPK(run), "run"} }

func taskKey(run, id string) key { return key{shardPK(run, shardOf(id)), id} }

// chunkKey is where a chunk of a list is: the first in the task's own row.
func chunkKey(run, id string, chunk int) key {
	k := taskKey(run, id)
	if chunk > 0 {
		k.sk = fmt.Sprintf("%s%s%06d", id, chunkMark, chunk)
	}
	return k
}

func claimKey(run, child string) key {
	return key{fmt.Sprintf("run#%s#k%02x", run, shardOf(child)), child}
}

func packListed(r fanout.Listed) types.AttributeValue {
	return &types.AttributeValueMemberM{Value: row{
		"t": str(r.Tier), "n": num(r.Chunk), "f": str(r.Fetch), "o": str(r.Object), "c": num(r.Children), "r": num(r.Rows),
		"p": num(r.Pages), "u": str(r.Cursor), "e": yes(r.Final), "s": yes(r.Sent),
	}}
}

// unpackListed reads the chunk of a list that a row holds.
func unpackListed(r row, run string) fanout.Listed {
	task, _, _ := strings.Cut(r.str("sk"), chunkMark)
	l := r.sub("l")
	return fanout.Listed{
		Run: run, Task: task, Tier: l.str("t"), Chunk: l.int("n"), Fetch: l.str("f"), Object: l.str("o"), Children: l.int("c"),
		Rows: l.int("r"), Pages: l.int("p"), Cursor: l.str("u"), Final: l.yes("e"), Sent: l.yes("s"),
	}
}

// ended reads the end of a task.
func (r row) ended(run string) (fanout.Settlement, error) {
	e := fanout.Settlement{
		Outcome: fanout.Outcome(r.str("out")), Fetch: r.str("fetch"), Object: r.str("object"), Chunk: r.int("chunk"),
		Children: r.int("children"), Rows: r.int("rows"), Pages: r.int("pages"), At: time.Unix(0, r.num("at")).UTC(),
	}
	if e.Outcome == fanout.Dead || e.Outcome == fanout.Discarded {
		task, err := r.task()
		e.Task = task
		return e, err
	}
	e.Task = fanout.Task{ID: r.str("sk"), Run: run, Tier: r.str("tier"), Life: r.life()}
	if err := json.Unmarshal([]byte(r.str("path")), &e.Task.Path); err != nil {
		return e, fmt.Errorf("the ledger's row of task %s cannot be read: %w", e.Task.ID, err)
	}
	return e, nil
}

// task reads the whole task, as it is in its present life.
func (r row) task() (t fanout.Task, err error) {
	if err := json.Unmarshal([]byte(r.str("task")), &t); err != nil {
		return t, fmt.Errorf("the ledger's row of task %s cannot be read: %w", r.str("sk"), err)
	}
	t.Life, t.Replay = r.life(), r.str("replay")
	return t, nil
}

func (r row) life() int { return max(r.int("life"), 1) }

func (r row) list(name string) []types.AttributeValue {
	if l, ok := r[name].(*types.AttributeValueMemberL); ok {
		return l.Value
	}
	return nil
}

func attemptPrefix(life, chunk int) string { return fmt.Sprintf("%d.%d.", life, chunk) }

func (r row) set(name string) []string {
	if s, ok := r[name].(*types.AttributeValueMemberSS); ok {
		return s.Value
	}
	return nil
}

// attempts counts the failed attempts at a chunk in a life.
func (r row) attempts(life, chunk int) int {
	n := 0
	for _, id := range r.set("f") {
		if strings.HasPrefix(id, attemptPrefix(life, chunk)) {
			n++
		}
	}
	return n
}

func (r row) otherAttempts(life, chunk int) (ids []string) {
	for _, id := range r.set("f") {
		if !strings.HasPrefix(id, attemptPrefix(life, chunk)) {
			ids = append(ids, id)
		}
	}
	return ids
}

// lastReason is why the last attempt at a chunk in a life failed.
func (r row) lastReason(life, chunk int) (*fanout.Reason, error) {
	all := r.list("h")
	for i := len(all) - 1; i >= 0; i-- {
		m, _ := all[i].(*types.AttributeValueMemberM)
		if m == nil || row(m.Value).str("id") != attemptPrefix(life, chunk) {
			continue
		}
		why := new(fanout.Reason)
		if err := json.Unmarshal([]byte(row(m.Value).str("why")), why); err != nil {
			return nil, fmt.Errorf("the ledger's row of task %s cannot be read: %w", r.str("sk"), err)
		}
		return why, nil
	}
	return nil, nil
}
