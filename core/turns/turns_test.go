package turns

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// calls notes which calls began, in their order.
type calls struct {
	mu    sync.Mutex
	began []*call
}

type call struct {
	Call
	all         *calls
	name        string
	made, began time.Time
}

func (c *call) Run() {
	c.began = time.Now()
	c.all.mu.Lock()
	defer c.all.mu.Unlock()
	c.all.began = append(c.all.began, c)
}

func (a *calls) make(p *Peer) *call {
	c := &call{all: a, name: p.name, made: time.Now()}
	c.Peer, c.Call.Run = p, c
	c.Begin()
	return c
}

func (a *calls) makeMany(p *Peer, n int) {
	for range n {
		a.make(p)
	}
}

// take returns those that have begun since it was called last.
func (a *calls) take() []*call {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := a.began
	a.began = nil
	return out
}

func names(all []*call) []string {
	var out []string
	for _, c := range all {
		out = append(out, c.name)
	}
	return out
}

// most is how many have a turn.
func most() int { return perCPU * runtime.GOMAXPROCS(0) }

func lanes() int { return max(1, runtime.GOMAXPROCS(0)/2) }

func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var all calls
		var turns Turns
		a, b := turns.Peer("a"), turns.Peer("b")
		all.makeMany(a, most()+3)
		first := all.take()
		if len(first) != most() {
			t.Fatalf("%d begin at once, want %d", len(first), most())
		}
		all.makeMany(b, 3)
		if more := all.take(); len(more) > 0 {
			t.Fatalf("%d begin without a turn", len(more))
		}
		for i, end := range []func(*Call){(*Call).End, (*Call).Yield, func(c *Call) { c.Yield(); c.Yield(); c.End() }} {
			end(&first[i].Call)
		}
		if got := names(all.take()); !slices.Equal(got, []string{"a", "b", "a"}) {
			t.Errorf("turns go to %v, want to one peer after the other", got)
		}
		for _, c := range first {
			c.End()
		}
		if got := names(all.take()); !slices.Equal(got, []string{"b", "a", "b"}) {
			t.Errorf("then to %v", got)
		}
	})
}

// A call that waits without saying so keeps its turn from others for a moment only.
func TestTurnsOfWhoWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var all calls
		var turns Turns
		a, b := turns.Peer("a"), turns.Peer("b")
		all.makeMany(a, most())
		time.Sleep(10 * patience) // nobody minds
		all.make(b)
		time.Sleep(patience - 1)
		synctest.Wait()
		if n := len(all.take()); n != most() {
			t.Fatalf("%d have begun, want %d", n, most())
		}
		time.Sleep(patience + 1)
		synctest.Wait()
		if n := len(all.take()); n != 1 {
			t.Errorf("%d have begun after that, want 1", n)
		}
	})
}

// finishing ends each call that begins after it has taken some time, until stop is called.
func finishing(all *calls, took time.Duration, each func(*call)) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() {
		for ctx.Err() == nil {
			now := all.take()
			time.Sleep(took)
			for _, c := range now {
				c.End()
				each(c)
			}
		}
	})
	return func() { cancel(); done.Wait() }
}

// Who floods is slowed down while others call, and only then.
func TestFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var all calls
		var turns Turns
		noisy, quiet := turns.Peer("noisy"), turns.Peer("quiet")
		const took = time.Millisecond
		var served atomic.Int64
		var waited []time.Duration
		stop := finishing(&all, took, func(c *call) {
			if c.Peer == quiet {
				waited = append(waited, c.began.Sub(c.made))
				return
			}
			served.Add(1)
			all.make(noisy)
		})
		all.makeMany(noisy, mostWaiting)
		time.Sleep(time.Second)
		alone := int(served.Swap(0))
		if want := 900 * most(); alone < want {
			t.Errorf("alone, %d calls in a second, want %d or more", alone, want)
		}
		for range 100 {
			all.make(quiet)
			time.Sleep(10 * took)
		}
		if served, limit := int(served.Load()), lanes()*1000/(1+pause)*11/10; served > limit || served < limit/2 {
			t.Errorf("beside another, %d calls in a second, want up to %d", served, limit)
		}
		time.Sleep(2 * calm)
		served.Store(0)
		time.Sleep(time.Second)
		if served := int(served.Load()); served < alone*9/10 {
			t.Errorf("alone again, %d calls in a second, want %d", served, alone)
		}
		stop()
		if slices.Sort(waited); len(waited) < 99 || waited[len(waited)-2] > 0 { // the first one meets the flood
			t.Errorf("%d calls of the other waited %v", len(waited), waited)
		}
	})
}

// Calls of who floods are made one after the other also when they wait, unless they wait for long.
func TestFloodOfCallsThatWait(t *testing.T) {
	for took, most := range map[time.Duration]int{time.Millisecond: 1000, time.Hour: int(time.Second / laneTime)} {
		synctest.Test(t, func(t *testing.T) {
			var all calls
			var turns Turns
			noisy, quiet := turns.Peer("noisy"), turns.Peer("quiet")
			var begun atomic.Int64
			ctx, cancel := context.WithCancel(t.Context())
			var waiting, done sync.WaitGroup
			done.Go(func() {
				for ctx.Err() == nil {
					for _, c := range all.take() {
						if c.Peer == noisy {
							begun.Add(1)
						}
						c.Yield()
						waiting.Go(func() {
							select {
							case <-time.After(took):
							case <-ctx.Done():
							}
							c.End()
							if c.Peer == noisy && ctx.Err() == nil {
								all.make(noisy)
							}
						})
					}
					time.Sleep(10 * time.Microsecond)
				}
			})
			all.makeMany(noisy, mostWaiting)
			time.Sleep(calm) // in which most of them wait already, for something else than a turn
			all.make(quiet)
			synctest.Wait()
			if n := begun.Swap(0); n < mostWaiting {
				t.Errorf("alone, %d of %d calls have begun", n, mostWaiting)
			}
			for range 100 {
				time.Sleep(10 * time.Millisecond)
				all.make(quiet)
				if took > time.Minute {
					all.make(noisy) // it goes on flooding
				}
			}
			cancel()
			done.Wait()
			if n, limit := int(begun.Load()), lanes()*most*11/10; n > limit || n < limit/2 {
				t.Errorf("calls that wait for %v: %d in a second, want up to %d", took, n, limit)
			}
			left := func() bool {
				turns.mu.Lock()
				defer turns.mu.Unlock()
				return turns.first != nil
			}
			for all.make(quiet); left(); time.Sleep(time.Millisecond) {
				for _, c := range all.take() {
					c.End()
				}
			}
			waiting.Wait()
		})
	}
}

