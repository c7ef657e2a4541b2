package image

import (
	"context"
	"errors"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/gantryio/gantry/core/agent/pod"
	fakeruntime "github.com/gantryio/gantry/plugins/runtime/fake"
)

func TestEnsure(t *testing.T) {
	now := time.Unix(1000, 0)
	for _, tc := range []struct {
		name     string
		image    string
		policy   corev1.PullPolicy
		broken   bool
		previous *pod.Failure
		reason   string
		retry    time.Duration
		pulls    int
	}{
		{name: "present", image: "registry.example/a:1", policy: corev1.PullIfNotPresent},
		{name: "absent", image: "registry.example/b:1", policy: corev1.PullIfNotPresent, pulls: 1},
		{name: "always", image: "registry.example/a:1", policy: corev1.PullAlways, pulls: 1},
		{name: "latest is pulled always by default", image: "registry.example/a", pulls: 1},
		{name: "never", image: "registry.example/b:1", policy: corev1.PullNever, reason: "ErrImageNeverPull", retry: time.Minute},
		{name: "no name", image: "A B", reason: "InvalidImageName", retry: time.Minute},
		{name: "a broken registry", image: "registry.example/b:1", broken: true, reason: "ErrImagePull", retry: 10 * time.Second, pulls: 1},
		{name: "a broken registry again", image: "registry.example/b:1", broken: true, previous: &pod.Failure{Count: 2}, reason: "ErrImagePull", retry: 40 * time.Second, pulls: 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			pulls := 0
			rt := fakeruntime.New(fakeruntime.Options{Images: []string{"registry.example/a:1"}, Pull: func(context.Context, string) error {
				if pulls++; tc.broken {
					return errors.New("connection refused")
				}
				return nil
			}})
			p := Puller{Now: func() time.Time { return now }}
			got := p.Ensure(context.Background(), rt, Request{
				Pod: &corev1.Pod{}, Container: &corev1.Container{Image: tc.image, ImagePullPolicy: tc.policy},
				Event: func(string, string, string) {}, Previous: tc.previous,
			})
			reason, retry := "", time.Duration(0)
			if got.Failure != nil {
				reason, retry = got.Failure.Reason, got.Failure.RetryAt.Sub(now)
			}
			if reason != tc.reason || retry != tc.retry || pulls != tc.pulls || (reason == "") != (got.Ref != "") {
				t.Errorf("reason %q, retry after %v, %d pulls, %+v", reason, retry, pulls, got)
			}
		})
	}
}

func TestCredentials(t *testing.T) {
	secret := &corev1.Secret{Type: corev1.SecretTypeDockerConfigJson, Data: map[string][]byte{corev1.DockerConfigJsonKey: []byte(`{"auths":{
		"registry.example":{"auth":"dTpw"}, "https://registry.example/team/":{"username":"t","password":"tp"},
		"*.wild.example":{"username":"w"}, "localhost:5000":{"username":"l"}, "https://index.docker.io/v1/":{"username":"d"}}}`)}}
	for image, want := range map[string][]string{
		"registry.example/x:1": {"u"}, "registry.example/team/x:1": {"u", "t"}, "a.wild.example/x": {"w"}, "a.b.wild.example/x": nil,
		"localhost:5000/x": {"l"}, "localhost:5001/x": nil, "nginx": {"d"}, "other.example/x": nil, "registry.example/teams/x": {"u"},
	} {
		got := map[string]bool{}
		for _, c := range Credentials(image, []*corev1.Secret{secret}) {
			got[c.Username] = true
		}
		if len(got) != len(want) {
			t.Errorf("%s: %v, want %v", image, got, want)
		}
		for _, u := range want {
			if !got[u] {
				t.Errorf("%s: %v, want %v", image, got, want)
			}
		}
	}
}
