package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gantryio/gantry/core/pki"
)

const (
	// quietRequests are made one after the other.
	quietRequests = 5000
	floodObjects  = 200
)

// floodUser is somebody with a certificate who is not exempt.
type floodUser struct {
	Host          string
	CA, Cert, Key []byte
	Writes        bool // it floods with writes
}

func (u floodUser) tls() (*tls.Config, error) {
	pair, err := tls.X509KeyPair(u.Cert, u.Key)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(u.CA)
	return &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}, nil
}

func (u floodUser) client() (*http.Client, error) {
	config, err := u.tls()
	if err != nil {
		return nil, err
	}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}}, nil
}

func (floodUser) list() string  { return "/api/v1/namespaces/default/configmaps" }
func (u floodUser) get() string { return u.list() + "/flood-1" }

// flood measures what one client feels of another that sends 512 requests at a time, on as many streams of 8 connections, without ever
// waiting: reads, of which one in eight is a list of 200 objects, and then creates. Both are of one priority level, and on this machine, whose
// CPUs they share with the server.
func flood(ctx context.Context, c *cluster) error {
	if err := c.start(ctx); err != nil {
		return err
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
	for _, noisy.Writes = range []bool{false, true} {
		kind := map[bool]string{false: "reads", true: "writes"}[noisy.Writes]
		stop, err := startFlood(ctx, noisy)
		if err != nil {
			return err
		}
		flooded, err := quietly(ctx, quiet, kind)
		answers := stop()
		if err != nil {
			return err
		}
		for _, what := range []string{"GET", "create"} {
			print("a client beside a flood of "+kind, "%s p50 %v, p99 %v; alone p50 %v, p99 %v", what,
				flooded[what].at(.5), flooded[what].at(.99), alone[what].at(.5), alone[what].at(.99))
		}
		print("the flood of "+kind, "%s", answers)
	}
	return nil
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
	return floodUser{Host: c.config.Host, CA: authority.CertPEM, Cert: pair.CertPEM, Key: pair.KeyPEM}, err
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
		if code, err := send(ctx, client, http.MethodGet, u.Host+u.get(), nil); err != nil || code != http.StatusOK {
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
