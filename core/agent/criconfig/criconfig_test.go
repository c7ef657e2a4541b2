package criconfig

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func TestExpand(t *testing.T) {
	vars := map[string]string{"A": "1", "B": "two"}
	lookup := func(n string) (string, bool) { v, ok := vars[n]; return v, ok }
	for in, want := range map[string]string{
		"plain": "plain", "$(A)-$(B)": "1-two", "$(NO)": "$(NO)", "$$(A)": "$(A)", "$A": "$A", "$(A": "$(A", "$": "$", "$$$(A)": "$1", "a$$b": "a$b",
	} {
		if got := Expand(in, lookup); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

type objects struct{}

func (objects) ConfigMap(name string) (*corev1.ConfigMap, error) {
	if name != "cm" {
		return nil, nil
	}
	return &corev1.ConfigMap{Data: map[string]string{"k": "v", "OTHER": "o"}}, nil
}

func (objects) Secret(name string) (*corev1.Secret, error) {
	if name != "s" {
		return nil, nil
	}
	return &corev1.Secret{Data: map[string][]byte{"k": []byte("sv")}}, nil
}

func testPod() *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "p", UID: "u", Labels: map[string]string{"app": "x"}}}
}

func TestEnvironment(t *testing.T) {
	local := func(n string) corev1.LocalObjectReference { return corev1.LocalObjectReference{Name: n} }
	yes := true
	svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "my-db"}, Spec: corev1.ServiceSpec{ClusterIP: "10.0.0.9", Ports: []corev1.ServicePort{{Port: 5432}}}}
	c := &corev1.Container{
		EnvFrom: []corev1.EnvFromSource{{Prefix: "P_", ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: local("cm")}}},
		Env: []corev1.EnvVar{
			{Name: "A", Value: "1"},
			{Name: "B", Value: "$(A)/$(P_k)"},
			{Name: "S", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: local("s"), Key: "k"}}},
			{Name: "NONE", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: local("no"), Key: "k", Optional: &yes}}},
			{Name: "IP", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "status.podIP"}}},
			{Name: "L", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.labels['app']"}}},
			{Name: "M", ValueFrom: &corev1.EnvVarSource{ResourceFieldRef: &corev1.ResourceFieldSelector{Resource: "limits.memory", Divisor: resource.MustParse("1Mi")}}},
		},
	}
	f := Fields{PodIPs: []string{"10.1.0.1"}, Allocatable: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("3Mi")}}
	env, err := Environment(testPod(), c, []*corev1.Service{svc}, objects{}, f)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"A": "1", "B": "1/v", "S": "sv", "IP": "10.1.0.1", "L": "x", "M": "3", "P_k": "v", "P_OTHER": "o",
		"MY_DB_SERVICE_HOST": "10.0.0.9", "MY_DB_SERVICE_PORT": "5432", "MY_DB_PORT": "tcp://10.0.0.9:5432",
		"MY_DB_PORT_5432_TCP": "tcp://10.0.0.9:5432", "MY_DB_PORT_5432_TCP_PROTO": "tcp", "MY_DB_PORT_5432_TCP_PORT": "5432", "MY_DB_PORT_5432_TCP_ADDR": "10.0.0.9",
	}
	if diff := cmp.Diff(want, env.values); diff != "" {
		t.Error(diff)
	}
}

func TestEnvironmentErrors(t *testing.T) {
	for name, from := range map[string]*corev1.EnvVarSource{
		`configmap "no" not found`:               {ConfigMapKeyRef: &corev1.ConfigMapKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "no"}}},
		`couldn't find key z in ConfigMap ns/cm`: {ConfigMapKeyRef: &corev1.ConfigMapKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "cm"}, Key: "z"}},
		"unsupported fieldPath: x":               {FieldRef: &corev1.ObjectFieldSelector{FieldPath: "x"}},
	} {
		_, err := Environment(testPod(), &corev1.Container{Env: []corev1.EnvVar{{Name: "A", ValueFrom: from}}}, nil, objects{}, Fields{})
		if !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), name) {
			t.Errorf("%v, want %s", err, name)
		}
	}
}

