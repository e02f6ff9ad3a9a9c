// Command awslocal runs a vendor's synthesized stack on this machine: stand-in
// servers for SQS, DynamoDB, S3 and SSM, the real programs of its functions, its
// schedules with some seconds in place of a minute, and the simulated vendor.
//
//	make aws-local
//
// It prints what to set so that "sluice status --on aws" looks at it, and shows
// the run's progress until its verdict. With -price (make price) it then prices
// the reference day by what was counted.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/sluicehq/sluice/internal/awsfleet/awstest"
	"github.com/sluicehq/sluice/internal/functions/stacktest"
	"github.com/sluicehq/sluice/internal/vendorsim"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := local(ctx); err != nil && ctx.Err() == nil {
		fmt.Fprintln(os.Stderr, "aws-local:", err)
		os.Exit(1)
	}
}

const token = "local"

func local(ctx context.Context) error {
	scale := flag.Int("scale", 40, "one part in so many of the reference day's tree")
	rate := flag.Int("rate", 50, "calls per second that the vendor allows")
	minute := flag.Duration("minute", 2*time.Second, "how long a minute of the schedules takes")
	bill := flag.Bool("price", false, "price the reference day; sets the others")
	flag.Parse()
	if *bill {
		return priceDay(ctx)
	}
	return with(ctx, *scale, *rate, func(l *site) error { return l.walk(ctx, *minute) })
}

// A site is a vendor's stack on stand-in servers, and the vendor.
type site struct {
	dir     string
	servers *awstest.Servers
	meter   *metered
	sim     *vendorsim.Server
	account *stacktest.Account
}

// with deploys a site, does what is to be done with it, and takes it down.
func with(ctx context.Context, scale, rate int, do func(*site) error) (err error) {
	l := new(site)
	if l.dir, err = os.MkdirTemp("", "sluice-aws-local-*"); err != nil {
		return err
	}
	defer os.RemoveAll(l.dir)
	if l.servers, err = awstest.Run(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.servers.Close()) }()
	if l.meter, err = newMetered(l.servers); err != nil {
		return err
	}
	defer l.meter.Close()
	if l.sim, l.account, err = deploy(ctx, l.servers, l.meter, l.dir, scale, rate); err != nil {
		return err
	}
	defer l.sim.Close()
	defer l.account.Close()
	return do(l)
}

const lakeFunction = "sluice-sim-lake"

// walk starts a run and shows it until its verdict and its tables.
func (l *site) walk(ctx context.Context, minute time.Duration) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop() // no tick after the run
	if err := show(ctx, l.servers, l.dir); err != nil {
		return err
	}
	if err := l.account.Fire(context.WithoutCancel(ctx), "sluice-sim-seed", time.Now()); err != nil {
		return err
	}
	ticking := make(chan struct{})
	go func() { defer close(ticking); l.account.Tick(ctx, context.WithoutCancel(ctx), minute) }()
	l.account.Pump(ctx, minute/3) // as long as Lambda gathers a batch
	err := l.follow(ctx, minute)
	if err == nil {
		err = l.published(ctx, minute)
	}
	stop()
	<-ticking
	return err
}

