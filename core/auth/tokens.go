package auth

import (
	"cmp"
	"crypto/ecdsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/apiserver/pkg/authentication/serviceaccount"
	"k8s.io/apiserver/pkg/authentication/user"
)

// Issuer is who signs the tokens of service accounts, and the audience that the API server itself is, where the cluster's
// domain is the usual one.
const Issuer = "https://kubernetes.default.svc.cluster.local"

// Tokens issues and takes the tokens of service accounts: JSON web tokens (RFC 7519) with the claims that Kubernetes
// puts in. A token that is bound to a pod holds as long as the pod is there.
type Tokens struct {
	// Key signs with ES256, so it is of the curve P-256.
	Key     *ecdsa.PrivateKey
	Objects TokenObjects
	// IssuedBy is the issuer; [Issuer] if empty.
	IssuedBy string
	// Now is time.Now unless set.
	Now func() time.Time

	mu       sync.Mutex
	verified map[[sha256.Size]byte]*claims
}

var _ Authenticator = (*Tokens)(nil)

// TokenObjects looks up what tokens are bound to; nil for what is not there.
type TokenObjects interface {
	ServiceAccount(namespace, name string) *corev1.ServiceAccount
	Pod(namespace, name string) *corev1.Pod
	Node(name string) *corev1.Node
	Secret(namespace, name string) *corev1.Secret
}

// Bound is what a token names.
type Bound struct {
	Name string    `json:"name"`
	UID  types.UID `json:"uid,omitempty"`
}

// Binding is whom a token is for. Of Pod, Secret and Node the one it is bound to is set; a pod's node goes with it.
type Binding struct {
	Namespace      string `json:"namespace"`
	ServiceAccount Bound  `json:"serviceaccount"`
	Pod            *Bound `json:"pod,omitempty"`
	Secret         *Bound `json:"secret,omitempty"`
	Node           *Bound `json:"node,omitempty"`
}

type claims struct {
	jwt.RegisteredClaims
	Kubernetes Binding `json:"kubernetes.io"`
}

// Issuer is who signs the tokens.
func (t *Tokens) Issuer() string { return cmp.Or(t.IssuedBy, Issuer) }

// Issue signs a token that holds from now until expires.
func (t *Tokens) Issue(b Binding, audiences []string, expires time.Time) (string, error) {
	now := t.now()
	c := claims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer: t.Issuer(), Subject: serviceaccount.MakeUsername(b.Namespace, b.ServiceAccount.Name), Audience: audiences,
			IssuedAt: jwt.NewNumericDate(now), NotBefore: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(expires),
			ID: string(uuid.NewUUID()),
		},
		Kubernetes: b,
	}
	unsigned := jwt.NewWithClaims(jwt.SigningMethodES256, c)
	unsigned.Header["kid"] = keyID(&t.Key.PublicKey)
	signed, err := unsigned.SignedString(t.Key)
	if err != nil {
		return "", fmt.Errorf("sign token: %w", err)
	}
	return signed, nil
}

// Authenticate implements [Authenticator].
func (t *Tokens) Authenticate(req *http.Request) (user.Info, error) {
	text, ok := Bearer(req)
	if !ok {
		return nil, ErrNoCredentials
	}
	return t.Check(text, []string{t.Issuer()})
}

// Bearer returns the token that a request carries (RFC 6750).
func Bearer(req *http.Request) (string, bool) {
	scheme, token, ok := strings.Cut(strings.TrimSpace(req.Header.Get("Authorization")), " ")
	token = strings.TrimSpace(token)
	return token, ok && strings.EqualFold(scheme, "bearer") && token != ""
}

