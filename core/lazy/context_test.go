package lazy

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"time"
)

type key struct{}

func ended(c context.Context) bool {
	select {
	case <-c.Done():
		return true
	default:
		return false
	}
}

// However and whenever a context ends, it is the same whether somebody has waited for it before or not.
func TestItEnds(t *testing.T) {
	far := time.Now().Add(time.Hour)
	for _, test := range []struct {
		name     string
		deadline time.Time
		end      func(c *Context, parent context.CancelFunc)
		want     error
	}{
		{"not", time.Time{}, func(*Context, context.CancelFunc) {}, nil},
		{"not before its time", far, func(*Context, context.CancelFunc) {}, nil},
		{"by itself", time.Time{}, func(c *Context, _ context.CancelFunc) { c.End() }, context.Canceled},
		{"by itself before its time", far, func(c *Context, _ context.CancelFunc) { c.End(); c.End() }, context.Canceled},
		{"with its parent", time.Time{}, func(_ *Context, cancel context.CancelFunc) { cancel() }, context.Canceled},
		{"with its parent before its time", far, func(_ *Context, cancel context.CancelFunc) { cancel() }, context.Canceled},
		{"at its time", time.Now(), func(*Context, context.CancelFunc) {}, context.DeadlineExceeded},
	} {
		for _, waited := range []bool{false, true} {
			parent, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "value"))
			c := New(parent, test.deadline)
			if waited {
				c.Done()
			}
			test.end(c, cancel)
			if err := c.Err(); !errors.Is(err, test.want) || (err == nil) != (test.want == nil) {
				t.Errorf("%s, waited %t: %v, want %v", test.name, waited, err, test.want)
			}
			if ended(c) != (test.want != nil) {
				t.Errorf("%s, waited %t: ended is %t", test.name, waited, ended(c))
			}
			if c.Value(key{}) != "value" {
				t.Errorf("%s, waited %t: it has not its parent's values", test.name, waited)
			}
			c.End()
			cancel()
		}
	}
}

// A context of another ends with it, and no goroutine watches over that.
func TestContextsOfIt(t *testing.T) {
	root, cancel := context.WithCancel(t.Context())
	defer cancel()
	outer := New(root, time.Time{})
	inner := New(context.WithValue(outer, key{}, 1), time.Now().Add(time.Hour))
	before := runtime.NumGoroutine()
	child, stop := context.WithTimeout(inner, 2*time.Hour)
	defer stop()
	if now := runtime.NumGoroutine(); now != before {
		t.Errorf("%d goroutines more", now-before)
	}
	want, _ := inner.Deadline()
	if got, ok := child.Deadline(); !ok || !got.Equal(want) {
		t.Errorf("the deadline is %v, want %v", got, want)
	}
	outer.End()
	select {
	case <-child.Done():
	case <-time.After(10 * time.Second):
		t.Fatal("it does not end with the context that it is of")
	}
	if !errors.Is(inner.Err(), context.Canceled) {
		t.Errorf("inner: %v", inner.Err())
	}
}

func TestItsDeadlineIsTheSooner(t *testing.T) {
	now := time.Now()
	parent, cancel := context.WithDeadline(t.Context(), now.Add(time.Hour))
	defer cancel()
	for d, want := range map[time.Duration]time.Duration{time.Minute: time.Minute, 2 * time.Hour: time.Hour} {
		c := New(parent, now.Add(d))
		defer c.End()
		if got, ok := c.Deadline(); !ok || !got.Equal(now.Add(want)) {
			t.Errorf("%v: %v", d, got.Sub(now))
		}
	}
	if _, ok := New(t.Context(), time.Time{}).Deadline(); ok {
		t.Error("a context without a deadline has one")
	}
}

func TestNobodyWaitsNothingIsMade(t *testing.T) {
	parent, cancel := context.WithCancel(t.Context())
	defer cancel()
	deadline := time.Now().Add(time.Hour)
	if n := testing.AllocsPerRun(100, func() {
		c := New(parent, deadline)
		if c.Err() != nil || c.Value(key{}) != nil {
			t.Error("it has ended")
		}
		c.End()
	}); n > 1 {
		t.Errorf("%v allocations", n)
	}
}