// deploy synthesizes the stack of the simulated vendor and makes it.
func deploy(ctx context.Context, servers *awstest.Servers, m *metered, dir string, scale, rate int) (*vendorsim.Server, *stacktest.Account, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	addr := l.Addr().String()
	l.Close() // the template names the address before the vendor listens there
	shipped, err := os.ReadFile("vendors/sim.yaml")
	if err != nil {
		return nil, nil, fmt.Errorf("run it in the repository's root: %w", err)
	}
	spec := filepath.Join(dir, "sim.yaml")
	text := strings.Replace(string(shipped), "bucket: 1000/s, burst: 50", fmt.Sprintf("bucket: %d/s, burst: %d", rate, max(2, rate/20)), 1)
	text = strings.Replace(text, "    rows: |", "    pages: {cursor: {from: .next, param: cursor}}\n    rows: |", 1)
	if err := os.WriteFile(spec, []byte(text), 0o644); err != nil {
		return nil, nil, err
	}
	fmt.Println("synthesizing the stack ...")
	environment := fmt.Sprintf("account: \"123456789012\"\nregion: %s\nvendors:\n  sim:\n    spec: %s\n    settings: {base: \"http://%s\"}\n", awstest.Region, spec, addr)
	if err := stacktest.Synth(ctx, ".", environment, dir); err != nil {
		return nil, nil, err
	}
	template, err := stacktest.Load(dir, "sluice-sim")
	if err != nil {
		return nil, nil, err
	}
	sim, err := vendorsim.Serve(addr, vendorsim.Config{Tree: day(scale), Token: token, Latency: 20 * time.Millisecond})
	if err != nil {
		return nil, nil, err
	}
	log, err := os.Create(filepath.Join(dir, "functions.log"))
	if err != nil {
		return nil, nil, errors.Join(err, sim.Close())
	}
	account, err := stacktest.Deploy(ctx, template, stacktest.Options{URL: m.url, Env: m.env, Log: log})
	if err == nil {
		// It is the one that computes rather than waits: its time is what its share of a core makes it.
		account.Functions[lakeFunction].Slices = true
		err = servers.PutParameter(ctx, "/sluice/sim/secrets/token", token, true)
	}
	if err != nil {
		return nil, nil, errors.Join(err, sim.Close())
	}
	return sim, account, nil
}

// day is one part in so many of the reference day: 400 groups, 5,000 devices,
// 25,000 data groups whose data comes in as many pages as make 65,000 calls.
func day(scale int) vendorsim.Tree {
	t := vendorsim.Scaled(scale)
	t.Pages = dayCalls/scale - 1 - t.Groups - t.Devices
	return t
}

// show prints how to look at it, and builds the command to do so.
func show(ctx context.Context, servers *awstest.Servers, dir string) error {
	command := exec.CommandContext(ctx, "go", "build", "-o", filepath.Join(dir, "sluice"), "./cmd/sluice")
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("building the command: %w: %s", err, out)
	}
	fmt.Println("\nTo look at it from another terminal:")
	for _, e := range servers.Env("operator") {
		fmt.Println("  export", e)
	}
	fmt.Printf("  sluice status sim --on aws\nWhat the functions log: %s\nThe template: %s\n\n", filepath.Join(dir, "functions.log"), filepath.Join(dir, "sluice-sim.template.json"))
	return nil
}

// follow shows the run until it is closed.
func (l *site) follow(ctx context.Context, every time.Duration) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(every):
		}
		out, err := l.sluice(ctx, "status")
		if err != nil {
			return err
		}
		fmt.Printf("%s\n%s\n", time.Now().Format(time.TimeOnly), out)
		if strings.Contains(out, ": closed, opened") {
			return nil
		}
	}
}

// published waits until the run's tables are published, and shows them.
func (l *site) published(ctx context.Context, minute time.Duration) error {
	within, stop := context.WithTimeout(ctx, 5*time.Minute+5*minute)
	defer stop()
	for {
		if index, err := l.account.Keys(within, "lake/published/"); err != nil {
			return fmt.Errorf("waiting for the run to be published: %w", err)
		} else if len(index) > 0 {
			break
		}
		select {
		case <-within.Done():
			return fmt.Errorf("the run is closed, and not published: see %s", filepath.Join(l.dir, "functions.log"))
		case <-time.After(minute / 3):
		}
	}
	out, err := l.sluice(ctx, "lake", "tables")
	fmt.Printf("%s\n%s\n", time.Now().Format(time.TimeOnly), out)
	return err
}

// sluice runs the operator's command about the vendor.
func (l *site) sluice(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(l.dir, "sluice"), append(args, filepath.Join(l.dir, "sim.yaml"), "--on", "aws")...)
	cmd.Env = append(os.Environ(), l.servers.Env("operator")...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("sluice %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return string(out), nil
}
