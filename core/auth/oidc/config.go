// Package oidc takes the tokens of identity providers that speak OpenID Connect, as kube-apiserver does: which issuers those are and
// what their claims mean is told by its flags, or by its AuthenticationConfiguration.
package oidc

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apiserver/pkg/apis/apiserver"
	"k8s.io/apiserver/pkg/apis/apiserver/install"
	"k8s.io/apiserver/plugin/pkg/authenticator/token/oidc"
)

// Flags are kube-apiserver's for one issuer, and for the file that says more.
type Flags struct {
	file                                                                         string
	issuer, client, ca, usernameClaim, usernamePrefix, groupsClaim, groupsPrefix string
	algorithms                                                                   []string
	required                                                                     map[string]string
}

// Add adds the flags, which mean what they mean to kube-apiserver.
func (f *Flags) Add(flags *pflag.FlagSet) {
	flags.StringVar(&f.file, "authentication-config", "", "file with an AuthenticationConfiguration (apiserver.config.k8s.io/v1), which is not allowed beside the --oidc flags")
	flags.StringVar(&f.issuer, "oidc-issuer-url", "", "URL of the OpenID issuer whose tokens are taken; HTTPS only")
	flags.StringVar(&f.client, "oidc-client-id", "", "audience that the issuer's tokens must be for")
	flags.StringVar(&f.ca, "oidc-ca-file", "", "file with the authorities that the issuer's certificate may be signed by; the host's when empty")
	flags.StringVar(&f.usernameClaim, "oidc-username-claim", "sub", "claim that is the user's name")
	flags.StringVar(&f.usernamePrefix, "oidc-username-prefix", "", "put before user names; the issuer's URL and # when empty and the claim is not email, and nothing when -")
	flags.StringVar(&f.groupsClaim, "oidc-groups-claim", "", "claim that is the user's groups")
	flags.StringVar(&f.groupsPrefix, "oidc-groups-prefix", "", "put before groups")
	flags.StringSliceVar(&f.algorithms, "oidc-signing-algs", []string{"RS256"}, "algorithms by which tokens may be signed")
	flags.StringToStringVar(&f.required, "oidc-required-claim", nil, "claims, as KEY=VALUE, that tokens must have")
}

// Config is whose tokens are taken.
type Config struct {
	Issuers []apiserver.JWTAuthenticator
	// Algorithms are those that tokens may be signed by.
	Algorithms []string
}

// Load reads the files that the flags name. What they say is checked by [Open].
func (f *Flags) Load() (*Config, error) {
	switch {
	case f.file != "" && (f.issuer != "" || f.client != ""):
		return nil, errors.New("--authentication-config and --oidc-issuer-url exclude each other")
	case f.file != "":
		data, err := os.ReadFile(f.file)
		if err != nil {
			return nil, fmt.Errorf("--authentication-config: %w", err)
		}
		issuers, err := parse(data)
		if err != nil {
			return nil, fmt.Errorf("--authentication-config: %s: %w", f.file, err)
		}
		return &Config{Issuers: issuers, Algorithms: oidc.AllValidSigningAlgorithms()}, nil
	case (f.issuer == "") != (f.client == ""):
		return nil, errors.New("--oidc-issuer-url and --oidc-client-id must be given together")
	case f.issuer == "":
		return &Config{}, nil
	}
	var ca []byte
	if f.ca != "" {
		var err error
		if ca, err = os.ReadFile(f.ca); err != nil {
			return nil, fmt.Errorf("--oidc-ca-file: %w", err)
		}
	}
	return &Config{Issuers: []apiserver.JWTAuthenticator{f.authenticator(string(ca))}, Algorithms: f.algorithms}, nil
}

// authenticator says in the form of the file what the flags say.
func (f *Flags) authenticator(ca string) apiserver.JWTAuthenticator {
	prefix := f.usernamePrefix
	switch {
	case prefix == "-":
		prefix = ""
	case prefix == "" && f.usernameClaim != "email":
		prefix = f.issuer + "#"
	}
	out := apiserver.JWTAuthenticator{
		Issuer: apiserver.Issuer{URL: f.issuer, Audiences: []string{f.client}, CertificateAuthority: ca},
		ClaimMappings: apiserver.ClaimMappings{
			Username: apiserver.PrefixedClaimOrExpression{Claim: f.usernameClaim, Prefix: &prefix},
		},
	}
	if f.groupsClaim != "" {
		out.ClaimMappings.Groups = apiserver.PrefixedClaimOrExpression{Claim: f.groupsClaim, Prefix: &f.groupsPrefix}
	}
	for _, claim := range slices.Sorted(maps.Keys(f.required)) {
		out.ClaimValidationRules = append(out.ClaimValidationRules, apiserver.ClaimValidationRule{Claim: claim, RequiredValue: f.required[claim]})
	}
	return out
}

// parse decodes the file strictly: unknown and duplicate fields are errors.
func parse(data []byte) ([]apiserver.JWTAuthenticator, error) {
	scheme := runtime.NewScheme()
	install.Install(scheme)
	obj, err := runtime.Decode(serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDecoder(), data)
	if err != nil {
		return nil, err
	}
	c, ok := obj.(*apiserver.AuthenticationConfiguration)
	if !ok {
		return nil, fmt.Errorf("this is a %T, not an AuthenticationConfiguration", obj)
	}
	if c.Anonymous != nil && c.Anonymous.Enabled {
		return nil, errors.New("anonymous.enabled: nobody is anonymous here")
	}
	for i, j := range c.JWT {
		if j.Issuer.EgressSelectorType != "" {
			return nil, fmt.Errorf("jwt[%d].issuer.egressSelectorType: there are no egress selectors", i)
		}
	}
	return c.JWT, nil
}
