package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluicehq/sluice/internal/vendorapi"
	"github.com/sluicehq/sluice/internal/vendorsim"
)

const simLong = `Sim runs the simulated vendor until Ctrl-C, and then prints what it saw. It has
the demo's four tiers, enforces its limit, and counts every sliding window. The
spec "sim" reads it:

  export SLUICE_SECRET_SIM_TOKEN=any
  sluice vendor sim &
  sluice run sim

It asks for the token that --token or SLUICE_SECRET_SIM_TOKEN gives; with neither
it takes any. The spec counts on 1,000 calls a second: for a vendor that allows
less, lower it first, as sluice limits set sim calls --rate 200/s --burst 10. "sluice vendor sim trouble" makes it misbehave.`

type simFlags struct {
	listen  string
	scale   int
	shared  int
	rate    string
	burst   int
	latency time.Duration
	token   string
}

func (a *app) simCommand() *cobra.Command {
	var flags simFlags
	cmd := &cobra.Command{
		Use: "sim", Short: "Run the simulated vendor", Long: simLong, Args: cobra.NoArgs,
		Example: "  sluice vendor sim --scale 20 --rate 200/s --burst 5\n  sluice vendor sim trouble '{\"down\":\"503\",\"for\":\"60s\"}'\n  sluice vendor sim stats",
		RunE:    func(*cobra.Command, []string) error { return a.sim(flags) },
	}
	f := cmd.Flags()
	f.StringVar(&flags.listen, "listen", "127.0.0.1:8070", "where to listen, as `HOST:PORT`")
	f.IntVar(&flags.scale, "scale", 1, "1/`N` of the demo's tree")
	f.IntVar(&flags.shared, "shared", 0, "every `N`th device is in a second group as well")
	f.StringVar(&flags.rate, "rate", "1000/s", "the limit, as `N/UNIT`")
	f.IntVar(&flags.burst, "burst", 50, "calls at once")
	f.DurationVar(&flags.latency, "latency", 2*time.Millisecond, "how long an answer takes")
	f.StringVar(&flags.token, "token", "", "the token to ask for (better: SLUICE_SECRET_SIM_TOKEN)")
	cmd.AddCommand(a.troubleCommand(), a.statsCommand())
	return cmd
}

func (a *app) sim(flags simFlags) error {
	count, each, err := parseRate(flags.rate)
	if err != nil {
		return fmt.Errorf("--rate: %w", err)
	}
	if flags.scale < 1 || flags.shared < 0 || flags.burst < 1 || flags.latency < 0 {
		return errors.New("--scale and --burst are 1 or more; --shared and --latency are not negative")
	}
	token := orElse(flags.token, a.Getenv(vendorapi.SecretEnv("sim", "token")))
	tree := vendorsim.Scaled(flags.scale)
	tree.Shared = flags.shared
	srv, err := vendorsim.Serve(flags.listen, vendorsim.Config{
		Tree: tree, Token: token, Latency: flags.latency,
		Limits: []vendorsim.Limit{{Kind: vendorsim.Bucket, N: count, Per: each, Burst: flags.burst}},
	})
	if err != nil {
		return err
	}
	asks := "takes any token"
	if token != "" {
		asks = "asks for its token"
	}
	a.print("The simulated vendor listens at %s and %s: %s groups, %s devices, %s data groups; %s calls per %s, burst %d. Ctrl-C ends it.",
		srv.URL, asks, number(tree.Groups), number(tree.Devices), number(tree.Datagroups), number(count), per(each), flags.burst)
	if count != 1000 || each != time.Second {
		a.print("The spec sim counts on 1,000 calls a second, so first: sluice limits set sim calls --rate %d/%s --burst %d", count, perUnit(each), flags.burst)
	}
	a.print("Read it with: sluice run sim --set base=%s", srv.URL)
	<-a.soft.Done()
	a.printSimStats(srv.Stats())
	return srv.Close()
}

