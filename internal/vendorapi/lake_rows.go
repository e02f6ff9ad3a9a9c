package vendorapi

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/sluicehq/sluice/internal/fanout"
)

// derived makes the rows of a table from those of another.
type derived struct {
	table string
	row   *query
}

// LakeRows yields the rows of all tables of t in an answer, those that are made from
// others included: compact JSON objects with the vendor's own digits, each valid until
// its call of each returns. It stops at the first error, its own or one of each.
//
// The rows are those of [Plan.Rows]. Where a row is an element of a list as it is, or
// made of its fields as they are, it is cut from the text: its digits and escapes stay,
// and a field that is there twice stays so. A string that is no Unicode (half of a
// surrogate pair) is kept by jq too, as long as it only hands it on.
//
// The spec's queries have a bound on their time, all those over the answer together.
// That they took longer is an error of theirs, and none of ctx.
func (p *Plan) LakeRows(ctx context.Context, t fanout.Task, cursor string, body []byte, each func(table string, row []byte) error) error {
	return p.lakeRows(ctx, maxTake, t, cursor, body, each)
}

func (p *Plan) lakeRows(ctx context.Context, bound time.Duration, t fanout.Task, cursor string, body []byte, each func(table string, row []byte) error) error {
	c, err := p.call(t, cursor)
	if err != nil {
		return err
	}
	if len(c.tier.tables) == 0 || string(body) == "null" { // the spec took the answer for empty
		return nil
	}
	r := &lakeRows{call: c, body: body, each: each, good: utf8.Valid(body) && json.Valid(body)}
	var end func()
	r.ctx, end = r.bounded(ctx, bound)
	defer end()
	err = r.all()
	if err != nil && !r.refused && ctx.Err() == nil && r.ctx.Err() != nil {
		return context.Cause(r.ctx)
	}
	return err
}

// lakeRows makes the rows of one answer.
type lakeRows struct {
	*call
	ctx  context.Context
	body []byte
	good bool // the body is one JSON text in UTF-8
	tree any  // of the body, once a table needs it
	each func(table string, row []byte) error

	n    int    // rows so far
	buf  []byte // the row under way, where it is not of the body
	made []byte // one that is made from a row
	span []span // of the fields that a row is made of

	away    atomic.Bool // a row is with its receiver
	refused bool        // by the receiver
}

// all yields the rows of all tables.
func (r *lakeRows) all() error {
	for i, table := range r.tier.tables {
		q := r.tier.rows[i]
		if q == nil {
			q = r.tier.items
		}
		if err := r.of(table, q); err != nil {
			return err
		}
	}
	return nil
}

// bounded is ctx until the queries have had their time. What the receiver of the rows
// takes, who may wait for a store, is not theirs: now and then it is looked who is at
// work, which costs less than a clock for each row.
func (r *lakeRows) bounded(ctx context.Context, bound time.Duration) (context.Context, func()) {
	const looks = 60
	ctx, cancel := context.WithCancelCause(ctx)
	ticker := time.NewTicker(bound / looks)
	go func() {
		for n := 0; n < looks; {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
				if !r.away.Load() {
					n++
				}
			}
		}
		cancel(errSlowQueries)
	}()
	return ctx, func() { ticker.Stop(); cancel(nil) }
}

// hand gives a row to its receiver.
func (r *lakeRows) hand(table string, row []byte) error {
	r.away.Store(true)
	err := r.each(table, row)
	r.away.Store(false)
	r.refused = err != nil
	return err
}

