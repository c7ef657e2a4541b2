package dns

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sync/singleflight"
)

const (
	// askPatience is how long one resolver may take, patience is how long all of them together may. Resolvers of clients wait
	// for 5 seconds.
	askPatience = 2 * time.Second
	patience    = 4500 * time.Millisecond
	// atOnce is how many questions may wait for others; further ones are refused.
	atOnce = 1000
	// safeSize is what is sent over UDP without fragments (RFC 9715).
	safeSize = 1232
)

var errBusy = errors.New("too many questions wait for other resolvers")

// forwarder asks the node's resolvers what is not the cluster's to know.
type forwarder struct {
	upstreams upstreams
	memory    memory
	flights   singleflight.Group
	waiting   chan struct{}

	mu     sync.Mutex
	probes map[string]netip.AddrPort // random names → whom they were asked
}

func newForwarder(path string, own func(netip.AddrPort) bool, now func() time.Time) *forwarder {
	return &forwarder{
		upstreams: upstreams{path: path, own: own, now: now}, memory: memory{now: now},
		waiting: make(chan struct{}, atOnce), probes: map[string]netip.AddrPort{},
	}
}

// ask returns the answer of others, which the caller may change; where nobody has one, it is SERVFAIL. The same question is
// asked once at a time: so a loop that nobody has found yet ends where it began.
func (f *forwarder) ask(ctx context.Context, k key) (answer *dns.Msg, remembered bool, err error) {
	if answer = f.memory.get(k); answer != nil {
		hits.Inc()
		return answer, true, nil
	}
	misses.Inc()
	select {
	case f.waiting <- struct{}{}:
		defer func() { <-f.waiting }()
	default:
		rejected.Inc()
		return nil, false, errBusy
	}
	flight := fmt.Sprint(k)
	shared, err, _ := f.flights.Do(flight, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
		defer cancel()
		got := f.askAll(ctx, k)
		f.memory.put(k, got)
		return got, nil
	})
	if err != nil {
		return nil, false, err
	}
	return shared.(*dns.Msg).Copy(), false, nil
}

// askAll asks one resolver after the other until one knows.
func (f *forwarder) askAll(ctx context.Context, k key) *dns.Msg {
	all, probe := f.upstreams.order()
	if len(probe) > 0 {
		go f.probe(context.WithoutCancel(ctx), probe)
	}
	failed := &dns.Msg{MsgHdr: dns.MsgHdr{Response: true, Rcode: dns.RcodeServerFailure}}
	for _, address := range all {
		got, err := exchange(ctx, address, k)
		f.upstreams.note(address, err == nil)
		if err != nil {
			forwarded.WithLabelValues(address.Addr().String(), "none").Inc()
			slog.Debug("a resolver has not answered", "resolver", address, "name", k.name, "err", err)
			if ctx.Err() != nil {
				break
			}
			continue
		}
		forwarded.WithLabelValues(address.Addr().String(), dns.RcodeToString[got.Rcode]).Inc()
		if got.Rcode == dns.RcodeServerFailure || got.Rcode == dns.RcodeRefused || got.Rcode == dns.RcodeNotImplemented {
			failed = got
			continue // as resolvers do: another one may know
		}
		return got
	}
	return failed
}

// exchange asks one resolver from a socket of its own, whose port and message number are random.
func exchange(ctx context.Context, address netip.AddrPort, k key) (*dns.Msg, error) {
	q := new(dns.Msg)
	q.SetQuestion(k.name, k.qtype)
	q.CheckingDisabled = k.cd
	q.SetEdns0(safeSize, k.do)
	client := &dns.Client{Net: k.protocol, Timeout: askPatience}
	got, _, err := client.ExchangeContext(ctx, q, address.String())
	if err != nil {
		return nil, err
	}
	if len(got.Question) != 1 || !strings.EqualFold(got.Question[0].Name, k.name) || got.Question[0].Qtype != k.qtype || !got.Response {
		return nil, fmt.Errorf("%s answers another question", address)
	}
	return got, nil
}

// probe asks each resolver for a name that nobody has. Whoever asks this server for it leads back here.
func (f *forwarder) probe(ctx context.Context, all []netip.AddrPort) {
	var wg sync.WaitGroup
	for _, address := range all {
		wg.Go(func() {
			random := make([]byte, 16)
			_, _ = rand.Read(random)
			name := hex.EncodeToString(random[:8]) + "." + hex.EncodeToString(random[8:]) + "."
			f.mu.Lock()
			f.probes[name] = address
			f.mu.Unlock()
			ctx, cancel := context.WithTimeout(ctx, patience)
			defer cancel()
			_, _ = exchange(ctx, address, key{name: name, qtype: dns.TypeHINFO, protocol: "udp"})
			f.mu.Lock()
			_, straight := f.probes[name]
			delete(f.probes, name)
			f.mu.Unlock()
			if !straight {
				return // caught
			}
			f.upstreams.noteLoop(address, false)
		})
	}
	wg.Wait()
}

// caught tells that a question is one of the probes, which has come back.
func (f *forwarder) caught(name string, qtype uint16) bool {
	if qtype != dns.TypeHINFO {
		return false
	}
	name = strings.ToLower(name)
	f.mu.Lock()
	address, ok := f.probes[name]
	delete(f.probes, name)
	f.mu.Unlock()
	if ok && f.upstreams.noteLoop(address, true) {
		slog.Warn("a resolver leads back to the cluster's DNS and is not asked", "resolver", address, "file", f.upstreams.path)
	}
	return ok
}
