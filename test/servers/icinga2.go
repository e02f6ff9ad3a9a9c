package servers

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// An Icinga is a real Icinga 2 with a CA of its own, filled with objects whose
// names are hard to send.
type Icinga struct {
	Base, CA string   // its URL, and the file of its certificate
	Truth    []string // the rows, each as `host service time state label value unit perfdata`
	Groups   int
	Lists    int // memberships of hosts in groups
}

// IcingaPassword is that of all users.
const IcingaPassword = "s3cret-icinga"

// icingaUsers may see all, some of the hosts, and no host groups; filler fills it.
const icingaUsers = `
object ApiUser "scraper" { password = "` + IcingaPassword + `"; permissions = [ "objects/query/*" ] }
object ApiUser "some" { password = "` + IcingaPassword + `"; permissions = [ "objects/query/HostGroup", "objects/query/Service", { permission = "objects/query/Host"; filter = {{ match("h1*", host.name) }} } ] }
object ApiUser "ungrouped" { password = "` + IcingaPassword + `"; permissions = [ "objects/query/Host", "objects/query/Service", "status/query" ] }
object ApiUser "filler" { password = "` + IcingaPassword + `"; permissions = [ "actions/process-check-result" ] }
`

// quoted is a text in Icinga's configuration language.
func quoted(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

type checkResult struct {
	Type    string `json:"type"`
	Service string `json:"service"`
	Status  int    `json:"exit_status"`
	Output  string `json:"plugin_output"`
	Perf    []any  `json:"performance_data"`
	Start   int64  `json:"execution_start"`
	End     int64  `json:"execution_end"`
}

// perfs are performance data with what is to be made of them: label, value, unit.
var perfs = []struct {
	data any
	want string
}{
	{"rta=0.125ms;3000;5000;0;", "rta 0.125 ms"},
	{"pl=0%;80;100;0;", "pl 0 %"},
	{"'/var/lib a''b'=9007199254740993B;;;0;", "/var/lib a'b 9007199254740993 B"},
	{"load1=-1.5", "load1 -1.5 <nil>"},
	{"größe=1e3c", "größe 1000 c"},
	{"users=U", "users <nil> <nil>"},
	{"no performance data at all", "<nil> <nil> <nil>"},
	{map[string]any{"type": "PerfdataValue", "label": "checks", "value": 2.5, "unit": "s"}, "checks 2.5 s"},
}

// makeIcinga invents objects, and what their checks have said.
func makeIcinga(ic *Icinga) (config string, results []checkResult) {
	r := mathrand.New(mathrand.NewPCG(5, 6))
	var b strings.Builder
	b.WriteString(`template Host "gh" { check_command = "dummy"; enable_active_checks = false }
template Service "gs" { check_command = "dummy"; enable_active_checks = false; enable_flapping = false }
`)
	odd := []string{"", " /slash", " ?q=1&r", " #hash", " 50%25+x", ` "quoted" \back`, " ünï ☃", " empty", "; {x} {{y}} $z$"}
	var groups []string
	for i := range 12 {
		groups = append(groups, fmt.Sprintf("g%02d%s", i, odd[i%len(odd)]))
		fmt.Fprintf(&b, "object HostGroup %s { }\n", quoted(groups[i]))
	}
	ic.Groups = len(groups)
	for i := range 40 {
		host := fmt.Sprintf("h%02d%s", i, odd[(i/2)%len(odd)])
		var in []string
		for _, g := range r.Perm(len(groups) - 1)[:1+r.IntN(3)] { // the last group stays empty
			in = append(in, quoted(groups[g]))
		}
		ic.Lists += len(in)
		fmt.Fprintf(&b, "object Host %s { import \"gh\"; groups = [%s] }\n", quoted(host), strings.Join(in, ", "))
		for j := range r.IntN(4) {
			service := fmt.Sprintf("s%d%s", j, odd[(i+j)%len(odd)])
			fmt.Fprintf(&b, "object Service %s { import \"gs\"; host_name = %s }\n", quoted(service), quoted(host))
			if r.IntN(8) == 0 {
				continue // never checked
			}
			res := checkResult{Type: "Service", Service: host + "!" + service, Status: r.IntN(3), Output: "fine", Perf: []any{}, Start: DataStart, End: DataStart + int64(r.IntN(3600))}
			for _, p := range r.Perm(len(perfs))[:r.IntN(5)] {
				res.Perf = append(res.Perf, perfs[p].data)
				text, ok := perfs[p].data.(string)
				if !ok {
					text = `{"label":"checks","type":"PerfdataValue","unit":"s","value":2.5}`
				}
				ic.Truth = append(ic.Truth, fmt.Sprint(host, " ", service, " ", res.End, " ", res.Status, " ", perfs[p].want, " ", text))
			}
			results = append(results, res)
		}
	}
	return b.String(), results
}

// StartIcinga starts it below a directory of its own.
func StartIcinga(t *testing.T) *Icinga {
	t.Helper()
	program := Need(t, "icinga2", "icinga2-bin")
	dir, port := t.TempDir(), FreePort(t)
	ic := &Icinga{Base: "https://127.0.0.1:" + port, CA: filepath.Join(dir, "data/certs/ca.crt")}
	for _, d := range []string{"data/certs", "log", "cache", "spool", "run"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	makeCerts(t, filepath.Join(dir, "data/certs"), "here")
	objects, results := makeIcinga(ic)
	Write(t, filepath.Join(dir, "icinga2.conf"), `const NodeName = "here"
const ZoneName = "here"
include <itl>
object Endpoint "here" {}
object Zone "here" { endpoints = [ "here" ] }
object ApiListener "api" { bind_host = "127.0.0.1"; bind_port = `+port+` }
`+icingaUsers+objects)
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	group, err := user.LookupGroupId(me.Gid)
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"daemon", "-c", filepath.Join(dir, "icinga2.conf")}
	for name, v := range map[string]string{"DataDir": dir + "/data", "LogDir": dir + "/log", "CacheDir": dir + "/cache", "SpoolDir": dir + "/spool",
		"InitRunDir": dir + "/run", "PidPath": dir + "/run/pid", "RunAsUser": me.Username, "RunAsGroup": group.Name} {
		args = append(args, "-DConfiguration."+name+"="+v)
	}
	p := Start(t, []string{"ICINGA2_USER=" + me.Username, "ICINGA2_GROUP=" + group.Name}, program, args...)
	t.Cleanup(func() { endIcinga(p) })
	ic.fill(t, p, results)
	return ic
}

// endIcinga ends it with the processes that it has started.
func endIcinga(p *Process) {
	p.Process.Signal(os.Interrupt)
	select {
	case <-p.Done:
	case <-time.After(10 * time.Second):
	}
}

// makeCerts makes a CA and a certificate of its for a host.
func makeCerts(t *testing.T, dir, host string) {
	t.Helper()
	key := func(name string) *ecdsa.PrivateKey {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		der, err := x509.MarshalECPrivateKey(k)
		if err != nil {
			t.Fatal(err)
		}
		Write(t, filepath.Join(dir, name), string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})))
		return k
	}
	sign := func(name string, c, by *x509.Certificate, pub, with *ecdsa.PrivateKey) {
		der, err := x509.CreateCertificate(rand.Reader, c, by, &pub.PublicKey, with)
		if err != nil {
			t.Fatal(err)
		}
		Write(t, filepath.Join(dir, name), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	}
	from, to := time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "a CA of its own"}, NotBefore: from, NotAfter: to,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	caKey := key("ca.key")
	sign("ca.crt", ca, ca, caKey, caKey)
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: host}, NotBefore: from, NotAfter: to,
		DNSNames: []string{host}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	sign(host+".crt", leaf, ca, key(host+".key"), caKey)
}

// fill waits until it answers and sends it what checks have said.
func (ic *Icinga) fill(t *testing.T, p *Process, results []checkResult) {
	t.Helper()
	ca, err := os.ReadFile(ic.CA)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
	defer client.CloseIdleConnections()
	post := func(r checkResult) (string, error) {
		body, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		req, err := http.NewRequest("POST", ic.Base+"/v1/actions/process-check-result", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.SetBasicAuth("filler", IcingaPassword)
		req.Header.Set("Accept", "application/json")
		resp, err := client.Do(req)
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		return string(b), err
	}
	for tries := 0; ; tries++ { // the first one waits for the server
		if _, err := post(results[0]); err == nil {
			break
		}
		select {
		case <-p.Done:
			t.Fatalf("Icinga has ended:\n%s", Tail([]byte(p.Out.String())))
		case <-time.After(50 * time.Millisecond):
		}
		if tries > 600 {
			t.Fatalf("Icinga does not answer:\n%s", Tail([]byte(p.Out.String())))
		}
	}
	for _, r := range results {
		if said, err := post(r); err != nil || !strings.Contains(said, "Successfully processed") {
			t.Fatalf("filling Icinga: %v: %s", err, said)
		}
	}
}
