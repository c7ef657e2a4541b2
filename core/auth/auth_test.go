package auth

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
)

// uses says that pods of node a refer to the secret "used" of namespace ns, and that the slice "own" is of that node.
type uses struct{}

func (uses) NodeUses(node, resource, namespace, name string) bool {
	return node == "a" && (resource == "secrets" && namespace == "ns" && name == "used" || resource == "resourceslices" && name == "own")
}

func TestAgentsMayDoWhatTheirNodeNeeds(t *testing.T) {
	agent := &user.DefaultInfo{Name: "system:node:a", Groups: []string{user.NodesGroup}}
	chain := Chain{Masters{}, Nodes{References: uses{}}}
	for _, c := range []struct {
		verb, group, resource, sub, ns, name, selector string
		allowed                                        bool
	}{
		{verb: "get", resource: "nodes", name: "b", allowed: true},
		{verb: "create", resource: "nodes", allowed: true},
		{verb: "patch", resource: "nodes", sub: "status", name: "a", allowed: true},
		{verb: "patch", resource: "nodes", sub: "status", name: "b"},
		{verb: "update", resource: "nodes", name: "b"},
		{verb: "delete", resource: "nodes", name: "a"},
		{verb: "list", resource: "pods", allowed: true},
		{verb: "update", resource: "pods", ns: "ns", name: "p"},
		{verb: "patch", resource: "pods", sub: "status", ns: "ns", name: "p", allowed: true},
		{verb: "create", resource: "pods", sub: "eviction", ns: "ns", name: "p", allowed: true},
		{verb: "create", resource: "pods", sub: "exec", ns: "ns", name: "p"},
		{verb: "get", resource: "secrets", ns: "ns", name: "used", allowed: true},
		{verb: "get", resource: "secrets", ns: "ns", name: "other"},
		{verb: "get", resource: "secrets", ns: "other", name: "used"},
		{verb: "list", resource: "secrets", ns: "ns"},
		{verb: "watch", resource: "secrets", ns: "ns", name: "used", allowed: true},
		{verb: "watch", resource: "secrets", ns: "ns"},
		{verb: "update", resource: "secrets", ns: "ns", name: "used"},
		{verb: "list", resource: "services", allowed: true},
		{verb: "create", resource: "services", ns: "ns"},
		{verb: "list", group: "discovery.k8s.io", resource: "endpointslices", allowed: true},
		{verb: "update", group: "coordination.k8s.io", resource: "leases", ns: "kube-node-lease", name: "a", allowed: true},
		{verb: "update", group: "coordination.k8s.io", resource: "leases", ns: "kube-node-lease", name: "b"},
		{verb: "update", group: "coordination.k8s.io", resource: "leases", ns: "kube-system", name: "a"},
		{verb: "create", resource: "events", ns: "ns", allowed: true},
		{verb: "list", group: "apps", resource: "deployments"},
		{verb: "create", group: "resource.k8s.io", resource: "resourceslices", allowed: true},
		{verb: "update", group: "resource.k8s.io", resource: "resourceslices", name: "own", allowed: true},
		{verb: "update", group: "resource.k8s.io", resource: "resourceslices", name: "other"},
		{verb: "get", group: "resource.k8s.io", resource: "resourceslices", name: "other"},
		{verb: "watch", group: "resource.k8s.io", resource: "resourceslices", selector: "spec.nodeName=a", allowed: true},
		{verb: "deletecollection", group: "resource.k8s.io", resource: "resourceslices", selector: "spec.nodeName=a", allowed: true},
		{verb: "deletecollection", group: "resource.k8s.io", resource: "resourceslices", selector: "spec.nodeName=b"},
		{verb: "list", group: "resource.k8s.io", resource: "resourceslices"},
		{verb: "patch", group: "resource.k8s.io", resource: "resourceslices", sub: "status", name: "own"},
	} {
		a := &authorizer.AttributesRecord{
			User: agent, Verb: c.verb, APIGroup: c.group, Resource: c.resource, Subresource: c.sub, Namespace: c.ns, Name: c.name, ResourceRequest: true,
		}
		if c.selector != "" {
			a.FieldSelectorRequirements = fields.ParseSelectorOrDie(c.selector).Requirements()
		}
		got, reason, err := chain.Authorize(t.Context(), a)
		if err != nil || (got == authorizer.DecisionAllow) != c.allowed {
			t.Errorf("%+v: %v %q %v", c, got, reason, err)
		}
	}
}

func TestOnlyMastersMayDoAll(t *testing.T) {
	chain := Chain{Masters{}, Nodes{References: uses{}}}
	for name, c := range map[string]struct {
		who  user.Info
		want authorizer.Decision
	}{
		"master":           {&user.DefaultInfo{Name: "m", Groups: []string{user.SystemPrivilegedGroup}}, authorizer.DecisionAllow},
		"nobody":           {nil, authorizer.DecisionDeny},
		"somebody":         {&user.DefaultInfo{Name: "s"}, authorizer.DecisionDeny},
		"a node's name":    {&user.DefaultInfo{Name: "system:node:a"}, authorizer.DecisionDeny},
		"the nodes' group": {&user.DefaultInfo{Name: "a", Groups: []string{user.NodesGroup}}, authorizer.DecisionDeny},
	} {
		got, _, err := chain.Authorize(t.Context(), &authorizer.AttributesRecord{User: c.who, Verb: "get", Resource: "nodes", ResourceRequest: true})
		if err != nil || got != c.want {
			t.Errorf("%s: %v %v", name, got, err)
		}
	}
}

