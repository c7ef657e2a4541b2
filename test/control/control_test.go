package control

import (
	"fmt"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrlclient "sigs.k8s.io/controller-runtime/pkg/client"
)

func (c *cluster) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

func (c *cluster) namespace(name string) {
	c.t.Helper()
	c.must(c.Create(c.ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}))
}

func deploymentOf(namespace string, n int32) *appsv1.Deployment {
	web := map[string]string{"app": "web"}
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "web"},
		Spec: appsv1.DeploymentSpec{Replicas: &n, Selector: &metav1.LabelSelector{MatchLabels: web}, Template: corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: web}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "web", Image: "web:1"}}},
		}},
	}
}

// complete waits until the deployment is rolled out.
func (c *cluster) complete(namespace string, n int32) {
	c.t.Helper()
	until(c, &appsv1.DeploymentList{}, namespace, func(l *appsv1.DeploymentList) string {
		s, d := l.Items[0].Status, &l.Items[0]
		got := fmt.Sprint(s.ObservedGeneration >= d.Generation, s.Replicas, s.UpdatedReplicas, s.AvailableReplicas)
		return want("deployment", got, fmt.Sprint(true, n, n, n))
	})
}

func (c *cluster) edit(namespace string, change func(*appsv1.Deployment)) {
	c.t.Helper()
	d := &appsv1.Deployment{}
	c.must(c.Get(c.ctx, ctrlclient.ObjectKey{Namespace: namespace, Name: "web"}, d))
	d = d.DeepCopy()
	change(d)
	d.ResourceVersion = ""
	c.must(c.Update(c.ctx, d))
}

func (c *cluster) empty(namespace string) {
	c.t.Helper()
	until(c, &corev1.PodList{}, namespace, func(l *corev1.PodList) string { return want("pods", len(l.Items), 0) })
	until(c, &appsv1.ReplicaSetList{}, namespace, func(l *appsv1.ReplicaSetList) string { return want("replica sets", len(l.Items), 0) })
}

func TestControllers(t *testing.T) {
	c := start(t)
	began := time.Now()
	c.addNode("n1")
	until(c, &corev1.NodeList{}, "", func(l *corev1.NodeList) string {
		return want("node", fmt.Sprintf("%s %d", l.Items[0].Spec.PodCIDR, len(l.Items[0].Spec.Taints)), "10.200.0.0/24 0")
	})
	t.Logf("a new node is schedulable after %s", time.Since(began))
	c.namespace("one")
	until(c, &corev1.ServiceAccountList{}, "one", func(l *corev1.ServiceAccountList) string { return want("accounts", len(l.Items), 1) })

	began = time.Now()
	c.must(c.Create(c.ctx, &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "one", Name: "web"}, Spec: corev1.ServiceSpec{
		Selector: map[string]string{"app": "web"}, Ports: []corev1.ServicePort{{Port: 80}},
	}}))
	c.must(c.Create(c.ctx, deploymentOf("one", 3)))
	c.complete("one", 3)
	t.Logf("a deployment of 3 is complete after %s", time.Since(began))
	until(c, &discoveryv1.EndpointSliceList{}, "one", func(l *discoveryv1.EndpointSliceList) string {
		n := 0
		for _, s := range l.Items {
			n += len(s.Endpoints)
		}
		return want("endpoints", n, 3)
	})

	began = time.Now()
	c.edit("one", func(d *appsv1.Deployment) { d.Spec.Template.Spec.Containers[0].Image = "web:2" })
	c.complete("one", 3)
	t.Logf("it is rolled after %s", time.Since(began))
	until(c, &corev1.PodList{}, "one", func(l *corev1.PodList) string {
		var images []string
		for _, p := range l.Items {
			images = append(images, p.Spec.Containers[0].Image)
		}
		return want("images", strings.Join(images, " "), "web:2 web:2 web:2")
	})
	c.edit("one", func(d *appsv1.Deployment) { d.Spec.Replicas = new(int32(5)) })
	c.complete("one", 5)

	c.deletions()
}

// deletions ends deployments in all ways that there are.
func (c *cluster) deletions() {
	c.t.Helper()
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: "one", Name: "web"}}
	c.must(c.Delete(c.ctx, d, ctrlclient.PropagationPolicy(metav1.DeletePropagationOrphan)))
	until(c, &appsv1.DeploymentList{}, "one", func(l *appsv1.DeploymentList) string { return want("deployments", len(l.Items), 0) })
	until(c, &appsv1.ReplicaSetList{}, "one", func(l *appsv1.ReplicaSetList) string {
		owned := 0
		for i := range l.Items {
			owned += len(l.Items[i].OwnerReferences)
		}
		return want("orphaned sets", fmt.Sprint(len(l.Items), owned), "2 0")
	})
	adopter := deploymentOf("one", 5)
	adopter.Spec.Template.Spec.Containers[0].Image = "web:2"
	c.must(c.Create(c.ctx, adopter))
	c.complete("one", 5)
	until(c, &appsv1.ReplicaSetList{}, "one", func(l *appsv1.ReplicaSetList) string {
		owned := 0
		for i := range l.Items {
			owned += len(l.Items[i].OwnerReferences)
		}
		return want("adopted sets", fmt.Sprint(len(l.Items), owned), "2 2")
	})
	c.must(c.Delete(c.ctx, d, ctrlclient.PropagationPolicy(metav1.DeletePropagationForeground)))
	until(c, &appsv1.DeploymentList{}, "one", func(l *appsv1.DeploymentList) string { return want("deployments", len(l.Items), 0) })
	c.empty("one")

	c.must(c.Create(c.ctx, deploymentOf("one", 3)))
	c.complete("one", 3)
	c.must(c.Delete(c.ctx, d))
	c.empty("one")

	c.must(c.Create(c.ctx, deploymentOf("one", 3)))
	c.complete("one", 3)
	c.must(c.Delete(c.ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "one"}}))
	until(c, &corev1.NamespaceList{}, "", func(l *corev1.NamespaceList) string {
		for i := range l.Items {
			if l.Items[i].Name == "one" {
				return fmt.Sprintf("the namespace is there: %+v", l.Items[i].Status)
			}
		}
		return ""
	})
}

func TestManyPods(t *testing.T) {
	const pods = 1000
	c := start(t)
	for i := range 10 {
		c.addNode(fmt.Sprint("n", i))
	}
	until(c, &corev1.NodeList{}, "", func(l *corev1.NodeList) string {
		tainted := 0
		for i := range l.Items {
			tainted += len(l.Items[i].Spec.Taints)
		}
		return want("taints", tainted, 0)
	})
	c.namespace("many")
	began := time.Now()
	c.must(c.Create(c.ctx, deploymentOf("many", pods)))
	c.complete("many", pods)
	t.Logf("%d pods are available after %s", pods, time.Since(began))
	per := map[string]int{}
	var list corev1.PodList
	c.must(c.List(c.ctx, &list, ctrlclient.InNamespace("many")))
	for i := range list.Items {
		per[list.Items[i].Spec.NodeName]++
	}
	for name, n := range per {
		if n != pods/10 {
			t.Errorf("%s has %d pods, want %d", name, n, pods/10)
		}
	}
	began = time.Now()
	c.must(c.Delete(c.ctx, deploymentOf("many", pods)))
	c.empty("many")
	t.Logf("they are gone after %s", time.Since(began))
}
