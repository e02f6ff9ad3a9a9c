package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync/atomic"

	"github.com/spf13/cobra"

	"github.com/sluicehq/sluice/internal/fleet"
	"github.com/sluicehq/sluice/internal/vendorapi"
)

// The exit codes.
const (
	exitComplete   = 0
	exitIncomplete = 1 // ended with dead or missing tasks
	exitError      = 2 // usage, spec, or anything else that went wrong
	exitStopped    = 3 // stopped before the end; it can be resumed
)

// A Process is what a command gets from the process that it runs in. The zero
// value of each field means: none.
type Process struct {
	Args           []string // without the program's name
	Getenv         func(name string) string
	Stdout, Stderr io.Writer
	// Stop asks to stop: the first signal softly, the second at once.
	Stop <-chan os.Signal
	// Log makes the log handler. It writes above the progress lines.
	Log       func(w io.Writer, level slog.Level) slog.Handler
	Transport http.RoundTripper // to the vendor; nil: the network
}

// app is one command being run.
type app struct {
	Process
	console *console
	log     *slog.Logger

	soft, hard context.Context
	working    atomic.Bool // calls are under way: a first signal lets them finish

	on, home string // flags
	verbose  bool
}

// Main runs one command of sluice and returns its exit code.
func Main(ctx context.Context, p Process) int { return execute(ctx, p, (*app).root) }

// Seed runs the seeder by hand: the same code as the scheduled one.
func Seed(ctx context.Context, p Process) int { return execute(ctx, p, (*app).seedCommand) }

func execute(ctx context.Context, p Process, command func(*app) *cobra.Command) int {
	a := newApp(p)
	soft, stopSoft := context.WithCancelCause(ctx)
	hard, stopHard := context.WithCancel(context.WithoutCancel(ctx))
	a.soft, a.hard = soft, hard
	watched, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(watched)
		a.watchStop(stopSoft, stopHard, ended)
	}()
	cmd := command(a)
	cmd.SetArgs(p.Args)
	cmd.SetOut(a.Stdout)
	cmd.SetErr(a.Stderr)
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	err := cmd.ExecuteContext(soft)
	close(ended)
	<-watched
	stopSoft(nil)
	stopHard()
	return a.report(err)
}

func newApp(p Process) *app {
	if p.Getenv == nil {
		p.Getenv = func(string) string { return "" }
	}
	for _, w := range []*io.Writer{&p.Stdout, &p.Stderr} {
		if *w == nil {
			*w = io.Discard
		}
	}
	a := &app{Process: p, log: slog.New(slog.DiscardHandler), console: newConsole(p.Stderr, p.Getenv("TERM"))}
	a.Stderr = a.console
	return a
}

// watchStop turns signals into the two steps of stopping.
func (a *app) watchStop(soft context.CancelCauseFunc, hard func(), ended <-chan struct{}) {
	for n := 1; ; n++ {
		select {
		case <-ended:
			return
		case <-a.Stop:
		}
		if n > 1 || !a.working.Load() {
			hard()
		} else {
			a.say("stopping: calls under way are finished; again to stop now")
		}
		soft(fleet.ErrSoftStop)
	}
}

// say writes a line for the operator, beside the command's output.
func (a *app) say(format string, args ...any) {
	fmt.Fprintf(a.Stderr, format+"\n", args...)
}

// print writes a line of the command's output.
func (a *app) print(format string, args ...any) {
	fmt.Fprintf(a.Stdout, format+"\n", args...)
}

// An exit ends a command with a code of its own. What there was to say has been
// said, unless err is there.
type exit struct {
	code int
	err  error
}

func (e *exit) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *exit) Unwrap() error { return e.err }

// report says what went wrong, in one line, and returns the exit code.
func (a *app) report(err error) int {
	a.console.clear()
	var e *exit
	var spec *vendorapi.SpecError
	switch {
	case err == nil:
		return exitComplete
	case errors.As(err, &e):
		if e.err != nil {
			a.say("sluice: %s", oneLine(e.err))
		}
		return e.code
	case errors.As(err, &spec):
		a.say("%s", spec.Error()) // a line for each mistake
	case a.soft.Err() != nil && errors.Is(context.Cause(a.soft), fleet.ErrSoftStop):
		a.log.Info("stopped", "while", err)
		a.say("sluice: stopped")
		return exitStopped
	default:
		a.say("sluice: %s", oneLine(a.explain(err)))
	}
	return exitError
}

// oneLine is an error as one line, also one that was joined from several.
func oneLine(err error) string {
	lines := strings.FieldsFunc(err.Error(), func(r rune) bool { return r == '\n' || r == '\t' || r == '\r' })
	return strings.Join(lines, "; ")
}

