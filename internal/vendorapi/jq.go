package vendorapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"math/big"
	"regexp"
	"slices"
	"strings"

	"github.com/itchyny/gojq"
)

// query is a compiled jq program. It is safe for concurrent use. It sees its
// input and the variables of the call, and nothing else: no environment, no
// files, no other input (gojq gives none of them unless asked to).
//
// Numbers keep their digits: gojq hands a json.Number on as it is, and turns
// it into an int, a float64 or a *big.Int only when it is calculated with.
type query struct {
	code   *gojq.Code
	vars   []string // names without $, in the order that code wants them
	what   string   // the spec's field, for errors
	parsed *gojq.Query
	lists  []string // what the program goes through, such as .data[], for errors
	each   *each    // nil: not of that form

	optional bool // a list that is missing is an empty one
}

var jqVariable = regexp.MustCompile(`\$([A-Za-z_][A-Za-z0-9_]*)`)

// compileJQ compiles src, which may use the variables in known.
func compileJQ(what, src string, known func(name string) bool) (*query, error) {
	parsed, err := gojq.Parse(src)
	if err != nil {
		return nil, fmt.Errorf("jq: %w", err)
	}
	q := &query{what: what, parsed: parsed}
	var names []string
	for _, m := range jqVariable.FindAllStringSubmatch(src, -1) {
		if known(m[1]) && !slices.Contains(q.vars, m[1]) {
			q.vars = append(q.vars, m[1])
			names = append(names, "$"+m[1])
		}
	}
	q.code, err = gojq.Compile(parsed, gojq.WithVariables(names))
	if err != nil {
		return nil, fmt.Errorf("jq: %w", err)
	}
	q.each = eachOf(parsed, names)
	q.lists = q.listsIn(src)
	return q, nil
}

var iterated = regexp.MustCompile(`(?:\.[A-Za-z_][A-Za-z0-9_]*)+\[\]`)

// listsIn are the paths that a program goes through, but for the one that it begins
// with: where that finds no list is said otherwise.
func (q *query) listsIn(src string) (lists []string) {
	for i, l := range iterated.FindAllString(src, -1) {
		if (i > 0 || q.each == nil || len(q.each.path) == 0) && !slices.Contains(lists, l) {
			lists = append(lists, l)
		}
	}
	return lists
}

// explained says of an error of the interpreter what in the program may be meant.
func (q *query) explained(err error) error {
	switch text := err.Error(); {
	case !strings.HasPrefix(text, "cannot iterate over: ") || len(q.lists) == 0:
		return err
	case !strings.HasPrefix(text, "cannot iterate over: null"):
		return fmt.Errorf("%w: what it goes through is %s", err, clip(strings.Join(q.lists, ", "), 100))
	}
	return fmt.Errorf("%w: %s finds no list here; %s takes that for an empty one, as optional: true does for a list that items or rows begin with",
		err, clip(strings.Join(q.lists, " or "), 100), "("+clip(strings.TrimSuffix(q.lists[0], "[]"), 60)+" // [])[]")
}

// errJQ marks what a query says about an answer, apart from ctx's end.
type errJQ struct {
	what string
	err  error
}

func (e *errJQ) Error() string { return e.what + ": " + clip(e.err.Error(), 300) }
func (e *errJQ) Unwrap() error { return e.err }

// run yields what the query makes of v, until the first error.
func (q *query) run(ctx context.Context, v any, vars func(name string) (any, error)) iter.Seq2[any, error] {
	return func(yield func(any, error) bool) {
		args, err := q.args(vars)
		if err != nil {
			yield(nil, err)
			return
		}
		q.runCode(ctx, q.code, v, args)(yield)
	}
}

// args are the values of the query's variables.
func (q *query) args(vars func(name string) (any, error)) ([]any, error) {
	args := make([]any, len(q.vars))
	for i, n := range q.vars {
		var err error
		if args[i], err = vars(n); err != nil {
			return nil, &errJQ{q.what, err}
		}
	}
	return args, nil
}

func (q *query) runCode(ctx context.Context, code *gojq.Code, v any, args []any) iter.Seq2[any, error] {
	return func(yield func(any, error) bool) {
		// A fault of the interpreter, met by whatever a vendor sent, is that
		// answer's fault and must not take the worker with it.
		inYield := false
		defer func() {
			if inYield {
				return
			}
			if r := recover(); r != nil {
				yield(nil, &errJQ{q.what, fmt.Errorf("the jq interpreter failed: %v", r)})
			}
		}()
		results := code.RunWithContext(ctx, v, args...)
		for {
			out, ok := results.Next()
			if !ok {
				return
			}
			err, bad := out.(error)
			inYield = true
			if bad {
				if ctx.Err() == nil {
					err = &errJQ{q.what, q.explained(err)}
				}
				yield(nil, err)
				return
			}
			if !yield(out, nil) {
				return
			}
			inYield = false
		}
	}
}

// one gives the single value that the query must make of v.
func (q *query) one(ctx context.Context, v any, vars func(name string) (any, error)) (any, error) {
	var out any
	n := 0
	for x, err := range q.run(ctx, v, vars) {
		if err != nil {
			return nil, err
		}
		if n++; n > 1 {
			return nil, &errJQ{q.what, errors.New("more than one value where one is expected")}
		}
		out = x
	}
	return out, nil // no value at all is null, as in jq's own // and ?
}

// digits is the exact text of a string or a number; ok tells whether v is one.
func digits(v any) (s string, ok bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case json.Number:
		return v.String(), true
	case int, *big.Int:
		return exactJSON(v), true
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return "", false
		}
		return exactJSON(v), true
	}
	return "", false
}

// exactJSON is v's compact JSON, with the digits that the vendor wrote.
func exactJSON(v any) string {
	b, err := gojq.Marshal(v)
	if err != nil { // cannot be: v came from gojq or from parseJSON
		return "null"
	}
	return string(b)
}

// parseJSON reads the one JSON text in body. Numbers stay as they are written.
func parseJSON(body []byte) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
			return nil, errors.New("the JSON text is cut")
		}
		return nil, err
	}
	if rest := bytes.TrimSpace(body[dec.InputOffset():]); len(rest) > 0 {
		return nil, fmt.Errorf("%d bytes follow the JSON text", len(rest))
	}
	return v, nil
}

// tooDeep tells whether a JSON text is nested deeper than most: decoder and
// interpreter recurse.
func tooDeep(body []byte, most int) bool {
	depth, quoted := 0, false
	for i := 0; i < len(body); i++ {
		switch c := body[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			if depth++; depth > most {
				return true
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return false
}
