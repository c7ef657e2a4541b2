package cri

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func TestTell(t *testing.T) {
	const (
		c = runtimeapi.ContainerEventType_CONTAINER_CREATED_EVENT
		r = runtimeapi.ContainerEventType_CONTAINER_STARTED_EVENT
		e = runtimeapi.ContainerEventType_CONTAINER_STOPPED_EVENT
		d = runtimeapi.ContainerEventType_CONTAINER_DELETED_EVENT
	)
	at := func(s stage) picture { return picture{"a": {stage: s, sandbox: "s"}} }
	for _, test := range []struct {
		name          string
		before, after picture
		want          []runtimeapi.ContainerEventType
	}{
		{name: "nothing", before: at(running), after: at(running)},
		{name: "created", after: at(created), want: []runtimeapi.ContainerEventType{c}},
		{name: "started since it was created", before: at(created), after: at(running), want: []runtimeapi.ContainerEventType{r}},
		{name: "created and started at once", after: at(running), want: []runtimeapi.ContainerEventType{c, r}},
		{name: "a whole life", after: at(ended), want: []runtimeapi.ContainerEventType{c, r, e}},
		{name: "ended", before: at(running), after: at(ended), want: []runtimeapi.ContainerEventType{e}},
		{name: "removed after its end", before: at(ended), want: []runtimeapi.ContainerEventType{d}},
		{name: "removed while it ran", before: at(running), want: []runtimeapi.ContainerEventType{e, d}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var got []runtimeapi.ContainerEventType
			for _, h := range tell(test.before, test.after) {
				if h.id != "a" || h.sandbox != "s" {
					t.Errorf("event is of %s in %s", h.id, h.sandbox)
				}
				got = append(got, h.kind)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestJudge(t *testing.T) {
	good := []*runtimeapi.RuntimeCondition{{Type: runtimeapi.RuntimeReady, Status: true}, {Type: runtimeapi.NetworkReady, Status: true}}
	config := Config{Shim: "/shim", CNIConfDir: "/conf", CNIBinDir: "/bin"}
	for _, test := range []struct {
		name       string
		conditions []*runtimeapi.RuntimeCondition
		info       map[string]string
		want       string
	}{
		{name: "well", conditions: good},
		{name: "well, and it tells", conditions: good, info: map[string]string{
			"config": `{"cni":{"binDir":"/bin","confDir":"/conf"}}`, "cniconfig": `{"Networks":[{"Config":{"Name":"cni-loopback"}},{"Config":{"Name":"gantry"}}]}`,
		}},
		{
			name: "not ready", conditions: []*runtimeapi.RuntimeCondition{{Type: runtimeapi.RuntimeReady, Reason: "Full", Message: "disk"}},
			want: "the runtime is not ready: Full: disk",
		},
		{
			name: "no network", conditions: []*runtimeapi.RuntimeCondition{{Type: runtimeapi.NetworkReady, Reason: "Plugin", Message: "none"}},
			want: "the runtime has not taken over its network configuration from /conf yet: Plugin: none",
		},
		{
			name: "reads elsewhere", conditions: good, info: map[string]string{"config": `{"cni":{"confDir":"/etc/cni/net.d"}}`},
			want: "the runtime reads CNI configurations in /etc/cni/net.d, but cniConfDir is /conf",
		},
		{
			name: "executes elsewhere", conditions: good, info: map[string]string{"config": `{"cni":{"binDirs":["/a","/b"]}}`},
			want: "the runtime looks for CNI executables in [/a /b], but cniBinDir is /bin",
		},
		{
			name: "still the old network", conditions: good, info: map[string]string{"cniconfig": `{"Networks":[{"Config":{"Name":"flannel"}}]}`},
			want: `the runtime has not taken over its network configuration from /conf yet: it uses "flannel"`,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := config.judge(&runtimeapi.StatusResponse{Status: &runtimeapi.RuntimeStatus{Conditions: test.conditions}, Info: test.info})
			if got.Problem != test.want {
				t.Errorf("problem is %q, want %q", got.Problem, test.want)
			}
		})
	}
	handlers := config.judge(&runtimeapi.StatusResponse{RuntimeHandlers: []*runtimeapi.RuntimeHandler{{Name: ""}, {Name: "runsc"}, {Name: "kata"}}}).Handlers
	if diff := cmp.Diff([]string{"kata", "runsc"}, handlers); diff != "" {
		t.Error(diff)
	}
}
