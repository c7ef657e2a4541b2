package control

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	ctrlclient "sigs.k8s.io/controller-runtime/pkg/client"
)

// images waits until the pods of a namespace are ready and are these: "name image" or "node image".
func (c *cluster) images(namespace string, what func(*corev1.Pod) string, all ...string) {
	c.t.Helper()
	until(c, &corev1.PodList{}, namespace, func(l *corev1.PodList) string {
		var got []string
		for i := range l.Items {
			p := &l.Items[i]
			if p.DeletionTimestamp == nil && p.Status.Phase == corev1.PodRunning {
				got = append(got, what(p)+" "+p.Spec.Containers[0].Image)
			}
		}
		slices.Sort(got)
		return want("pods", strings.Join(got, ", "), strings.Join(all, ", "))
	})
}

func byName(p *corev1.Pod) string { return p.Name }
func byNode(p *corev1.Pod) string { return p.Spec.NodeName }

func change[T any, P interface {
	*T
	ctrlclient.Object
}](c *cluster, namespace, name string, edit func(P)) {
	c.t.Helper()
	obj := P(new(T))
	c.must(c.Get(c.ctx, ctrlclient.ObjectKey{Namespace: namespace, Name: name}, obj))
	obj = obj.DeepCopyObject().(P)
	edit(obj)
	obj.SetResourceVersion("")
	c.must(c.Update(c.ctx, obj))
}

func TestStatefulSet(t *testing.T) {
	c := start(t)
	c.addNode("n1")
	c.namespace("one")
	c.defaultClass()
	web := deploymentOf("one", 3).Spec
	c.must(c.Create(c.ctx, &appsv1.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: "one", Name: "db"},
		Spec: appsv1.StatefulSetSpec{
			Replicas: new(int32(3)), Selector: web.Selector, Template: web.Template, ServiceName: "db",
			VolumeClaimTemplates: []corev1.PersistentVolumeClaim{{ObjectMeta: metav1.ObjectMeta{Name: "data"}, Spec: corev1.PersistentVolumeClaimSpec{
				AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
				Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
			}}},
			PersistentVolumeClaimRetentionPolicy: &appsv1.StatefulSetPersistentVolumeClaimRetentionPolicy{WhenScaled: "Delete", WhenDeleted: "Delete"},
		},
	}))
	c.images("one", byName, "db-0 web:1", "db-1 web:1", "db-2 web:1")
	change(c, "one", "db", func(s *appsv1.StatefulSet) { s.Spec.Template.Spec.Containers[0].Image = "web:2" })
	c.images("one", byName, "db-0 web:2", "db-1 web:2", "db-2 web:2")
	until(c, &appsv1.StatefulSetList{}, "one", func(l *appsv1.StatefulSetList) string {
		s := l.Items[0].Status
		return want("status", fmt.Sprint(s.CurrentRevision == s.UpdateRevision, s.ReadyReplicas, s.UpdatedReplicas), "true 3 3")
	})
	claims := func(names ...string) {
		t.Helper()
		until(c, &corev1.PersistentVolumeClaimList{}, "one", func(l *corev1.PersistentVolumeClaimList) string {
			var got []string
			for i := range l.Items {
				got = append(got, l.Items[i].Name)
			}
			return want("claims", strings.Join(got, " "), strings.Join(names, " "))
		})
	}
	claims("data-db-0", "data-db-1", "data-db-2")
	change(c, "one", "db", func(s *appsv1.StatefulSet) { s.Spec.Replicas = new(int32(1)) })
	c.images("one", byName, "db-0 web:2")
	claims("data-db-0")
	change(c, "one", "db", func(s *appsv1.StatefulSet) { s.Spec.Replicas = new(int32(2)) })
	c.images("one", byName, "db-0 web:2", "db-1 web:2")
	c.must(c.Delete(c.ctx, &appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Namespace: "one", Name: "db"}}))
	c.images("one", byName)
	claims()
}

func TestDaemonSet(t *testing.T) {
	c := start(t)
	c.addNode("n1")
	c.addNode("n2")
	c.namespace("one")
	web := deploymentOf("one", 1).Spec
	c.must(c.Create(c.ctx, &appsv1.DaemonSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: "one", Name: "log"},
		Spec:       appsv1.DaemonSetSpec{Selector: web.Selector, Template: web.Template},
	}))
	c.images("one", byNode, "n1 web:1", "n2 web:1")
	c.addNode("n3")
	c.images("one", byNode, "n1 web:1", "n2 web:1", "n3 web:1")
	change(c, "one", "log", func(d *appsv1.DaemonSet) { d.Spec.Template.Spec.Containers[0].Image = "web:2" })
	c.images("one", byNode, "n1 web:2", "n2 web:2", "n3 web:2")
	change(c, "one", "log", func(d *appsv1.DaemonSet) {
		d.Spec.UpdateStrategy.RollingUpdate = &appsv1.RollingUpdateDaemonSet{MaxUnavailable: new(intstr.FromInt32(0)), MaxSurge: new(intstr.FromInt32(1))}
		d.Spec.Template.Spec.Containers[0].Image = "web:3"
	})
	c.images("one", byNode, "n1 web:3", "n2 web:3", "n3 web:3")
	until(c, &appsv1.DaemonSetList{}, "one", func(l *appsv1.DaemonSetList) string {
		s := l.Items[0].Status
		return want("status", fmt.Sprint(s.DesiredNumberScheduled, s.UpdatedNumberScheduled, s.NumberAvailable, s.NumberUnavailable), "3 3 3 0")
	})
	change(c, "", "n2", func(n *corev1.Node) {
		n.Spec.Taints = append(n.Spec.Taints, corev1.Taint{Key: "reserved", Effect: corev1.TaintEffectNoExecute})
	})
	c.images("one", byNode, "n1 web:3", "n3 web:3")
	c.must(c.Delete(c.ctx, &appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Namespace: "one", Name: "log"}}))
	c.images("one", byNode)
}

