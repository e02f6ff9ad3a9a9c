package vendorsim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Config is what a simulated vendor is like.
type Config struct {
	Tree    Tree
	Token   string // bearer token; empty: none is asked for
	Limits  []Limit
	Latency time.Duration
}

// Sim is a simulated vendor. It is safe for concurrent use.
type Sim struct {
	Count
	cfg Config

	judging sync.Mutex
	judges  []*judge

	mu      sync.Mutex
	trouble Trouble
	until   time.Time
	well    chan struct{}  // closed when the trouble is over
	fetches map[string]int // of lists that change
	refuse  func(bool)     // takes the listener away and back; nil: there is none
}

// New makes a simulated vendor.
func New(cfg Config) *Sim {
	s := &Sim{cfg: cfg, well: make(chan struct{}), fetches: map[string]int{}}
	s.byPath = map[string]int{}
	for _, l := range cfg.Limits {
		s.judges = append(s.judges, &judge{Limit: l})
	}
	return s
}

// Misbehave changes how the vendor misbehaves. The zero Trouble ends it.
func (s *Sim) Misbehave(t Trouble) error {
	if err := t.Check(); err != nil {
		return err
	}
	s.mu.Lock()
	close(s.well)
	s.well = make(chan struct{})
	s.trouble, s.until = t, time.Time{}
	if t.For > 0 {
		s.until = time.Now().Add(time.Duration(t.For))
		well := s.well
		time.AfterFunc(time.Duration(t.For), func() {
			s.mu.Lock()
			current := s.well == well
			s.mu.Unlock()
			if current {
				_ = s.Misbehave(Trouble{}) // no trouble is always right
			}
		})
	}
	refuse := s.refuse
	s.mu.Unlock()
	if refuse != nil {
		refuse(t.Down == "refused")
	}
	return nil
}

// now is the present trouble, and a channel that is closed when it changes.
func (s *Sim) now() (Trouble, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.trouble, s.well
}

// ServeHTTP implements http.Handler. What is under /sim/ steers the vendor and
// is not counted: GET /sim/stats, POST /sim/misbehave with a Trouble.
func (s *Sim) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/sim/") {
		s.steer(w, r)
		return
	}
	arrived := time.Now()
	s.arrive(arrived)
	defer s.leave()
	trouble, well := s.now()
	switch trouble.Down {
	case "503":
		s.fail(w, http.StatusServiceUnavailable, "down for maintenance")
		return
	case "hanging", "refused":
		select {
		case <-well:
		case <-r.Context().Done():
		}
		s.count(func() { s.failed++ })
		panic(http.ErrAbortHandler) // the connection ends without an answer
	}
	if !sleep(r.Context(), s.cfg.Latency+time.Duration(trouble.Slow)) {
		return
	}
	if s.cfg.Token != "" && r.Header.Get("Authorization") != "Bearer "+s.cfg.Token {
		writeError(w, http.StatusUnauthorized, "who are you?")
		return
	}
	if wait, ok := s.admit(arrived); !ok || trouble.Throttle {
		s.count(func() {
			if s.refused++; s.refused == 1 {
				s.firstRefused = time.Now()
			}
		})
		w.Header().Set("Retry-After", strconv.Itoa(max(1, trouble.RetryAfter, int((wait+time.Second-1)/time.Second))))
		writeError(w, http.StatusTooManyRequests, "too many requests")
		return
	}
	if trouble.Poison != "" && strings.Contains(r.URL.RequestURI(), trouble.Poison) {
		s.fail(w, http.StatusUnprocessableEntity, "this cannot be processed")
		return
	}
	if trouble.Errors > rand.Float64() {
		s.fail(w, http.StatusInternalServerError, "internal error")
		return
	}
	s.answer(w, r, trouble)
}

// admit asks every limit; a call counts in all or in none.
func (s *Sim) admit(at time.Time) (wait time.Duration, ok bool) {
	s.judging.Lock()
	defer s.judging.Unlock()
	saved := make([]judge, len(s.judges))
	for i, j := range s.judges {
		saved[i] = *j
		if good, w := j.admit(at); !good {
			for k := range i {
				*s.judges[k] = saved[k]
			}
			return w, false
		}
	}
	return 0, true
}

