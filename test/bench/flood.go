package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gantryio/gantry/core/pki"
)

const (
	// flooding marks the process that floods; it holds what that process needs to know.
	flooding = "GANTRY_BENCH_FLOOD"
	// floodConnections, each with as many requests at a time, never stop, whatever they are answered.
	floodConnections = 8
	floodStreams     = 64
	// quietRequests are made one after the other.
	quietRequests = 1000
	floodObjects  = 200
)

// floodUser is somebody with a certificate who is not exempt.
type floodUser struct {
	Host          string
	CA, Cert, Key []byte
}

func (u floodUser) client() (*http.Client, error) {
	pair, err := tls.X509KeyPair(u.Cert, u.Key)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(u.CA)
	return &http.Client{Transport: &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2: true,
	}}, nil
}

// flood measures what one client feels of another that sends 512 requests at a time, on as many streams of 8 connections, without ever
// waiting. Both are of one priority level. The server and the quiet client go before all else on the CPUs, also before the
// flooding process, for that would be on another machine.
func flood(ctx context.Context, c *cluster) error {
	if err := c.start(ctx); err != nil {
		return err
	}
	pid, err := c.pid()
	if err != nil {
		return err
	}
	for _, p := range []int{pid, os.Getpid()} {
		restore, err := prefer(p)
		if err != nil {
			return err
		}
		defer restore()
	}
	quiet, err := c.floodUser(ctx, "quiet")
	if err != nil {
		return err
	}
	noisy, err := c.floodUser(ctx, "noisy")
	if err != nil {
		return err
	}
	for i := range floodObjects {
		cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: fmt.Sprintf("flood-%d", i)}, Data: map[string]string{"data": strings.Repeat("x", 1000)}}
		if err := c.api.Create(ctx, cm); err != nil {
			return err
		}
	}
	if _, err := quietly(ctx, quiet, "warm"); err != nil {
		return err
	}
	alone, err := quietly(ctx, quiet, "alone")
	if err != nil {
		return err
	}
	stop, err := startFlood(ctx, noisy)
	if err != nil {
		return err
	}
	flooded, err := quietly(ctx, quiet, "flooded")
	answers := stop()
	if err != nil {
		return err
	}
	for _, what := range []string{"GET", "create"} {
		print("a client beside a flooding one", "%s p50 %v, p99 %v; alone p50 %v, p99 %v", what,
			flooded[what].at(.5), flooded[what].at(.99), alone[what].at(.5), alone[what].at(.99))
	}
	print("the flooding one", "%s", answers)
	return nil
}

// prefer lets the session of a process go before all that runs on this machine besides; restore takes it back. Sessions share the
// CPUs by the priorities of their autogroups (sched(7)), where there are such.
func prefer(pid int) (restore func(), err error) {
	restore = func() { _ = setPriority(pid, 0) }
	return restore, setPriority(pid, -20)
}

func setPriority(pid, priority int) error {
	err := os.WriteFile(fmt.Sprintf("/proc/%d/autogroup", pid), []byte(strconv.Itoa(priority)), 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// floodUser makes a user who may do anything, but has to take their turn.
func (c *cluster) floodUser(ctx context.Context, name string) (floodUser, error) {
	authority, err := pki.Open(filepath.Join(c.data, "pki"))
	if err != nil {
		return floodUser{}, err
	}
	pair, err := authority.Issue("bench-"+name, pki.Identity{CommonName: name})
	if err != nil {
		return floodUser{}, err
	}
	err = c.api.Create(ctx, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "bench-" + name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: name}},
	})
	return floodUser{c.config.Host, authority.CertPEM, pair.CertPEM, pair.KeyPEM}, err
}

// latencies are sorted.
type latencies []time.Duration

func (l latencies) at(part float64) time.Duration {
	return l[int(part*float64(len(l)-1))].Round(10 * time.Microsecond)
}

// quietly reads and writes, one request after the other; every request must succeed.
func quietly(ctx context.Context, u floodUser, round string) (map[string]latencies, error) {
	client, err := u.client()
	if err != nil {
		return nil, err
	}
	defer client.CloseIdleConnections()
	out := map[string]latencies{}
	for i := range quietRequests {
		began := time.Now()
		if code, err := send(ctx, client, http.MethodGet, u.Host+"/api/v1/namespaces/default/configmaps/flood-1", nil); err != nil || code != http.StatusOK {
			return nil, fmt.Errorf("GET number %d: %d %w", i, code, err)
		}
		out["GET"] = append(out["GET"], time.Since(began))
		if i%5 > 0 {
			continue
		}
		body, err := json.Marshal(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("%s-%d", round, i)}})
		if err != nil {
			return nil, err
		}
		began = time.Now()
		if err := post(ctx, client, u.Host+"/api/v1/namespaces/kube-public/configmaps", body); err != nil {
			return nil, err
		}
		out["create"] = append(out["create"], time.Since(began))
	}
	for _, l := range out {
		slices.Sort(l)
	}
	return out, nil
}

func send(ctx context.Context, client *http.Client, method, url string, body io.Reader) (int, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return 0, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, err
}

// startFlood runs this program again to flood; stop ends it and returns how it was answered.
func startFlood(ctx context.Context, u floodUser) (stop func() string, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	data, err := json.Marshal(u)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(), flooding+"="+string(data))
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setsid: true}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	if _, err := io.ReadFull(out, make([]byte, 1)); err != nil { // it has begun
		return nil, errors.Join(err, cmd.Wait())
	}
	return func() string {
		in.Close()
		text, _ := io.ReadAll(out)
		_ = cmd.Wait()
		return string(text)
	}, nil
}

// runFlood floods until its input ends, and prints how it was answered.
func runFlood(text string) error {
	var u floodUser
	if err := json.Unmarshal([]byte(text), &u); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	codes := make(chan int, 1024)
	for range floodConnections {
		client, err := u.client()
		if err != nil {
			return err
		}
		for i := range floodStreams {
			url := u.Host + "/api/v1/namespaces/default/configmaps/flood-1"
			if i%8 == 0 {
				url = u.Host + "/api/v1/namespaces/default/configmaps"
			}
			go func() {
				for ctx.Err() == nil {
					code, _ := send(ctx, client, http.MethodGet, url, nil)
					codes <- code
				}
			}()
		}
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	began, counted := time.Now(), map[int]int{}
	for n := 0; ; n++ {
		select {
		case code := <-codes:
			counted[code]++
			if n == 1000 {
				fmt.Print(".")
			}
		case <-ctx.Done():
			took := time.Since(began).Seconds()
			fmt.Printf("%.0f answers a second, %.0f%% of them 429", float64(n)/took, 100*float64(counted[http.StatusTooManyRequests])/float64(max(1, n)))
			return nil
		}
	}
}