func TestReplicationController(t *testing.T) {
	c := start(t)
	c.addNode("n1")
	c.namespace("one")
	template := deploymentOf("one", 1).Spec.Template
	c.must(c.Create(c.ctx, &corev1.ReplicationController{
		ObjectMeta: metav1.ObjectMeta{Namespace: "one", Name: "web"},
		Spec:       corev1.ReplicationControllerSpec{Replicas: new(int32(2)), Template: &template},
	}))
	c.images("one", byNode, "n1 web:1", "n1 web:1")
	change(c, "one", "web", func(rc *corev1.ReplicationController) { rc.Spec.Replicas = new(int32(1)) })
	c.images("one", byNode, "n1 web:1")
	until(c, &corev1.ReplicationControllerList{}, "one", func(l *corev1.ReplicationControllerList) string {
		s := l.Items[0].Status
		return want("status", fmt.Sprint(s.Replicas, s.ReadyReplicas, s.AvailableReplicas, s.ObservedGeneration), "1 1 1 2")
	})
}

// Evictions one after the other: as many as the budget allows go at once, and others once the
// Deployment has made up for them.
func TestDisruptionBudget(t *testing.T) {
	c := start(t)
	c.addNode("n1")
	c.namespace("one")
	c.must(c.Create(c.ctx, deploymentOf("one", 3)))
	c.must(c.Create(c.ctx, &policyv1.PodDisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{Namespace: "one", Name: "web"},
		Spec: policyv1.PodDisruptionBudgetSpec{
			MaxUnavailable: new(intstr.FromString("50%")), Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}},
		},
	}))
	counted := func(allowed int32) {
		t.Helper()
		until(c, &policyv1.PodDisruptionBudgetList{}, "one", func(l *policyv1.PodDisruptionBudgetList) string {
			s := l.Items[0].Status
			return want("budget", fmt.Sprint(s.ExpectedPods, s.DesiredHealthy, s.DisruptionsAllowed, len(s.DisruptedPods)), fmt.Sprint(3, 1, allowed, 0))
		})
	}
	c.complete("one", 3)
	counted(2)
	var pods corev1.PodList
	c.must(c.List(c.ctx, &pods, ctrlclient.InNamespace("one")))
	// No new pod gets ready meanwhile.
	change(c, "one", "web", func(d *appsv1.Deployment) { d.Spec.Paused = true })
	change(c, "", "n1", func(n *corev1.Node) { n.Spec.Unschedulable = true })
	evict := func(i int) error {
		return c.SubResource("eviction").Create(c.ctx, &pods.Items[i], &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: pods.Items[i].Name, Namespace: "one"}})
	}
	c.must(evict(0))
	c.must(evict(1))
	if err := evict(2); !apierrors.IsTooManyRequests(err) {
		t.Fatalf("the last pod's eviction: %v, want too many requests", err)
	}
	change(c, "", "n1", func(n *corev1.Node) { n.Spec.Unschedulable = false })
	counted(2)
	c.must(evict(2))
}

func TestAutomaticRollback(t *testing.T) {
	c := start(t)
	c.addNode("n1")
	c.namespace("one")
	d := deploymentOf("one", 2)
	d.Annotations = map[string]string{"deployments.gantry.dev/auto-rollback": "true"}
	d.Spec.ProgressDeadlineSeconds = new(int32(1))
	c.must(c.Create(c.ctx, d))
	c.complete("one", 2)
	until(c, &appsv1.ReplicaSetList{}, "one", func(l *appsv1.ReplicaSetList) string {
		return want("remembered", l.Items[0].Annotations["deployments.gantry.dev/complete"], "true")
	})
	change(c, "one", "web", func(d *appsv1.Deployment) {
		d.Spec.Template.Spec.Containers[0].Image = "web:broken"
		d.Spec.Template.Annotations = map[string]string{"test/stays-pending": "yes"}
	})
	until(c, &corev1.EventList{}, "one", func(l *corev1.EventList) string {
		for _, e := range l.Items {
			if e.Reason == "DeploymentRollback" {
				return ""
			}
		}
		return "no event tells of a rollback"
	})
	c.images("one", byNode, "n1 web:1", "n1 web:1")
	c.complete("one", 2)
}
