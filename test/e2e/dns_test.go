//go:build e2e

package e2e

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/gantryio/gantry/interfaces/plugin/plugintest"
)

// resolver is a DNS server outside of the cluster, on port 53 of an address of a network namespace. It knows the address of
// www.example.test, and that there are no other names.
func resolver(t *testing.T, netns, at, knows string) {
	t.Helper()
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg)
		m.SetReply(q)
		m.Rcode = dns.RcodeNameError
		if one := q.Question[0]; strings.EqualFold(one.Name, "www.example.test.") {
			m.Rcode = dns.RcodeSuccess
			if one.Qtype == dns.TypeA {
				m.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: one.Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 1}, A: net.ParseIP(knows)}}
			}
		}
		_ = w.WriteMsg(m)
	})
	var sockets []*dns.Server
	if err := plugintest.In(netns, func() error {
		udp, err := net.ListenPacket("udp", at+":53")
		if err != nil {
			return err
		}
		tcp, err := net.Listen("tcp", at+":53")
		sockets = []*dns.Server{{PacketConn: udp, Handler: handler}, {Listener: tcp, Handler: handler}}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	for _, s := range sockets {
		up := make(chan struct{})
		s.NotifyStartedFunc = func() { close(up) }
		go func() { _ = s.ActivateAndServe() }()
		<-up
		t.Cleanup(func() { _ = s.Shutdown() })
	}
}

const named = `
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: web}
spec:
  serviceName: web
  replicas: 2
  podManagementPolicy: Parallel
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{name: a, image: "gantry.local/demo:1", ports: [{name: http, containerPort: 8080}]}]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {clusterIP: None, selector: {app: web}, ports: [{name: http, port: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: shop}
spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: http}]}
---
apiVersion: v1
kind: Service
metadata: {name: outside}
spec: {type: ExternalName, externalName: www.example.test}
---
apiVersion: v1
kind: Pod
metadata: {name: client}
spec:
  terminationGracePeriodSeconds: 1
  containers: [{name: a, image: "gantry.local/busybox:1", command: [sleep, "1000"]}]
---
apiVersion: v1
kind: Pod
metadata: {name: host}
spec:
  hostNetwork: true
  dnsPolicy: ClusterFirstWithHostNet
  terminationGracePeriodSeconds: 1
  containers: [{name: a, image: "gantry.local/busybox:1", command: [sleep, "1000"]}]
---
apiVersion: v1
kind: Pod
metadata: {name: plain}
spec:
  dnsPolicy: Default
  terminationGracePeriodSeconds: 1
  containers: [{name: a, image: "gantry.local/busybox:1", command: [sleep, "1000"]}]
---
apiVersion: v1
kind: Pod
metadata: {name: own}
spec:
  dnsPolicy: None
  dnsConfig: {nameservers: [192.0.2.53], searches: [a.test, b.test], options: [{name: ndots, value: "2"}, {name: edns0}]}
  shareProcessNamespace: true
  terminationGracePeriodSeconds: 1
  containers: [{name: a, image: "gantry.local/busybox:1", command: [sleep, "1000"]}]
`

func TestDNS(t *testing.T) {
	c := must(newCluster(must(os.MkdirTemp(os.Getenv(dataEnv), "n")), plugintest.Namespace(t)))
	conf := filepath.Join(c.dir, "resolv.conf")
	point := func(at string) {
		t.Helper()
		if err := os.WriteFile(conf, []byte("search corp.test\nnameserver "+at+"\noptions timeout:3\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	up := func(args ...string) {
		t.Helper()
		if _, err := c.try("gantry", append([]string{"up", "--resolv-conf", conf}, args...)...); err != nil {
			t.Fatal(err)
		}
	}
	point("127.0.0.77")
	up()
	t.Cleanup(func() {
		if t.Failed() {
			c.keepLog()
		}
		if err := c.down(); err != nil {
			t.Error(err)
		}
		for _, left := range c.leftovers() {
			t.Errorf("left after gantry down: %s", left)
		}
	})
	resolver(t, c.netns, "127.0.0.77", "192.0.2.80")
	resolver(t, c.netns, "127.0.0.78", "192.0.2.81")
	importBusybox(t, c)
	wantCells(t, line(t, c.kubectl(t, "-n", "kube-system", "get", "service", "-l", "k8s-app=kube-dns"), "kube-dns"), map[string]string{
		"TYPE": "ClusterIP", "CLUSTER-IP": `10\.96\.0\.10`, "PORT(S)": "53/UDP,53/TCP",
	})

	c.kubectl(t, "create", "namespace", "names")
	c.kubectl(t, "create", "namespace", "others")
	c.apply(t, "names", named)
	c.kubectl(t, "-n", "others", "run", "client", "--image="+busybox, "--", "sleep", "1000")
	c.kubectl(t, "-n", "names", "rollout", "status", "statefulset/web", "--timeout=45s")
	for _, pod := range []string{"client", "host", "plain", "own"} {
		c.wait(t, "names", "pod/"+pod, "condition=Ready")
	}
	c.wait(t, "others", "pod/client", "condition=Ready")
	ip := func(object, path string) string {
		return c.kubectl(t, "-n", "names", "get", object, "-o", "jsonpath="+path)
	}
	shop, first := ip("service/shop", "{.spec.clusterIP}"), ip("pod/web-0", "{.status.podIP}")
	const mine = "search names.svc.cluster.local svc.cluster.local cluster.local corp.test\nnameserver 10.96.0.10\noptions ndots:5"
	for pod, want := range map[string]string{
		"client": mine, "host": mine, "plain": "search corp.test\nnameserver 127.0.0.77\noptions timeout:3",
		"own": "search a.test b.test\nnameserver 192.0.2.53\noptions ndots:2 edns0",
	} {
		if err := equal(c.exec(t, "names", pod, "cat /etc/resolv.conf"), want); err != nil {
			t.Errorf("resolv.conf of %s: %v", pod, err)
		}
	}

	resolves := func(t *testing.T) {
		t.Helper()
		for _, pod := range []string{"client", "host"} {
			for _, test := range []struct{ script, want string }{
				{"nslookup shop.names.svc.cluster.local", "Address: " + shop},
				{"nslookup web-0.web.names.svc.cluster.local", "Address: " + first},
				{"nslookup outside.names.svc.cluster.local", "Address: 192.0.2.80"},
				{"nslookup www.example.test", "Address: 192.0.2.80"},
				{"nslookup gone.names.svc.cluster.local || true", "NXDOMAIN"},
				{"wget -qO- http://shop/ >/dev/null && echo done", "done"},
				{"wget -qO- http://web-0.web:8080/", "web-0"},
				{"getent hosts shop", shop},
				{"getent ahostsv4 web-0.web.names | head -1", first},
				{"getent hosts outside", "192.0.2.80"},
				{"dig +short +tcp +search shop", shop},
				{"dig +short _http._tcp.shop.names.svc.cluster.local SRV", "0 100 80 shop.names.svc.cluster.local."},
				{"dig +short " + must(dns.ReverseAddr(shop)) + " PTR", "shop.names.svc.cluster.local."},
				{"dig +short " + must(dns.ReverseAddr(first)) + " PTR", "web-0.web.names.svc.cluster.local."},
				{"dig +short dns-version.cluster.local TXT", `"1.1.0"`},
				{"dig +short " + strings.ReplaceAll(first, ".", "-") + ".names.pod.cluster.local", first},
			} {
				out, err := c.try("kubectl", "-n", "names", "exec", pod, "--", "sh", "-c", test.script)
				if err != nil || !strings.Contains(out, test.want) {
					t.Errorf("in %s: %s: %v\n%s\nwant %q", pod, test.script, err, out, test.want)
				}
			}
		}
		if out := c.exec(t, "others", "client", "wget -qO- http://shop.names/ >/dev/null && nslookup shop.names.svc.cluster.local"); !strings.Contains(out, shop) {
			t.Errorf("from another namespace: %s", out)
		}
	}
	resolves(t)

	t.Run("the machine's resolvers change", func(t *testing.T) {
		point("127.0.0.78")
		eventually(t, func() error {
			return equal(c.exec(t, "names", "client", "dig +short www.example.test"), "192.0.2.81")
		})
		point("127.0.0.77")
		eventually(t, func() error {
			return equal(c.exec(t, "names", "client", "dig +short www.example.test"), "192.0.2.80")
		})
	})

	t.Run("gantry is killed and starts anew", func(t *testing.T) {
		kill(t, c.pid(t))
		up()
		for _, pod := range []string{"names/client", "names/host", "others/client"} { // the agent looks for what runs meanwhile
			namespace, name, _ := strings.Cut(pod, "/")
			eventually(t, func() error {
				_, err := c.try("kubectl", "-n", namespace, "exec", name, "--", "true")
				return err
			})
		}
		resolves(t)
		c.kubectl(t, "-n", "names", "create", "service", "clusterip", "fresh", "--tcp=80")
		c.exec(t, "names", "client", "nslookup fresh.names.svc.cluster.local")
		c.kubectl(t, "-n", "names", "scale", "statefulset/web", "--replicas=1")
		eventually(t, func() error {
			if out := c.exec(t, "names", "client", "dig +short web.names.svc.cluster.local"); strings.TrimSpace(out) != first {
				return fmt.Errorf("got %q, want %q", out, first)
			}
			return nil
		})
	})

	t.Run("another gantry takes over", func(t *testing.T) {
		begun := c.command(t.Context(), "kubectl", "-n", "names", "exec", "client", "--", "sh", "-c",
			"touch /tmp/run; while [ -e /tmp/run ]; do dig +short +search shop >/tmp/last 2>&1 && grep -q "+shop+" /tmp/last || cat /tmp/last; echo x >>/tmp/count; done")
		var problems strings.Builder
		begun.Stdout = &problems
		if err := begun.Start(); err != nil {
			t.Fatal(err)
		}
		eventually(t, func() error {
			_, err := c.try("kubectl", "-n", "names", "exec", "client", "--", "sh", "-c", "test -s /tmp/count")
			return err
		})
		up("--replace")
		c.exec(t, "names", "client", "rm /tmp/run")
		_ = begun.Wait()
		if problems.Len() > 0 {
			t.Errorf("not all names were found meanwhile: %s", problems.String())
		}
	})

	t.Run("somebody brings another DNS", func(t *testing.T) {
		up("--replace", "--dns=false")
		eventually(t, func() error {
			if out := c.kubectl(t, "-n", "kube-system", "get", "services,endpointslices", "-l", "k8s-app=kube-dns", "-o", "name"); out != "" {
				return fmt.Errorf("left: %s", out)
			}
			return nil
		})
		c.kubectl(t, "-n", "names", "run", "late", "--image="+busybox, "--", "sleep", "1000")
		c.wait(t, "names", "pod/late", "condition=Ready")
		wantParts(t, c.exec(t, "names", "late", "cat /etc/resolv.conf"), "nameserver 127.0.0.77")
		wantParts(t, c.kubectl(t, "-n", "names", "get", "events", "--field-selector=involvedObject.name=late"), "MissingClusterDNS")
		up("--replace", "--dns=false", "--cluster-dns", "10.96.0.53")
		c.kubectl(t, "-n", "names", "run", "later", "--image="+busybox, "--", "sleep", "1000")
		c.wait(t, "names", "pod/later", "condition=Ready")
		wantParts(t, c.exec(t, "names", "later", "cat /etc/resolv.conf"), "nameserver 10.96.0.53", "search names.svc.cluster.local")
	})
}
