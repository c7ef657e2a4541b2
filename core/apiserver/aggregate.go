package apiserver

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/runtime/schema"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"

	"github.com/gantryio/gantry/core/api/apiregistration"
	"github.com/gantryio/gantry/core/cache"
)

// FrontProxy is by what aggregated API servers know that a request comes from this server, and so believe whom it names
// in the X-Remote headers.
type FrontProxy struct {
	Certificate tls.Certificate
	// CA is what they verify the certificate with, in PEM.
	CA []byte
	// Names are the common names of such certificates.
	Names []string
}

// refreshTime is how old what is known of an aggregated API server's kinds may become.
const refreshTime = time.Minute

// aggregation is the group versions that other API servers serve. Like definitions they are looked at by whoever asks.
type aggregation struct {
	mu      sync.Mutex
	seen    atomic.Int64 // revision of the last change that was looked at
	remotes atomic.Pointer[remotes]
	// announcing orders those who make the discovery documents anew.
	announcing sync.Mutex
	changed    chan struct{} // closed by the next of them, if not nil
}

// remote is a group version that another API server serves. It never changes; transport and known are shared by those
// that follow each other while the specification stays the same.
type remote struct {
	gv        schema.GroupVersion
	from      *apiregistrationv1.APIService
	available bool
	transport *http.Transport
	known     *remoteKinds
}

type remotes map[schema.GroupVersion]*remote

var apiServiceKind = apiregistrationv1.SchemeGroupVersion.WithResource("apiservices")

// FollowAPIServices keeps what aggregated API servers serve in the discovery documents until ctx ends.
func (s *Server) FollowAPIServices(ctx context.Context) error {
	col := s.collection(apiServiceKind)
	if col == nil {
		<-ctx.Done()
		return ctx.Err()
	}
	_, w := col.SnapshotAndWatch(cache.Scope{})
	defer w.Close()
	w.SetPatient()
	var fetches sync.WaitGroup
	defer fetches.Wait()
	var events []*cache.Event
	for {
		s.syncAPIServices()
		for _, r := range *s.aggregation.remotes.Load() {
			if r.available && r.known.begin(time.Now()) {
				fetches.Go(func() { s.learnKinds(ctx, r) })
			}
		}
		round, cancel := context.WithTimeout(ctx, refreshTime)
		var err error
		events, err = w.Next(round, events[:0])
		cancel()
		if err != nil && (ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded)) {
			return err
		}
	}
}

// syncAPIServices makes what is passed on agree with the APIServices. It costs a comparison when nothing has changed.
func (s *Server) syncAPIServices() {
	a, col := &s.aggregation, s.collection(apiServiceKind)
	if col == nil || col.Changed() <= a.seen.Load() {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	changed := col.Changed()
	if changed <= a.seen.Load() {
		return
	}
	old, now := *a.remotes.Load(), remotes{}
	for _, e := range col.Snapshot().All() {
		if from := e.Object.(*apiregistrationv1.APIService); apiregistration.Remote(from) {
			r := s.newRemote(from, old)
			now[r.gv] = r
		}
	}
	for gv, r := range old {
		if now[gv] == nil || now[gv].transport != r.transport {
			r.transport.CloseIdleConnections()
		}
	}
	a.remotes.Store(&now)
	if len(old) > 0 || len(now) > 0 {
		s.announce()
	}
	a.seen.Store(changed) // from here on nobody waits
}

func (s *Server) newRemote(from *apiregistrationv1.APIService, old remotes) *remote {
	r := &remote{
		gv: schema.GroupVersion{Group: from.Spec.Group, Version: from.Spec.Version}, from: from,
		available: apiregistration.Available(from),
	}
	before := old[r.gv]
	if before != nil && before.from.UID == from.UID && equality.Semantic.DeepEqual(before.from.Spec, from.Spec) {
		r.transport, r.known = before.transport, before.known
	} else {
		r.transport, r.known = s.remoteTransport(&from.Spec), newRemoteKinds()
	}
	if before == nil || !before.available {
		r.known.expire() // it may serve something else than before it was away
	}
	return r
}

// remoteOf finds who else serves a path below /apis/GROUP/VERSION; nil means that this server does.
func (s *Server) remoteOf(parts []string) *remote {
	if parts[0] != "apis" || len(parts) < 3 {
		return nil
	}
	s.syncAPIServices()
	return (*s.aggregation.remotes.Load())[schema.GroupVersion{Group: parts[1], Version: parts[2]}]
}

// announce makes the discovery documents of what this and other servers serve now.
func (s *Server) announce() {
	s.aggregation.announcing.Lock()
	defer s.aggregation.announcing.Unlock()
	fresh := newDiscovery(s.Registry, *s.aggregation.remotes.Load())
	s.discovery.Store(&fresh)
	if s.aggregation.changed != nil {
		close(s.aggregation.changed)
		s.aggregation.changed = nil
	}
}
