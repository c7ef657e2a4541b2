package dns

import (
	"bufio"
	"bytes"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// statPause is how long a resolv.conf is taken for unchanged without a look at it.
	statPause = time.Second
	// restPause is how long an upstream that has not answered is asked only after the others.
	restPause = 10 * time.Second
	// probePause is the least time between two looks for a loop.
	probePause = time.Minute
)

// upstreams are the resolvers that a resolv.conf(5) names. The file is looked at when somebody asks, and not otherwise.
type upstreams struct {
	path string
	// own tells addresses that lead back to this server.
	own func(netip.AddrPort) bool
	now func() time.Time

	mu      sync.Mutex
	looked  time.Time
	changed time.Time
	size    int64
	all     []*upstream
	probed  time.Time
}

// upstream is one of the resolvers.
type upstream struct {
	address netip.AddrPort
	// failed is when it last gave no answer; loops is set when it asks this server what it is asked.
	failed time.Time
	loops  bool
}

// order returns the resolvers in the order in which they are to be asked. probe are those that are to be asked now whether
// they lead back here.
func (u *upstreams) order() (ask []netip.AddrPort, probe []netip.AddrPort) {
	u.mu.Lock()
	defer u.mu.Unlock()
	now := u.now()
	if now.Sub(u.looked) >= statPause {
		u.looked = now
		u.reload()
	}
	if now.Sub(u.probed) >= probePause && (u.probed.IsZero() || slices.ContainsFunc(u.all, func(one *upstream) bool { return one.loops })) {
		u.probed = now
		for _, one := range u.all {
			probe = append(probe, one.address)
		}
	}
	return inOrder(u.all, now), probe
}

// inOrder leaves out what loops, and puts behind what has failed a short time ago.
func inOrder(all []*upstream, now time.Time) []netip.AddrPort {
	var out, last []netip.AddrPort
	for _, one := range all {
		switch {
		case one.loops:
		case !one.failed.IsZero() && now.Sub(one.failed) < restPause:
			last = append(last, one.address)
		default:
			out = append(out, one.address)
		}
	}
	return append(out, last...)
}

// reload reads the file if it has changed. A file that cannot be read names nobody.
func (u *upstreams) reload() {
	var changed time.Time
	var size int64 = -1
	if info, err := os.Stat(u.path); err == nil {
		changed, size = info.ModTime(), info.Size()
	}
	if changed.Equal(u.changed) && size == u.size {
		return
	}
	u.changed, u.size, u.probed = changed, size, time.Time{}
	raw, _ := os.ReadFile(u.path)
	old := u.all
	u.all = nil
	for _, address := range nameservers(raw) {
		if u.own(address) {
			continue
		}
		one := &upstream{address: address}
		if i := slices.IndexFunc(old, func(o *upstream) bool { return o.address == address }); i >= 0 {
			one.failed = old[i].failed
		}
		u.all = append(u.all, one)
	}
}

// nameservers are those of a resolv.conf(5), each once.
func nameservers(raw []byte) []netip.AddrPort {
	var out []netip.AddrPort
	for lines := bufio.NewScanner(bytes.NewReader(raw)); lines.Scan(); {
		words := strings.Fields(lines.Text())
		if len(words) < 2 || words[0] != "nameserver" {
			continue
		}
		ip, err := netip.ParseAddr(words[1])
		if err != nil {
			continue
		}
		if address := netip.AddrPortFrom(ip, 53); !slices.Contains(out, address) {
			out = append(out, address)
		}
	}
	return out
}

// note remembers whether a resolver has answered.
func (u *upstreams) note(address netip.AddrPort, answered bool) {
	u.each(address, func(one *upstream) {
		one.failed = time.Time{}
		if !answered {
			one.failed = u.now()
		}
	})
}

// noteLoop remembers whether a resolver leads back here.
func (u *upstreams) noteLoop(address netip.AddrPort, loops bool) (changed bool) {
	u.each(address, func(one *upstream) { changed, one.loops = one.loops != loops, loops })
	return changed
}

func (u *upstreams) each(address netip.AddrPort, do func(*upstream)) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, one := range u.all {
		if one.address == address {
			do(one)
		}
	}
}