// Check returns whom a token is for, if it holds for one of the audiences now.
func (t *Tokens) Check(text string, audiences []string) (user.Info, error) {
	c, err := t.verify(text)
	if err != nil {
		return nil, err
	}
	if !c.ExpiresAt.After(t.now()) {
		return nil, errors.New("token has expired")
	}
	meant := false
	for _, a := range audiences {
		for _, b := range c.Audience {
			meant = meant || a == b
		}
	}
	if !meant {
		return nil, fmt.Errorf("token is for %q", c.Audience)
	}
	return t.holder(&c.Kubernetes, c.ID)
}

// maxVerified bounds how many tokens are remembered; a signature costs more to verify than everything else.
const maxVerified = 4096

func (t *Tokens) verify(text string) (*claims, error) {
	key := sha256.Sum256([]byte(text))
	t.mu.Lock()
	c := t.verified[key]
	t.mu.Unlock()
	if c != nil {
		return c, nil
	}
	c = &claims{}
	_, err := jwt.ParseWithClaims(text, c, func(*jwt.Token) (any, error) { return &t.Key.PublicKey, nil },
		jwt.WithValidMethods([]string{jwt.SigningMethodES256.Alg()}), jwt.WithIssuer(t.Issuer()), jwt.WithExpirationRequired(),
		jwt.WithTimeFunc(t.now))
	if err != nil {
		return nil, fmt.Errorf("verify token: %w", err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.verified == nil || len(t.verified) >= maxVerified {
		t.verified = map[[sha256.Size]byte]*claims{}
	}
	t.verified[key] = c
	return c, nil
}

// holder checks that everything a token is bound to is there still. The token's id goes with whom it is for.
func (t *Tokens) holder(b *Binding, id string) (user.Info, error) {
	account := t.Objects.ServiceAccount(b.Namespace, b.ServiceAccount.Name)
	if account == nil || account.UID != b.ServiceAccount.UID || account.DeletionTimestamp != nil {
		return nil, fmt.Errorf("service account %s/%s of the token is gone", b.Namespace, b.ServiceAccount.Name)
	}
	info := serviceaccount.ServiceAccountInfo{Name: b.ServiceAccount.Name, Namespace: b.Namespace, UID: string(b.ServiceAccount.UID)}
	if id != "" {
		info.CredentialID = "JTI=" + id
	}
	switch {
	case b.Pod != nil:
		pod := t.Objects.Pod(b.Namespace, b.Pod.Name)
		if pod == nil || pod.UID != b.Pod.UID {
			return nil, fmt.Errorf("pod %s/%s of the token is gone", b.Namespace, b.Pod.Name)
		}
		info.PodName, info.PodUID = b.Pod.Name, string(b.Pod.UID)
		if b.Node != nil {
			info.NodeName, info.NodeUID = b.Node.Name, string(b.Node.UID)
		}
	case b.Secret != nil:
		if s := t.Objects.Secret(b.Namespace, b.Secret.Name); s == nil || s.UID != b.Secret.UID {
			return nil, fmt.Errorf("secret %s/%s of the token is gone", b.Namespace, b.Secret.Name)
		}
	case b.Node != nil:
		if n := t.Objects.Node(b.Node.Name); n == nil || n.UID != b.Node.UID {
			return nil, fmt.Errorf("node %s of the token is gone", b.Node.Name)
		}
		info.NodeName, info.NodeUID = b.Node.Name, string(b.Node.UID)
	}
	who := info.UserInfo().(*user.DefaultInfo)
	who.Groups = append(who.Groups, user.AllAuthenticated)
	return who, nil
}

func (t *Tokens) now() time.Time {
	if t.Now != nil {
		return t.Now()
	}
	return time.Now()
}

// Any asks its members in order and takes the first answer. A request with credentials that one of them refuses is
// refused.
type Any []Authenticator

var _ Authenticator = Any(nil)

// Authenticate implements [Authenticator].
func (a Any) Authenticate(req *http.Request) (user.Info, error) {
	for _, one := range a {
		who, err := one.Authenticate(req)
		if !errors.Is(err, ErrNoCredentials) {
			return who, err
		}
	}
	return nil, ErrNoCredentials
}
