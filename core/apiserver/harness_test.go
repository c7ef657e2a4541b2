package apiserver_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/gantryio/gantry/core/admission"
	"github.com/gantryio/gantry/core/admission/policy"
	"github.com/gantryio/gantry/core/admission/webhook"
	"github.com/gantryio/gantry/core/api"
	"github.com/gantryio/gantry/core/api/all"
	"github.com/gantryio/gantry/core/api/openapi"
	"github.com/gantryio/gantry/core/apiserver"
	"github.com/gantryio/gantry/core/apiserver/auditlog"
	"github.com/gantryio/gantry/core/auth"
	"github.com/gantryio/gantry/core/cache"
	"github.com/gantryio/gantry/core/h2"
	"github.com/gantryio/gantry/core/pki"
	"github.com/gantryio/gantry/core/store"
)

// cluster is a whole control core over an embedded etcd, served over TLS.
type cluster struct {
	authority *pki.Authority
	store     *store.Store
	cache     *cache.Cache
	api       *apiserver.Server
	web       *httptest.Server
}

// shared is what most tests use, each in a namespace of its own.
var shared *cluster

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "apiserver")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	c, stop, err := startCluster(dir)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer stop()
	shared = c
	code := m.Run()
	if err := c.unchanged(); err != nil {
		fmt.Fprintln(os.Stderr, "objects in the cache were changed:", err)
		return 1
	}
	return code
}

