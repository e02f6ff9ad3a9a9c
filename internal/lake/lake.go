package lake

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/landing"
	"github.com/sluicehq/sluice/internal/run"
	"github.com/sluicehq/sluice/internal/vendorapi"
)

// Store holds the lake's objects: a directory, or a bucket below a prefix. An
// error means "unknown": calling again with the same arguments is safe. It is
// safe for concurrent use.
type Store interface {
	// Get opens an object; the error wraps fs.ErrNotExist when there is none.
	Get(ctx context.Context, name string) (io.ReadCloser, error)
	// Open opens an object to be read in ranges, and tells its size in bytes.
	Open(ctx context.Context, name string) (landing.ReadAtCloser, int64, error)
	// Put makes an object durable in the place of any other, whole or not at all.
	Put(ctx context.Context, name string, data []byte) error
	// PutFile does the same with a file's content, from its start to its end.
	PutFile(ctx context.Context, name string, f *os.File) error
	// Tag reads an object with the tag that Swap wants; nil and an empty tag when
	// there is none.
	Tag(ctx context.Context, name string) (data []byte, tag string, err error)
	// Swap replaces the version with the tag old, or makes the object if old is
	// empty; landing.ErrSwapped if another version is there.
	Swap(ctx context.Context, name, old string, data []byte) (tag string, err error)
	// List calls each with the names that begin with prefix, which ends with a
	// slash, in order.
	List(ctx context.Context, prefix string, each func(name string) error) error
	// Delete removes objects; missing ones are passed over.
	Delete(ctx context.Context, names ...string) error
}

// Runs is what the lake asks of the runs and the ledger; a run.Store has it.
type Runs interface {
	Get(ctx context.Context, id string) (run.Run, error)
	Ends(ctx context.Context, run string, each func(fanout.Settlement) error) error
	Lists(ctx context.Context, run string, each func(fanout.Listed) error) error
}

// A Lake is one vendor's part of a lake. It is safe for concurrent use, also by
// several processes: repeated and concurrent work writes the same objects.
type Lake struct {
	Plan    *vendorapi.Plan
	Store   Store
	Landing *landing.Landing
	Runs    Runs
	Temp    string        // where files are made; empty: the system's directory
	Target  int64         // bytes of a published file, about; 0: 128 MB
	Fan     int           // files that are merged at once; 0: 48
	Grace   time.Duration // for how long files stay that have been replaced; 0: a day
	// Settle is how long a publication waits between its last file and the switch:
	// longer than readers take from listing the files to reading the index.
	Settle time.Duration
	Log    *slog.Logger // nil: none

	now func() time.Time // tests; nil: time.Now
}

// ErrUnfinished says that a publication has met its deadline: the next call goes
// on with it.
var ErrUnfinished = errors.New("the publication is not finished yet: call again")

// ErrCorrupt says that a landed object cannot be converted, however often it is
// tried. It has been noted among the dead.
var ErrCorrupt = errors.New("the landed object cannot be converted")

// Refused says why a run is not published. Asking again is of no use before
// something has changed.
type Refused struct {
	Run     string
	Reasons []string
}

func (r *Refused) Error() string {
	return fmt.Sprintf("run %s is not published: %s", r.Run, strings.Join(r.Reasons, "; "))
}

func refuse(run, format string, args ...any) error {
	return &Refused{run, []string{fmt.Sprintf(format, args...)}}
}

// version is part of every generation: it grows when the same rows come out
// otherwise.
const version = "1"

func (l *Lake) target() int64 { return cmp.Or(l.Target, 128<<20) }
func (l *Lake) fan() int      { return cmp.Or(l.Fan, 48) }

func (l *Lake) clock() time.Time {
	if l.now == nil {
		return time.Now()
	}
	return l.now()
}

func (l *Lake) log() *slog.Logger {
	if l.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return l.Log
}

// specID names the spec that rows were made by.
func (l *Lake) specID() string { return l.Plan.RowsHash[:16] }