// perUnit is a time as --rate takes it.
func perUnit(d time.Duration) string {
	for unit, name := range map[time.Duration]string{time.Second: "s", time.Minute: "m", time.Hour: "h"} {
		if d == unit {
			return name
		}
	}
	return d.String()
}

func (a *app) printSimStats(s vendorsim.Stats) {
	a.print("\n%s arrived, %s refused by the limit, %s failed on purpose, %s asked for twice, %d in flight at most",
		plural(s.Calls, "call"), number(s.Refused), number(s.Failed), number(s.Repeated), s.Peak)
	var worst []string
	for w, n := range s.Worst {
		if d, err := time.ParseDuration(w); err == nil {
			worst = append(worst, fmt.Sprintf("%5.0f s  %s", d.Seconds(), number(n)))
		}
	}
	slices.Sort(worst)
	a.print("most arrivals in any window of")
	for _, line := range worst {
		a.print("  %s", line)
	}
}

func (a *app) troubleCommand() *cobra.Command {
	var at string
	cmd := &cobra.Command{
		Use: "trouble JSON", Short: "Make the simulated vendor misbehave",
		Long: `Trouble tells a running simulated vendor how to misbehave, in the place of what it
was told before. {} ends it.

  down       "refused", "503" or "hanging": an outage
  errors     share of calls answered 500, 0 to 1
  cut        share of answers that end early
  malformed  share of answers that are no JSON
  slow       added to every answer, as "200ms"
  changing   true: lists differ from one fetch to the next
  poison     requests whose path or query holds this text are answered 422
  throttle   true: every call is answered 429
  retry_after  what a 429 asks to wait, in seconds
  for        how long, as "60s"; without it until told otherwise`,
		Example: `  sluice vendor sim trouble '{"down":"503","for":"60s"}'` + "\n" + `  sluice vendor sim trouble '{"errors":0.05,"slow":"100ms"}'`,
		Args:    args(1, 1, "a trouble as JSON"), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			body, err := a.steer(cmd.Context(), http.MethodPost, at+"/sim/misbehave", args[0])
			if err == nil {
				a.print("now: %s", strings.TrimSpace(string(body)))
			}
			return err
		},
	}
	cmd.Flags().StringVar(&at, "at", "http://127.0.0.1:8070", "the simulated vendor's `URL`")
	return cmd
}

func (a *app) statsCommand() *cobra.Command {
	var at string
	cmd := &cobra.Command{
		Use: "stats", Short: "Show what the simulated vendor has seen", Args: cobra.NoArgs,
		Example: "  sluice vendor sim stats",
		RunE: func(cmd *cobra.Command, _ []string) error {
			body, err := a.steer(cmd.Context(), http.MethodGet, at+"/sim/stats", "")
			if err != nil {
				return err
			}
			var s vendorsim.Stats
			if err := json.Unmarshal(body, &s); err != nil {
				return fmt.Errorf("%s is no simulated vendor: %w", at, err)
			}
			a.printSimStats(s)
			return nil
		},
	}
	cmd.Flags().StringVar(&at, "at", "http://127.0.0.1:8070", "the simulated vendor's `URL`")
	return cmd
}

// steer talks to a running simulated vendor.
func (a *app) steer(ctx context.Context, method, url, body string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader([]byte(body)))
	if err != nil {
		return nil, fmt.Errorf("--at: %w", err)
	}
	req.Close = true // one request: no connection is to be kept
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		var op *net.OpError
		if errors.As(err, &op) {
			return nil, fmt.Errorf("no simulated vendor answers at %s: start one with sluice vendor sim (%w)", req.URL.Host, op.Err)
		}
		return nil, fmt.Errorf("asking the simulated vendor: %w", err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return nil, fmt.Errorf("asking the simulated vendor: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		var e struct{ Error string }
		if json.Unmarshal(answer, &e) != nil || e.Error == "" {
			e.Error = resp.Status
		}
		return nil, fmt.Errorf("the simulated vendor says: %s", e.Error)
	}
	return answer, nil
}
