package awsfleet

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strconv"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// A row is an item of the table.
type row map[string]types.AttributeValue

// A key names a row.
type key struct{ pk, sk string }

func (k key) row() row { return row{"pk": str(k.pk), "sk": str(k.sk)} }

func (r row) key() key { return key{r.str("pk"), r.str("sk")} }

func str(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }
func num[N int | int64](n N) types.AttributeValue {
	return &types.AttributeValueMemberN{Value: strconv.FormatInt(int64(n), 10)}
}
func yes(b bool) types.AttributeValue { return &types.AttributeValueMemberBOOL{Value: b} }

func (r row) str(name string) string {
	if s, ok := r[name].(*types.AttributeValueMemberS); ok {
		return s.Value
	}
	return ""
}

func (r row) num(name string) int64 {
	if n, ok := r[name].(*types.AttributeValueMemberN); ok {
		v, _ := strconv.ParseInt(n.Value, 10, 64)
		return v
	}
	return 0
}

func (r row) int(name string) int { return int(r.num(name)) }

func (r row) yes(name string) bool {
	b, ok := r[name].(*types.AttributeValueMemberBOOL)
	return ok && b.Value
}

func (r row) sub(name string) row {
	if m, ok := r[name].(*types.AttributeValueMemberM); ok {
		return m.Value
	}
	return nil
}

func (r row) has(name string) bool { return r[name] != nil }

// table is the stack's one table. It is safe for concurrent use.
type table struct {
	client *dynamodb.Client
	name   string
	usage  *usage
	limit  time.Duration // of one operation
}

// An expr is a condition or an update: attributes are written #name.
type expr struct {
	set  string            // what to change
	only string            // what must hold; empty: nothing
	vals row               // :value
	as   map[string]string // what #name stands for, if not for name
}

var attribute = regexp.MustCompile(`#\w+`)

// names spares us knowing DynamoDB's 570 reserved words.
func (e expr) names() map[string]string {
	out := map[string]string{}
	for _, text := range []string{e.set, e.only} {
		for _, n := range attribute.FindAllString(text, -1) {
			if out[n] = n[1:]; e.as[n] != "" {
				out[n] = e.as[n]
			}
		}
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

// given is text, or nil if there is none.
func given(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

const counted = types.ReturnConsumedCapacityTotal

func (t *table) failed(err error) error { return explain(err, "table "+t.name) }

func (t *table) consumed(c *types.ConsumedCapacity, write bool) {
	switch {
	case c == nil:
	case write:
		t.usage.units(0, aws.ToFloat64(c.CapacityUnits), 0)
	default:
		t.usage.units(aws.ToFloat64(c.CapacityUnits), 0, 0)
	}
}

// get reads a row with every write that ended before; nil: there is none.
func (t *table) get(ctx context.Context, k key) (row, error) {
	ctx, cancel := context.WithTimeout(ctx, t.limit)
	defer cancel()
	out, err := t.client.GetItem(ctx, &dynamodb.GetItemInput{
		TableName: &t.name, Key: k.row(), ConsistentRead: aws.Bool(true), ReturnConsumedCapacity: counted,
	})
	if err != nil {
		return nil, t.failed(err)
	}
	t.consumed(out.ConsumedCapacity, false)
	return out.Item, nil
}

// put writes a whole row; held: the condition did.
func (t *table) put(ctx context.Context, r row, only expr) (held bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, t.limit)
	defer cancel()
	out, err := t.client.PutItem(ctx, &dynamodb.PutItemInput{
		TableName: &t.name, Item: r, ConditionExpression: given(only.only),
		ExpressionAttributeNames: only.names(), ExpressionAttributeValues: only.vals, ReturnConsumedCapacity: counted,
	})
	if held, err = t.held(err); held {
		t.consumed(out.ConsumedCapacity, true)
	}
	return held, err
}

// update changes a row, and makes it if there is none. It returns the row as
// back says.
func (t *table) update(ctx context.Context, k key, e expr, back types.ReturnValue) (r row, held bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, t.limit)
	defer cancel()
	out, err := t.client.UpdateItem(ctx, &dynamodb.UpdateItemInput{
		TableName: &t.name, Key: k.row(), UpdateExpression: &e.set, ConditionExpression: given(e.only),
		ExpressionAttributeNames: e.names(), ExpressionAttributeValues: e.vals, ReturnValues: back, ReturnConsumedCapacity: counted,
	})
	if held, err = t.held(err); !held {
		return nil, false, err
	}
	t.consumed(out.ConsumedCapacity, true)
	return out.Attributes, true, nil
}

// remove deletes a row; held: the condition did.
func (t *table) remove(ctx context.Context, k key, only expr) (held bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, t.limit)
	defer cancel()
	out, err := t.client.DeleteItem(ctx, &dynamodb.DeleteItemInput{
		TableName: &t.name, Key: k.row(), ConditionExpression: given(only.only),
		ExpressionAttributeNames: only.names(), ExpressionAttributeValues: only.vals, ReturnConsumedCapacity: counted,
	})
	if held, err = t.held(err); held {
		t.consumed(out.ConsumedCapacity, true)
	}
	return held, err
}

// held tells a condition that did not hold from an error.
func (t *table) held(err error) (bool, error) {
	var failed *types.ConditionalCheckFailedException
	if errors.As(err, &failed) {
		t.usage.units(0, 1, 0) // it is billed too
		return false, nil
	}
	if err != nil {
		return false, t.failed(err)
	}
	return true, nil
}

