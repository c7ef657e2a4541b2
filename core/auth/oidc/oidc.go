package oidc

import (
	"context"
	"fmt"
	"net/http"
	"slices"

	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/apis/apiserver"
	"k8s.io/apiserver/pkg/apis/apiserver/validation"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	authenticationcel "k8s.io/apiserver/pkg/authentication/cel"
	"k8s.io/apiserver/pkg/authentication/token/union"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/plugin/pkg/authenticator/token/oidc"

	"github.com/gantryio/gantry/core/auth"
)

// Issuers takes the tokens of the configured issuers.
type Issuers struct{ tokens authenticator.Token }

var _ auth.Authenticator = (*Issuers)(nil)

// Open checks the configuration as Kubernetes does. Until ctx ends each issuer is asked for its discovery document, every 10
// seconds until it answers, and for its keys whenever a token is signed by one that is not known yet. An issuer that does not answer
// keeps nobody from starting; its tokens are refused meanwhile. Without issuers nil is returned.
func Open(ctx context.Context, c *Config) (*Issuers, error) {
	if len(c.Issuers) == 0 {
		return nil, nil
	}
	compiler := authenticationcel.NewDefaultCompiler()
	own := []string{auth.Issuer}
	if errs := validation.ValidateAuthenticationConfiguration(compiler, &apiserver.AuthenticationConfiguration{JWT: c.Issuers}, own); len(errs) > 0 {
		return nil, fmt.Errorf("check the OpenID issuers: %w", errs.ToAggregate())
	}
	var all []authenticator.Token
	for i, issuer := range c.Issuers {
		options := oidc.Options{JWTAuthenticator: issuer, Compiler: compiler, SupportedSigningAlgs: c.Algorithms, DisallowedIssuers: own}
		if ca := issuer.Issuer.CertificateAuthority; ca != "" {
			options.CAContentProvider = authorities(ca)
		}
		one, err := oidc.New(ctx, options)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", field.NewPath("jwt").Index(i), err)
		}
		all = append(all, one)
	}
	return &Issuers{union.New(all...)}, nil
}

// authorities are certificates in PEM.
type authorities string

// CurrentCABundleContent implements oidc.CAContentProvider.
func (a authorities) CurrentCABundleContent() []byte { return []byte(a) }

// Authenticate implements [auth.Authenticator]. A token of somebody else counts as none.
func (i *Issuers) Authenticate(req *http.Request) (user.Info, error) {
	token, ok := auth.Bearer(req)
	if !ok {
		return nil, auth.ErrNoCredentials
	}
	return i.Check(req.Context(), token)
}

// Check returns whom a token is for; [auth.ErrNoCredentials] when none of the issuers has made it.
func (i *Issuers) Check(ctx context.Context, token string) (user.Info, error) {
	got, ok, err := i.tokens.AuthenticateToken(ctx, token)
	switch {
	case err != nil:
		return nil, err
	case !ok:
		return nil, auth.ErrNoCredentials
	}
	who := &user.DefaultInfo{Name: got.User.GetName(), UID: got.User.GetUID(), Groups: slices.Clone(got.User.GetGroups()), Extra: got.User.GetExtra()}
	if !slices.Contains(who.Groups, user.AllAuthenticated) {
		who.Groups = append(who.Groups, user.AllAuthenticated)
	}
	return who, nil
}