const rootLong = `Sluice reads a vendor's whole tree through its API: every group, device, data
group and its data, one call at a time for each, never faster than the vendor
allows, losing nothing on the way. It ends with a verdict that proves it.

A vendor is described by one file, its spec. A command takes a spec's path, or
the name of a shipped one (a file vendors/NAME.yaml here wins over it). All that
Sluice remembers is in its home: queues, what has been done, results. Several
processes may share a home; they share the vendor's limits, too.

Exit codes:
  0  complete
  1  ended, and tasks are dead or missing: they are named, with what to type next
  2  a mistake in what was typed or in the spec, or something else went wrong
  3  stopped before the end: it says how to resume

Environment:
  SLUICE_HOME                  the home, unless --home is given (default ./.sluice)
  SLUICE_ON                    where the fleet is, unless --on is given: local or aws
  AWS_REGION, AWS_PROFILE ...  on aws: as every AWS tool reads them
  SLUICE_PREFIX                on aws: the first part of the stacks' names (default sluice)
  SLUICE_SECRET_VENDOR_NAME    a vendor's secret, in capitals with _ for -; or else
                               the line "name: ..." in HOME/secrets/VENDOR.yaml (0600)`

const rootExample = `  sluice demo                        see it work, without any vendor
  sluice vendor check my-vendor.yaml look for mistakes in a spec
  sluice run my-vendor.yaml          read all of yesterday
  sluice status                      what has been read
  sluice read RUN > rows.ndjson      the rows of a run (--table, if there are several)
  sluice lake sql duckdb my-vendor   statements that read its tables`

func (a *app) root() *cobra.Command {
	cmd := &cobra.Command{
		Use: "sluice", Short: "Read a vendor's whole tree within its limits, and prove it complete",
		Long: rootLong, Example: rootExample, Args: cobra.NoArgs, RunE: help, Version: version(),
	}
	cmd.AddGroup(&cobra.Group{ID: "work", Title: "Reading:"}, &cobra.Group{ID: "look", Title: "Looking:"},
		&cobra.Group{ID: "steer", Title: "Steering:"},
		&cobra.Group{ID: "tables", Title: "Tables:"}, &cobra.Group{ID: "vendor", Title: "Vendors:"})
	for id, cmds := range map[string][]*cobra.Command{
		"work":   {a.runCommand(), a.seedCommand(), a.workerCommand(), a.backfillCommand(), a.repairCommand(), a.replayCommand(), a.discardCommand(), a.demoCommand()},
		"look":   {a.statusCommand(), a.planCommand(), a.deadCommand(), a.readCommand(), a.reportCommand()},
		"steer":  {a.limitsCommand(), a.pauseCommand(), a.resumeCommand()},
		"tables": {a.lakeCommand()},
		"vendor": {a.vendorCommand()},
	} {
		for _, c := range cmds {
			c.GroupID = id
			cmd.AddCommand(c)
		}
	}
	a.commonFlags(cmd)
	return cmd
}

// version is the module's, as it was built.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	v := info.Main.Version
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && (v == "" || v == "(devel)") {
			v = s.Value
		}
	}
	return cmp.Or(v, "(devel)") + " " + info.GoVersion
}

// commonFlags are those of every command.
func (a *app) commonFlags(cmd *cobra.Command) {
	f := cmd.PersistentFlags()
	home := a.Getenv("SLUICE_HOME")
	if home == "" {
		home = ".sluice"
	}
	f.StringVar(&a.home, "home", home, "the directory where Sluice keeps everything")
	on := a.Getenv("SLUICE_ON")
	if on == "" {
		on = onLocal
	}
	f.StringVar(&a.on, "on", on, "where the fleet is: local (a home on this machine) or aws (the vendor's stack)")
	f.BoolVarP(&a.verbose, "verbose", "v", false, "log what happens, not only what is wrong")
	cmd.PersistentPreRunE = func(*cobra.Command, []string) error {
		if a.Log != nil {
			level := slog.LevelWarn
			if a.verbose {
				level = slog.LevelInfo
			}
			a.log = slog.New(newCalm(a.Log(a.console, level)))
		}
		if a.on != onLocal && a.on != onAWS {
			return fmt.Errorf("--on %q: it is %s or %s (SLUICE_ON sets the default)", a.on, onLocal, onAWS)
		}
		abs, err := filepath.Abs(a.home)
		if err != nil {
			return fmt.Errorf("home %s: %w", a.home, err)
		}
		a.home = abs
		return nil
	}
}

func help(cmd *cobra.Command, _ []string) error { return cmd.Help() }

// args checks a command's arguments and says in one line what it needs.
func args(least, most int, needs string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, got []string) error {
		switch {
		case len(got) < least:
			return fmt.Errorf("%s needs %s (see %s --help)", cmd.CommandPath(), needs, cmd.CommandPath())
		case len(got) > most:
			return fmt.Errorf("%s: %q is too much: it needs %s (see %s --help)", cmd.CommandPath(), got[most], needs, cmd.CommandPath())
		}
		return nil
	}
}