// unchanged compares all that the cache holds with what is stored. Objects share memory, so that whoever writes to one that is not
// its own may change others as well.
func (c *cluster) unchanged() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var wrong []error
	for _, r := range all.Kinds().Stored() {
		_, err := c.store.List(ctx, r.Prefix(), func(kv store.KV) error {
			e := c.cache.Of(r).Get(kv.Key)
			if e == nil || e.Revision != kv.Revision || e.Former {
				return nil // it is being written, or defaults have been added
			}
			value, err := r.EncodeStored(r.ShallowCopy(e.Object))
			if err != nil || !bytes.Equal(value, kv.Value) {
				wrong = append(wrong, fmt.Errorf("%s: have %q, stored is %q (%v)", kv.Key, value, kv.Value, err))
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return errors.Join(wrong...)
}

// references is the answer to what the pods of node-a refer to.
type references struct{}

func (references) NodeUses(node, resource, namespace, name string) bool {
	return node == "node-a" && resource == "secrets" && name == "used"
}

// testers may do anything, but are not exempt from limits as administrators are.
type testers struct{}

func (testers) Authorize(_ context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
	if slices.Contains(a.GetUser().GetGroups(), "testers") {
		return authorizer.DecisionAllow, "", nil
	}
	return authorizer.DecisionNoOpinion, "", nil
}

func startCluster(dir string) (*cluster, func(), error) { return startClusterWith(dir, "10.96.0.0/24") }

// recordedBy is a cluster with an audit log.
func recordedBy(t *testing.T, log *auditlog.Log) *cluster {
	t.Helper()
	c, stop, err := startClusterWith(t.TempDir(), "10.96.0.0/24", func(s *apiserver.Server) { s.Audit = log })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return c
}

// startedWith is a cluster with a service range of its own.
func startedWith(t *testing.T, serviceRange string) *cluster {
	t.Helper()
	c, stop, err := startClusterWith(t.TempDir(), serviceRange)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return c
}

func startClusterWith(dir, serviceRange string, edits ...func(*apiserver.Server)) (*cluster, func(), error) {
	ctx, cancel := context.WithCancel(context.Background())
	c := &cluster{}
	var err error
	if c.authority, err = pki.Open(dir + "/pki"); err != nil {
		cancel()
		return nil, nil, err
	}
	if c.store, err = store.Open(ctx, store.Config{Dir: dir + "/etcd", Tick: 10 * time.Millisecond}); err != nil {
		cancel()
		return nil, nil, err
	}
	proxy, err := pki.Open(dir + "/front-proxy")
	if err != nil {
		cancel()
		return nil, nil, err
	}
	proxied, err := proxy.Issue("client", pki.Identity{CommonName: "front-proxy-client"})
	if err != nil {
		cancel()
		return nil, nil, err
	}
	registry := all.Kinds()
	c.cache = cache.New(c.store, registry)
	done, followed := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		_ = c.cache.Run(ctx)
	}()
	stop := func() {
		if c.web != nil {
			c.web.CloseClientConnections()
			c.web.Close()
		}
		cancel()
		<-done
		if c.api != nil {
			<-followed
		}
		c.store.Close()
	}
	<-c.cache.Synced()
	c.api = &apiserver.Server{
		Registry: registry, Store: c.store, Cache: c.cache,
		Authenticator: auth.Certificates{},
		Authorizer:    auth.Chain{auth.Masters{}, auth.Nodes{References: references{}}, testers{}},
		ServiceRange:  netip.MustParsePrefix(serviceRange),
		NodePorts:     [2]int32{30000, 30015},
		MaxInFlight:   600,
		OpenAPI:       openapi.Handler{},
		GitVersion:    "v1.37.2+gantry",
		Checks:        []apiserver.Check{{Name: "ping", Probe: func(context.Context) error { return nil }}},
		Components: []apiserver.Check{
			{Name: "well", Probe: func(context.Context) error { return nil }}, {Name: "ill", Probe: func(context.Context) error { return errors.New("no") }},
		},
		Agents:     http.DefaultTransport,
		Pods:       echo{},
		FrontProxy: &apiserver.FrontProxy{Certificate: proxied.TLS(), CA: proxy.CertPEM, Names: []string{"front-proxy-client"}},
		ClientCA:   c.authority.CertPEM,
		Dial:       dialLed,
	}
	objects := admission.Reader{Cache: c.cache, Registry: registry}
	caller, err := webhook.NewCaller(objects, c.api.Authorizer, c.api)
	if err != nil {
		stop()
		return nil, nil, err
	}
	standards, err := standardsOf(objects, "")
	if err != nil {
		stop()
		return nil, nil, err
	}
	c.api.Admission = append(admission.Default(objects), standards,
		policy.NewMutating(objects, c.api.Authorizer, c.api.TypeConverter), webhook.NewMutating(caller),
		policy.NewValidating(objects, c.api.Authorizer), webhook.NewValidating(caller))
	for _, edit := range edits {
		edit(c.api)
	}
	c.api.Init()
	go func() {
		defer close(followed)
		var g errgroup.Group
		g.Go(func() error { return c.api.FollowAPIServices(ctx) })
		g.Go(func() error { return c.api.FollowFlowSchemas(ctx) })
		_ = g.Wait()
	}()
	c.api.LoadAllocations()
	if err := c.api.Bootstrap(ctx, "192.0.2.1", 6443); err != nil {
		stop()
		return nil, nil, err
	}
	return c, stop, c.serve()
}

// restarted is a cluster whose server began after its store, so that it does not remember the first
// revisions.
func restarted(t testing.TB) *cluster {
	t.Helper()
	dir := t.TempDir()
	for {
		c, stop, err := startCluster(dir)
		if err != nil {
			t.Fatal(err)
		}
		if c.cache.Of(c.in("namespaces", "", "").Resource).Get("/registry/namespaces/before") != nil {
			t.Cleanup(stop)
			return c
		}
		_, err = c.typed(t).CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "before"}}, metav1.CreateOptions{})
		stop()
		if err != nil {
			t.Fatal(err)
		}
	}
}

func (c *cluster) serve() error {
	pair, err := c.authority.Issue("server", pki.Identity{
		CommonName: "server", Names: []string{"localhost"}, IPs: []net.IP{net.IPv4(127, 0, 0, 1)},
	})
	if err != nil {
		return err
	}
	c.web = httptest.NewUnstartedServer(c.api)
	c.web.EnableHTTP2 = true
	(&h2.Server{}).Attach(c.web.Config)
	c.web.TLS = &tls.Config{
		Certificates: []tls.Certificate{pair.TLS()}, ClientCAs: c.authority.Pool(), ClientAuth: tls.VerifyClientCertIfGiven,
	}
	c.web.StartTLS()
	return nil
}