// of yields the rows that a query makes for a table.
func (r *lakeRows) of(table string, q *query) error {
	if r.good && q.each != nil {
		if from, to, ok := findList(r.body, q.each.path); ok {
			return r.list(table, q, r.body[from:to])
		}
	}
	if r.tree == nil {
		var err error
		if r.tree, err = r.parse(r.body); err != nil {
			return err
		}
	}
	for row, err := range q.over(r.ctx, parsed{tree: r.tree}, r.value) {
		if err == nil {
			err = r.yieldTree(table, q, row)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// parse is what a JSON text holds.
func (r *lakeRows) parse(text []byte) (any, error) {
	if r.good {
		return treeOf(text), nil
	}
	return parseJSON(text)
}

// list yields the rows that a query makes from the elements of a list.
func (r *lakeRows) list(table string, q *query, list []byte) error {
	args, err := q.args(r.value)
	if err != nil {
		return err
	}
	pick := q.each.pick.bind(args)
	for i := skipSpace(list, 1); list[i] != ']'; {
		if r.n%64 == 0 && r.ctx.Err() != nil {
			return r.ctx.Err()
		}
		end, loose := skipRow(list, i)
		if err := r.element(table, q, pick, args, list[i:end], loose); err != nil {
			return err
		}
		if i = skipSpace(list, end); list[i] == ',' {
			i = skipSpace(list, i+1)
		}
	}
	return nil
}

// element yields the rows that a query makes from one element.
func (r *lakeRows) element(table string, q *query, pick *picker, args []any, text []byte, loose bool) error {
	r.n++
	switch {
	case q.each.rest == nil && text[0] == '{':
		return r.yield(table, r.compact(text, loose))
	case q.each.rest == nil:
		return r.yieldTree(table, q, treeOf(text))
	case pick != nil && text[0] == '{':
		if row, ok := r.pick(pick, text); ok {
			return r.yield(table, row)
		}
	}
	for row, err := range q.runCode(r.ctx, q.each.rest, treeOf(text), args) {
		if err == nil {
			err = r.yieldTree(table, q, row)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// compact is a text without space that means nothing: most are so already.
func (r *lakeRows) compact(text []byte, loose bool) []byte {
	if !loose {
		return text
	}
	b := bytes.NewBuffer(r.buf[:0])
	if err := json.Compact(b, text); err != nil { // cannot be: the body is good
		return text
	}
	r.buf = b.Bytes()
	return r.buf
}

// yield hands out a row as text, and what is made from it.
func (r *lakeRows) yield(table string, row []byte) error {
	if err := r.hand(table, row); err != nil {
		return err
	}
	if len(r.tier.derived[table]) == 0 {
		return nil
	}
	return r.derive(table, treeOf(row))
}

// yieldTree hands out a row that a query made, and what is made from it.
func (r *lakeRows) yieldTree(table string, q *query, row any) error {
	if err := isRow(q, row); err != nil {
		return err
	}
	r.buf = appendJSON(r.buf[:0], row)
	if err := r.hand(table, r.buf); err != nil {
		return err
	}
	return r.derive(table, row)
}

// derive hands out what is made from a row of table.
func (r *lakeRows) derive(table string, row any) error {
	for _, d := range r.tier.derived[table] {
		for made, err := range d.row.run(r.ctx, row, r.value) {
			if err == nil {
				err = isRow(d.row, made)
			}
			if err == nil {
				r.made = appendJSON(r.made[:0], made)
				err = r.hand(d.table, r.made)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// isRow says why what a query made is no row.
func isRow(q *query, row any) error {
	if _, isObject := row.(map[string]any); !isObject {
		return &errJQ{q.what, fmt.Errorf("a row must be an object, not %s", clip(exactJSON(row), 100))}
	}
	return nil
}

// skipRow is where the value at b[i] ends, and whether there is space in it that
// means nothing. It is skipValue, with longer steps.
func skipRow(b []byte, i int) (end int, loose bool) {
	for depth := 0; i < len(b); i++ {
		switch b[i] {
		case '"':
			i = quoteEnd(b, i)
			if depth == 0 {
				return i + 1, loose
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 { // what follows a number or a word
				return i, loose
			}
			if depth--; depth == 0 {
				return i + 1, loose
			}
		case ',':
			if depth == 0 {
				return i, loose
			}
		case ' ', '\n', '\t', '\r':
			if depth == 0 {
				return i, loose
			}
			loose = true
		}
	}
	return i, loose
}

// quoteEnd is where the text that begins at b[i] has its closing quote.
func quoteEnd(b []byte, i int) int {
	for i++; b[i] != '"'; i++ {
		if b[i] == '\\' {
			i++
		}
	}
	return i
}