func (s *Sim) arrive(at time.Time) {
	s.count(func() {
		s.arrivals = append(s.arrivals, at)
		s.flying++
		s.peak = max(s.peak, s.flying)
	})
}

func (s *Sim) leave() { s.count(func() { s.flying-- }) }

func (s *Sim) count(f func()) {
	s.Count.mu.Lock()
	defer s.Count.mu.Unlock()
	f()
}

func (s *Sim) fail(w http.ResponseWriter, status int, text string) {
	s.count(func() { s.failed++ })
	writeError(w, status, text)
}

func writeError(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"error":%q}`, text)
}

// answer finds what was asked for and sends it, perhaps badly.
func (s *Sim) answer(w http.ResponseWriter, r *http.Request, trouble Trouble) {
	body, ok := s.find(r, trouble.Changing)
	if !ok {
		writeError(w, http.StatusNotFound, "no such thing")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	switch {
	case trouble.Malformed > rand.Float64():
		s.count(func() { s.failed++ })
		body = append([]byte("<oops>"), body...)
	case trouble.Cut > rand.Float64():
		s.count(func() { s.failed++ })
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		w.Write(body[:len(body)/2])
		_ = http.NewResponseController(w).Flush() // the half is to arrive
		panic(http.ErrAbortHandler)
	default:
		s.count(func() { s.byPath[r.URL.RequestURI()]++ })
	}
	w.Write(body)
}

// steer serves /sim/.
func (s *Sim) steer(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	switch {
	case r.URL.Path == "/sim/stats" && r.Method == http.MethodGet:
		json.NewEncoder(w).Encode(s.Stats())
	case r.URL.Path == "/sim/misbehave" && r.Method == http.MethodPost:
		var t Trouble
		dec := json.NewDecoder(r.Body)
		dec.DisallowUnknownFields()
		err := dec.Decode(&t)
		if err == nil {
			err = s.Misbehave(t)
		}
		if err != nil {
			writeError(w, http.StatusBadRequest, err.Error())
			return
		}
		json.NewEncoder(w).Encode(t)
	default:
		writeError(w, http.StatusNotFound, "GET /sim/stats or POST /sim/misbehave")
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// Server is a Sim that listens.
type Server struct {
	*Sim
	URL string

	addr   string
	mu     sync.Mutex
	http   *http.Server
	served sync.WaitGroup
	closed bool
}

// Serve makes a simulated vendor listen at addr (host:port; port 0: any free
// one). Close it.
func Serve(addr string, cfg Config) (*Server, error) {
	s := &Server{Sim: New(cfg)}
	s.Sim.refuse = s.refuseConnections
	if err := s.listen(addr); err != nil {
		return nil, err
	}
	s.URL = "http://" + s.addr
	return s, nil
}

func (s *Server) listen(addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("the simulated vendor cannot listen: %w", err)
	}
	s.addr = l.Addr().String()
	srv := &http.Server{Handler: s.Sim, ReadHeaderTimeout: 10 * time.Second}
	s.http = srv
	s.served.Go(func() { _ = srv.Serve(l) }) // ends with ErrServerClosed
	return nil
}

// refuseConnections closes the port and all connections, or opens it again.
func (s *Server) refuseConnections(refuse bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || refuse == (s.http == nil) {
		return
	}
	if refuse {
		s.http.Close()
		s.http = nil
		return
	}
	for range 100 { // the port may be taken for a moment
		if s.listen(s.addr) == nil {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// Close ends the server and waits for it.
func (s *Server) Close() error {
	s.mu.Lock()
	s.closed = true
	var err error
	if s.http != nil {
		err = s.http.Close()
	}
	s.mu.Unlock()
	s.served.Wait()
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

func (s *Sim) tree() Tree {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cfg.Tree
}

// Grow gives the vendor another tree.
func (s *Sim) Grow(t Tree) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cfg.Tree = t
}
