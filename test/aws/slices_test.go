//go:build prove

package aws

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sluicehq/sluice/internal/functions/stacktest"
	"github.com/sluicehq/sluice/internal/vendorsim"
)

// TestSlices: functions that get the share of a core that their memory buys, in
// slices of 20 ms, read a vendor over TLS: the share of its limit that they use,
// and every window. It is harsher than Lambda (see lambdatest): what holds here
// holds there.
func TestSlices(t *testing.T) {
	for _, c := range []struct {
		rate, memory int
		least        float64 // share of the limit that must be used
	}{
		{5, 128, 0.95}, {20, 128, 0.95}, {50, 128, 0.95},
	} {
		t.Run(fmt.Sprintf("%d per second in %d MB", c.rate, c.memory), func(t *testing.T) { inSlices(t, c.rate, c.memory, c.least) })
	}
}

func inSlices(t *testing.T, rate, memory int, least float64) {
	seconds := 70
	tree := vendorsim.Tree{Groups: 3, Devices: 10, Datagroups: rate * seconds, Points: 12}
	burst := max(2, rate/5)
	front, ca := newFront(t)
	s := deployAt(t, "https://"+front.addr, vendorsim.Config{Tree: tree, Latency: 20 * time.Millisecond},
		fmt.Sprintf("{name: calls, bucket: %d/s, burst: %d, in_flight: 32}", rate, burst),
		fmt.Sprintf("    memory_mb: %d\n", memory), stacktest.Options{Timeout: 3 * time.Minute, Slices: true, More: []string{"SSL_CERT_FILE=" + ca}})
	front.serve(t, s.Sim)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	if err := s.account.Fire(ctx, "sluice-sim-seed", time.Now()); err != nil {
		t.Fatal(err)
	}
	go s.account.Tick(ctx, ctx, 5*time.Second)
	var all []time.Time
	for began := time.Now(); ; time.Sleep(time.Second) {
		if all = s.Arrivals(); len(all) >= tree.Calls()*9/10 || time.Since(began) > 4*time.Minute {
			break
		}
	}
	from := all[0].Add(20 * time.Second) // cold starts and the small tiers are over
	steady := 0
	for _, at := range all {
		if !at.Before(from) {
			steady++
		}
	}
	share := float64(steady) / (float64(rate) * all[len(all)-1].Sub(from).Seconds())
	t.Logf("target: %d/s in %d MB over TLS: share %.3f, worst windows %v, %d refused", rate, memory, share, s.Stats().Worst, s.Stats().Refused)
	if share < least {
		t.Errorf("share %.3f of %d/s: at least %.2f", share, rate, least)
	}
	for _, w := range []time.Duration{time.Second, 5 * time.Second, 10 * time.Second, time.Minute} {
		if worst, allowed := vendorsim.Worst(all, w), int(float64(rate)*w.Seconds())+burst; worst > allowed {
			t.Errorf("%d calls in %v: at most %d", worst, w, allowed)
		}
	}
}

// front is a TLS listener before the simulated vendor.
type front struct {
	addr string
	l    net.Listener
}

// newFront listens with a certificate of its own; ca is the file to trust.
func newFront(t *testing.T) (f *front, ca string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "vendor"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	if err := pem.Encode(&text, &pem.Block{Type: "CERTIFICATE", Bytes: der}); err != nil {
		t.Fatal(err)
	}
	ca = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, text.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, NextProtos: []string{"http/1.1"}})
	if err != nil {
		t.Fatal(err)
	}
	return &front{addr: l.Addr().String(), l: l}, ca
}

func (f *front) serve(t *testing.T, h http.Handler) {
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(f.l) }() // ends with Close
	t.Cleanup(func() { srv.Close(); <-done })
}
