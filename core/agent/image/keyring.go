package image

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"path"
	"sort"
	"strings"

	"github.com/distribution/reference"
	corev1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

type entry struct {
	Username      string `json:"username"`
	Password      string `json:"password"`
	Auth          string `json:"auth"`
	IdentityToken string `json:"identitytoken"`
	RegistryToken string `json:"registrytoken"`
}

// Credentials finds the credentials for an image among pull secrets, the most specific registry first. Secrets of other
// types and secrets that do not parse are skipped.
func Credentials(image string, secrets []*corev1.Secret) []*runtimeapi.AuthConfig {
	named, err := reference.ParseNormalizedNamed(image)
	if err != nil {
		return nil
	}
	type match struct {
		key  string
		auth *runtimeapi.AuthConfig
	}
	var found []match
	for _, s := range secrets {
		for key, e := range entries(s) {
			host, prefix := splitKey(key)
			if !hostMatches(host, reference.Domain(named)) || !strings.HasPrefix(reference.Path(named)+"/", prefix) {
				continue
			}
			if auth, err := e.config(host); err == nil {
				found = append(found, match{host + "/" + prefix, auth})
			}
		}
	}
	sort.SliceStable(found, func(i, j int) bool { return len(found[i].key) > len(found[j].key) })
	out := make([]*runtimeapi.AuthConfig, 0, len(found))
	for _, m := range found {
		out = append(out, m.auth)
	}
	return out
}

func entries(s *corev1.Secret) map[string]entry {
	out := map[string]entry{}
	switch s.Type {
	case corev1.SecretTypeDockerConfigJson:
		var file struct {
			Auths map[string]entry `json:"auths"`
		}
		if json.Unmarshal(s.Data[corev1.DockerConfigJsonKey], &file) == nil {
			out = file.Auths
		}
	case corev1.SecretTypeDockercfg:
		if json.Unmarshal(s.Data[corev1.DockerConfigKey], &out) != nil {
			return nil
		}
	}
	return out
}

// splitKey turns https://host/v1/ or host/path into a host and a path prefix that ends with a slash or is empty.
func splitKey(key string) (host, prefix string) {
	if _, rest, ok := strings.Cut(key, "://"); ok {
		key = rest
	}
	host, prefix, _ = strings.Cut(key, "/")
	prefix = strings.Trim(prefix, "/")
	if prefix == "v1" || prefix == "v2" || prefix == "" {
		prefix = ""
	} else {
		prefix += "/"
	}
	if host == "index.docker.io" || host == "registry-1.docker.io" {
		host = "docker.io"
	}
	return host, prefix
}

// hostMatches compares hosts label by label, so that *.example.com stands for one label.
func hostMatches(pattern, host string) bool {
	ph, pp := hostPort(pattern)
	h, hp := hostPort(host)
	if pp != "" && pp != hp {
		return false
	}
	a, b := strings.Split(ph, "."), strings.Split(h, ".")
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if ok, err := path.Match(a[i], b[i]); err != nil || !ok {
			return false
		}
	}
	return pp == hp || pp == ""
}

func hostPort(s string) (host, port string) {
	if h, p, err := net.SplitHostPort(s); err == nil {
		return h, p
	}
	return s, ""
}

func (e entry) config(server string) (*runtimeapi.AuthConfig, error) {
	out := &runtimeapi.AuthConfig{
		Username: e.Username, Password: e.Password, ServerAddress: server,
		IdentityToken: e.IdentityToken, RegistryToken: e.RegistryToken,
	}
	if out.Username == "" && e.Auth != "" {
		raw, err := base64.StdEncoding.DecodeString(e.Auth)
		if err != nil {
			return nil, fmt.Errorf("decode auth of %s: %w", server, err)
		}
		out.Username, out.Password, _ = strings.Cut(strings.TrimRight(string(raw), "\x00"), ":")
	}
	return out, nil
}
