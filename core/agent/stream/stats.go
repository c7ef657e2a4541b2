package stream

import (
	"encoding/json"
	"fmt"
	"net/http"
	"sort"
	"strings"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	statsv1alpha1 "k8s.io/kubelet/pkg/apis/stats/v1alpha1"
)

func (s *Server) pods(w http.ResponseWriter, _ *http.Request) {
	list := corev1.PodList{TypeMeta: metav1.TypeMeta{Kind: "PodList", APIVersion: "v1"}, Items: []corev1.Pod{}}
	for _, p := range s.Pods.List() {
		list.Items = append(list.Items, *p)
	}
	sort.Slice(list.Items, func(i, j int) bool {
		a, b := &list.Items[i], &list.Items[j]
		return a.Namespace+"/"+a.Name < b.Namespace+"/"+b.Name
	})
	answer(w, list)
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

func (s *Server) stats(w http.ResponseWriter, r *http.Request) {
	sum, err := s.Pods.Stats(r.Context())
	if err != nil {
		fail(w, err)
		return
	}
	answer(w, sum)
}

func (s *Server) metrics(w http.ResponseWriter, r *http.Request) { promhttp.Handler().ServeHTTP(w, r) }

func (s *Server) resourceMetrics(w http.ResponseWriter, r *http.Request) {
	sum, err := s.Pods.Stats(r.Context())
	if err != nil {
		fail(w, err)
		return
	}
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	_, _ = w.Write([]byte(resourceText(sum)))
}

// resourceText writes the metrics that metrics-server reads, in the Prometheus text format.
func resourceText(sum *statsv1alpha1.Summary) string {
	var b strings.Builder
	family := func(name, kind, help string, lines []string) {
		fmt.Fprintf(&b, "# HELP %s %s\n# TYPE %s %s\n%s", name, help, name, kind, strings.Join(lines, ""))
	}
	cpu := func(name, labels string, c *statsv1alpha1.CPUStats) []string {
		if c == nil || c.UsageCoreNanoSeconds == nil {
			return nil
		}
		return []string{fmt.Sprintf("%s%s %g %d\n", name, labels, float64(*c.UsageCoreNanoSeconds)/1e9, c.Time.UnixMilli())}
	}
	memory := func(name, labels string, m *statsv1alpha1.MemoryStats) []string {
		if m == nil || m.WorkingSetBytes == nil {
			return nil
		}
		return []string{fmt.Sprintf("%s%s %d %d\n", name, labels, *m.WorkingSetBytes, m.Time.UnixMilli())}
	}
	var cc, cm, pc, pm []string
	for i := range sum.Pods {
		p := &sum.Pods[i]
		labels := fmt.Sprintf("{namespace=%q,pod=%q}", p.PodRef.Namespace, p.PodRef.Name)
		pc = append(pc, cpu("pod_cpu_usage_seconds_total", labels, p.CPU)...)
		pm = append(pm, memory("pod_memory_working_set_bytes", labels, p.Memory)...)
		for j := range p.Containers {
			c := &p.Containers[j]
			labels := fmt.Sprintf("{container=%q,namespace=%q,pod=%q}", c.Name, p.PodRef.Namespace, p.PodRef.Name)
			cc = append(cc, cpu("container_cpu_usage_seconds_total", labels, c.CPU)...)
			cm = append(cm, memory("container_memory_working_set_bytes", labels, c.Memory)...)
		}
	}
	family("container_cpu_usage_seconds_total", "counter", "Cumulative cpu time consumed by the container in core-seconds", cc)
	family("container_memory_working_set_bytes", "gauge", "Current working set of the container in bytes", cm)
	family("node_cpu_usage_seconds_total", "counter", "Cumulative cpu time consumed by the node in core-seconds", cpu("node_cpu_usage_seconds_total", "", sum.Node.CPU))
	family("node_memory_working_set_bytes", "gauge", "Current working set of the node in bytes", memory("node_memory_working_set_bytes", "", sum.Node.Memory))
	family("pod_cpu_usage_seconds_total", "counter", "Cumulative cpu time consumed by the pod in core-seconds", pc)
	family("pod_memory_working_set_bytes", "gauge", "Current working set of the pod in bytes", pm)
	return b.String()
}
