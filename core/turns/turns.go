// Package turns has calls begin in turns while there are more of them than the CPUs can take, so that a caller with many at a time
// does not keep others waiting.
//
// Go's scheduler takes what can run in the order in which it came, and looks at the network only when nothing else can run: beside
// 500 calls that wait to run, a single one of somebody else waits for all of them. Here a few calls have a turn at a time, and what
// waits is taken from one caller after the other. A call that waits for something but the CPU gives its turn away for good, by
// [Yield]: what is limited here is how many begin.
//
// A caller who floods, with many calls in waiting, is slowed down while there are others: however fair the order is, who comes to
// CPUs that are never idle waits for them. Calls of those who flood are made one after the other, in a lane for each two CPUs, with
// pauses three times as long as each of them has had its turn, as long as others call.
package turns

import (
	"context"
	"runtime"
	"sync"
	"time"
)

const (
	// perCPU is how many calls have a turn at a time: with fewer, those that wait for a moment leave CPUs idle, and answers to one
	// caller leave in packets of their own.
	perCPU = 4
	// A caller floods when so many of its calls wait to begin, or so many have not ended. Clients that do their work in parallel
	// have fewer.
	floodWaiting = 64
	floodOpen    = 128
	// mostWaiting is how many may wait before further ones are crowded. It is what a flow of requests has room for in the queues
	// of Kubernetes' default priority levels: 6 queues of 50.
	mostWaiting = 300
	// pause is how often the time that a call of who floods has taken is waited before the next one in its lane.
	pause = 3
	// calm is how long somebody is thought to go on with what they do, flooding or not.
	calm = 100 * time.Millisecond
	// laneTime is after how long a call that waits, such as a watch, lets the next one into its lane.
	laneTime = 10 * time.Millisecond
	// patience is after how long a call without [Yield] loses its turn to others, about, for it may wait for something.
	patience = 2 * time.Millisecond
)

// Turns says which calls begin. Its zero value is ready for use, by many goroutines at a time.
type Turns struct {
	mu      sync.Mutex
	holders []*Call // that have a turn; nil is a free one
	free    int
	peers   map[string]*Peer
	// Peers with calls in waiting, in the order in which they take turns.
	first, last *Peer

	flooded bool      // somebody floods, or did lately
	flood   time.Time // when they were last seen to
	// The last two who called and did not flood, and when: who floods began with calls like any other.
	quiet [2]struct {
		peer *Peer
		at   time.Time
	}
	lanes []lane // for those who flood

	timer *time.Timer
	alarm time.Time // what the timer is set to, zero when it is not
	check time.Time // when holders are looked at next
}

// lane is where the calls of those who flood go one by one.
type lane struct {
	call  *Call     // nil when it is free
	ready time.Time // not before, if it is free
}

// Peer is a caller.
type Peer struct {
	turns *Turns
	name  string
	users int

	head, tail *Call // in waiting
	waiting    int
	open       int   // calls that have not ended, of those that do not last
	next       *Peer // of those with calls in waiting
	flooding   time.Time
}

// Call is a call's place in the order; who makes the call embeds it, and sets its exported fields.
type Call struct {
	Peer *Peer
	// Run is what begins when it is the call's turn. It must not wait.
	Run Runner
	// crowded: the caller has too many in waiting.
	crowded bool

	next  *Call
	open  bool // it is counted among its peer's
	turn  int  // 1 and more, in turns.holders; 0 without
	old   bool
	lane  *lane
	began time.Time     // in the lane
	took  time.Duration // of its turn
}

// Runner is what begins.
type Runner interface{ Run() }

// Peer returns the caller of that name, who is to be left.
func (t *Turns) Peer(name string) *Peer {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.peers[name]
	if p == nil {
		if t.peers == nil {
			cpus := runtime.GOMAXPROCS(0)
			t.peers, t.holders, t.free = map[string]*Peer{}, make([]*Call, perCPU*cpus), perCPU*cpus
			t.lanes = make([]lane, max(1, cpus/2))
		}
		p = &Peer{turns: t, name: name}
		t.peers[name] = p
	}
	p.users++
	return p
}

// Leave is for when the caller makes no more calls; those that wait have their turns all the same.
func (p *Peer) Leave() {
	t := p.turns
	t.mu.Lock()
	defer t.mu.Unlock()
	if p.users--; p.users == 0 {
		delete(t.peers, p.name)
	}
}

// Begin has a call run: when it is its turn, or at once when it is crowded. [Call.End] comes after it.
func (c *Call) Begin() {
	p, t := c.Peer, c.Peer.turns
	t.mu.Lock()
	defer t.mu.Unlock()
	c.open = true
	p.open++
	if t.free > 0 && t.first == nil && !t.flooded && p.open < floodOpen {
		t.start(c)
		return
	}
	now := time.Now()
	if p.waiting >= mostWaiting {
		p.flooding, t.flood = now, now
		c.crowded = true
		c.Run.Run()
		return
	}
	t.push(c)
	t.look(p, now)
	t.dispatch(now)
}

// Yield gives the call's turn away: it is going to wait. It may be called at any time, any number of times.
func (c *Call) Yield() { c.leave(false) }

// End is for when the call has ended.
func (c *Call) End() { c.leave(true) }

// leave gives the turn away, and with the call's end also its lane.
func (c *Call) leave(ended bool) {
	if c.Peer == nil {
		return
	}
	t := c.Peer.turns
	t.mu.Lock()
	defer t.mu.Unlock()
	left := t.stop(c)
	if ended {
		c.close()
		if c.lane != nil {
			*c.lane = lane{ready: time.Now().Add(pause * c.took)}
			c.lane, left = nil, true
		}
	}
	if left && t.first != nil {
		t.dispatch(time.Now())
	}
}

