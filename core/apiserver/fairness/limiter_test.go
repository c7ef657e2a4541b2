package fairness

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/user"
)

// levelOf has as many shares as seats in a limiter of 100; queues of 0 rejects.
func levelOf(name string, shares, lendable int32, borrowing *int32, queues, hand, length int32) *flowcontrolv1.PriorityLevelConfiguration {
	l := &flowcontrolv1.PriorityLevelConfiguration{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: flowcontrolv1.PriorityLevelConfigurationSpec{
		Type: "Limited",
		Limited: &flowcontrolv1.LimitedPriorityLevelConfiguration{
			NominalConcurrencyShares: &shares, LendablePercent: &lendable, BorrowingLimitPercent: borrowing,
			LimitResponse: flowcontrolv1.LimitResponse{Type: "Reject"},
		},
	}}
	if queues > 0 {
		l.Spec.Limited.LimitResponse = flowcontrolv1.LimitResponse{
			Type: "Queue", Queuing: &flowcontrolv1.QueuingConfiguration{Queues: queues, HandSize: hand, QueueLengthLimit: length},
		}
	}
	return l
}

// schemaOf leads all users whose group has the level's name to it.
func schemaOf(level string) *flowcontrolv1.FlowSchema {
	return &flowcontrolv1.FlowSchema{ObjectMeta: metav1.ObjectMeta{Name: level}, Spec: flowcontrolv1.FlowSchemaSpec{
		PriorityLevelConfiguration: flowcontrolv1.PriorityLevelConfigurationReference{Name: level}, MatchingPrecedence: 10,
		DistinguisherMethod: &flowcontrolv1.FlowDistinguisherMethod{Type: "ByUser"},
		Rules: []flowcontrolv1.PolicyRulesWithSubjects{{
			Subjects: []flowcontrolv1.Subject{{Kind: "Group", Group: &flowcontrolv1.GroupSubject{Name: level}}},
			ResourceRules: []flowcontrolv1.ResourcePolicyRule{{
				Verbs: []string{"*"}, APIGroups: []string{"*"}, Resources: []string{"*"}, Namespaces: []string{"*"}, ClusterScope: true,
			}},
		}},
	}}
}

// objects have a schema for each level, and a "catch-all" without shares, so that the others' are seats.
func objects(levels ...*flowcontrolv1.PriorityLevelConfiguration) Objects {
	out := Objects{Levels: append(levels, levelOf("catch-all", 0, 0, nil, 0, 0, 0))}
	for _, l := range levels {
		out.Schemas = append(out.Schemas, schemaOf(l.Name))
	}
	return out
}

type bed struct {
	*testing.T
	*Limiter
}

func newBed(t *testing.T, have Objects) *bed {
	l := &Limiter{Seats: 100, Patience: time.Minute}
	l.Configure(have)
	return &bed{t, l}
}

func request(level, name string) *Request {
	return &Request{User: &user.DefaultInfo{Name: name, Groups: []string{level}}, Verb: "get", Resource: "pods", Namespace: "a"}
}

// must enters where nobody has to wait.
func (b *bed) must(level, name string) *Ticket {
	b.Helper()
	ctx, cancel := context.WithCancel(b.Context())
	cancel() // who would wait is refused
	t, _, err := b.Enter(ctx, request(level, name))
	if err != nil {
		b.Fatalf("%s %s: %v", level, name, err)
	}
	return &t
}

func (b *bed) refused(want Reason, level, name string) {
	b.Helper()
	ctx, cancel := context.WithCancel(b.Context())
	cancel()
	_, _, err := b.Enter(ctx, request(level, name))
	var r *Refusal
	if !errors.As(err, &r) || r.Reason != want {
		b.Fatalf("%s %s: %v, want %s", level, name, err, want)
	}
}

// queued begins to wait, and returns once that is so; the channel gets the ticket.
func (b *bed) queued(r *Request) <-chan *Ticket {
	b.Helper()
	before := b.total()
	out := make(chan *Ticket, 1)
	go func() {
		t, _, err := b.Enter(b.Context(), r)
		if err != nil {
			b.Errorf("%s: %v", r.User.GetName(), err)
		}
		out <- &t
	}()
	for end := time.Now().Add(20 * time.Second); b.total() == before; {
		if time.Now().After(end) {
			b.Fatal("the request did not begin to wait")
		}
	}
	return out
}

// total is how many requests have ever waited.
func (b *bed) total() (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, l := range b.levels {
		n += l.tallies[enqueued]
	}
	return n
}

func TestLimitsOfOneLevel(t *testing.T) {
	b := newBed(t, objects(levelOf("x", 3, 0, new(int32(0)), 1, 1, 2), levelOf("rest", 97, 0, nil, 0, 0, 0)))
	var have []*Ticket
	for range 3 {
		have = append(have, b.must("x", "u"))
	}
	first, second := b.queued(request("x", "u")), b.queued(request("x", "u"))
	b.refused(QueueFull, "x", "u")
	have[0].Leave()
	have[0].Leave() // does nothing
	(<-first).Leave()
	(<-second).Leave()
	have[1].Leave()
	have[2].Leave()
	for range 3 {
		b.must("x", "u")
	}
	b.refused(Cancelled, "x", "u")
}