func TestResources(t *testing.T) {
	list := func(cpu, memory string) corev1.ResourceList {
		out := corev1.ResourceList{}
		if cpu != "" {
			out[corev1.ResourceCPU] = resource.MustParse(cpu)
		}
		if memory != "" {
			out[corev1.ResourceMemory] = resource.MustParse(memory)
		}
		return out
	}
	const gib = int64(1) << 30
	for _, tc := range []struct {
		name             string
		requests, limits corev1.ResourceList
		want             *runtimeapi.LinuxContainerResources
	}{
		{"nothing", nil, nil, &runtimeapi.LinuxContainerResources{CpuShares: 2, CpuPeriod: 100000, OomScoreAdj: 1000}},
		{
			"guaranteed", list("500m", "1Gi"), list("500m", "1Gi"),
			&runtimeapi.LinuxContainerResources{CpuShares: 512, CpuPeriod: 100000, CpuQuota: 50000, MemoryLimitInBytes: gib, OomScoreAdj: -997},
		},
		{"burstable", list("100m", "1Gi"), nil, &runtimeapi.LinuxContainerResources{CpuShares: 102, CpuPeriod: 100000, OomScoreAdj: 750}},
		{"the limit stands for the request", nil, list("2", ""), &runtimeapi.LinuxContainerResources{CpuShares: 2048, CpuPeriod: 100000, CpuQuota: 200000, OomScoreAdj: 999}},
		{"hardly any CPU", list("1m", ""), list("1m", ""), &runtimeapi.LinuxContainerResources{CpuShares: 2, CpuPeriod: 100000, CpuQuota: 1000, OomScoreAdj: 999}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := testPod()
			p.Spec.Containers = []corev1.Container{{Name: "c", Resources: corev1.ResourceRequirements{Requests: tc.requests, Limits: tc.limits}}}
			got := Resources(p, &p.Spec.Containers[0], Machine{MemoryBytes: 4 * gib})
			if got.String() != tc.want.String() {
				t.Errorf("got %v, want %v", got, tc.want)
			}
		})
	}
}

func TestSecurity(t *testing.T) {
	yes, no := true, false
	user, group, root := int64(1000), int64(2000), int64(0)
	p := testPod()
	p.Spec.SecurityContext = &corev1.PodSecurityContext{RunAsUser: &user, FSGroup: &group, SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}}
	c := &corev1.Container{Name: "c", SecurityContext: &corev1.SecurityContext{
		AllowPrivilegeEscalation: &no, ReadOnlyRootFilesystem: &yes, Capabilities: &corev1.Capabilities{Add: []corev1.Capability{"NET_ADMIN"}, Drop: []corev1.Capability{"ALL"}},
	}}
	got := Security(p, c, ImageUser{UID: &root}, "", Profiles{})
	if got.RunAsUser.GetValue() != 1000 || !got.NoNewPrivs || !got.ReadonlyRootfs || got.Seccomp.ProfileType != runtimeapi.SecurityProfile_RuntimeDefault {
		t.Errorf("%v", got)
	}
	if diff := cmp.Diff([]int64{2000}, got.SupplementalGroups); diff != "" {
		t.Error(diff)
	}
	if len(got.MaskedPaths) == 0 || got.Capabilities.AddCapabilities[0] != "NET_ADMIN" {
		t.Errorf("%v", got)
	}
	c.SecurityContext = &corev1.SecurityContext{Privileged: &yes}
	if got = Security(p, c, ImageUser{}, "", Profiles{}); !got.Privileged || len(got.MaskedPaths) != 0 || got.Seccomp.ProfileType != runtimeapi.SecurityProfile_Unconfined {
		t.Errorf("privileged: %v", got)
	}
}