// Lasts is for a call that goes on for as long as its caller likes, such as a watch: it says nothing about how much they ask for.
func Lasts(ctx context.Context) {
	if c, ok := ctx.Value(Key).(*Call); ok && c.Peer != nil {
		c.Peer.turns.mu.Lock()
		defer c.Peer.turns.mu.Unlock()
		c.close()
	}
}

// key is that of the Call of a context.
type key struct{}

// Key is by which the context of a call returns its *Call.
var Key any = key{}

// Yield gives away the turn of the call that ctx is of, if it has one: it is going to wait for something.
func Yield(ctx context.Context) {
	if c, ok := ctx.Value(Key).(*Call); ok {
		c.Yield()
	}
}

// Crowded tells that the call that ctx is of should be refused, for its caller has many others that wait.
func Crowded(ctx context.Context) bool {
	c, ok := ctx.Value(Key).(*Call)
	return ok && c.crowded
}

// What follows is called with the lock.

// close takes the call off its peer's.
func (c *Call) close() {
	if c.open {
		c.open = false
		c.Peer.open--
	}
}

func (t *Turns) push(c *Call) {
	p := c.Peer
	if p.tail == nil {
		p.head = c
		t.line(p)
	} else {
		p.tail.next = c
	}
	p.tail = c
	p.waiting++
}

func (p *Peer) pop() *Call {
	c := p.head
	if p.head = c.next; p.head == nil {
		p.tail = nil
	}
	c.next = nil
	p.waiting--
	return c
}

// line puts a peer at the end of those who wait.
func (t *Turns) line(p *Peer) {
	p.next = nil
	if t.last == nil {
		t.first = p
	} else {
		t.last.next = p
	}
	t.last = p
}

// look finds who floods.
func (t *Turns) look(p *Peer, now time.Time) {
	switch {
	case p.waiting >= floodWaiting || p.open >= floodOpen:
		p.flooding, t.flood, t.flooded = now, now, true
	case now.Sub(p.flooding) > calm:
		if t.quiet[0].peer != p {
			t.quiet[1] = t.quiet[0]
		}
		t.quiet[0].peer, t.quiet[0].at = p, now
	}
	if now.Sub(t.flood) > calm {
		t.flooded = false
	}
}

// slowed tells whose calls go by the lanes: those of who floods beside others who do not.
func (t *Turns) slowed(p *Peer, now time.Time) bool {
	if !t.flooded || now.Sub(p.flooding) > calm {
		return false
	}
	other := &t.quiet[0]
	if other.peer == p {
		other = &t.quiet[1]
	}
	return now.Sub(other.at) <= calm
}

// dispatch starts what may be started.
func (t *Turns) dispatch(now time.Time) {
	var before *Peer
	for p := t.first; p != nil && t.free > 0; {
		next := p.next
		var into *lane
		if t.slowed(p, now) {
			if into = t.lane(now); into == nil {
				before, p = p, next
				continue
			}
		}
		if before == nil {
			t.first = next
		} else {
			before.next = next
		}
		if next == nil {
			t.last = before
		}
		c := p.pop()
		if p.head != nil {
			t.line(p)
			if next == nil {
				next = p
			}
		}
		if into != nil {
			c.lane, c.began = into, now
			into.call = c
		}
		t.start(c)
		p = next
	}
	t.arm(now)
}

// lane returns one that is free, nil when none is.
func (t *Turns) lane(now time.Time) *lane {
	for i := range t.lanes {
		l := &t.lanes[i]
		if l.works() || now.Before(l.opens()) {
			continue
		}
		if l.call != nil {
			l.call.lane, l.call = nil, nil
		}
		return l
	}
	return nil
}

// works tells that a call has its turn in the lane.
func (l *lane) works() bool { return l.call != nil && l.call.turn > 0 }

// opens is when a lane can be taken, if the call that is in it does not end sooner.
func (l *lane) opens() time.Time {
	if l.call != nil {
		return l.call.began.Add(laneTime)
	}
	return l.ready
}

func (t *Turns) start(c *Call) {
	for i := range t.holders {
		if t.holders[i] == nil {
			t.holders[i], c.turn = c, i+1
			t.free--
			break
		}
	}
	c.Run.Run()
}

// stop takes a call's turn, if it has one.
func (t *Turns) stop(c *Call) bool {
	if c.turn == 0 {
		return false
	}
	t.holders[c.turn-1], c.turn = nil, 0
	t.free++
	if c.lane != nil {
		c.took = time.Since(c.began)
	}
	return true
}

// arm sets the timer to when something may change without a call that begins or ends.
func (t *Turns) arm(now time.Time) {
	if t.first == nil {
		t.check = time.Time{}
		return
	}
	if t.check.IsZero() {
		t.check = now.Add(patience)
	}
	at := t.check
	if t.free > 0 { // so it is for a lane that they wait
		for i := range t.lanes {
			if l := &t.lanes[i]; !l.works() && l.opens().Before(at) {
				at = l.opens()
			}
		}
	}
	if !t.alarm.IsZero() && !at.Before(t.alarm) {
		return
	}
	t.alarm = at
	if t.timer == nil {
		t.timer = time.AfterFunc(at.Sub(now), t.ring)
		return
	}
	t.timer.Reset(at.Sub(now))
}

// ring is what the timer calls.
func (t *Turns) ring() {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	t.alarm = time.Time{}
	if t.first != nil && !t.check.IsZero() && !now.Before(t.check) {
		t.takeBack()
		t.check = now.Add(patience)
	}
	t.dispatch(now)
}

// takeBack takes the turns of those who have had them for long.
func (t *Turns) takeBack() {
	for _, c := range t.holders {
		if c == nil {
			continue
		}
		if c.old {
			t.stop(c)
		}
		c.old = true
	}
}