// A scan is a query for the rows of one partition.
type scan struct {
	pk, prefix string // of the sort key
	from, to   string // or sort keys from the one up to and without the other
	last       bool   // backwards
	limit      int    // 0: all
	filter     string // what is sent; attributes are written #name
	only       string // which attributes, likewise
	vals       row
}

// query calls each for the rows of a partition, in order.
func (t *table) query(ctx context.Context, s scan, each func(row) error) error {
	where := expr{set: "#pk = :pk", only: s.filter + " " + s.only, vals: row{":pk": str(s.pk)}}
	if s.prefix != "" {
		where.set += " AND begins_with(#sk, :sk)"
		where.vals[":sk"] = str(s.prefix)
	}
	if s.to != "" {
		where.set += " AND #sk BETWEEN :from AND :to" // both included: no key is a bound
		where.vals[":from"], where.vals[":to"] = str(s.from), str(s.to)
	}
	for k, v := range s.vals {
		where.vals[k] = v
	}
	in := &dynamodb.QueryInput{
		TableName: &t.name, KeyConditionExpression: &where.set, FilterExpression: given(s.filter), ProjectionExpression: given(s.only),
		ExpressionAttributeNames: where.names(), ExpressionAttributeValues: where.vals,
		ConsistentRead: aws.Bool(true), ScanIndexForward: aws.Bool(!s.last), ReturnConsumedCapacity: counted,
	}
	if s.limit > 0 {
		in.Limit = aws.Int32(int32(s.limit))
	}
	for seen := 0; ; {
		out, err := t.page(ctx, in)
		if err != nil {
			return err
		}
		for _, item := range out.Items {
			if err := each(item); err != nil {
				return err
			}
			if seen++; seen == s.limit {
				return nil
			}
		}
		if in.ExclusiveStartKey = out.LastEvaluatedKey; in.ExclusiveStartKey == nil {
			return nil
		}
	}
}

func (t *table) page(ctx context.Context, in *dynamodb.QueryInput) (*dynamodb.QueryOutput, error) {
	ctx, cancel := context.WithTimeout(ctx, t.limit)
	defer cancel()
	out, err := t.client.Query(ctx, in)
	if err != nil {
		return nil, t.failed(err)
	}
	t.consumed(out.ConsumedCapacity, false)
	return out, nil
}

// maxKeys is how many rows one BatchGetItem reads.
const maxKeys = 100

// getAll reads many rows with every write that ended before. Those that are not
// there are missing from the answer.
func (t *table) getAll(ctx context.Context, keys []key) (map[key]row, error) {
	ctx, cancel := context.WithTimeout(ctx, t.limit)
	defer cancel()
	found := make(map[key]row, len(keys))
	var mu sync.Mutex
	err := each(ctx, (len(keys)+maxKeys-1)/maxKeys, func(i int) error {
		some := keys[i*maxKeys : min((i+1)*maxKeys, len(keys))]
		return t.getBatch(ctx, some, func(r row) {
			mu.Lock()
			defer mu.Unlock()
			found[r.key()] = r
		})
	})
	return found, err
}

func (t *table) getBatch(ctx context.Context, keys []key, found func(row)) error {
	ask := types.KeysAndAttributes{ConsistentRead: aws.Bool(true)}
	for _, k := range keys {
		ask.Keys = append(ask.Keys, k.row())
	}
	for try := 0; ; try++ {
		out, err := t.client.BatchGetItem(ctx, &dynamodb.BatchGetItemInput{
			RequestItems: map[string]types.KeysAndAttributes{t.name: ask}, ReturnConsumedCapacity: counted,
		})
		if err != nil {
			return t.failed(err)
		}
		for i := range out.ConsumedCapacity {
			t.consumed(&out.ConsumedCapacity[i], false)
		}
		for _, item := range out.Responses[t.name] {
			found(item)
		}
		rest := out.UnprocessedKeys[t.name]
		if len(rest.Keys) == 0 {
			return nil
		}
		ask.Keys = rest.Keys
		if err := pause(ctx, try); err != nil {
			return fmt.Errorf("DynamoDB left %d of %d rows unread: %w", len(rest.Keys), len(keys), err)
		}
	}
}

// pause waits before the next try: 25 ms, doubled with each, 1 s at most, and
// some chance in it.
func pause(ctx context.Context, try int) error {
	longest := min(25*time.Millisecond<<min(try, 10), time.Second)
	t := time.NewTimer(longest/2 + rand.N(longest/2))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}

// width is how many writes of one batch are under way at once.
const width = 32

// each calls f for 0 to n-1, several at once, and returns the first error. After
// an error nothing more is begun.
func each(ctx context.Context, n int, f func(i int) error) error {
	if n == 1 {
		return f(0)
	}
	var (
		mu    sync.Mutex
		next  int
		first error
		wg    sync.WaitGroup
	)
	take := func() (int, bool) {
		mu.Lock()
		defer mu.Unlock()
		if first == nil {
			first = ctx.Err()
		}
		next++
		return next - 1, first == nil && next <= n
	}
	for range min(n, width) {
		wg.Go(func() {
			for i, ok := take(); ok; i, ok = take() {
				if err := f(i); err != nil {
					mu.Lock()
					if first == nil {
						first = err
					}
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	return first
}
