package auth

import (
	"context"
	"net/http"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apiserver/pkg/authentication/serviceaccount"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
)

const (
	asUser  = "Impersonate-User"
	asGroup = "Impersonate-Group"
	asUID   = "Impersonate-Uid"
	asExtra = "Impersonate-Extra-"
)

// Impersonate puts who into the request's context, or the user that they ask to act as and may.
func Impersonate(req *http.Request, who user.Info, may authorizer.UnconditionalAuthorizer) (*http.Request, error) {
	name := req.Header.Get(asUser)
	if name == "" {
		for header := range req.Header {
			if header == asGroup || header == asUID || strings.HasPrefix(header, asExtra) {
				return nil, apierrors.NewBadRequest("requested " + header + " without impersonating a user")
			}
		}
		return req.WithContext(WithUser(req.Context(), who)), nil
	}
	as := &user.DefaultInfo{Name: name, Groups: slices.Clone(req.Header.Values(asGroup)), UID: req.Header.Get(asUID)}
	for _, a := range wishes(req.Header, who, as) {
		if err := mayImpersonate(req.Context(), a, may); err != nil {
			return nil, err
		}
	}
	if namespace, _, err := serviceaccount.SplitUsername(name); err == nil && len(as.Groups) == 0 {
		as.Groups = serviceaccount.MakeGroupNames(namespace)
	}
	as.Groups = append(as.Groups, general(as)...)
	return req.WithContext(WithUser(req.Context(), as)), nil
}

// Impersonates tells that the sender of the request asks to act as somebody else.
func Impersonates(req *http.Request) bool { return req.Header.Get(asUser) != "" }

// wishes lists what must be allowed, and fills as.Extra.
func wishes(header http.Header, who user.Info, as *user.DefaultInfo) []*authorizer.AttributesRecord {
	wish := func(resource, name string) *authorizer.AttributesRecord {
		return &authorizer.AttributesRecord{User: who, Verb: "impersonate", APIVersion: "v1", Resource: resource, Name: name, ResourceRequest: true}
	}
	out := []*authorizer.AttributesRecord{wish("users", as.Name)}
	if namespace, name, err := serviceaccount.SplitUsername(as.Name); err == nil {
		out[0] = wish("serviceaccounts", name)
		out[0].Namespace = namespace
	}
	for _, g := range as.Groups {
		out = append(out, wish("groups", g))
	}
	if as.UID != "" {
		a := wish("uids", as.UID)
		a.APIGroup = "authentication.k8s.io"
		out = append(out, a)
	}
	for key, values := range header {
		key, extra := strings.CutPrefix(key, asExtra)
		if !extra {
			continue
		}
		key = strings.ToLower(key)
		for _, value := range values {
			a := wish("userextras", value)
			a.APIGroup, a.Subresource = "authentication.k8s.io", key
			out = append(out, a)
		}
		if as.Extra == nil {
			as.Extra = map[string][]string{}
		}
		as.Extra[key] = values
	}
	return out
}

func mayImpersonate(ctx context.Context, a *authorizer.AttributesRecord, may authorizer.UnconditionalAuthorizer) error {
	decision, reason, err := may.Authorize(ctx, a)
	if err != nil {
		return apierrors.NewInternalError(err)
	}
	if decision != authorizer.DecisionAllow {
		return Forbidden(a, reason)
	}
	return nil
}

// general is the group that everybody of the user's sort is in, unless it was asked for.
func general(as *user.DefaultInfo) []string {
	if slices.Contains(as.Groups, user.AllUnauthenticated) || slices.Contains(as.Groups, user.AllAuthenticated) {
		return nil
	}
	if as.Name == user.Anonymous {
		return []string{user.AllUnauthenticated}
	}
	return []string{user.AllAuthenticated}
}