func TestRejectingLevel(t *testing.T) {
	b := newBed(t, objects(levelOf("x", 2, 0, new(int32(0)), 0, 0, 0), levelOf("rest", 98, 0, nil, 0, 0, 0)))
	one := b.must("x", "u")
	b.must("x", "u")
	b.refused(ConcurrencyLimit, "x", "u")
	one.Leave()
	b.must("x", "u")
}

func TestPatience(t *testing.T) {
	b := newBed(t, objects(levelOf("x", 1, 0, new(int32(0)), 1, 1, 2), levelOf("rest", 99, 0, nil, 0, 0, 0)))
	b.Patience = time.Millisecond
	held := b.must("x", "u")
	_, _, err := b.Enter(t.Context(), request("x", "u"))
	var r *Refusal
	if !errors.As(err, &r) || r.Reason != TimeOut {
		t.Fatalf("got %v", err)
	}
	held.Leave()
	b.must("x", "u")
}

// TestLending: a level uses what others leave, but never what they do not lend, and they get it back before anybody borrows it again.
func TestLending(t *testing.T) {
	b := newBed(t, objects(levelOf("lender", 40, 50, nil, 1, 1, 50), levelOf("borrower", 30, 0, nil, 1, 1, 50), levelOf("modest", 30, 0, new(int32(10)), 1, 1, 50)))
	var modest []*Ticket
	for range 33 {
		modest = append(modest, b.must("modest", "m"))
	}
	b.refused(Cancelled, "modest", "m")
	var borrowed []*Ticket
	for range 30 + 17 { // the modest one has taken 3 of the 20
		borrowed = append(borrowed, b.must("borrower", "b"))
	}
	b.refused(Cancelled, "borrower", "b")
	for range 20 {
		b.must("lender", "l")
	}
	wants := b.queued(request("borrower", "b"))
	back := b.queued(request("lender", "l"))
	borrowed[0].Leave()
	(<-back).Leave()
	(<-wants).Leave()
	for _, m := range modest {
		m.Leave()
	}
	for range 3 + 1 { // what the modest one has given back, and what wants had
		b.must("borrower", "b")
	}
	b.refused(Cancelled, "borrower", "b")
}

// TestExempt: who is exempt never waits, and leaves less for others to borrow, but not less of their own.
func TestExempt(t *testing.T) {
	b := newBed(t, objects(levelOf("x", 50, 0, nil, 1, 1, 50), levelOf("lender", 50, 20, nil, 1, 1, 50)))
	var all []Ticket
	for range 500 {
		r := request("system:masters", "admin")
		r.Objects = 1_000_000
		k, _, err := b.Enter(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, k)
	}
	for range 50 {
		b.must("x", "u")
	}
	b.refused(Cancelled, "x", "u")
	for i := range all {
		all[i].Leave()
	}
	for range 10 {
		b.must("x", "u")
	}
	b.refused(Cancelled, "x", "u")
}

// TestCrowded: what is too much is refused, though there are seats, unless it is exempt.
func TestCrowded(t *testing.T) {
	b := newBed(t, objects(levelOf("x", 50, 0, nil, 1, 1, 50), levelOf("y", 50, 0, nil, 0, 0, 0)))
	crowded := func(of, user string) error {
		r := request(of, user)
		r.Crowded = true
		k, _, err := b.Enter(t.Context(), r)
		k.Leave()
		return err
	}
	for of, want := range map[string]Reason{"x": QueueFull, "y": ConcurrencyLimit} {
		var r *Refusal
		if err := crowded(of, "u"); !errors.As(err, &r) || r.Reason != want {
			t.Errorf("%s: got %v, want %s", of, err, want)
		}
		b.must(of, "u").Leave()
	}
	if err := crowded("system:masters", "admin"); err != nil {
		t.Error(err)
	}
}

// TestFairness: users who send much and users who send little are executed alike often while both wait.
func TestFairness(t *testing.T) {
	b := newBed(t, objects(levelOf("x", 1, 0, new(int32(0)), 64, 1, 500), levelOf("rest", 99, 0, nil, 0, 0, 0)))
	quiet := "quiet"
	for i := 0; b.queueOf(quiet) == b.queueOf("flood"); i++ { // they must not share their only queue
		quiet = fmt.Sprint("quiet-", i)
	}
	held := b.must("x", "flood")
	order := make(chan string, 200)
	var all sync.WaitGroup
	enter := func(name string) {
		k := b.queued(request("x", name))
		all.Go(func() {
			got := <-k
			order <- name
			got.Leave()
		})
	}
	for range 100 {
		enter("flood")
	}
	for range 10 {
		enter(quiet)
	}
	held.Leave()
	all.Wait()
	close(order)
	at, last := 0, 0
	for name := range order {
		if at++; name == quiet {
			last = at
		}
	}
	// In turns they would be through after 20. What a request really takes is charged as well, so that it is not as exact as that.
	if last > 40 {
		t.Errorf("the last quiet request was number %d of 110", last)
	}
}