func TestVerifyNonRoot(t *testing.T) {
	yes := true
	zero, one := int64(0), int64(1)
	for _, tc := range []struct {
		name string
		user *int64
		img  ImageUser
		ok   bool
	}{
		{"a user", &one, ImageUser{UID: &zero}, true},
		{"root", &zero, ImageUser{}, false},
		{"an image with a user", nil, ImageUser{UID: &one}, true},
		{"an image with root", nil, ImageUser{UID: &zero}, false},
		{"an image with a name", nil, ImageUser{Name: "www"}, false},
		{"an image that does not say", nil, ImageUser{}, false},
	} {
		c := &corev1.Container{SecurityContext: &corev1.SecurityContext{RunAsNonRoot: &yes, RunAsUser: tc.user}}
		if err := VerifyNonRoot(testPod(), c, tc.img); (err == nil) != tc.ok {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
}

func TestDNS(t *testing.T) {
	host := ParseResolvConf([]byte("# x\nnameserver 192.0.2.53\nsearch . example.com.\noptions ndots:3 edns0\noptions ndots:2\n"))
	cluster := ClusterDNS{Servers: []string{"10.96.0.10"}, Domain: "cluster.local"}
	five := "5"
	for _, tc := range []struct {
		name    string
		change  func(*corev1.Pod)
		cluster ClusterDNS
		want    *runtimeapi.DNSConfig
		warned  []string
	}{
		{"cluster first", func(*corev1.Pod) {}, cluster, &runtimeapi.DNSConfig{
			Servers:  []string{"10.96.0.10"},
			Searches: []string{"ns.svc.cluster.local", "svc.cluster.local", "cluster.local", "example.com"}, Options: []string{"ndots:5"},
		}, nil},
		{"no cluster DNS", func(*corev1.Pod) {}, ClusterDNS{}, &runtimeapi.DNSConfig{
			Servers: []string{"192.0.2.53"}, Searches: []string{"example.com"}, Options: []string{"ndots:2", "edns0"},
		}, []string{"MissingClusterDNS"}},
		{"the machine's", func(p *corev1.Pod) { p.Spec.DNSPolicy = corev1.DNSDefault }, cluster, host, nil},
		{"the machine's network", func(p *corev1.Pod) { p.Spec.DNSPolicy, p.Spec.HostNetwork = corev1.DNSClusterFirst, true }, cluster, host, nil},
		{"the machine's network with the cluster's DNS", func(p *corev1.Pod) {
			p.Spec.DNSPolicy, p.Spec.HostNetwork = corev1.DNSClusterFirstWithHostNet, true
			p.Spec.DNSConfig = &corev1.PodDNSConfig{
				Nameservers: []string{"10.96.0.10", "192.0.2.1"}, Searches: []string{"svc.cluster.local", "b.test"}, Options: []corev1.PodDNSConfigOption{{Name: "ndots", Value: new("1")}, {Name: "edns0"}},
			}
		}, cluster, &runtimeapi.DNSConfig{
			Servers:  []string{"10.96.0.10", "192.0.2.1"},
			Searches: []string{"ns.svc.cluster.local", "svc.cluster.local", "cluster.local", "example.com", "b.test"}, Options: []string{"ndots:1", "edns0"},
		}, nil},
		{"too many servers", func(p *corev1.Pod) {
			p.Spec.DNSPolicy, p.Spec.DNSConfig = corev1.DNSNone, &corev1.PodDNSConfig{Nameservers: []string{"192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"}}
		}, cluster, &runtimeapi.DNSConfig{Servers: []string{"192.0.2.1", "192.0.2.2", "192.0.2.3"}}, []string{"DNSConfigForming"}},
		{"a search path that is too long", func(p *corev1.Pod) {
			p.Spec.DNSPolicy, p.Spec.DNSConfig = corev1.DNSNone, &corev1.PodDNSConfig{Nameservers: []string{"192.0.2.1"}, Searches: []string{strings.Repeat("a", 254), "b"}}
		}, cluster, &runtimeapi.DNSConfig{Servers: []string{"192.0.2.1"}, Searches: []string{"b"}}, []string{"DNSConfigForming"}},
		{"none with options", func(p *corev1.Pod) {
			p.Spec.DNSPolicy = corev1.DNSNone
			p.Spec.DNSConfig = &corev1.PodDNSConfig{Nameservers: []string{"192.0.2.1"}, Options: []corev1.PodDNSConfigOption{{Name: "timeout", Value: &five}}}
		}, cluster, &runtimeapi.DNSConfig{Servers: []string{"192.0.2.1"}, Options: []string{"timeout:5"}}, nil},
	} {
		p := testPod()
		tc.change(p)
		got, warnings := DNS(p, tc.cluster, host)
		if got.String() != tc.want.String() {
			t.Errorf("%s: %v, want %v", tc.name, got, tc.want)
		}
		var warned []string
		for _, w := range warnings {
			warned = append(warned, w.Reason)
		}
		if !slices.Equal(warned, tc.warned) {
			t.Errorf("%s: warned of %v, want %v", tc.name, warnings, tc.warned)
		}
	}
}

func TestHosts(t *testing.T) {
	p := testPod()
	p.Spec.Hostname, p.Spec.Subdomain = "web", "db"
	p.Spec.HostAliases = []corev1.HostAlias{{IP: "192.0.2.7", Hostnames: []string{"a", "b"}}}
	got := string(Hosts(p, []string{"10.1.0.1"}, "cluster.local", nil))
	for _, want := range []string{"127.0.0.1\tlocalhost\n", "10.1.0.1\tweb.db.ns.svc.cluster.local\tweb\n", "192.0.2.7\ta\tb\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in\n%s", want, got)
		}
	}
}

func TestContainerTellsWhatTheAgentNeedsAfterARestart(t *testing.T) {
	p := testPod()
	c := &corev1.Container{Name: "c", Image: "i", TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError}
	cfg, err := Container(p, c, ContainerInput{Attempt: 4, Step: 2, Env: NewEnv(), MessageFile: "/x/4"})
	if err != nil {
		t.Fatal(err)
	}
	got := ReadContainer(cfg.Annotations)
	if got.Step != 2 || got.Image != "i" || got.MessageFile != "/x/4" || got.Policy != c.TerminationMessagePolicy || got.Hash == "" {
		t.Errorf("%+v", got)
	}
	if cfg.LogPath != "c/4.log" || cfg.Metadata.Attempt != 4 {
		t.Errorf("log %s, attempt %d", cfg.LogPath, cfg.Metadata.Attempt)
	}
}

func TestLimitsOfSearchLines(t *testing.T) {
	for _, tc := range []struct {
		name       string
		have, want []string
	}{
		{"too many", slices.Repeat([]string{"a"}, 40), slices.Repeat([]string{"a"}, 32)},
		{"as many as there may be", slices.Repeat([]string{"a"}, 32), slices.Repeat([]string{"a"}, 32)},
		{"too long together", slices.Repeat([]string{strings.Repeat("a", 200)}, 11), slices.Repeat([]string{strings.Repeat("a", 200)}, 10)},
	} {
		c := &runtimeapi.DNSConfig{Searches: tc.have}
		warnings := limit(c)
		if !slices.Equal(c.Searches, tc.want) || (len(warnings) > 0) != (len(tc.have) > len(tc.want)) {
			t.Errorf("%s: %v and %d search paths, want %d", tc.name, warnings, len(c.Searches), len(tc.want))
		}
	}
}
