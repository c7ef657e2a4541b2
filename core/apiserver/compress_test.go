package apiserver_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/user"

	"github.com/gantryio/gantry/core/apiserver"
)

func TestBigAnswersAreCompressed(t *testing.T) {
	c := shared
	ns := c.namespace(t)
	maps := c.typed(t).CoreV1().ConfigMaps(ns)
	must(maps.Create(t.Context(), configMap("big", "k", strings.Repeat("x", 200<<10)), metav1.CreateOptions{}))(t)
	must(maps.Create(t.Context(), configMap("small", "k", "v"), metav1.CreateOptions{}))(t)
	transport := apiserver.Loopback{Server: c.api, User: &user.DefaultInfo{Name: "admin", Groups: []string{"system:masters"}}}
	base := "/api/v1/namespaces/" + ns + "/configmaps"
	const far, here = "192.0.2.1:40000", "127.0.0.1:40000"
	own := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 6443}
	for _, tc := range []struct {
		name, path, accept, from string
		local                    net.Addr
		compressed               bool
	}{
		{"a big object", base + "/big", "gzip", far, nil, true},
		{"a big list", base, "deflate, gzip;q=0.5", far, nil, true},
		{"a small object", base + "/small", "gzip", far, nil, false},
		{"a client that takes something else", base, "br", far, nil, false},
		{"a client that takes nothing", base, "", far, nil, false},
		{"a client over loopback", base, "gzip", here, nil, false},
		{"a client on this machine", base, "gzip", far, own, false},
	} {
		ctx := t.Context()
		if tc.local != nil {
			ctx = context.WithValue(ctx, http.LocalAddrContextKey, tc.local)
		}
		req := must(http.NewRequestWithContext(ctx, http.MethodGet, "https://server"+tc.path, nil))(t)
		req.Header.Set("Accept-Encoding", tc.accept)
		req.RemoteAddr = tc.from
		resp := must(transport.RoundTrip(req))(t)
		body := must(io.ReadAll(resp.Body))(t)
		resp.Body.Close()
		if compressed := resp.Header.Get("Content-Encoding") == "gzip"; compressed != tc.compressed {
			t.Errorf("%s: compressed: %t", tc.name, compressed)
			continue
		}
		if tc.compressed {
			if len(body) > 50<<10 || resp.Header.Get("Content-Length") != "" {
				t.Errorf("%s: %d bytes, %v", tc.name, len(body), resp.Header)
			}
			body = must(io.ReadAll(must(gzip.NewReader(bytes.NewReader(body)))(t)))(t)
		}
		var got corev1.ConfigMapList
		if err := json.Unmarshal(body, &got); err != nil || got.Kind == "" {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
}