// config is a client's, as a user with groups; without a user it has no credentials.
func (c *cluster) config(t testing.TB, name string, groups ...string) *rest.Config {
	t.Helper()
	out := &rest.Config{Host: c.web.URL, QPS: -1, TLSClientConfig: rest.TLSClientConfig{CAData: c.authority.CertPEM}}
	if name == "" {
		return out
	}
	pair, err := c.authority.Issue("client-"+strings.ReplaceAll(name, ":", "-"), pki.Identity{CommonName: name, Organizations: groups})
	if err != nil {
		t.Fatal(err)
	}
	out.CertData, out.KeyData = pair.CertPEM, pair.KeyPEM
	return out
}

func (c *cluster) admin(t testing.TB) *rest.Config { return c.config(t, "admin", "system:masters") }

func (c *cluster) typed(t testing.TB) kubernetes.Interface {
	t.Helper()
	out, err := kubernetes.NewForConfig(c.admin(t))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func (c *cluster) dynamic(t testing.TB) dynamic.Interface {
	t.Helper()
	out, err := dynamic.NewForConfig(c.admin(t))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

var namespaces atomic.Int64

// namespace makes one for a test.
func (c *cluster) namespace(t testing.TB) string {
	t.Helper()
	name := fmt.Sprintf("test-%d", namespaces.Add(1))
	_, err := c.typed(t).CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return name
}

// answer is what a raw request got.
type answer struct {
	Code   int
	Header http.Header
	Body   []byte
}

func (a answer) status(t testing.TB) metav1.Status {
	t.Helper()
	var out metav1.Status
	if err := json.Unmarshal(a.Body, &out); err != nil || out.Kind != "Status" {
		t.Fatalf("not a Status (%v): %d %s", err, a.Code, a.Body)
	}
	return out
}

// raw sends a request as it is; header is pairs of name and value.
func (c *cluster) raw(t testing.TB, config *rest.Config, method, path, body string, header ...string) answer {
	t.Helper()
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, c.web.URL+path, bytes.NewReader([]byte(body)))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, data}
}

func (c *cluster) request(t testing.TB, method, path, body string, header ...string) answer {
	t.Helper()
	return c.raw(t, c.admin(t), method, path, body, header...)
}

// in returns a request for the server's own verbs.
func (c *cluster) in(resource, namespace, name string) *api.Request {
	for _, r := range c.api.Registry.All() {
		if r.Plural == resource {
			return &api.Request{Resource: r, Namespace: namespace, Name: name, Manager: "test"}
		}
	}
	panic("no such resource: " + resource)
}

func configMap(name string, data ...string) *corev1.ConfigMap {
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string]string{}}
	for i := 0; i+1 < len(data); i += 2 {
		cm.Data[data[i]] = data[i+1]
	}
	return cm
}

func pod(name string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: "gantry.local/demo:1"}}},
	}
}

// must returns the first result of a call that must not fail.
func must[T any](out T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
}

// wantStatus checks code, reason and a part of the message of an API error.
func wantStatus(t testing.TB, err error, code int32, reason metav1.StatusReason, part string) {
	t.Helper()
	status, ok := err.(apierrors.APIStatus)
	if !ok {
		t.Errorf("got %v, want status %d %s", err, code, reason)
		return
	}
	if s := status.Status(); s.Code != code || s.Reason != reason || !strings.Contains(s.Message, part) {
		t.Errorf("got %d %s %q, want %d %s %q", s.Code, s.Reason, s.Message, code, reason, part)
	}
}

// continueToken is what a list of an earlier time would have given.
func continueToken(revision int64, after string, until time.Time) string {
	return base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, `{"v":"meta.k8s.io/v1","rv":%d,"start":%q,"until":%d}`, revision, after, until.Unix()))
}

func otherAuthority(t testing.TB) *pki.Authority {
	t.Helper()
	return must(pki.Open(t.TempDir()))(t)
}

// secretOf has n keys.
func secretOf(name string, n int) *corev1.Secret {
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name, GenerateName: "s-"}, Data: map[string][]byte{}}
	for i := range n {
		s.Data[fmt.Sprint("k", i)] = nil
	}
	return s
}
