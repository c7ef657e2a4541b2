// Package oidctest is an identity provider for tests: it speaks as much OpenID Connect as an API server asks for.
package oidctest

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Provider is an issuer on loopback, over TLS.
type Provider struct {
	*httptest.Server
	mu  sync.Mutex
	id  string
	key *rsa.PrivateKey
}

// New starts one, which ends with the test.
func New(t testing.TB) *Provider {
	t.Helper()
	p := &Provider{}
	p.Rotate(t, "first")
	mux := http.NewServeMux()
	answer := func(w http.ResponseWriter, v any) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v)
	}
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string]any{"issuer": p.URL, "jwks_uri": p.URL + "/keys", "id_token_signing_alg_values_supported": []string{"RS256"}})
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		number := func(n *big.Int) string { return base64.RawURLEncoding.EncodeToString(n.Bytes()) }
		answer(w, map[string]any{"keys": []any{map[string]any{
			"kty": "RSA", "use": "sig", "alg": "RS256", "kid": p.id, "n": number(p.key.N), "e": number(big.NewInt(int64(p.key.E))),
		}}})
	})
	p.Server = httptest.NewTLSServer(mux)
	t.Cleanup(p.Close)
	return p
}

// Rotate signs with a new key from now on, and forgets the old one.
func (p *Provider) Rotate(t testing.TB, id string) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.id, p.key = id, key
}

// CA is who has signed its certificate, in PEM.
func (p *Provider) CA() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.Certificate().Raw}))
}

// Token is one of alice's, with the claims changed; nil takes one away.
func (p *Provider) Token(t testing.TB, claims jwt.MapClaims) string {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	all := jwt.MapClaims{
		"iss": p.URL, "aud": "gantry", "sub": "4711", "email": "alice@example.com", "email_verified": true, "team": "blue", "groups": []string{"dev", "ops"},
		"iat": time.Now().Add(-time.Minute).Unix(), "exp": time.Now().Add(time.Hour).Unix(),
	}
	for name, value := range claims {
		if all[name] = value; value == nil {
			delete(all, name)
		}
	}
	token := jwt.NewWithClaims(jwt.SigningMethodRS256, all)
	token.Header["kid"] = p.id
	signed, err := token.SignedString(p.key)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}