// tablesOf are the tables that a tier feeds, derived ones too.
func (l *Lake) tablesOf(tier string) (all []string) {
	for _, t := range l.Plan.Tiers {
		if t.Name == tier {
			all = slices.Clone(t.Tables)
		}
	}
	for _, t := range l.Plan.Lake.Tables {
		if t.From != "" && slices.Contains(all, t.From) {
			all = append(all, t.Name)
		}
	}
	return all
}

// tiers are those that feed a table, in the tree's order.
func (l *Lake) tiers() (out []string) {
	for _, t := range l.Plan.Tiers {
		if len(t.Tables) > 0 {
			out = append(out, t.Name)
		}
	}
	return out
}

// table is what the spec says of a table.
func (l *Lake) table(name string) vendorapi.LakeTable {
	for _, t := range l.Plan.Lake.Tables {
		if t.Name == name {
			return t
		}
	}
	return vendorapi.LakeTable{Name: name, Contract: "evolve"}
}

// paths are the columns that hold a table's task keys: one for each place in the
// paths of the tasks that feed it. Where tiers of different paths feed one
// table, the names of all of them, in the tree's order.
// A table that several vendors feed has one column for them all.
func (l *Lake) paths(table string) (out []string) {
	if l.table(table).Common {
		return []string{"path"}
	}
	for _, t := range l.Plan.Tiers {
		if slices.Contains(l.tablesOf(t.Name), table) {
			for _, name := range t.Path {
				if name = keyColumn(name); !slices.Contains(out, name) {
					out = append(out, name)
				}
			}
		}
	}
	return out
}

// keyColumn is what a task key's column is called, without its leading
// underscore: not as any other of the lineage. No tier's name begins with one.
func keyColumn(tier string) string {
	switch tier {
	case "rec", "run", "source", "upload", "generation", "key", "variant", "rest", "task", "fetch", "chunk", "page", "row", "fetched_at":
		return "_" + tier
	}
	return tier
}

// aligned puts the keys of a task of a tier where the table's columns want them.
func (l *Lake) aligned(table, tier string, columns, path []string) []string {
	if l.table(table).Common {
		text, _ := json.Marshal(append([]string{}, path...)) // never fails
		return []string{string(text)}
	}
	var own []string
	for _, t := range l.Plan.Tiers {
		if t.Name == tier {
			own = t.Path
		}
	}
	if len(own) == len(columns) && len(path) == len(columns) {
		return path
	}
	out := make([]string, len(columns))
	for i, key := range path {
		name := "branch" // a branch's name stands behind the keys
		if i < len(own) {
			name = own[i]
		}
		if at := slices.Index(columns, keyColumn(name)); at >= 0 {
			out[at] = key
		}
	}
	return out
}

// read decodes a JSON object of the store.
func (l *Lake) read(ctx context.Context, name string, into any) error {
	r, err := l.Store.Get(ctx, name)
	if err != nil {
		return fmt.Errorf("reading %s: %w", name, err)
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	if err == nil {
		err = json.Unmarshal(data, into)
	}
	if err != nil {
		return fmt.Errorf("reading %s: %w", name, err)
	}
	return nil
}

// readIf is read for an object that may not be there.
func (l *Lake) readIf(ctx context.Context, name string, into any) (there bool, err error) {
	err = l.read(ctx, name, into)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

func (l *Lake) write(ctx context.Context, name string, doc any) error {
	data, err := json.Marshal(doc)
	if err != nil {
		return fmt.Errorf("packing %s: %w", name, err)
	}
	if err := l.Store.Put(ctx, name, data); err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	return nil
}

// names lists the objects below a prefix.
func (l *Lake) names(ctx context.Context, prefix string) (out []string, err error) {
	err = l.Store.List(ctx, prefix, func(name string) error { out = append(out, name); return nil })
	if err != nil {
		return nil, fmt.Errorf("listing %s: %w", prefix, err)
	}
	return out, nil
}
