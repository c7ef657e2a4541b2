package apiserver_test

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// aliases is YAML whose value is nine to the power of depth words.
func aliases(depth int) string {
	var out strings.Builder
	out.WriteString("x0: &x0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n")
	for i := 1; i < depth; i++ {
		fmt.Fprintf(&out, "x%d: &x%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*x%d, ", i-1), 9), ", "))
	}
	return out.String()
}

// operations is a JSON patch of n operations.
func operations(n int, op string) string {
	return "[" + strings.TrimSuffix(strings.Repeat(op+",", n), ",") + "]"
}

// TestHostileBodies: what is made to cost a lot costs little and is refused for what it is.
func TestHostileBodies(t *testing.T) {
	c, ns := shared, shared.namespace(t)
	maps := "/api/v1/namespaces/" + ns + "/configmaps"
	one := maps + "/one"
	const many = 1_000_000
	deep := func(open, close string, n int) string { return strings.Repeat(open, n) + strings.Repeat(close, n) }
	yaml := []string{"Content-Type", "application/yaml"}
	patch := func(kind string) []string { return []string{"Content-Type", "application/" + kind} }
	must(c.typed(t).CoreV1().ConfigMaps(ns).Create(t.Context(), configMap("one", "k", strings.Repeat("v", 1<<16)), metav1.CreateOptions{}))(t)
	for _, tc := range []struct {
		name, method, path, body string
		header                   []string
		code                     int32
		part                     string
	}{
		{"deep JSON of a kind", "POST", maps, `{"metadata":{"name":"a"},"data":` + deep(`{"a":`, `}`, many/6) + `}`, nil, 400, "cannot be handled"},
		{"deep JSON beside it", "POST", maps, `{"metadata":{"name":"a"},"x":` + deep(`[`, `]`, many) + `}`, nil, 400, "exceeded max depth"},
		{"deep JSON that does not end", "POST", maps, strings.Repeat(`[`, 3*many), nil, 400, "cannot be handled"},
		{"deep YAML", "POST", maps, "x: " + deep(`[`, `]`, many), yaml, 400, "exceeded max depth"},
		{"an alias bomb", "POST", maps, aliases(30), yaml, 400, "excessive aliasing"},
		{"an alias to itself", "POST", maps, "a: &a [*a]\n", yaml, 400, "contains itself"},
		{"too many operations", "PATCH", one, operations(10_001, `{"op":"test","path":"/kind","value":"ConfigMap"}`), patch("json-patch+json"), 413, "The allowed maximum operations in a JSON patch is 10000, got 10001"},
		{"as many as there may be", "PATCH", one, operations(10_000, `{"op":"test","path":"/kind","value":"ConfigMap"}`), patch("json-patch+json"), 200, ""},
		{"copies of copies", "PATCH", one, operations(10_000, `{"op":"copy","from":"/data/k","path":"/data/l"}`), patch("json-patch+json"), 422, "the server rejected our request"},
		{"doubling", "PATCH", one, operations(60, `{"op":"copy","from":"/data","path":"/data/x"}`), patch("json-patch+json"), 422, "the server rejected our request"},
		{"a far index", "PATCH", one, `[{"op":"add","path":"/metadata/finalizers","value":[]},{"op":"add","path":"/metadata/finalizers/1000000000","value":"x"}]`, patch("json-patch+json"), 422, ""},
		{"a deep JSON patch", "PATCH", one, `[{"op":"add","path":"/data","value":` + deep(`[`, `]`, many) + `}]`, patch("json-patch+json"), 400, "exceeded max depth"},
		{"a deep merge patch", "PATCH", one, `{"data":` + deep(`{"a":`, `}`, many/6) + `}`, patch("merge-patch+json"), 400, "Invalid JSON"},
		{"a deep strategic patch", "PATCH", one, `{"data":` + deep(`{"a":`, `}`, many/6) + `}`, patch("strategic-merge-patch+json"), 400, "invalid JSON document"},
		{"a deep apply patch", "PATCH", one + "?fieldManager=m", "x: " + deep(`[`, `]`, many), patch("apply-patch+yaml"), 400, "exceeded max depth"},
		{"an alias bomb that is applied", "PATCH", one + "?fieldManager=m", aliases(30), patch("apply-patch+yaml"), 400, "excessive aliasing"},
		{"a long body", "POST", maps, strings.Repeat(" ", 3<<20+1), nil, 413, "limit is 3145728"},
		{"a long patch", "PATCH", one, strings.Repeat(" ", 3<<20+1), patch("merge-patch+json"), 413, "limit is 3145728"},
		{"long options", "DELETE", one, strings.Repeat(" ", 3<<20+1), nil, 413, "limit is 3145728"},
		{"an alias bomb as options", "DELETE", one, aliases(30), yaml, 400, "excessive aliasing"},
		{"a large object", "POST", maps, `{"metadata":{"name":"a"},"data":{"k":"` + strings.Repeat("v", 2<<20) + `"}}`, nil, 422, "Too long: may not be more than 1048576 bytes"},
		{"many unknown fields", "POST", maps + "?fieldValidation=Strict", `{"metadata":{"name":"a"},` + strings.TrimSuffix(manyFields(200_000), ",") + `}`, nil, 400, "unknown field"},
		{"a long selector", "GET", maps + "?labelSelector=" + strings.TrimSuffix(strings.Repeat("a,", 20_000), ","), "", nil, 200, ""},
		{"protobuf that claims to be long", "POST", maps, "k8s\x00\x0a\x02\x08\x01\x12\xff\xff\xff\xff\x07", []string{"Content-Type", "application/vnd.kubernetes.protobuf"}, 400, "cannot be handled"},
		{"a continue token", "GET", maps + "?limit=1&continue=" + strings.Repeat("A", 100_000), "", nil, 400, "continue"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			before := heap()
			got := c.request(t, tc.method, tc.path, tc.body, tc.header...)
			if int32(got.Code) != tc.code || !strings.Contains(string(got.Body), tc.part) {
				t.Errorf("got %d %.300s, want %d %s", got.Code, got.Body, tc.code, tc.part)
			}
			if grown := int64(heap()) - int64(before); grown > 64<<20 {
				t.Errorf("%d MiB stay behind", grown>>20)
			}
		})
	}
	if _, err := c.typed(t).CoreV1().ConfigMaps(ns).Get(t.Context(), "one", metav1.GetOptions{}); err != nil {
		t.Error(err)
	}
}

func manyFields(n int) string {
	var out strings.Builder
	for i := range n {
		fmt.Fprintf(&out, `"x%d":1,`, i)
	}
	return out.String()
}

func heap() uint64 {
	var m runtime.MemStats
	debug.FreeOSMemory()
	runtime.ReadMemStats(&m)
	return m.HeapInuse
}
