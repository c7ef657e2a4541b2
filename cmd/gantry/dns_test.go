package main

import (
	"net"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

func TestDNSAddress(t *testing.T) {
	for services, want := range map[string]string{
		"10.96.0.0/16": "10.96.0.10", "10.96.0.0/28": "10.96.0.10", "10.0.0.16/28": "10.0.0.26", "10.96.0.0/29": "invalid IP", "fd00::/108": "fd00::a",
	} {
		if got := dnsAddress(netip.MustParsePrefix(services)).String(); got != want {
			t.Errorf("%s: %s, want %s", services, got, want)
		}
	}
}

func TestOnlyStub(t *testing.T) {
	for text, want := range map[string]bool{
		"nameserver 127.0.0.53\noptions edns0\n": true, "nameserver 127.0.0.53\nnameserver 192.0.2.1\n": false, "nameserver 192.0.2.1\n": false, "search a\n": false, "": false,
	} {
		if got := onlyStub(text); got != want {
			t.Errorf("%q: %t, want %t", text, got, want)
		}
	}
}

func TestCompleteDNS(t *testing.T) {
	good := dnsConfig{clusterDomain: "example.test.", clusterDNS: []string{"10.0.0.1", "fd00::1"}}
	if err := good.completeDNS(); err != nil || good.clusterDomain != "example.test" || good.dnsPort != defaultDNSPort || good.resolvConf == "" {
		t.Errorf("%v %+v", err, good)
	}
	for name, bad := range map[string]dnsConfig{
		"--cluster-domain": {clusterDomain: "a_b"}, "--cluster-dns": {clusterDNS: []string{"a"}}, "--dns-port": {dnsPort: 65536},
	} {
		if err := bad.completeDNS(); err == nil {
			t.Errorf("a wrong %s is taken", name)
		}
	}
}

func TestFittingDNS(t *testing.T) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := uint16(free.Addr().(*net.TCPAddr).Port)
	free.Close()
	here := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port)
	first, err := fittingDNS(dnsSockets{}, here)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := fittingDNS(first, here); err != nil || again != first {
		t.Errorf("%v, %v; want those that there are", again, err)
	}
	if _, err := fittingDNS(dnsSockets{}, here); err == nil {
		t.Error("a port of others is taken")
	}
	// The address of a translator before the machine.
	all, err := fittingDNS(first, netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), port))
	if err != nil {
		t.Fatal(err)
	}
	defer all.close()
	if at := all.udp.LocalAddr().(*net.UDPAddr); !at.IP.IsUnspecified() || all == first {
		t.Errorf("listens at %v", at)
	}
	if _, err := first.tcp.Accept(); err == nil {
		t.Error("what does not fit is still listened on")
	}
}

// What one process has listened on, the next has.
func TestSocketsPassOn(t *testing.T) {
	var p ports
	for _, to := range []**tracked{&p.api, &p.agent} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		*to = &tracked{Listener: l}
		defer l.Close()
	}
	var err error
	if p.names, err = fittingDNS(dnsSockets{}, p.api.Addr().(*net.TCPAddr).AddrPort()); err == nil {
		t.Fatal("a port of others is taken")
	}
	if p.names, err = fittingDNS(dnsSockets{}, netip.MustParseAddrPort("127.0.0.9:0")); err != nil {
		t.Fatal(err)
	}
	at := p.names.udp.LocalAddr().String()
	files, err := p.files()
	if err != nil {
		t.Fatal(err)
	}
	p.names.close()
	client, err := net.Dial("udp", at)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := client.Write([]byte("waits")); err != nil {
		t.Fatal(err)
	}
	var fds []int
	for _, f := range files {
		own, err := number(f)
		if err != nil {
			t.Fatal(err)
		}
		fd, err := unix.Dup(own)
		if err != nil {
			t.Fatal(err)
		}
		fds = append(fds, fd)
		f.Close()
	}
	next, err := portsOf(fds)
	if err != nil {
		t.Fatal(err)
	}
	defer next.names.close()
	defer next.api.Close()
	defer next.agent.Close()
	buf := make([]byte, 10)
	if n, _, err := next.names.udp.ReadFrom(buf); err != nil || string(buf[:n]) != "waits" {
		t.Errorf("%q, %v", buf[:n], err)
	}
}
