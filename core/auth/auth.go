// Package auth says who a request comes from and what they may do.
package auth

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
)

// ErrNoCredentials: the request carries nothing that identifies its sender.
var ErrNoCredentials = errors.New("no credentials")

// Authenticator finds out who sent a request.
type Authenticator interface {
	// Authenticate fails for requests without valid credentials; nobody is anonymous.
	Authenticate(req *http.Request) (user.Info, error)
}

// Certificates takes the identity from the client certificate that the TLS layer has verified: the
// common name is the user, the organizations are the groups.
type Certificates struct{}

var _ Authenticator = Certificates{}

// Authenticate implements [Authenticator].
func (Certificates) Authenticate(req *http.Request) (user.Info, error) {
	if req.TLS == nil || len(req.TLS.VerifiedChains) == 0 {
		return nil, ErrNoCredentials
	}
	subject := req.TLS.PeerCertificates[0].Subject
	if subject.CommonName == "" {
		return nil, errors.New("client certificate has no common name")
	}
	return &user.DefaultInfo{
		Name:   subject.CommonName,
		Groups: append(subject.Organization[:len(subject.Organization):len(subject.Organization)], user.AllAuthenticated),
	}, nil
}

type userKey struct{}

// WithUser returns a context that carries who asks.
func WithUser(ctx context.Context, who user.Info) context.Context {
	return context.WithValue(ctx, userKey{}, who)
}

// UserOf returns who asks, nil when nobody was authenticated.
func UserOf(ctx context.Context) user.Info {
	who, _ := ctx.Value(userKey{}).(user.Info)
	return who
}

// Forbidden is the status for a request that was refused, in the words of Kubernetes.
func Forbidden(a authorizer.Attributes, reason string) error {
	name := "<nobody>"
	if a.GetUser() != nil {
		name = a.GetUser().GetName()
	}
	if !a.IsResourceRequest() {
		return apierrors.NewForbidden(schema.GroupResource{}, "", fmt.Errorf("User %q cannot %s path %q%s",
			name, a.GetVerb(), a.GetPath(), suffix(reason)))
	}
	resource := a.GetResource()
	if a.GetSubresource() != "" {
		resource += "/" + a.GetSubresource()
	}
	where := " at the cluster scope"
	if a.GetNamespace() != "" {
		where = fmt.Sprintf(" in the namespace %q", a.GetNamespace())
	}
	return apierrors.NewForbidden(schema.GroupResource{Group: a.GetAPIGroup(), Resource: a.GetResource()}, a.GetName(),
		fmt.Errorf("User %q cannot %s resource %q in API group %q%s%s", name, a.GetVerb(), resource, a.GetAPIGroup(), where, suffix(reason)))
}

func suffix(reason string) string {
	if reason == "" {
		return ""
	}
	return ": " + reason
}