func (b *bed) queueOf(name string) *queue {
	s := classify(*b.schemas.Load(), request("x", name))
	b.mu.Lock()
	defer b.mu.Unlock()
	return s.level.deal(s.flow(request("x", name)))
}

// TestWide: a request that takes several seats gets them, though narrow ones keep coming.
func TestWide(t *testing.T) {
	b := newBed(t, objects(levelOf("x", 20, 0, new(int32(0)), 1, 1, 50), levelOf("rest", 80, 0, nil, 0, 0, 0)))
	var narrow []*Ticket
	for range 20 {
		narrow = append(narrow, b.must("x", "u"))
	}
	list := request("x", "u")
	list.Verb, list.Objects = "list", 250
	wide := b.queued(list)
	var after []<-chan *Ticket
	for range 3 {
		after = append(after, b.queued(request("x", "u")))
	}
	narrow[0].Leave()
	narrow[1].Leave()
	select {
	case <-wide:
		t.Fatal("it has two seats and wants three")
	case <-after[0]:
		t.Fatal("a later one was let in first")
	default:
	}
	narrow[2].Leave()
	k := <-wide
	if k.seats != 3 {
		t.Errorf("it has %d seats", k.seats)
	}
	k.Leave()
	for _, c := range after {
		(<-c).Leave()
	}
}

// TestReconfigure: changes hold at once, for those who wait too; what a level that is gone has is executed.
func TestReconfigure(t *testing.T) {
	small := objects(levelOf("x", 1, 0, new(int32(0)), 4, 2, 50), levelOf("rest", 99, 50, nil, 0, 0, 0))
	b := newBed(t, small)
	held := b.must("x", "u")
	first := b.queued(request("x", "u"))
	b.Configure(objects(levelOf("x", 50, 0, nil, 2, 1, 50), levelOf("rest", 50, 50, nil, 0, 0, 0)))
	(<-first).Leave()
	b.Configure(small)
	second := b.queued(request("x", "u"))
	gone := objects(levelOf("rest", 100, 50, nil, 0, 0, 0))
	b.Configure(gone)
	(<-second).Leave()
	if r := request("x", "u"); classify(*b.schemas.Load(), r).name != "catch-all" {
		t.Error("the schema is still there")
	}
	held.Leave()
	for _, l := range b.levels {
		if l.name == "x" {
			t.Error("the level is still there")
		}
	}
}

// TestBooks: after any mixture of requests nothing is left over.
func TestBooks(t *testing.T) {
	b := newBed(t, objects(levelOf("x", 5, 40, nil, 8, 3, 3), levelOf("y", 10, 50, new(int32(20)), 4, 2, 5), levelOf("z", 5, 0, nil, 0, 0, 0)))
	b.Limiter.Seats = 20
	b.Configure(objects(levelOf("x", 5, 40, nil, 8, 3, 3), levelOf("y", 10, 50, new(int32(20)), 4, 2, 5), levelOf("z", 5, 0, nil, 0, 0, 0)))
	var all sync.WaitGroup
	for i := range 40 {
		all.Go(func() {
			random := rand.New(rand.NewPCG(uint64(i), 1))
			for range 300 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(random.IntN(400))*time.Microsecond)
				r := request([]string{"x", "y", "z", "system:masters"}[random.IntN(4)], fmt.Sprint(random.IntN(9)))
				r.Objects = random.IntN(300)
				if k, _, err := b.Enter(ctx, r); err == nil {
					if random.IntN(20) == 0 {
						b.Configure(objects(levelOf("x", 5+random.Int32N(5), 40, nil, 8, 3, 3), levelOf("y", 10, 50, new(int32(20)), 4, 2, 5), levelOf("z", 5, 0, nil, 0, 0, 0)))
					}
					k.Leave()
				}
				cancel()
			}
		})
	}
	all.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	type books struct{ InUse, Executing, Waiting, Seats, Backlog int }
	for _, l := range b.levels {
		if diff := cmp.Diff(books{}, books{l.inUse, l.executing, l.waiting, l.waitingSeats, len(l.backlog)}); diff != "" {
			t.Errorf("%s (-want +got):\n%s", l.name, diff)
		}
		for _, q := range l.queues {
			if q != nil && (q.executing != 0 || q.length != 0 || q.work != 0 || q.head != nil || q.tail != nil) {
				t.Errorf("%s: queue %+v", l.name, *q)
			}
		}
	}
	if b.lent != 0 || b.waiting != 0 || b.inflight != [2]int{} {
		t.Errorf("lent %d, waiting %d, in flight %v", b.lent, b.waiting, b.inflight)
	}
	for p, c := range b.counts {
		if c.executing != 0 || c.seats != 0 || c.waiting != 0 || c.waitingSeats != 0 {
			t.Errorf("%v: %+v", p, *c)
		}
	}
}