// Many calls, each some at a time, are no flood, whoever else calls.
func TestNoFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var all calls
		var turns Turns
		busy, quiet := turns.Peer("busy"), turns.Peer("quiet")
		var served atomic.Int64
		stop := finishing(&all, time.Millisecond, func(c *call) {
			if c.Peer == busy {
				served.Add(1)
				all.make(busy)
			}
		})
		all.makeMany(busy, floodWaiting)
		for range 100 {
			all.make(quiet)
			time.Sleep(10 * time.Millisecond)
		}
		if served, want := int(served.Load()), 800*most(); served < want {
			t.Errorf("%d calls in a second, want %d or more", served, want)
		}
		stop()
	})
}

// Watches are no flood, however many there are.
func TestLasts(t *testing.T) {
	var all calls
	var turns Turns
	watcher, quiet := turns.Peer("watcher"), turns.Peer("quiet")
	for range 10 * floodOpen {
		c := all.make(watcher)
		c.Yield()
		Lasts(context.WithValue(t.Context(), Key, &c.Call))
	}
	all.make(quiet)
	all.make(watcher)
	if n := len(all.take()); n != 10*floodOpen+2 || turns.flooded {
		t.Errorf("%d calls have begun, flooded is %t", n, turns.flooded)
	}
	Lasts(t.Context()) // of nobody
	for range 2 * floodOpen {
		all.make(watcher).Yield()
	}
	if !turns.flooded {
		t.Error("calls that do not last are no flood either")
	}
}

func TestCrowded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var all calls
		var turns Turns
		noisy, quiet := turns.Peer("noisy"), turns.Peer("quiet")
		all.makeMany(noisy, most()+mostWaiting)
		if slices.ContainsFunc(all.take(), func(c *call) bool { return c.crowded }) {
			t.Error("a call is crowded before that many wait")
		}
		crowded, other := all.make(noisy), all.make(quiet)
		if got := all.take(); len(got) != 1 || got[0] != crowded {
			t.Fatalf("%d calls begin, want the one that is too many", len(got))
		}
		if !Crowded(context.WithValue(t.Context(), Key, &crowded.Call)) || Crowded(context.WithValue(t.Context(), Key, &other.Call)) || Crowded(t.Context()) {
			t.Error("not that call alone is crowded")
		}
		crowded.End() // which has no turn
		if n := len(all.take()); n > 0 {
			t.Errorf("%d more begin when it ends", n)
		}
		finish := finishing(&all, time.Millisecond, func(*call) {})
		time.Sleep(time.Second)
		finish()
	})
}

func TestPeersLeave(t *testing.T) {
	var all calls
	var turns Turns
	p := turns.Peer("a")
	if turns.Peer("a") != p || turns.Peer("b") == p {
		t.Error("peers are not told apart by their names")
	}
	c := all.make(p)
	p.Leave()
	if turns.Peer("a") != p {
		t.Error("a peer with another user is gone")
	}
	p.Leave()
	p.Leave()
	c.End()
	if _, there := turns.peers["a"]; there || len(turns.peers) != 1 {
		t.Errorf("%d peers are left, want one", len(turns.peers))
	}
}

// Whatever happens at once, each call begins once and all turns are free in the end.
func TestTurnsOfMany(t *testing.T) {
	var turns Turns
	var workers, running sync.WaitGroup
	for _, name := range []string{"a", "b", "c", "d"} {
		workers.Go(func() {
			p := turns.Peer(name)
			defer p.Leave()
			for range 2000 {
				c := &spun{running: &running}
				running.Add(1)
				c.Peer, c.Call.Run = p, c
				c.Begin()
			}
		})
	}
	workers.Wait()
	running.Wait()
	if turns.free != most() || turns.first != nil || turns.last != nil || len(turns.peers) > 0 {
		t.Errorf("%d of %d turns are free, peers are left: %d", turns.free, most(), len(turns.peers))
	}
	for _, l := range turns.lanes {
		if l.call != nil {
			t.Error("a lane is taken")
		}
	}
}

type spun struct {
	Call
	running *sync.WaitGroup
}

func (c *spun) Run() {
	go func() {
		defer c.running.Done()
		runtime.Gosched()
		Yield(context.WithValue(context.Background(), Key, &c.Call))
		c.End()
	}()
}

func BenchmarkTurns(b *testing.B) {
	var turns Turns
	p := turns.Peer("a")
	c := &nothing{}
	c.Peer, c.Call.Run = p, c
	b.ReportAllocs()
	for b.Loop() {
		c.Begin()
		c.End()
	}
}

type nothing struct{ Call }

func (*nothing) Run() {}