func TestACertificateSaysWhoAsks(t *testing.T) {
	cert := &x509.Certificate{Subject: pkix.Name{CommonName: "jane", Organization: []string{"staff"}}}
	verified := &tls.ConnectionState{PeerCertificates: []*x509.Certificate{cert}, VerifiedChains: [][]*x509.Certificate{{cert}}}
	who, err := Certificates{}.Authenticate(&http.Request{TLS: verified})
	if err != nil || who.GetName() != "jane" {
		t.Fatalf("got %v %v", who, err)
	}
	if d := cmp.Diff([]string{"staff", user.AllAuthenticated}, who.GetGroups()); d != "" {
		t.Error(d)
	}
	nameless := &x509.Certificate{}
	for name, state := range map[string]*tls.ConnectionState{
		"plain": nil, "none": {}, "unverified": {PeerCertificates: verified.PeerCertificates},
		"nameless": {PeerCertificates: []*x509.Certificate{nameless}, VerifiedChains: [][]*x509.Certificate{{nameless}}},
	} {
		if who, err := (Certificates{}).Authenticate(&http.Request{TLS: state}); err == nil {
			t.Errorf("%s: %v", name, who)
		}
	}
}

// only allows jane to impersonate what it lists.
type only map[string]bool

func (o only) Authorize(_ context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
	if a.GetVerb() == "impersonate" && o[a.GetResource()+"/"+a.GetNamespace()+"/"+a.GetName()] {
		return authorizer.DecisionAllow, "", nil
	}
	return authorizer.DecisionDeny, "", nil
}

func TestImpersonation(t *testing.T) {
	may := only{"users//bob": true, "groups//ops": true, "serviceaccounts/ns/sa": true}
	jane := &user.DefaultInfo{Name: "jane"}
	for _, c := range []struct {
		name   string
		header http.Header
		want   *user.DefaultInfo
		code   int32
	}{
		{"no wish", nil, jane, 0},
		{"a user", http.Header{"Impersonate-User": {"bob"}}, &user.DefaultInfo{Name: "bob", Groups: []string{user.AllAuthenticated}}, 0},
		{"with a group", http.Header{"Impersonate-User": {"bob"}, "Impersonate-Group": {"ops"}}, &user.DefaultInfo{Name: "bob", Groups: []string{"ops", user.AllAuthenticated}}, 0},
		{"a service account", http.Header{"Impersonate-User": {"system:serviceaccount:ns:sa"}}, &user.DefaultInfo{
			Name: "system:serviceaccount:ns:sa", Groups: []string{"system:serviceaccounts", "system:serviceaccounts:ns", user.AllAuthenticated},
		}, 0},
		{"a user that may not be", http.Header{"Impersonate-User": {"root"}}, nil, 403},
		{"a group that may not be", http.Header{"Impersonate-User": {"bob"}, "Impersonate-Group": {"ops", "system:masters"}}, nil, 403},
		{"a group alone", http.Header{"Impersonate-Group": {"ops"}}, nil, 400},
		{"a UID alone", http.Header{"Impersonate-Uid": {"1"}}, nil, 400},
		{"a UID that may not be", http.Header{"Impersonate-User": {"bob"}, "Impersonate-Uid": {"1"}}, nil, 403},
		{"extras that may not be", http.Header{"Impersonate-User": {"bob"}, "Impersonate-Extra-Scope": {"all"}}, nil, 403},
	} {
		req := httptest.NewRequestWithContext(t.Context(), "GET", "/", nil)
		req.Header = c.header
		out, err := Impersonate(req, jane, may)
		if c.want == nil {
			if s, ok := err.(apierrors.APIStatus); !ok || s.Status().Code != c.code { //nolint:errorlint // it is a status itself
				t.Errorf("%s: %v, want %d", c.name, err, c.code)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if d := cmp.Diff(user.Info(c.want), UserOf(out.Context())); d != "" {
			t.Errorf("%s: %s", c.name, d)
		}
	}
}

func TestPodRefersTo(t *testing.T) {
	local := func(name string) corev1.LocalObjectReference { return corev1.LocalObjectReference{Name: name} }
	env := func(secret, config string) []corev1.EnvVar {
		return []corev1.EnvVar{{Name: "plain", Value: "x"}, {ValueFrom: &corev1.EnvVarSource{
			SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: local(secret)},
		}}, {ValueFrom: &corev1.EnvVarSource{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{LocalObjectReference: local(config)}}}}
	}
	pod := &corev1.Pod{Spec: corev1.PodSpec{
		ImagePullSecrets: []corev1.LocalObjectReference{local("pull")},
		InitContainers:   []corev1.Container{{Env: env("init", "init")}},
		Containers: []corev1.Container{{EnvFrom: []corev1.EnvFromSource{
			{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: local("from")}}, {ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: local("cfrom")}},
		}}},
		EphemeralContainers: []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Env: env("debug", "cdebug")}}},
		Volumes: []corev1.Volume{
			{VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "vol"}}},
			{VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: local("cvol")}}},
			{VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
				{Secret: &corev1.SecretProjection{LocalObjectReference: local("proj")}}, {ConfigMap: &corev1.ConfigMapProjection{LocalObjectReference: local("cproj")}},
			}}}},
		},
	}}
	for resource, names := range map[string]map[string]bool{
		"secrets":    {"pull": true, "init": true, "from": true, "debug": true, "vol": true, "proj": true, "cvol": false, "cproj": false, "none": false},
		"configmaps": {"init": true, "cfrom": true, "cdebug": true, "cvol": true, "cproj": true, "pull": false, "vol": false, "none": false},
	} {
		for name, want := range names {
			if got := PodRefersTo(pod, resource, name); got != want {
				t.Errorf("%s %s: %t", resource, name, got)
			}
		}
	}
}
