package oidc

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
	"k8s.io/apiserver/pkg/authentication/user"

	"github.com/gantryio/gantry/core/auth"
	"github.com/gantryio/gantry/core/auth/oidc/oidctest"
)

func load(t *testing.T, args ...string) (*Config, error) {
	t.Helper()
	f, flags := &Flags{}, pflag.NewFlagSet("test", pflag.ContinueOnError)
	f.Add(flags)
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	return f.Load()
}

// open returns once the issuer has been asked for its discovery document.
func open(t *testing.T, p *oidctest.Provider, args ...string) *Issuers {
	t.Helper()
	c, err := load(t, args...)
	if err != nil {
		t.Fatal(err)
	}
	i, err := Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := i.Check(ctx, p.Token(t, nil)); err == nil || !strings.Contains(err.Error(), "not initialized") {
			return i
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal("the issuer is not asked")
		}
	}
}

func file(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// request asks as a client does.
func request(i *Issuers, token string) (user.Info, error) {
	req := httptest.NewRequest(http.MethodGet, "/", nil)
	req.Header.Set("Authorization", "Bearer "+token)
	return i.Authenticate(req)
}

func TestTokensOfAnIssuer(t *testing.T) {
	p := oidctest.New(t)
	i := open(t, p, "--oidc-issuer-url", p.URL, "--oidc-client-id", "gantry", "--oidc-ca-file", file(t, p.CA()), "--oidc-username-claim", "email",
		"--oidc-username-prefix", "oidc:", "--oidc-groups-claim", "groups", "--oidc-groups-prefix", "oidc:", "--oidc-required-claim", "team=blue")
	for _, tc := range []struct {
		name   string
		claims jwt.MapClaims
		fails  string
	}{
		{name: "a good one"},
		{name: "several audiences", claims: jwt.MapClaims{"aud": []string{"other", "gantry"}}},
		{name: "expired", claims: jwt.MapClaims{"exp": time.Now().Add(-time.Hour).Unix()}, fails: "token is expired"},
		{name: "for somebody else", claims: jwt.MapClaims{"aud": "other"}, fails: `expected audience "gantry" got ["other"]`},
		{name: "without a claim that is required", claims: jwt.MapClaims{"team": "red"}, fails: `required claim team value does not match`},
		{name: "an address that is not verified", claims: jwt.MapClaims{"email_verified": false}, fails: "email not verified"},
		{name: "no name", claims: jwt.MapClaims{"email": nil}, fails: `claim not present`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			who, err := request(i, p.Token(t, tc.claims))
			if tc.fails != "" {
				if err == nil || errors.Is(err, auth.ErrNoCredentials) || !strings.Contains(err.Error(), tc.fails) {
					t.Errorf("got %v, %v, want an error with %q", who, err, tc.fails)
				}
				return
			}
			want := &user.DefaultInfo{Name: "oidc:alice@example.com", Groups: []string{"oidc:dev", "oidc:ops", user.AllAuthenticated}}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, who); diff != "" {
				t.Error(diff)
			}
		})
	}
	old := p.Token(t, nil)
	forged := old[:len(old)-8] + "AAAAAAAA"
	if who, err := request(i, forged); err == nil || errors.Is(err, auth.ErrNoCredentials) {
		t.Errorf("a forged token is that of %v, %v", who, err)
	}
	p.Rotate(t, "second")
	if _, err := request(i, p.Token(t, nil)); err != nil {
		t.Errorf("a token of the new key: %v", err)
	}
	for name, token := range map[string]string{"of another issuer": p.Token(t, jwt.MapClaims{"iss": "https://other.example.com"}), "no JWT": "abc"} {
		if _, err := request(i, token); !errors.Is(err, auth.ErrNoCredentials) {
			t.Errorf("a token %s: %v", name, err)
		}
	}
	if _, err := i.Authenticate(httptest.NewRequest(http.MethodGet, "/", nil)); !errors.Is(err, auth.ErrNoCredentials) {
		t.Errorf("without a token: %v", err)
	}
}

func TestClaimsByExpressions(t *testing.T) {
	p := oidctest.New(t)
	i := open(t, p, "--authentication-config", file(t, `
apiVersion: apiserver.config.k8s.io/v1
kind: AuthenticationConfiguration
jwt:
- issuer:
    url: `+p.URL+`
    audiences: [gantry]
    certificateAuthority: |
      `+strings.ReplaceAll(p.CA(), "\n", "\n      ")+`
  claimValidationRules:
  - {expression: "claims.exp - claims.iat <= 7200", message: lives too long}
  claimMappings:
    username: {expression: "'sso:' + claims.sub"}
    groups: {expression: "dyn(claims.groups).filter(g, g != 'ops')"}
    uid: {claim: sub}
    extra: [{key: example.com/team, valueExpression: claims.team}]
  userValidationRules:
  - {expression: "!user.username.startsWith('sso:system:')", message: that name is taken}
`))
	who, err := request(i, p.Token(t, nil))
	if err != nil {
		t.Fatal(err)
	}
	want := &user.DefaultInfo{
		Name: "sso:4711", UID: "4711", Groups: []string{"dev", user.AllAuthenticated}, Extra: map[string][]string{"example.com/team": {"blue"}},
	}
	if diff := cmp.Diff(want, who); diff != "" {
		t.Error(diff)
	}
	for message, claims := range map[string]jwt.MapClaims{
		"lives too long":     {"exp": time.Now().Add(24 * time.Hour).Unix()},
		"that name is taken": {"sub": "system:admin"},
	} {
		if who, err := request(i, p.Token(t, claims)); err == nil || !strings.Contains(err.Error(), message) {
			t.Errorf("got %v, %v, want an error with %q", who, err, message)
		}
	}
}

func TestConfigurationsThatAreRefused(t *testing.T) {
	head := "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\n"
	for want, args := range map[string][]string{
		"must be given together":                  {"--oidc-issuer-url=https://a.example.com"},
		"exclude each other":                      {"--oidc-issuer-url=https://a.example.com", "--oidc-client-id=a", "--authentication-config=x"},
		"jwt[0].issuer.url: Invalid value":        {"--oidc-issuer-url=http://a.example.com", "--oidc-client-id=a"},
		`unsupported signing alg: "HS256"`:        {"--oidc-issuer-url=https://a.example.com", "--oidc-client-id=a", "--oidc-signing-algs=HS256"},
		"no such file":                            {"--authentication-config=/absent"},
		`unknown field "jwts"`:                    {"--authentication-config", file(t, head+"jwts: []\n")},
		"jwt[0].issuer.audiences: Required value": {"--authentication-config", file(t, head+"jwt: [{issuer: {url: https://a.example.com}, claimMappings: {username: {claim: sub, prefix: x}}}]\n")},
		"URL must not overlap with disallowed":    {"--authentication-config", file(t, head+"jwt: [{issuer: {url: '"+auth.Issuer+"', audiences: [a]}, claimMappings: {username: {claim: sub, prefix: x}}}]\n")},
		"anonymous.enabled":                       {"--authentication-config", file(t, head+"anonymous: {enabled: true}\n")},
		"jwt[0].issuer.egressSelectorType: there": {"--authentication-config", file(t, head+"jwt: [{issuer: {egressSelectorType: cluster}}]\n")},
	} {
		c, err := load(t, args...)
		if err == nil {
			_, err = Open(t.Context(), c)
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q", args, err, want)
		}
	}
	if c, err := load(t); err != nil || len(c.Issuers) != 0 {
		t.Errorf("without flags: %v, %v", c, err)
	}
}
