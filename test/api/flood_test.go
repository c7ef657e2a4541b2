//go:build e2e

package api_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/gantryio/gantry/core/pki"
)

// user makes somebody who may do anything but is not exempt, and returns a client of theirs.
func (s *server) user(t *testing.T, name string) *http.Client {
	t.Helper()
	authority, err := pki.Open(filepath.Join(s.data, "pki"))
	if err != nil {
		t.Fatal(err)
	}
	pair, err := authority.Issue("test-"+name, pki.Identity{CommonName: name})
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.client(t).RbacV1().ClusterRoleBindings().Create(t.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "test-" + name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: name}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	client, err := rest.HTTPClientFor(&rest.Config{TLSClientConfig: rest.TLSClientConfig{CAData: authority.CertPEM, CertData: pair.CertPEM, KeyData: pair.KeyPEM}})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func (s *server) do(ctx context.Context, client *http.Client, method, path, body string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, fmt.Sprintf("https://127.0.0.1:%d%s", s.port, path), strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp, err
}

// TestAFlood lets one user send more than the server takes, and never wait, while another user of the same priority level works
// on without noticing.
func TestAFlood(t *testing.T) {
	s := &server{data: t.TempDir(), port: 6451, flags: []string{"--max-requests-inflight", "8"}}
	s.start(t)
	noisy, quiet := s.user(t, "noisy"), s.user(t, "quiet")
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	const path = "/api/v1/namespaces/default/configmaps"
	var refused, served atomic.Int64
	wrong := make(chan string, 1)
	for range 600 { // a user's hand of queues has room for 300
		go func() {
			for ctx.Err() == nil {
				resp, err := s.do(ctx, noisy, http.MethodPost, path, `{"metadata":{"generateName":"noisy-"}}`)
				switch {
				case err != nil:
				case resp.StatusCode == http.StatusCreated:
					served.Add(1)
				case resp.StatusCode == http.StatusTooManyRequests && resp.Header.Get("Retry-After") != "":
					refused.Add(1)
				default:
					select {
					case wrong <- fmt.Sprint(resp.Status, resp.Header):
					default:
					}
				}
			}
		}()
	}
	eventually(t, time.Minute, func() error {
		if refused.Load() == 0 {
			return errNotYet
		}
		return nil
	})
	for i := range 100 {
		name := fmt.Sprint("quiet-", i)
		if resp, err := s.do(ctx, quiet, http.MethodPost, path, `{"metadata":{"name":"`+name+`"}}`); err != nil || resp.StatusCode != http.StatusCreated {
			t.Fatalf("create %d: %v %v", i, resp, err)
		}
		if resp, err := s.do(ctx, quiet, http.MethodGet, path+"/"+name, ""); err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("get %d: %v %v", i, resp, err)
		}
	}
	// Who is exempt and who works in the server's process never had to wait: the account is a controller's.
	if _, err := s.client(t).CoreV1().ServiceAccounts("default").Get(t.Context(), "default", metav1.GetOptions{}); err != nil {
		t.Error(err)
	}
	const ns = "flooded"
	if resp, err := s.do(ctx, quiet, http.MethodPost, "/api/v1/namespaces", `{"metadata":{"name":"`+ns+`"}}`); err != nil || resp.StatusCode != http.StatusCreated {
		t.Fatalf("namespace: %v %v", resp, err)
	}
	eventually(t, time.Minute, func() error {
		_, err := s.client(t).CoreV1().ServiceAccounts(ns).Get(t.Context(), "default", metav1.GetOptions{})
		return err
	})
	stop()
	select {
	case what := <-wrong:
		t.Errorf("the flooding user was answered %s", what)
	default:
	}
	t.Logf("of the flooding user's requests %d were served and %d refused", served.Load(), refused.Load())
}
