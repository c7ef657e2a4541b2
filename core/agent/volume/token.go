package volume

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	defaultTokenSeconds = 3600
	maxTokenAge         = 24 * time.Hour
)

type token struct {
	value   string
	refresh time.Time
}

// token asks the API for a token that is bound to the pod, and again when four fifths of its life are over.
func (f *filler) token(volume string, s *corev1.ServiceAccountTokenProjection, def fs.FileMode) (Payload, error) {
	key := volume + "\x00" + s.Path
	t, ok := f.st.tokens[key]
	if now := f.Now(); !ok || !now.Before(t.refresh) {
		var err error
		if t, err = f.request(s, now); err != nil {
			return nil, err
		}
		f.st.tokens[key] = t
	}
	if f.again.IsZero() || t.refresh.Before(f.again) {
		f.again = t.refresh
	}
	file := File{Data: []byte(t.value), Mode: def, UID: f.soleUser()}
	if file.UID != nil || f.fsGroup() != nil {
		file.Mode = 0o600
	}
	return Payload{filepath.Clean(s.Path): file}, nil
}

func (f *filler) request(s *corev1.ServiceAccountTokenProjection, now time.Time) (token, error) {
	seconds := int64(defaultTokenSeconds)
	if s.ExpirationSeconds != nil {
		seconds = *s.ExpirationSeconds
	}
	name := f.pod.Spec.ServiceAccountName
	if name == "" {
		name = "default"
	}
	req := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		ExpirationSeconds: &seconds,
		BoundObjectRef:    &authenticationv1.BoundObjectReference{Kind: "Pod", APIVersion: "v1", Name: f.pod.Name, UID: f.pod.UID},
	}}
	if s.Audience != "" {
		req.Spec.Audiences = []string{s.Audience}
	}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: f.pod.Namespace, Name: name}}
	if err := f.API.SubResource("token").Create(f.ctx, account, req); err != nil {
		return token{}, fmt.Errorf("failed to fetch token: %w", err)
	}
	life := req.Status.ExpirationTimestamp.Sub(now)
	if req.Status.ExpirationTimestamp.IsZero() {
		life = time.Duration(seconds) * time.Second
	}
	return token{value: req.Status.Token, refresh: now.Add(min(life*4/5, maxTokenAge))}, nil
}

// soleUser is the user that all containers run as, if they all say so.
func (f *filler) soleUser() *int64 {
	var out *int64
	for _, list := range [][]corev1.Container{f.pod.Spec.InitContainers, f.pod.Spec.Containers} {
		for i := range list {
			uid := podUser(f.pod)
			if sc := list[i].SecurityContext; sc != nil && sc.RunAsUser != nil {
				uid = sc.RunAsUser
			}
			if uid == nil || out != nil && *out != *uid {
				return nil
			}
			out = uid
		}
	}
	return out
}

func podUser(p *corev1.Pod) *int64 {
	if p.Spec.SecurityContext == nil {
		return nil
	}
	return p.Spec.SecurityContext.RunAsUser
}
